"""What root runs and writes in a container, on the fake engine: nothing that USER or the content decides."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

import pytest
from fake_files import Node
from unit_helpers import DemoProject, FakeTerminal, make_user, write

from phases.core.container import root_environment
from phases.core.container.root_environment import ROOT_PATH, for_container, for_root_command
from phases.core.engine.confinement.restrictions import Restrictions
from phases.core.engine.types import SYSTEM_PATH
from phases.core.errors import HabitatError, LinkInTheWay
from phases.core.runtime import start as runtime_start
from phases.core.runtime import stop
from phases.core.runtime.persistence import fill as persistence_fill
from phases.core.secrets import delivery

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fake_engine import Command

HOSTILE = {
    "LD_PRELOAD": "/workspace/evil.so",
    "LD_LIBRARY_PATH": "/workspace/lib:/opt/lib",
    "BASH_ENV": "/workspace/env.sh",
    "ENV": "/home/agent/env.sh",
    "IFS": "/",
    "PYTHONPATH": "/workspace",
    "PERL5OPT": "-M/workspace/evil",
    "NODE_OPTIONS": "--require /workspace/evil.js",
}
CONFIG = (
    "base_image: base:1\n"
    "env:\n"
    + "".join(f"  - {name}={value}\n" for name, value in HOSTILE.items())
    + "  - PATH=/workspace/bin:/home/agent/bin:/opt/bin:$PATH\n"
    "secrets:\n  - {name: T, env: TOKEN, phases: [setup], start: true}\n"
    "setup:\n  root: [echo setup]\n  user: [echo mine]\n"
    "entry:\n  command: 'true'\n"
)


def built_demo(root: Path, monkeypatch: pytest.MonkeyPatch, text: str = CONFIG) -> DemoProject:
    monkeypatch.setenv("TOKEN", "s3cret")
    return DemoProject(root, text)


def environment_of(command: Command) -> Mapping[str, str]:
    return {**command.container.env, **command.env}


def roots_commands(demo_project: DemoProject) -> list[Command]:
    return [command for command in demo_project.engine.commands if command.user in ("0", "root")]


# What root runs


@pytest.mark.guarantee("fixed-path-for-root-programs")
def test_root_execs_of_build_start_and_stop_are_listed_with_clean_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them, with the program that each begins with and what it finds in its environment."""
    demo_project = built_demo(tmp_path, monkeypatch, CONFIG + "  persist: [~/.state.json, ~/.cache/, /srv/x/]\n")
    demo_project.build()
    for _ in range(2):
        runtime_start.start_detached(demo_project.run_anew(), "demo")
    stop.stop(demo_project.run_anew(), "demo", force=True)
    assert len(demo_project.engine.called("start")) == 4, (
        "two for the build, which has secrets; one gives /srv/x; the habitat's"
    )
    names = {
        delivery._RECEIVE.text: "receive a secret",
        delivery._WITHDRAW.text: "withdraw secrets",
        persistence_fill._SET_OWNER.text: "give volumes to USER",
        "echo setup": "setup.root",
    }
    messages = [names.get(command.script, "create USER") for command in roots_commands(demo_project)]
    assert messages == [
        "create USER",
        *("receive a secret", "setup.root", "receive a secret"),
        *("give volumes to USER", "receive a secret", "withdraw secrets", "receive a secret"),
    ]
    for command in roots_commands(demo_project):
        env = environment_of(command)
        assert command.argv[0] == "/bin/sh"
        own = command.script != "echo setup"
        assert env["PATH"] == (SYSTEM_PATH if own else f"/opt/bin:/root/.local/bin:{ROOT_PATH}")
        assert {env.get(name, "") for name in HOSTILE} == {""}, command.script


@pytest.mark.guarantee("fixed-path-for-root-programs")
def test_main_process_of_every_container_has_clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo_project = built_demo(tmp_path, monkeypatch)
    made: list[tuple[str, dict[str, str], tuple[str, ...]]] = []
    create = demo_project.engine.create

    def watched(*args: object, **options: object) -> str:
        container = demo_project.engine._container(create(*args, **options))  # type: ignore[arg-type]
        made.append((container.name, container.env, container.command))
        return container.id

    monkeypatch.setattr(demo_project.engine, "create", watched)
    demo_project.build()
    runtime_start.start(demo_project.run_anew(), "demo", FakeTerminal())
    assert made[-1][0] == "habitat-demo"
    for name, env, command in made:
        assert env.get("PATH", SYSTEM_PATH) in (SYSTEM_PATH, ROOT_PATH), name
        assert {env.get(key, "") for key in HOSTILE} == {""}, name
        assert command[0] == "/bin/sh"
        assert f"PATH={SYSTEM_PATH};" in command[-1], "whatever an engine makes of the environment"


