"""Each phase: what it depends on, and what it wants done."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

import pytest
from unit_helpers import load, write

from phases import (
    p00_dockerfile,
    p01_base,
    p02_users,
    p03_env,
    p04_workdir,
    p05_habitat,
    p06_files,
    p07_setup,
    p08_repos,
    p09_tools,
    p10_verify,
    p11_test,
    p12_final,
)
from phases.core.config.mounts.uid import uid_warning
from phases.protocol import (
    Copy,
    Entry,
    FromDockerfile,
    FromImage,
    RequirePaths,
    Run,
    SetImageConfig,
    Step,
)
from phases.registry import PHASES, last_snapshot, mounts_volumes, phases_of

if TYPE_CHECKING:
    from pathlib import Path

    from phases.core.model import Habitat


BASE = "base_image: debian\n"
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def entries(steps: list[Step]) -> list[tuple[str, str, str, int]]:
    """What is put: path, kind, owner, mode."""
    return [(e.dest, e.kind, e.owner, e.mode) for step in steps if isinstance(step, Copy) for e in step.entries]


def runs(steps: list[Step]) -> list[Run]:
    return [step for step in steps if isinstance(step, Run)]


def env_of(steps: list[Step]) -> dict[str, str]:
    return {
        name: template for step in steps if isinstance(step, SetImageConfig) for name, (template, _) in step.env.items()
    }


def test_phase_registry_lists_all_phases_in_order() -> None:
    assert [(phase.ID, phase.NAME) for phase in PHASES] == [
        (0, "dockerfile"),
        (1, "base"),
        (2, "users"),
        (3, "env"),
        (4, "workdir"),
        (5, "habitat"),
        (6, "files"),
        (7, "setup"),
        (8, "repos"),
        (9, "tools"),
        (10, "verify"),
        (11, "test"),
        (12, "final"),
    ]
    assert [phase.NAME for phase in PHASES if not phase.SNAPSHOT] == ["verify", "test"]


def test_dockerfile_phase_belongs_only_to_habitats_with_dockerfile() -> None:
    assert phases_of(has_dockerfile=True) == PHASES
    assert phases_of(has_dockerfile=False) == PHASES[1:]


@pytest.mark.parametrize(
    ("phase", "before"),
    [(0, None), (1, 0), (2, 1), (10, 9), (11, 9), (12, 9)],
)
def test_phase_starts_from_nearest_earlier_snapshot(phase: int, before: int | None) -> None:
    assert last_snapshot(PHASES, PHASES[phase]) is (None if before is None else PHASES[before])


def test_volumes_are_mounted_from_files_phase_on() -> None:
    assert [phase.ID for phase in PHASES if mounts_volumes(phase)] == [6, 7, 8, 9, 10, 11, 12]


def test_dockerfile_phase_slice_and_plan_contain_build_context(tmp_path: Path) -> None:
    for path in ("Dockerfile", "copied", ".dockerignore"):
        write(tmp_path, f"habitats/demo/{path}")
    habitat = load(tmp_path, "description: not the Dockerfile's\n")
    assert p00_dockerfile.slice(habitat) == {
        "context": {
            "": "dir",
            ".dockerignore": f"644 {EMPTY}",
            "Dockerfile": f"644 {EMPTY}",
            "copied": f"644 {EMPTY}",
        }
    }
    (step,) = p00_dockerfile.plan(habitat)
    assert isinstance(step, FromDockerfile)
    assert [item.path for item in step.context.items] == ["", ".dockerignore", "Dockerfile", "copied"]


def test_base_phase_of_image_checks_image_and_shell(tmp_path: Path) -> None:
    habitat = load(tmp_path, BASE)
    assert p01_base.slice(habitat) == {"image": "debian", "id": None}
    first, second = p01_base.plan(habitat)
    assert first == FromImage("debian", habitat.base_origin)
    assert isinstance(second, RequirePaths)
    assert [path for path, _ in second.paths] == ["/bin/sh"]


def test_base_phase_of_dockerfile_depends_on_dockerfile(tmp_path: Path) -> None:
    write(tmp_path, "habitats/demo/Dockerfile", "FROM debian\n")
    habitat = load(tmp_path)
    before = p01_base.slice(habitat)
    assert list(before) == ["dockerfile"]
    (step,) = p01_base.plan(habitat)
    assert isinstance(step, RequirePaths)
    write(tmp_path, "habitats/demo/Dockerfile", "FROM alpine\n")
    assert p01_base.slice(load(tmp_path)) != before


@pytest.mark.parametrize(("user", "created"), [("ada", True), ("root", False), ("", False)])
def test_users_phase_creates_user_unless_root(tmp_path: Path, user: str, created: bool) -> None:
    habitat = load(tmp_path, f"{BASE}env:\n  - USER={user}\n")
    assert p02_users.slice(habitat) == {"user": user or "root"}
    steps = p02_users.plan(habitat)
    assert env_of(steps) == {"USER": user}
    assert [(run.user, run.args, run.title) for run in runs(steps)] == (
        [("root", (user,), f"create user {user}")] if created else []
    )


def test_users_phase_slice_has_uid_and_gid_of_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: 1234)
    monkeypatch.setattr("os.getgid", lambda: 20)
    habitat = load(tmp_path, f"{BASE}uid: host\n")
    assert p02_users.slice(habitat) == {"user": "agent", "uid": 1234, "gid": 20}
    *_, run = runs(p02_users.plan(habitat))
    assert (run.args, run.title) == (("agent", "1234", "20"), "give agent the uid 1234 and the gid 20")
    assert p02_users.slice(load(tmp_path, f"{BASE}uid: 1234\n")) == {"user": "agent", "uid": 1234, "gid": 1234}


@pytest.mark.parametrize(
    ("sudo", "numbers"),
    [
        ({}, None),
        ({"SUDO_UID": "1234", "SUDO_GID": "20"}, (1234, 20)),
        ({"SUDO_UID": "1234", "SUDO_GID": "0"}, (1234, 1234)),
        ({"SUDO_UID": "0", "SUDO_GID": "0"}, None),
        ({"SUDO_UID": "x", "SUDO_GID": "20"}, None),
        ({"SUDO_UID": "1234"}, None),
    ],
)
def test_users_phase_run_as_root_takes_uid_of_sudo_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sudo: dict[str, str], numbers: tuple[int, int] | None
) -> None:
    monkeypatch.setattr("os.getuid", lambda: 0)
    for name in ("SUDO_UID", "SUDO_GID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in sudo.items():
        monkeypatch.setenv(name, value)
    ids = load(tmp_path, f"{BASE}uid: host\n").user_ids
    assert ids is not None
    assert (ids.uid, ids.gid) == (numbers or (0, 0))
    warning = uid_warning(load(tmp_path, f"{BASE}uid: host\n"))
    assert ("config.yaml:2: uid: host has no effect, since you are root: " in warning) is (numbers is None)
    if numbers is None:
        assert p02_users.slice(load(tmp_path, f"{BASE}uid: host\n")) == {"user": "agent"}


def test_env_phase_contains_variables_no_other_phase_sets(tmp_path: Path) -> None:
    habitat = load(tmp_path, f"{BASE}env:\n  - PATH=/x:$PATH\n  - A=$WORKDIR\n  - B=$$5\n")
    expected = {"PATH": "/x:${PATH}", "A": "/workspace", "B": "$$5"}
    assert p03_env.slice(habitat) == {"env": expected}
    assert env_of(p03_env.plan(habitat)) == expected


def test_workdir_phase_creates_folder_and_sets_variable(tmp_path: Path) -> None:
    habitat = load(tmp_path, f"{BASE}env:\n  - WORKDIR=/srv\n")
    assert p04_workdir.slice(habitat) == {"workdir": "/srv"}
    steps = p04_workdir.plan(habitat)
    assert env_of(steps) == {"WORKDIR": "/srv"}
    assert [step.workdir for step in steps if isinstance(step, SetImageConfig)] == ["/srv"]
    assert entries(steps) == [("/srv", "dir", "agent", 0o755)]


def test_workdir_phase_with_root_folder_copies_nothing(tmp_path: Path) -> None:
    habitat = load(tmp_path, f"{BASE}env:\n  - WORKDIR=/\n")
    assert entries(p04_workdir.plan(habitat)) == []


def test_habitat_phase_creates_folders_with_owners(tmp_path: Path) -> None:
    habitat = load(tmp_path, BASE)
    folders = {
        "HABITAT_PATH": "/habitat",
        "SYSTEM_PATH": "/habitat/system",
        "SHARED_PATH": "/habitat/shared",
        "LOCAL_PATH": "/habitat/local",
    }
    owners = {"HABITAT_PATH": "root", "SYSTEM_PATH": "root", "SHARED_PATH": "agent", "LOCAL_PATH": "agent"}
    assert p05_habitat.slice(habitat) == {"owners": owners, "paths": folders}
    steps = p05_habitat.plan(habitat)
    assert env_of(steps) == folders
    assert entries(steps) == [(path, "dir", owners[name], 0o755) for name, path in folders.items()]


def test_habitat_phase_folder_equal_to_workdir_belongs_to_user(tmp_path: Path) -> None:
    habitat = load(tmp_path, f"{BASE}env:\n  - HABITAT_PATH=$WORKDIR\n  - SYSTEM_PATH=$LOCAL_PATH\n")
    assert set(p05_habitat.slice(habitat)["owners"].values()) == {"agent"}


def test_files_phase_omits_volume_folders(tmp_path: Path) -> None:
    """Else an agent that writes to its volume would have its own image built again."""
    write(tmp_path, "habitats/demo/data/log")
    write(tmp_path, "habitats/demo/note")
    habitat = load(tmp_path, BASE + "volumes:\n  - {source: ./data, dest: /data}\n")
    before = p06_files.slice(habitat)
    assert sorted(before["layers"]["local"]["content"]) == ["", "note"]
    write(tmp_path, "habitats/demo/data/more", "written by the agent")
    assert p06_files.slice(load(tmp_path, BASE + "volumes:\n  - {source: ./data, dest: /data}\n")) == before


def test_files_phase_copies_layers_then_entries(tmp_path: Path) -> None:
    write(tmp_path, "habitats/demo/note")
    write(tmp_path, "habitats/demo/run", mode=0o755)
    write(tmp_path, "shared/common")
    files = """\
        base_image: debian
        files:
          - {source: note, dest: ~/note, mode: 0600}
          - {source: run, dest: /opt/run, owner: root}
          - {source: ., dest: /all, owner: "ada:users", mode: 0640}
    """
    habitat = load(tmp_path, files)
    ours = [entry for entry in entries(p06_files.plan(habitat)) if "/system" not in entry[0]]
    assert ours == [
        ("/habitat/shared", "dir", "agent", 0o755),
        ("/habitat/shared/common", "file", "agent", 0o644),
        ("/habitat/local", "dir", "agent", 0o755),
        ("/habitat/local/note", "file", "agent", 0o644),
        ("/habitat/local/run", "file", "agent", 0o755),
        ("~/note", "file", "agent", 0o600),
        ("/opt/run", "file", "root", 0o755),
        ("/all", "dir", "ada:users", 0o750),
        ("/all/config.yaml", "file", "ada:users", 0o640),
        ("/all/note", "file", "ada:users", 0o640),
        ("/all/run", "file", "ada:users", 0o640),
    ]
    actual = p06_files.slice(habitat)
    assert [(f["dest"], f["owner"], f["mode"]) for f in actual["files"]] == [
        ("~/note", "agent", "0600"),
        ("/opt/run", "root", ""),
        ("/all", "ada:users", "0640"),
    ]
    assert actual["layers"]["local"] == {
        "content": {"": "dir", "note": f"644 {EMPTY}", "run": f"755 {EMPTY}"},
        "dest": "/habitat/local",
    }


def test_files_phase_layer_without_path_is_not_copied(tmp_path: Path) -> None:
    habitat = load(tmp_path, f"{BASE}env:\n  - SYSTEM_PATH=\n  - SHARED_PATH=\n  - LOCAL_PATH=\n")
    assert p06_files.plan(habitat) == []
    assert p06_files.slice(habitat)["layers"] == {}


def test_files_phase_slice_has_volume_settings_without_content(tmp_path: Path) -> None:
    write(tmp_path, "habitats/demo/data/file", "one")
    text = f"{BASE}volumes:\n  - {{source: ./data, dest: /data, readonly: true}}\n"
    before = p06_files.slice(load(tmp_path, f"{text}env:\n  - LOCAL_PATH=\n"))
    assert before["volumes"] == [{"source": "./data", "dest": "/data", "readonly": True}]
    write(tmp_path, "habitats/demo/data/file", "two")
    assert p06_files.slice(load(tmp_path)) == before


def test_setup_phase_runs_commands_in_order(tmp_path: Path) -> None:
    habitat = load(tmp_path, f"{BASE}setup:\n  root:\n    - apt update\n  user: [a, b]\n")
    assert p07_setup.slice(habitat) == {
        "commands": [
            {"script": "apt update", "user": "root"},
            {"script": "a", "user": "agent"},
            {"script": "b", "user": "agent"},
        ]
    }
    steps = runs(p07_setup.plan(habitat))
    assert [(run.user, run.script, run.title) for run in steps] == [
        ("root", "apt update", "setup command 1 of 3"),
        ("agent", "a", "setup command 2 of 3"),
        ("agent", "b", "setup command 3 of 3"),
    ]
    assert steps[0].origin.line == 4


def test_setup_phase_leaves_shell_variables_unexpanded(tmp_path: Path) -> None:
    habitat = load(tmp_path, f"{BASE}setup:\n  root:\n    - echo $HOME $$ ${{X:-y}}\n")
    assert habitat.setup[0].script == "echo $HOME $$ ${X:-y}"


REPOS = """\
    base_image: debian
    repos:
      - {url: https://example.org/a, path: a, branch: main, depth: 1}
      - {url: https://example.org/b, path: /b, ref: v1, owner: ada, setup: [make]}
"""


def test_repos_phase_clones_each_repository(tmp_path: Path) -> None:
    habitat = load(tmp_path, REPOS)
    assert p08_repos.slice(habitat)["repos"] == [
        {
            "url": "https://example.org/a",
            "path": "/workspace/a",
            "branch": "main",
            "ref": "",
            "depth": 1,
            "owner": "agent",
            "setup": [],
        },
        {
            "url": "https://example.org/b",
            "path": "/b",
            "branch": "",
            "ref": "v1",
            "depth": 0,
            "owner": "ada",
            "setup": ["make"],
        },
    ]
    steps = list(p08_repos.plan(habitat))
    assert entries(steps) == [("/workspace/a", "dir", "agent", 0o755), ("/b", "dir", "ada", 0o755)]
    assert [(run.user, run.args, run.workdir, run.title) for run in runs(steps)] == [
        (
            "agent",
            ("https://example.org/a", "/workspace/a", "main", "", "1", "", ""),
            "/",
            "git clone https://example.org/a (main)",
        ),
        ("ada", ("https://example.org/b", "/b", "", "v1", "", "", ""), "/", "git clone https://example.org/b (v1)"),
        ("ada", (), "/b", "setup of /b"),
    ]


def test_tools_phase_puts_nearest_layer_first_on_path(tmp_path: Path) -> None:
    write(tmp_path, "shared/tools/bin/s", mode=0o755)
    write(tmp_path, "habitats/demo/tools/bin/l", mode=0o755)
    write(tmp_path, "habitats/demo/tools/install-tools.sh", mode=0o755)
    habitat = load(tmp_path, BASE)
    assert [name for name in p09_tools.slice(habitat)["tools"] if name != "system"] == ["shared", "local"]
    steps = list(p09_tools.plan(habitat))
    path = env_of(steps)["PATH"].split(":")
    assert [place for place in path if "/system/" not in place] == [
        "/habitat/local/tools/bin",
        "/habitat/shared/tools/bin",
        "${PATH}",
    ]
    (run,) = runs(steps)
    assert (run.user, run.args, run.workdir) == (
        "agent",
        ("/habitat/local/tools/install-tools.sh",),
        "/habitat/local/tools",
    )


def test_verify_phase_requires_configured_paths(tmp_path: Path) -> None:
    habitat = load(tmp_path, f"{BASE}verify-fs:\n  required_files:\n    - $WORKDIR/x\n    - y\n    - /z\n")
    assert p10_verify.slice(habitat) == {"required": ["/workspace/x", "/workspace/y", "/z"]}
    (step,) = p10_verify.plan(habitat)
    assert isinstance(step, RequirePaths)
    assert [(path, origin.line) for path, origin in step.paths] == [("/workspace/x", 4), ("/workspace/y", 5), ("/z", 6)]


def test_verify_phase_without_required_files_does_nothing(tmp_path: Path) -> None:
    assert p10_verify.plan(load(tmp_path, BASE)) == []


def test_test_phase_copies_files_next_to_tests(tmp_path: Path) -> None:
    write(tmp_path, "habitats/demo/tests/a.sh")
    write(tmp_path, "habitats/demo/tests/helper")
    habitat = load(tmp_path, f"{BASE}tests:\n  - tests/a.sh\n")
    steps = list(p11_test.plan(habitat))
    local = "/habitat/local/tests"
    assert entries(steps) == [
        (local, "dir", "agent", 0o755),
        (f"{local}/a.sh", "file", "agent", 0o644),
        (f"{local}/helper", "file", "agent", 0o644),
        (f"{local}/a.sh", "file", "agent", 0o755),
    ]
    (run,) = runs(steps)
    assert (run.user, run.script, run.args, run.title) == (
        "agent",
        'exec "$1"',
        (f"{local}/a.sh",),
        "test tests/a.sh",
    )
    assert p11_test.slice(habitat) == {
        "helpers": {"local": {"": "dir", "a.sh": f"644 {EMPTY}", "helper": f"644 {EMPTY}"}},
        "tests": [{"content": f"755 {EMPTY}", "script": f"{local}/a.sh"}],
    }


def test_test_phase_without_tests_does_nothing(tmp_path: Path) -> None:
    write(tmp_path, "habitats/demo/tests/helper")
    habitat = load(tmp_path, BASE)
    assert p11_test.plan(habitat) == []
    assert p11_test.slice(habitat) == {"helpers": {}, "tests": []}


@pytest.mark.parametrize(
    ("entry", "command"),
    [("{command: run it}", ("/bin/sh", "-c", "--", "run it")), ("{}", ("/bin/sh",))],
)
def test_final_phase_sets_command_and_writes_release_file(tmp_path: Path, entry: str, command: tuple[str, ...]) -> None:
    habitat = load(tmp_path, f"{BASE}entry: {entry}\n")
    put, configure = p12_final.plan(habitat)
    assert isinstance(put, Copy)
    (release,) = put.entries
    assert isinstance(release, Entry)
    assert (release.dest, release.content) == ("/etc/habitat-release", b"HABITAT=demo\nPHASES=12\n")
    assert configure == SetImageConfig(user="agent", workdir="/workspace", entrypoint=(), command=command)


# What each key of the config changes.

RICH = """\
    base_image: debian
    env:
      - USER=ada
      - WORKDIR=/work
      - SYSTEM_PATH=/sys-layer
      - A=1
    files:
      - {source: file, dest: /file}
    volumes:
      - {source: /dev/shm, dest: /v}
    setup:
      root: [one]
    repos:
      - {url: u, path: /r}
    verify-fs:
      required_files: [/x]
    tests: [tests/t.sh]
    entry: {command: x, init_command: y}
"""

#: An edit of RICH, and the first phase that it concerns.
EDITS = {
    "base_image": ("base_image: debian", "base_image: alpine", "base"),
    "USER": ("USER=ada", "USER=bob", "users"),
    "uid": ("base_image: debian", "base_image: debian\n    uid: 1234", "users"),
    "WORKDIR": ("WORKDIR=/work", "WORKDIR=/other", "workdir"),
    "SYSTEM_PATH": ("SYSTEM_PATH=/sys-layer", "SYSTEM_PATH=/other", "habitat"),
    "a value of env": ("A=1", "A=2", "env"),
    "a name of env": ("A=1", "B=1", "env"),
    "files.dest": ("dest: /file", "dest: /other", "files"),
    "files.owner": ("dest: /file", "dest: /file, owner: root", "files"),
    "files.mode": ("dest: /file", "dest: /file, mode: 0600", "files"),
    "volumes.dest": ("dest: /v", "dest: /w", "files"),
    "volumes.readonly": ("dest: /v", "dest: /v, readonly: true", "files"),
    "setup": ("[one]", "[two]", "setup"),
    "setup's user": ("root: [one]", "ada: [one]", "setup"),
    "repos.url": ("url: u", "url: w", "repos"),
    "repos.path": ("path: /r", "path: /s", "repos"),
    "repos.branch": ("path: /r", "path: /r, branch: b", "repos"),
    "repos.ref": ("path: /r", "path: /r, ref: b", "repos"),
    "repos.depth": ("path: /r", "path: /r, depth: 1", "repos"),
    "repos.submodules": ("path: /r", "path: /r, submodules: true", "repos"),
    "repos.lfs": ("path: /r", "path: /r, lfs: false", "repos"),
    "repos.writable": ("path: /r", "path: /r, writable: false", "repos"),
    "repos.owner": ("path: /r", "path: /r, owner: root", "repos"),
    "repos.setup": ("path: /r", "path: /r, setup: [x]", "repos"),
    "verify-fs": ("[/x]", "[/x, /y]", "verify"),
    "tests": ("[tests/t.sh]", "[tests/t.sh, tests/u.sh]", "test"),
    "entry.command": ("command: x", "command: z", "final"),
    "entry.init_command": ("init_command: y", "init_command: z", "final"),
}

#: A file of the project, and the first phase that a byte of it concerns.
BYTES = {
    "habitats/demo/file": "files",
    "habitats/demo/other": "files",
    "shared/dotfile": "files",
    "habitats/demo/tools/bin/t": "tools",
    "shared/tools/t": "tools",
    "habitats/demo/tests/t.sh": "test",
    "habitats/demo/tests/helper": "test",
}


def rich(root: Path, text: str = RICH) -> Habitat:
    for path in (*BYTES, "habitats/demo/tests/u.sh"):
        if not (root / path).exists():
            write(root, path)
    return load(root, text)


@pytest.mark.parametrize("edit", EDITS)
def test_config_key_changes_hash_of_its_phase_and_no_earlier_one(tmp_path: Path, edit: str) -> None:
    old, new, first = EDITS[edit]
    assert old in RICH
    before = rich(tmp_path)
    slices = {phase.NAME: phase.slice(before) for phase in PHASES[1:]}
    after = rich(tmp_path, RICH.replace(old, new, 1))
    changed = [phase.NAME for phase in PHASES[1:] if phase.slice(after) != slices[phase.NAME]]
    assert changed[0] == first


@pytest.mark.parametrize("path", BYTES)
def test_copied_file_content_changes_hash_of_its_phase_only(tmp_path: Path, path: str) -> None:
    habitat = rich(tmp_path)
    before = {phase.NAME: phase.slice(habitat) for phase in PHASES[1:]}
    (tmp_path / path).write_text("another byte")
    after = rich(tmp_path)
    assert [phase.NAME for phase in PHASES[1:] if phase.slice(after) != before[phase.NAME]] == [BYTES[path]]


# A dest that is a folder


@pytest.mark.parametrize(
    ("dest", "copied"),
    [
        ("~/bin/", "~/bin/x.sh"),
        ("~/bin//", "~/bin/x.sh"),
        ("~/bin/.", "~/bin/x.sh"),
        ("~/bin/sub/..", "~/bin/x.sh"),
        ("~/", "~/x.sh"),
        ("'~'", "~/x.sh"),
        ("/", "/x.sh"),
        ("/etc/", "/etc/x.sh"),
        (".", "/workspace/x.sh"),
        ("sub/", "/workspace/sub/x.sh"),
        ("'${BIN}'", "/opt/bin/x.sh"),
        ("~/bin", "~/bin"),
        ("/etc/x", "/etc/x"),
    ],
)
def test_copied_file_goes_into_dest_with_slash_at_end_and_folder_has_its_content_there(
    tmp_path: Path, dest: str, copied: str
) -> None:
    write(tmp_path, "habitats/demo/sub/x.sh")
    write(tmp_path, "habitats/demo/tree/y")
    row = "base_image: base:1\nenv: [WORKDIR=/workspace, BIN=/opt/bin/]\nfiles: [{{source: {}, dest: {}}}]\n"
    assert [copy.dest for copy in load(tmp_path, row.format("sub/x.sh", dest)).files] == [copied]
    (tree,) = load(tmp_path, row.format("tree", dest)).files
    assert tree.dest == (posixpath.dirname(copied) if copied.endswith("x.sh") else copied)