@pytest.mark.guarantee("fixed-path-for-root-programs")
def test_user_commands_in_build_and_habitat_have_whole_image_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo_project = built_demo(tmp_path, monkeypatch)
    demo_project.build()
    runtime_start.start(demo_project.run_anew(), "demo", FakeTerminal())
    config = demo_project.engine.image_config("habitat-demo:final")
    assert config
    assert {name: config.env[name] for name in HOSTILE} == HOSTILE
    tools = "/habitat/system/tools/bin"
    path = "/workspace/bin:/home/agent/bin:/opt/bin:" + ROOT_PATH
    assert config.env["PATH"] == f"{tools}:{path}"
    users = [command for command in demo_project.engine.commands if command.user == "agent"]
    assert [command.script for command in users] == ["echo mine", "true"]
    path = path.replace(ROOT_PATH, f"/home/agent/.local/bin:{ROOT_PATH}")
    for command, wanted in zip(users, (path, f"{tools}:{path}"), strict=True):
        env = environment_of(command)
        assert {name: env[name] for name in HOSTILE} == HOSTILE
        assert env["PATH"] == wanted


@pytest.mark.guarantee("setup-as-root-ignores-user-environment")
def test_root_command_environment_omits_paths_writable_by_user() -> None:
    places = ["/home/agent", "/workspace", "/data"]
    env = {
        "PATH": "/data/bin:/opt/bin:.::bin:~/bin:/tmp/x:/workspace:/usr/local/cuda/bin:/workspacer/bin:"
        "/opt/../home/agent/b",
        "LD_LIBRARY_PATH": "/usr/local/cuda/lib64",
        "LD_PRELOAD": "libjemalloc.so /data/x.so",
        "NODE_OPTIONS": "--max-old-space-size=4096",
        "PYTHONPATH": "lib",
        "JAVA_TOOL_OPTIONS": "-javaagent:/workspace/a.jar",
        "GIT_SSH_COMMAND": "ssh -F /root/c",
        "HOME": "/home/agent",
        "DATABASE": "/workspace/db",
    }
    assert for_root_command(env, places) == {
        "PATH": "/opt/bin:/usr/local/cuda/bin:/workspacer/bin",
        "LD_LIBRARY_PATH": "/usr/local/cuda/lib64",
        "LD_PRELOAD": "",
        "NODE_OPTIONS": "--max-old-space-size=4096",
        "PYTHONPATH": "",
        "JAVA_TOOL_OPTIONS": "",
        "GIT_SSH_COMMAND": "ssh -F /root/c",
        "HOME": "",
        "DATABASE": "/workspace/db",
    }


@pytest.mark.guarantee("fixed-path-for-root-programs")
def test_container_environment_blanks_only_variables_that_load_code() -> None:
    env = {"PATH": "/x:/bin", "LD_AUDIT": "a", "BASH_FUNC_ls%%": "() { id; }", "SHELLOPTS": "xtrace", "EDITOR": "vi"}
    assert for_container(env) == {"PATH": ROOT_PATH, "LD_AUDIT": "", "BASH_FUNC_ls%%": "", "SHELLOPTS": ""}
    assert for_container({"EDITOR": "vi"}) == {}


@pytest.mark.parametrize("label", ["", "{", "[]", "null", '"x"', "{}"])
def test_environment_label_malformed_restores_nothing(label: str) -> None:
    assert root_environment.environment_of_label({root_environment.LABEL_ENVIRONMENT: label}) == {}


@pytest.mark.guarantee("system-tools-belong-to-root")
def test_system_tools_and_parent_folders_belong_to_root(tmp_path: Path) -> None:
    demo_project = DemoProject(tmp_path)
    demo_project.build()
    nodes = demo_project.engine.files("habitat-demo:final").nodes
    path = "/habitat/system/tools/bin/habitat-info"
    while path != "/":
        assert (nodes[path].uid, nodes[path].gid, nodes[path].mode & 0o022) == (0, 0, 0), path
        path = posixpath.dirname(path)
    assert nodes["/habitat/local"].uid == 1000


# What the program writes, after commands of USER's

LINKS = [
    # phase that writes, a link that USER makes, what the phase then writes, and what the config says for it
    ("files", "/workspace/x", "/workspace/x/note", "files: [{source: note, dest: /workspace/x/note}]"),
    ("files", "/workspace/x", "/workspace/x", "files: [{source: folder, dest: /workspace/x}]"),
    ("files", "/home/agent", "/home/agent/note", "files: [{source: note, dest: ~/note}]"),
    ("repos", "/workspace/r", "/workspace/r", "repos: [{url: https://x.test/r.git, path: r}]"),
    ("repos", "/workspace/a", "/workspace/a/b/r", "repos: [{url: https://x.test/r.git, path: a/b/r}]"),
    ("tools", "/habitat/local/tools", "/habitat/local/tools/bin", ""),
    ("tools", "/habitat/local", "/habitat/local/tools", ""),
    ("tools", "/habitat/shared/tools", "/habitat/shared/tools/t", ""),
    ("test", "/habitat/local/tests", "/habitat/local/tests/t.sh", "tests: [tests/t.sh]"),
]


@pytest.mark.guarantee("writes-follow-no-user-link")
@pytest.mark.parametrize(("phase", "link", "path", "config"), LINKS)
@pytest.mark.parametrize("target", ["/usr", "/mnt", "../etc"])
def test_build_copy_through_link_created_by_user_is_refused(
    tmp_path: Path, phase: str, link: str, path: str, config: str, target: str
) -> None:
    for file in ("habitats/demo/tools/bin/t", "shared/tools/t", "habitats/demo/tests/t.sh", "habitats/demo/note"):
        write(tmp_path, file)
    write(tmp_path, "habitats/demo/folder/f")
    demo_project = DemoProject(tmp_path, f"base_image: base:1\n{config}\n")
    before = {"files": "habitat", "repos": "setup", "tools": "repos", "test": "tools"}[phase]
    (tmp_path / "habitats/demo/config.yaml").write_text(
        "base_image: base:1\n" if phase == "repos" else f"base_image: base:1\n{config}\n"
    )
    demo_project.build(until=before)
    tag = next(tag for tag in demo_project.engine.tags() if tag.endswith(f"-{before}"))
    files = demo_project.engine.files(tag)
    for node in [node for node in files.nodes if node == link or node.startswith(f"{link}/")]:
        del files.nodes[node]
    for folder in ("/usr", "/mnt", "/etc"):
        files.nodes.setdefault(folder, Node("dir"))
    if posixpath.dirname(link) not in files.nodes:
        files.add(posixpath.dirname(link), Node("dir"))
    files.nodes[link] = Node("link", 0o777, 1000, 1000, target=target)
    (tmp_path / "habitats/demo/config.yaml").write_text(f"base_image: base:1\n{config}\n")
    known = {name: dict(demo_project.engine.files(tag).nodes) for name in (tag,)}
    with pytest.raises(LinkInTheWay) as excinfo:
        demo_project.build()
    assert f"{link} " in str(excinfo.value)
    assert f"to {target} that USER may have made" in str(excinfo.value)
    assert demo_project.engine.files(tag).nodes == known[tag]


@pytest.mark.guarantee("writes-follow-no-user-link")
@pytest.mark.parametrize(
    ("uid", "holder", "mode", "refused"),
    [(0, 0, 0o755, False), (1000, 0, 0o755, True), (0, 1000, 0o755, True), (0, 0, 0o1777, True)],
)
def test_build_copy_follows_link_only_if_changeable_by_root_alone(
    tmp_path: Path, uid: int, holder: int, mode: int, refused: bool
) -> None:
    write(tmp_path, "habitats/demo/note", "text")
    demo_project = DemoProject(tmp_path, "base_image: base:1\nfiles: [{source: note, dest: /srv/link/note}]\n")
    base = demo_project.engine.files("base:1")
    base.add("/srv", Node("dir", mode, holder, holder))
    base.add("/data", Node("dir"))
    base.add("/srv/link", Node("link", 0o777, uid, uid, target="../data"))
    if refused:
        with pytest.raises(LinkInTheWay):
            demo_project.build()
    else:
        demo_project.build()
        assert demo_project.engine.files("habitat-demo:final").nodes["/data/note"].content == b"text"


def test_build_copy_through_circular_links_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "habitats/demo/note")
    demo_project = DemoProject(tmp_path, "base_image: base:1\nfiles: [{source: note, dest: /a/note}]\n")
    demo_project.engine.files("base:1").add("/a", Node("link", target="/b"))
    demo_project.engine.files("base:1").add("/b", Node("link", target="/a"))
    with pytest.raises(LinkInTheWay):
        demo_project.build()


def test_build_copy_into_volume_is_refused_with_both_places(tmp_path: Path) -> None:
    """The config knows no home; the build does."""
    (tmp_path / "habitats/demo/data").mkdir(parents=True)
    write(tmp_path, "habitats/demo/note")
    demo_project = DemoProject(
        tmp_path,
        "base_image: base:1\nfiles:\n  - {source: note, dest: ~/data/note}\n"
        "volumes:\n  - {source: ./data, dest: /home/agent/data}\n",
    )
    with pytest.raises(HabitatError) as excinfo:
        demo_project.build()
    assert str(excinfo.value).startswith(
        "habitats/demo/config.yaml:3: /home/agent/data/note is in the volume /home/agent/data "
        "(habitats/demo/config.yaml:5): a build writes nothing into a mount: write another dest, or remove the volume"
    )
    assert list((tmp_path / "habitats/demo/data").iterdir()) == []


@pytest.mark.guarantee("writes-follow-no-user-link")
@pytest.mark.parametrize(
    ("dest", "moved"), [("/workspace/a/b/cron.d", "/workspace/a"), ("/data", ""), ("/srv/x/y", "/srv/x")]
)
def test_stopped_container_with_moved_mount_point_is_not_started(tmp_path: Path, dest: str, moved: str) -> None:
    (tmp_path / "habitats/demo/data").mkdir(parents=True)
    demo_project = DemoProject(
        tmp_path,
        f"base_image: base:1\nvolumes: [{{source: ./data, dest: {dest}}}]\nentry: {{command: 'true'}}\n",
    )
    demo_project.build()
    runtime_start.start(demo_project.run_anew(), "demo", FakeTerminal())
    if moved:
        demo_project.engine.files("habitat-demo").add(posixpath.dirname(moved), Node("dir"))
        nodes = demo_project.engine.files("habitat-demo").nodes
        nodes[moved] = Node("link", 0o777, 1000, 1000, target="/etc")
    before = len(demo_project.engine.called("start"))
    if moved:
        with pytest.raises(LinkInTheWay, match=f"{moved} on the way to {dest} is a link to /etc"):
            runtime_start.start(demo_project.run_anew(), "demo", FakeTerminal())
    else:
        runtime_start.start(demo_project.run_anew(), "demo", FakeTerminal())
    assert len(demo_project.engine.called("start")) - before == (not moved)


@pytest.mark.guarantee("writes-follow-no-user-link")
def test_background_processes_are_paused_while_files_are_copied(tmp_path: Path) -> None:
    """Else it could put a link in the way between the look and the write."""
    write(tmp_path, "habitats/demo/tests/a.sh", "true")
    write(tmp_path, "habitats/demo/tests/b.sh", "true")
    demo_project = DemoProject(tmp_path, "base_image: base:1\ntests: [tests/a.sh, tests/b.sh]\n")
    demo_project.engine.on_execute = lambda command: make_user(command) or ((0, "") if command.args else None)
    demo_project.build()
    order = [call[0] for call in demo_project.engine.calls if call[0] in ("pause", "put_archive", "unpause", "exec")]
    last = ["exec", "pause", "put_archive", "unpause", "exec"]
    assert order[-6:] == [*last, "put_archive"], "a.sh, then b.sh, then what final writes into a container of its own"


# What confines a build


@pytest.mark.guarantee("build-commands-are-restricted")
def test_build_containers_have_configured_restrictions(tmp_path: Path) -> None:
    demo_project = DemoProject(
        tmp_path, "base_image: base:1\nbuild: {limits: {memory: 1g, cpus: 1.5}}\ncaches: [~/.npm]\n"
    )
    seen: dict[str, Restrictions] = {}
    start = demo_project.engine.start

    def watched(container: str) -> None:
        found = demo_project.engine._container(container)
        seen[found.name] = found.restrictions
        start(container)

    demo_project.engine.start = watched  # type: ignore[method-assign]
    demo_project.build()
    assert seen
    assert set(seen.values()) == {Restrictions(privileges=False, memory=1 << 30, cpus=1.5, pids=4096)}


def test_build_new_privileges_setting_is_applied(tmp_path: Path) -> None:
    demo_project = DemoProject(tmp_path, "base_image: base:1\nbuild: {new_privileges: true, limits: {pids: 0}}\n")
    demo_project.build(until="users")
    habitat = demo_project.project.habitat("demo")
    assert (habitat.build.new_privileges, habitat.build.limits.pids) == (True, 0)


def test_build_limits_change_no_hash(tmp_path: Path) -> None:
    demo_project = DemoProject(tmp_path)
    demo_project.build()
    write(
        tmp_path, "habitats/demo/config.yaml", "base_image: base:1\nbuild: {new_privileges: true, limits: {cpus: 1}}\n"
    )
    assert demo_project.build() == []


def test_sudo_refused_by_no_new_privileges_error_names_config_key(tmp_path: Path) -> None:
    demo_project = DemoProject(tmp_path, "base_image: base:1\nsetup: {user: [sudo apt-get update]}\n")
    expected = 'sudo: The "no new privileges" flag is set, which prevents sudo from running as root.'
    demo_project.engine.on_execute = lambda command: (
        (1, expected) if command.script.startswith("sudo") else make_user(command)
    )
    with pytest.raises(HabitatError, match="new_privileges: true"):
        demo_project.build()
