"""What may be mounted, where its path leads, and that nothing else is mounted in the end."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fake_engine import FakeEngine
from fake_files import Node
from unit_helpers import DemoProject, FakeTerminal, load, make_user, write

from phases.core.config.mounts import host_paths, own_places
from phases.core.config.mounts.host_paths import MountTable
from phases.core.errors import ConfigError, HabitatError, StepError
from phases.core.runtime import start as runtime_start
from phases.core.runtime import stop as runtime_stop
from phases.core.runtime import temporary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fake_engine import Command

    from phases.core.model import Habitat

#: A number that no account of this machine has.
PERSON = 54_321

BASE = "base_image: base:1\n"


def volumes(root: Path, *rows: str, more: str = "") -> Habitat:
    """A habitat with these volumes, mounted at /v0, /v1, … where no row says otherwise."""
    texts = [row if "dest:" in row else f"{row}, dest: /v{number}" for number, row in enumerate(rows)]
    return load(root, BASE + more + "volumes:\n" + "".join(f"  - {{source: {text}}}\n" for text in texts))


def refused(root: Path, *rows: str, more: str = "") -> str:
    with pytest.raises(ConfigError) as excinfo:
        volumes(root, *rows, more=more)
    text = str(excinfo.value)
    assert "\n" not in text
    return text


@contextmanager
def person(home: Path) -> Iterator[None]:
    """Be an ordinary person for a while, with a home of his own."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(PERSON)
    os.seteuid(PERSON)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


@pytest.fixture
def root_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder outside /tmp with `home`, `home/project` and `other`, which is root's; PERSON can have the rest."""
    with tempfile.TemporaryDirectory(dir="/opt") as text:
        root_folder = Path(text)
        root_folder.chmod(0o755)
        for folder in ("home/project/data", "home/notes", "home/.ssh", "home/bin", "other/data"):
            (root_folder / folder).mkdir(parents=True)
        monkeypatch.setenv("HOME", str(root_folder / "home"))
        yield root_folder


def give(folder: Path) -> None:
    subprocess.run(("chown", "-R", f"{PERSON}:{PERSON}", str(folder)), check=True)


# Whose data it is


ROOTS = [
    "/", "/root", "/home", "/usr/local/bin", "/usr/lib64", "/usr/share", "/usr/local", "/opt", "/srv", "/var",
    "/var/lib", "/var/spool/cron", "/var/log", "/var/mail", "/mnt", "/media", "/etc/passwd", "/lib", "/bin",
    "/proc/self/root/etc",
    "/usr/share/", "//usr/share", "/usr/./share", "/usr/bin/../share", "/proc", "/sys", "/run", "/boot", "/dev",
]  # fmt: skip


@pytest.mark.guarantee("writable-volume-must-be-own-data")
@pytest.mark.parametrize("source", [source for source in ROOTS if Path(source).exists()])
def test_volume_of_system_folder_writable_is_refused(tmp_path: Path, source: str) -> None:
    text = refused(tmp_path, source)
    assert text.startswith(f"habitats/demo/config.yaml:3: volumes: {source} holds ")
    assert "that gives root on this machine" in text
    assert text.endswith("mount less of it, or add `gives_root_on_the_host: true`")
    if "add `readonly: true`, " in text:
        assert volumes(tmp_path, f"{source}, readonly: true").volumes[0].readonly
    else:
        assert "readonly" not in refused(tmp_path, f"{source}, readonly: true")
    assert volumes(tmp_path, f"{source}, gives_root_on_the_host: true").volumes[0].gives_root


@pytest.mark.parametrize("source", ["/usr/share", "/root", "/home", "/opt", "/etc", "/proc"])
def test_volume_of_system_folder_readonly_is_accepted(tmp_path: Path, source: str) -> None:
    assert not volumes(tmp_path, f"{source}, readonly: true").volumes[0].gives_root


@pytest.mark.guarantee("writable-volume-must-be-own-data")
def test_volume_of_system_folder_writable_for_ordinary_user_is_refused(root_folder: Path) -> None:
    give(root_folder / "home")
    with person(root_folder / "home"):
        for source in (
            "/",
            "/usr/share",
            "/opt",
            root_folder,
            root_folder / "other",
            root_folder / "other/data",
            "/root",
        ):
            assert "holds " in refused(root_folder / "home/project", str(source))


@pytest.mark.guarantee("own-data-accepted")
def test_volume_of_own_data_is_accepted_for_root_and_ordinary_user(root_folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as passing:
        for uid in (0, PERSON):
            if uid:
                give(root_folder / "home")
                os.chown(passing, uid, uid)
            with person(root_folder / "home") if uid else contextlib.nullcontext():
                known_volumes = volumes(
                    root_folder / "home/project", "./data", str(root_folder / "home/notes"), passing, "/dev/shm"
                )
            assert [volume.gives_root for volume in known_volumes.volumes] == [False] * 4


def test_volume_of_folder_elsewhere_is_accepted_only_for_its_owner(root_folder: Path) -> None:
    for folder in ("home", "mine"):
        (root_folder / folder).mkdir(exist_ok=True)
        give(root_folder / folder)
    (root_folder / "theirs").mkdir()
    os.chown(root_folder / "theirs", 54_322, 54_322)
    with person(root_folder / "home"):
        assert not volumes(root_folder / "home/project", str(root_folder / "mine")).volumes[0].gives_root
        assert "which you can't write to yourself" in refused(root_folder / "home/project", str(root_folder / "theirs"))
        assert "which is root's" in refused(root_folder / "home/project", str(root_folder / "other/data"))


@pytest.mark.guarantee("writable-volume-must-be-own-data")
@pytest.mark.parametrize("as_person", [False, True])
@pytest.mark.parametrize(
    "source", ["'~'", "~/", "~/.ssh", "~/.bashrc", "~/.local/bin", "~/bin", "~/bin/tool", "~/x/../.ssh"]
)
def test_volume_of_executable_or_config_in_home_is_refused(root_folder: Path, source: str, *, as_person: bool) -> None:
    for path in (".local/bin/x", "bin/tool", "x/y", ".bashrc"):
        write(root_folder / "home", path)
    if as_person:
        give(root_folder / "home")
    with person(root_folder / "home") if as_person else contextlib.nullcontext():
        assert "gives_root_on_the_host" in refused(root_folder / "home/project", source)


@pytest.mark.guarantee("writable-volume-must-be-own-data")
def test_volume_of_home_of_other_account_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [*pwd.getpwall()]
    home = tmp_path / "elsewhere"
    write(home, "src/.git/config")
    other = pwd.struct_passwd(("ada", "x", 54_322, 54_322, "", str(home), "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwall", lambda: [*rows, other])
    project = tmp_path / "project"
    project.mkdir()
    assert "elsewhere, the home of ada, and is writable" in refused(project, str(home))
    assert "the home of ada" in refused(project, str(tmp_path / "elsewhere/../elsewhere/"))


#: Paths of a project that the host runs or reads as config, and those of them that are folders.
CONFIG = [
    "habitats/demo", "habitats/demo/config.yaml", "habitats/demo/Dockerfile", "habitats/demo/Dockerfile.dev",
    "habitats/demo/.habignore", "habitats/demo/.dockerignore", "habitats/demo/tools", "habitats/demo/tools/bin",
    "habitats/demo/tests", "habitats", "habitats/other", "habitats/other/config.yaml", "habitats/other/tests",
    "habitats/other/.habignore", ".", "dodo.py", "pyproject.toml", "conftest.py", "doit.cfg", ".git", ".git/hooks",
    ".stamps", ".venv", "script", "phases", "shared", "shared/config.yaml", "shared/tools", "docker", "json",
    "sitecustomize",
]  # fmt: skip
FOLDERS = re.compile(r"habitats(/demo|/other)?|\.|.*/(tools|bin|tests|hooks)|\.(git|stamps|venv)|[a-z]+")


@pytest.mark.guarantee("writable-volume-must-be-own-data")
@pytest.mark.parametrize("path", CONFIG)
def test_volume_of_project_configuration_is_refused(tmp_path: Path, path: str) -> None:
    for given in CONFIG:
        if given not in ("habitats/demo/Dockerfile", "."):
            write(tmp_path, f"{given}/x" if FOLDERS.fullmatch(given) else given)
    if path == "habitats/demo/Dockerfile":
        write(tmp_path, "habitats/demo/Dockerfile", "FROM base:1\n")
    for source in (f"../../{path}", f"{tmp_path}/shared/../{path}/"):
        text = refused(tmp_path, source)
        assert "gives_root_on_the_host" in text
        known_volumes = volumes(tmp_path, f"{source}, gives_root_on_the_host: true").volumes
        assert [volume.gives_root for volume in known_volumes] == [True]
        assert not volumes(tmp_path, f"{source}, readonly: true").volumes[0].gives_root


@pytest.mark.guarantee("own-data-accepted")
@pytest.mark.parametrize(
    "path", ["data", "../../data", "../other/data", "../../data/deep", "../../shared/data", "note"]
)
def test_volume_of_project_data_is_accepted(tmp_path: Path, path: str) -> None:
    for file in ("habitats/demo/data/x", "habitats/other/data/x", "data/deep/x", "shared/data/x", "habitats/demo/note"):
        write(tmp_path, file)
    assert not volumes(tmp_path, f"./{path}").volumes[0].gives_root


@pytest.mark.guarantee("writable-volume-must-be-own-data")
@pytest.mark.parametrize(
    "path", [".", "phases", "phases/core", "habitats", "habitats/hello", "shared", ".git", "script"]
)
def test_volume_of_program_folder_is_refused(tmp_path: Path, path: str) -> None:
    assert "gives_root_on_the_host" in refused(tmp_path, str(own_places.CHECKOUT / path))


@pytest.mark.guarantee("writable-volume-must-be-own-data")
def test_volume_of_python_or_path_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "tree/commands/x")
    monkeypatch.setenv("PATH", f"{tmp_path}/tree/commands:{os.environ['PATH']}")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "tree/python"))
    write(tmp_path, "tree/python/lib/x")
    project = tmp_path / "project"
    for path in ("tree", "tree/commands", "tree/python", "tree/python/lib"):
        assert "gives_root_on_the_host" in refused(project, str(tmp_path / path))


@pytest.mark.guarantee("writable-volume-must-be-own-data")
def test_volume_of_file_with_hard_link_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, "data/x")
    write(tmp_path, "dodo.py").unlink()
    (tmp_path / "dodo.py").hardlink_to(file)
    assert "has a second name (a hard link)" in refused(tmp_path, "./../../data/x")
    assert not volumes(tmp_path, "../../data/x, readonly: true").volumes[0].gives_root


def test_volume_of_device_is_refused(tmp_path: Path) -> None:
    os.mknod(tmp_path / "disk", 0o60600, os.makedev(7, 0))
    assert "the device" in refused(tmp_path, str(tmp_path / "disk"))


@pytest.mark.guarantee("engine-socket-refused")
def test_volume_of_system_socket_is_refused_even_readonly(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/run") as folder, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{folder}/private")
        for source in (folder, f"{folder}/private", "/run"):
            assert "socket" in refused(tmp_path, f"{source}, readonly: true")


@pytest.mark.guarantee("writable-volume-must-be-own-data")
def test_volume_of_bind_mount_is_checked_as_its_source(root_folder: Path) -> None:
    spelled = root_folder / "spelled"
    spelled.mkdir()
    config = root_folder / "home/project/habitats"
    config.mkdir()
    for source, path in (
        (config, ""),
        (root_folder / "home", ".ssh"),
        (root_folder, "home/project/habitats"),
        (Path("/usr"), "share"),
    ):
        subprocess.run(("mount", "--bind", str(source), str(spelled)), check=True)
        try:
            assert "gives_root_on_the_host" in refused(root_folder / "home/project", str(spelled / path))
        finally:
            subprocess.run(("umount", str(spelled)), check=True)


def test_mount_table_lists_every_path_of_folder(tmp_path: Path) -> None:
    for name in ("a b/in", "c"):
        (tmp_path / name).mkdir(parents=True)
    subprocess.run(("mount", "--bind", str(tmp_path / "a b"), str(tmp_path / "c")), check=True)
    try:
        table = MountTable()
        assert table.all_paths(tmp_path / "c/in") == [tmp_path / "c/in", tmp_path / "a b/in"]
        assert table.all_paths(tmp_path / "a b/in") == [tmp_path / "a b/in", tmp_path / "c/in"]
    finally:
        subprocess.run(("umount", str(tmp_path / "c")), check=True)


# Links


@pytest.mark.guarantee("mount-follows-no-agent-link")
def test_volume_source_replaced_by_link_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "data/sub/x")
    row = "../../data/sub, readonly: true"
    assert volumes(tmp_path, row).volumes[0].source == tmp_path / "data/sub"
    shutil.rmtree(tmp_path / "data/sub")
    (tmp_path / "data/sub").symlink_to("/etc")
    assert refused(tmp_path, row) == (
        f"habitats/demo/config.yaml:3: volumes: ../../data/sub: {tmp_path}/data/sub is a link to /etc, which an "
        "agent could have put there: if you made it, write the path without it: /etc; if not, remove it"
    )


@pytest.mark.guarantee("mount-follows-no-agent-link")
@pytest.mark.parametrize("target", ["/etc", "../away", "deep/../../away"])
@pytest.mark.parametrize("below", ["", "/x"])
def test_volume_below_link_in_writable_folder_is_refused(tmp_path: Path, target: str, below: str) -> None:
    for path in ("away/x/y", "data/deep/y"):
        write(tmp_path, path)
    (tmp_path / "data/link").symlink_to(target)
    source = f"{tmp_path}/data/link{below}"
    if Path(source).exists():
        assert f"{tmp_path}/data/link is a link to {target}" in refused(tmp_path, f"{source}, readonly: true")


def test_volume_source_is_accepted_if_home_or_project_itself_is_behind_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "real/project/data/x")
    write(tmp_path, "real/home/notes/x")
    (tmp_path / "link").symlink_to("real")
    monkeypatch.setenv("HOME", f"{tmp_path}/link/home")
    known_volumes = volumes(tmp_path / "link/project", "../../data", "~/notes").volumes
    assert [volume.source for volume in known_volumes] == [tmp_path / "real/project/data", tmp_path / "real/home/notes"]


def test_volume_through_system_link_is_accepted(tmp_path: Path) -> None:
    assert Path("/bin").is_symlink()
    assert volumes(tmp_path, "/bin, readonly: true").volumes[0].source == Path("/usr/bin")


def test_host_path_with_endless_links_is_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="more than 40 links"):
        list(host_paths.walk_path(tmp_path / "a"))


# One in another


@pytest.mark.guarantee("volume-in-writable-volume-refused")
@pytest.mark.parametrize("order", [1, -1])
def test_volume_inside_writable_volume_is_refused(tmp_path: Path, order: int) -> None:
    write(tmp_path, "data/sub/x")
    rows = ["../../data", "../../data/sub, readonly: true"][::order]
    at, line = {1: (3, 4), -1: (4, 3)}[order]
    assert refused(tmp_path, *rows) == (
        f"habitats/demo/config.yaml:{line}: volumes: ../../data/sub is in ../../data (habitats/demo/config.yaml:{at}), "
        "where the habitat could replace it by a link: keep one of them, or add `readonly: true` to ../../data"
    )


def test_volume_inside_readonly_volume_is_accepted(tmp_path: Path) -> None:
    write(tmp_path, "data/sub/x")
    assert volumes(tmp_path, "../../data, readonly: true", "../../data/sub", "../../data/sub, readonly: true")


@pytest.mark.guarantee("volume-in-writable-volume-refused")
def test_volume_inside_writable_volume_through_bind_mount_is_refused(root_folder: Path) -> None:
    spelled = root_folder / "home/spelled"
    spelled.mkdir()
    (root_folder / "home/notes/sub").mkdir()
    subprocess.run(("mount", "--bind", str(root_folder / "home/notes"), str(spelled)), check=True)
    try:
        assert " is in " in refused(root_folder / "home/project", str(root_folder / "home/notes"), str(spelled / "sub"))
    finally:
        subprocess.run(("umount", str(spelled)), check=True)


# Looked at, then used


class SwappingEngine(FakeEngine):
    """Has somebody put a link to /etc in the place of `source` when the engine is told to do `what`."""

    source: Path
    what = ""

    def _swap(self, what: str) -> None:
        if what == self.what and not self.source.is_symlink():
            self.source.rename(self.source.with_name("gone"))
            self.source.symlink_to("/etc")

    def create(self, *args: Any, **options: Any) -> str:
        container = super().create(*args, **options)
        self._swap("create")
        return container

    def start(self, container: str) -> None:
        self._swap("start")
        super().start(container)


class SwappingProject(DemoProject):
    engine: SwappingEngine

    def __init__(self, root: Path) -> None:
        write(root, "data/sub/x")
        super().__init__(root, BASE + "volumes: [{source: ../../data/sub, dest: /v}]\nsetup: {root: [echo x]}\n")
        self.engine.__class__ = SwappingEngine
        self.engine.source = root / "data/sub"


CHANGED = "volumes: ../../data/sub is not what it was when this run began: something else is at "


@pytest.mark.guarantee("mount-follows-no-agent-link")
@pytest.mark.parametrize("case", ["before", "create", "start"])
def test_volume_swapped_between_check_and_start_is_not_mounted(tmp_path: Path, case: str) -> None:
    demo = SwappingProject(tmp_path)
    demo.build()
    project = demo.run_anew()
    project.habitat("demo")
    started = len(demo.engine.called("start"))
    demo.engine.what = case
    if case == "before":
        demo.engine._swap(case)
    with pytest.raises(ConfigError, match=CHANGED):
        runtime_start.start_detached(project, "demo")
    # What the engine has looked up when it was swapped is stopped again at once.
    assert len(demo.engine.called("start")) - started == (case == "start")
    assert not [one for one in demo.engine.containers() if one.running and one.name == "habitat-demo"]


@pytest.mark.guarantee("mount-follows-no-agent-link")
def test_volume_swapped_before_restart_of_container_is_not_mounted(tmp_path: Path) -> None:
    demo = SwappingProject(tmp_path)
    demo.build()
    project = demo.run_anew()
    runtime_start.start(project, "demo", FakeTerminal(), command="true")
    project = demo.run_anew()
    project.habitat("demo")
    demo.engine._swap("")
    with pytest.raises(ConfigError, match=CHANGED):
        runtime_start.start(project, "demo", FakeTerminal(), command="true")
    assert len([one for one in demo.engine.containers() if one.name == "habitat-demo"]) == 1


@pytest.mark.guarantee("mount-follows-no-agent-link")
@pytest.mark.parametrize("case", ["before", "create", "start"])
def test_volume_swapped_during_build_fails_phase(tmp_path: Path, case: str) -> None:
    demo = SwappingProject(tmp_path)
    demo.build("workdir")
    project = demo.run_anew()
    project.habitat("demo")
    demo.engine.what = case
    if case == "before":
        demo.engine._swap(case)
    phases = {phase.NAME: phase for phase in project.phases("demo")}
    demo.builder.build("demo", phases["habitat"])
    with pytest.raises(ConfigError, match=CHANGED):
        list(map(partial(demo.builder.build, "demo"), (phases["files"], phases["setup"])))
    assert not [command for command in demo.engine.commands if command.script == "echo x"]


@pytest.mark.guarantee("mount-follows-no-agent-link")
def test_volume_swapped_before_temporary_container_is_not_mounted(tmp_path: Path) -> None:
    demo = SwappingProject(tmp_path)
    demo.build()
    project = demo.run_anew()
    project.habitat("demo")
    demo.engine._swap("")
    with pytest.raises(ConfigError, match=CHANGED), temporary.open_temporary_session(project, "demo", "setup"):
        pass


@pytest.mark.guarantee("mount-follows-no-agent-link")
def test_volume_replaced_by_other_folder_is_not_mounted(tmp_path: Path) -> None:
    demo = SwappingProject(tmp_path)
    demo.build()
    project = demo.run_anew()
    project.habitat("demo")
    (tmp_path / "data/sub").rename(tmp_path / "data/old")
    write(tmp_path, "data/sub/x")
    with pytest.raises(ConfigError, match=CHANGED):
        runtime_start.start_detached(project, "demo")


# Nothing is written through a mount


WRITTEN = {
    "files": ("files: [{source: note, dest: /data/x}]\n", "files: note"),
    "files at it": ("files: [{source: tree, dest: /data}]\n", "files: tree"),
    "files over it": ("files: [{source: tree, dest: /}]\n", "files: tree"),
    "files in WORKDIR": ("env: [WORKDIR=/data]\nfiles: [{source: note, dest: x}]\n", "files: note"),
    "files in root's home": ("files: [{source: note, dest: ~/x, owner: root}]\n", "files: note"),
    "repos": ("repos: [{url: u, path: /data/repo}]\n", "repos: /data/repo"),
    "HABITAT_PATH": ("env: [HABITAT_PATH=/data/own]\n", "HABITAT_PATH: /data/own"),
    "LOCAL_PATH": ("env: [LOCAL_PATH=/data]\n", "LOCAL_PATH: /data"),
    "tests": ("env: [LOCAL_PATH=]\ntests: [tests/t.sh]\n", "tests: tests/t.sh"),
    "tools": ("", "habitats/demo/tools"),
    "a layer": ("", "habitats/demo"),
    "its own": ("", "the program's own /etc/habitat-release"),
}
PLACES = {
    "files in root's home": "/root",
    "tests": "/tmp/habitat",
    "tools": "/habitat/local/tools/bin",
    "a layer": "/habitat/local/tree/data",
    "its own": "/etc",
}


@pytest.mark.guarantee("build-writes-into-no-volume")
@pytest.mark.parametrize("case", WRITTEN)
def test_volume_over_path_written_by_build_is_refused_with_both_places(tmp_path: Path, case: str) -> None:
    for path in ("note", "tree/data/x", "tests/t.sh", "tools/bin/x"):
        write(tmp_path, f"habitats/demo/{path}")
    more, what = WRITTEN[case]
    place = PLACES.get(case, "/data")
    text = refused(tmp_path, f"/dev/shm, dest: {place}", more=more)
    line = 3 + more.count("\n")
    assert f"{what} would be written to the host, since {place} is a volume (habitats/demo/config.yaml:{line})" in text
    assert text.endswith(": write another path for one of them")
    assert text.partition(": ")[0] in {f"habitats/demo/config.yaml:{n}" for n in (1, 2, 3)} | {
        "phases/system/config.yaml:12"
    }


@pytest.mark.guarantee("build-writes-into-no-volume")
@pytest.mark.parametrize(
    ("dest", "path"), [("/data/own", "//data/./own"), ("/data", "/data//own/"), ("/data/local/tree", "/data/./local")]
)
def test_volume_over_path_written_by_build_is_refused_however_it_is_spelled(
    tmp_path: Path, dest: str, path: str
) -> None:
    write(tmp_path, "habitats/demo/tree/x")
    text = refused(tmp_path, f"/dev/shm, dest: {dest}", more=f"env: [LOCAL_PATH={path}]\n")
    assert f"would be written to the host, since {dest} is a volume (habitats/demo/config.yaml:4)" in text


@pytest.mark.guarantee("build-writes-into-no-volume")
def test_volume_of_shared_layer_over_path_written_by_build_is_refused_with_both_files(tmp_path: Path) -> None:
    write(tmp_path, "habitats/demo/note")
    write(tmp_path, "shared/data/x")
    write(tmp_path, "shared/config.yaml", "description: d\nvolumes:\n  - {source: data, dest: /data}\n")
    with pytest.raises(ConfigError) as excinfo:
        load(tmp_path, BASE + "files: [{source: note, dest: /data/sub/x}]\n")
    assert str(excinfo.value).startswith(
        "habitats/demo/config.yaml:2: files: note would be written to the host, since /data is a volume "
        "(shared/config.yaml:3): "
    )


@pytest.mark.parametrize(
    ("dest", "reason", "more"),
    [
        ("/run", "/run/secrets is the habitat's own", ""),
        ("/run/ssh-agent", "/run/ssh-agent is the habitat's own", ""),
        ("/run/ssh-agent/x", "/run/ssh-agent is the habitat's own", ""),
        ("/dev", "it is the kernel's", ""),
        ("//dev/", "it is the kernel's", ""),
        ("/sys", "it is the kernel's", ""),
        ("/proc", "it is the kernel's", ""),
        ("/proc/sys/x", "it is the kernel's", ""),
        ("/var/lib", "/var/lib/habitat is the habitat's own", "entry: {persist: [/srv/x]}\n"),
        ("/var", "/var/lib/habitat is the habitat's own", "entry: {persist: [/srv/x]}\n"),
        ("/var/lib/habitat/x", "/var/lib/habitat is the habitat's own", "entry: {persist: [/srv/x]}\n"),
    ],
)
def test_volume_in_which_engine_would_create_mount_point_is_refused(
    tmp_path: Path, dest: str, reason: str, more: str
) -> None:
    text = refused(tmp_path, f"/dev/shm, dest: {dest}", more=more)
    dest = "/" + dest.strip("/")
    line = 3 + more.count("\n")
    assert text == (
        f"habitats/demo/config.yaml:{line}: a volume can't be mounted at {dest}: {reason}: write another folder"
    )


@pytest.mark.parametrize("dest", ["/run/app", "/dev/shm", "/sys/fs/x", "/var/lib", "/procx", "/run/secretsx"])
def test_volume_beside_mount_points_of_habitat_is_accepted(tmp_path: Path, dest: str) -> None:
    assert volumes(tmp_path, f"/dev/shm, dest: {dest}", more="entry: {persist: [/srv/x/]}\n")


@pytest.mark.guarantee("build-writes-into-no-volume")
@pytest.mark.parametrize("order", [1, -1])
def test_volume_in_volume_without_mount_point_is_refused(tmp_path: Path, order: int) -> None:
    (tmp_path / "outer/has").mkdir(parents=True)
    (tmp_path / "inner").mkdir()
    outer, inner = "../../outer, dest: /data", "../../inner, dest: /data/lacks/it"
    text = refused(tmp_path, *(outer, inner)[::order])
    line, other = (4, 3)[::order]
    assert text == (
        f"habitats/demo/config.yaml:{line}: volumes: /data/lacks/it is in the volume /data "
        f"(habitats/demo/config.yaml:{other}), and ../../outer has no lacks/it: the engine would create it on the "
        "host, as root: create ../../outer/lacks/it, or write another dest"
    )
    assert volumes(tmp_path, outer, "../../inner, dest: /data/has")
    assert volumes(tmp_path, outer, "../../gone, dest: /data/lacks, optional: true"), "it isn't mounted"
    deep = (outer, "../../inner, dest: /data/has", "/dev/shm, dest: /data/has/x")
    assert "/data/has/x is in the volume /data/has " in refused(tmp_path, *deep), "the innermost one counts"


@pytest.mark.guarantee("build-writes-into-no-volume")
def test_workdir_in_volume_without_that_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outer/has").mkdir(parents=True)
    outer = "../../outer, dest: /data"
    assert refused(tmp_path, outer, more="env: [WORKDIR=/data/lacks/it]\n") == (
        "habitats/demo/config.yaml:2: WORKDIR: /data/lacks/it is in the volume /data (habitats/demo/config.yaml:4), "
        "and ../../outer has no lacks/it: the engine would create it on the host, as root: create "
        "../../outer/lacks/it, or write another path"
    )
    assert volumes(tmp_path, outer, more="env: [WORKDIR=/data/has]\n")
    assert volumes(tmp_path, outer, more="env: [WORKDIR=/data/]\n")
    assert volumes(tmp_path, "../../gone, dest: /data, optional: true", more="env: [WORKDIR=/data/w]\n")
    inner = "../../outer/has, dest: /data/has, readonly: true"
    deep = refused(
        tmp_path, outer.replace("dest", "readonly: true, dest"), inner, more="env: [WORKDIR=/data//has/./x]\n"
    )
    assert "is in the volume /data/has " in deep


@pytest.mark.guarantee("build-writes-into-no-volume")
def test_workdir_in_volume_in_home_without_that_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    demo = DemoProject(tmp_path, f"{BASE}env: [WORKDIR=/home/agent/v/w]\nvolumes: [../../data:~/v]\n")
    with pytest.raises(HabitatError, match="WORKDIR: /home/agent/v/w is in the volume ~/v"):
        demo.build()
    (tmp_path / "data/w").mkdir()
    demo.build()
    (tmp_path / "data/w").rmdir()
    with pytest.raises(HabitatError, match="WORKDIR: /home/agent/v/w is in the volume ~/v"):
        runtime_start.start(demo.run_anew(), "demo", FakeTerminal())
    assert not demo.engine.containers(label="habitat.name=demo"), "the engine would create it then"


@pytest.mark.guarantee("build-writes-into-no-volume")
@pytest.mark.parametrize(
    ("workdir", "rows", "missing"),
    [
        ("/home/agent/v/w", "[../../data:~/v]", "WORKDIR: /home/agent/v/w is in the volume ~/v"),
        ("/workspace", "[../../data:~/v, ../../elsewhere:/home/agent/v/w]", "volumes: /home/agent/v/w is in"),
    ],
)
def test_stopped_container_with_mount_point_removed_from_volume_in_home_is_not_started(
    tmp_path: Path, workdir: str, rows: str, missing: str
) -> None:
    (tmp_path / "data/w").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    demo = DemoProject(tmp_path, f"{BASE}env: [WORKDIR={workdir}]\nvolumes: {rows}\n")
    demo.build()
    runtime_start.start_detached(demo.run_anew(), "demo")
    runtime_stop.stop(demo.run_anew(), "demo")
    (tmp_path / "data/w").rmdir()
    with pytest.raises(HabitatError, match=missing):
        runtime_start.start_detached(demo.run_anew(), "demo")
    assert not demo.container().running, "the engine would create it then"
    (tmp_path / "data/w").mkdir()
    runtime_start.start_detached(demo.run_anew(), "demo")
    assert demo.container().running


# Links of the image


class LinkedProject(DemoProject):
    """A habitat whose image has root's links: /l to /data, /var/run to /run. `data` of the project is a volume."""

    def __init__(self, root: Path, dest: str, more: str) -> None:
        (root / "data").mkdir()
        write(root, "habitats/demo/note")
        super().__init__(root, f"{BASE}volumes:\n  - {{source: ../../data, dest: {dest}}}\n{more}")
        files = self.engine.files("base:1")
        for path, target in (("/l", "/data"), ("/var/run", "/run")):
            files.add(path, Node("link", 0o777, target=target))
        for path in ("/data", "/run", "/home/agent"):
            files.add(path, Node("dir"))


@pytest.mark.guarantee("build-writes-into-no-volume")
@pytest.mark.parametrize(
    ("dest", "more", "text"),
    [
        ("/data", "files: [{source: note, dest: /l/x}]\n", "/data/x is in the volume /data ({})"),
        (
            "/l",
            "files: [{source: note, dest: /data/x}]\n",
            "/data/x is in the volume /l ({}), which is /data in the image",
        ),
        ("/var/run/a", "files: [{source: note, dest: /run/a}]\n", "/run/a is in the volume /var/run/a ({}), which is"),
        ("/run/a", "files: [{source: note, dest: /var/run/a/b}]\n", "/run/a/b is in the volume /run/a ({})"),
        ("/data", "env: [LOCAL_PATH=/l/own]\n", "/data/own is in the volume /data ({})"),
        ("/l", "repos: [{url: u, path: /data/r}]\n", "/data/r is in the volume /l ({}), which is /data in the image"),
        (
            "/data",
            "caches: [/l/c]\nsetup: {root: ['true']}\n",
            "caches: /l/c can't be a cache: it is /data/c in the image, and /data is a volume ({})",
        ),
        (
            "/l/a",
            "caches: [/data]\nsetup: {root: ['true']}\n",
            "caches: /data can't be a cache: it is /data in the image, and /l/a is a volume ({})",
        ),
        ("/var/run", "", "a volume can't be mounted at /var/run, which is /run in the image: /run/secrets is"),
    ],
)
def test_volume_and_path_written_by_build_meeting_through_link_are_refused(
    tmp_path: Path, dest: str, more: str, text: str
) -> None:
    demo = LinkedProject(tmp_path, dest, more)
    with pytest.raises(HabitatError) as excinfo:
        demo.build()
    assert text.format("habitats/demo/config.yaml:3") in str(excinfo.value)
    assert str(excinfo.value).startswith(f"habitats/demo/config.yaml:{4 if more else 3}: ")
    assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.guarantee("build-writes-into-no-volume")
@pytest.mark.parametrize("path", ["/l/x", "/l/x/"])
def test_volume_and_persistent_path_meeting_through_link_are_refused(tmp_path: Path, path: str) -> None:
    demo = LinkedProject(tmp_path, "/data", f"entry: {{persist: [{path}]}}\n")
    demo.build()
    with pytest.raises(ConfigError) as excinfo:
        runtime_start.start_detached(demo.run_anew(), "demo")
    assert str(excinfo.value) == (
        f"habitats/demo/config.yaml:4: entry.persist: {path} can't persist: it is /data/x in the image, and /data is a "
        "volume (habitats/demo/config.yaml:3): keep one of them, or write another path"
    )


@pytest.mark.guarantee("build-writes-into-no-volume")
@pytest.mark.parametrize(
    "more",
    [
        "env: [WORKDIR=/data]\n",
        "files: [{source: tree, dest: /datatree}, {source: note, dest: /x/note}, {source: empty, dest: /}]\n",
        "env: [WORKDIR=/data]\nsetup: {user: [make]}\ntests: [tests/t.sh]\n",
        "repos: [{url: u, path: /other}]\n",
    ],
)
def test_volume_next_to_path_written_by_build_is_accepted(tmp_path: Path, more: str) -> None:
    for path in ("note", "tree/data/x", "tests/t.sh", "tools/bin/x", "empty/x"):
        write(tmp_path, f"habitats/demo/{path}")
    assert volumes(tmp_path, "/dev/shm, dest: /data", more=more)


def test_volume_over_default_workdir_is_accepted(tmp_path: Path) -> None:
    assert volumes(tmp_path, "/dev/shm, dest: /workspace").workdir == "/workspace"


# What the program reads itself


@pytest.mark.guarantee("config-sources-not-in-writable-volume")
@pytest.mark.parametrize(
    "more",
    [
        "files: [{source: ../../data/x, dest: /x}]\n",
        "secrets: [{name: T, file: ../../data/x, start: true}]\n",
        "tests: [../../data/x]\n",
        "repos: [{url: 'ssh://u/x', path: r, ssh_agent: true, known_hosts: ../../data/x}]\n",
    ],
)
def test_volume_writable_over_config_source_file_is_refused(tmp_path: Path, more: str) -> None:
    write(tmp_path, "data/x")
    text = refused(tmp_path, "../../data", more=more)
    assert (
        "is in the volume ../../data (habitats/demo/config.yaml:4), where the habitat could replace it by a link"
        in text
    )
    assert text.startswith("habitats/demo/config.yaml:2: ")
    assert volumes(tmp_path, "../../data, readonly: true", more=more)


# Mount points, and whose they are

HOME = "/home/agent"


def mounted_demo(root: Path, *rows: str, more: str = "", workdir: str = "/workspace") -> DemoProject:
    """A habitat with volumes, in an image with a home that belongs to USER."""
    for name in ("data", "deep/has"):
        (root / name).mkdir(parents=True, exist_ok=True)
    write(root, "file", "from the host")
    write(root, "habitats/demo/note")
    text = BASE + f"env: [WORKDIR={workdir}]\n{more}volumes:\n" + "".join(f"  - {row}\n" for row in rows)
    demo = DemoProject(root, text)
    demo.engine.files("base:1").add(HOME, Node("dir", 0o750, 1000, 1000))
    return demo


@pytest.mark.guarantee("volume-mount-points-belong-to-user")
@pytest.mark.parametrize("more", ["", "hooks: [{after: files, run_as: root, commands: ['true']}]\n"])
@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            "{source: ../../data, dest: ~/.config/app/data}",
            {f"{HOME}/.config": 1000, f"{HOME}/.config/app": 1000, f"{HOME}/.config/app/data": 1000},
        ),
        ("{source: ../../file, dest: /home/agent/.config/app.json}", {f"{HOME}/.config": 1000}),
        ("{source: ../../file, dest: ~/.netrc}", {f"{HOME}/.netrc": 1000}),
        ("{source: ../../data, dest: sub/data}", {"/workspace/sub": 1000, "/workspace/sub/data": 1000}),
        ("{source: ../../data, dest: /srv/a/b}", {"/srv/a": 0, "/srv/a/b": 0}),
        ("{source: ../../gone, dest: ~/.config/app, optional: true}", {f"{HOME}/.config": 1000}),
    ],
)
def test_volume_mount_point_and_folders_above_belong_to_user_in_home_and_workdir(
    tmp_path: Path, row: str, expected: dict[str, int], more: str
) -> None:
    demo = mounted_demo(tmp_path, row, more=more)
    assert demo.build()[-1] == "final"
    nodes = demo.engine.files("habitat-demo:final").nodes
    assert {path: nodes[path].uid for path in expected} == expected
    assert nodes[HOME].mode == 0o750, "what the image has stays as it is"
    assert demo.engine.containers() == []


@pytest.mark.parametrize("kept", ["dir", "file"])
def test_volume_mount_point_that_image_has_stays_as_it_is(tmp_path: Path, kept: str) -> None:
    demo = mounted_demo(tmp_path, "{source: ../../data, dest: ~/.config/app}")
    demo.engine.files("base:1").add(f"{HOME}/.config", Node("dir", 0o700, 7, 7))
    demo.engine.files("base:1").add(f"{HOME}/.config/app", Node(kept, 0o711, 8, 8))
    demo.build()
    nodes = demo.engine.files("habitat-demo:final").nodes
    assert (nodes[f"{HOME}/.config"].uid, nodes[f"{HOME}/.config/app"]) == (7, Node(kept, 0o711, 8, 8))


def test_volume_in_other_volume_gets_no_mount_point_in_image(tmp_path: Path) -> None:
    demo = mounted_demo(
        tmp_path, "{source: ../../deep, dest: ~/deep}", "{source: ../../data, dest: /home/agent/deep/has}"
    )
    demo.build()
    assert f"{HOME}/deep/has" not in demo.engine.files("habitat-demo:final").nodes


@pytest.mark.guarantee("build-writes-into-no-volume")
def test_volume_in_other_volume_through_link_without_mount_point_is_refused_before_it_is_mounted(
    tmp_path: Path,
) -> None:
    demo = mounted_demo(tmp_path, "{source: ../../deep, dest: /deep}", "{source: ../../data, dest: /l/lacks}")
    demo.engine.files("base:1").add("/l", Node("link", 0o777, target="/deep"))
    with pytest.raises(ConfigError) as excinfo:
        demo.build()
    assert str(excinfo.value).startswith(
        "habitats/demo/config.yaml:5: volumes: /l/lacks is in the volume /deep (habitats/demo/config.yaml:4), and "
        "../../deep has no lacks: "
    )
    assert not any(container.binds for container in demo.engine._containers.values())


@pytest.mark.guarantee("build-writes-into-no-volume")
def test_volumes_that_a_link_leads_to_one_place_are_refused(tmp_path: Path) -> None:
    demo = mounted_demo(tmp_path, "{source: ../../deep, dest: /deep}", "{source: ../../data, dest: /l}")
    demo.engine.files("base:1").add("/l", Node("link", 0o777, target="/deep"))
    with pytest.raises(ConfigError, match=r"another volume is mounted at /deep .*, where /l leads: keep one of them"):
        demo.build()


# A dest in the home


def test_volume_below_home_is_mounted_in_build_and_at_start(tmp_path: Path) -> None:
    more = "setup: {user: ['true']}\n"
    demo = mounted_demo(tmp_path, "{source: ../../data, dest: ~/data}", "{source: ../../file, dest: /f}", more=more)
    dests: list[list[str]] = []

    def on_execute(command: Command) -> tuple[int, str] | None:
        dests.append([bind.dest for bind in command.container.binds])
        return make_user(command)

    demo.engine.on_execute = on_execute
    demo.build()
    assert [f"{HOME}/data", "/f"] in dests
    project = demo.run_anew()
    runtime_start.start_detached(project, "demo")
    container = demo.container()
    assert [bind.dest for bind in container.binds] == [f"{HOME}/data", "/f"]
    assert container.labels["habitat.home"] == HOME
    runtime_start.start_detached(demo.run_anew(), "demo")
    assert demo.container().id == container.id, "it is used again"
    with temporary.open_temporary_session(demo.run_anew(), "demo", "setup") as session:
        assert [bind.dest for bind in session.container.binds] == [f"{HOME}/data", "/f"]


def test_volume_below_home_of_user_without_home_is_refused(tmp_path: Path) -> None:
    demo = mounted_demo(tmp_path, "{source: ../../data, dest: ~/data}")
    demo.engine.files("base:1").write("/etc/passwd", "root:x:0:0::/root:/bin/sh\nagent:x:1000:1000:::\n")
    demo.engine.on_execute = lambda _: (0, "")
    with pytest.raises(ConfigError) as excinfo:
        demo.build()
    assert str(excinfo.value) == "habitats/demo/config.yaml:4: user 'agent' has no home: write the whole path"


@pytest.mark.guarantee("build-writes-into-no-volume")
@pytest.mark.parametrize(
    ("more", "text"),
    [
        ("files: [{source: note, dest: ~/data/x}]\n", "files: note would be written to the host, since ~/data is"),
        ("files: [{source: note, dest: /home/agent/data/x}]\n", f"{HOME}/data/x is in the volume ~/data ("),
        ("caches: [~/data/c]\nsetup: {user: ['true']}\n", "caches: ~/data/c can't be a cache: ~/data is a volume ("),
        (
            "caches: [/home/agent/data/c]\nsetup: {user: ['true']}\n",
            "caches: /home/agent/data/c can't be a cache: ~/data is a volume (",
        ),
        ("repos: [{url: u, path: ~/data}]\n", "repos: ~/data would be written to the host, since ~/data is a volume"),
    ],
)
def test_volume_below_home_over_path_written_by_build_is_refused(tmp_path: Path, more: str, text: str) -> None:
    demo = mounted_demo(tmp_path, "{source: ../../data, dest: ~/data}", more=more)
    with pytest.raises(HabitatError) as excinfo:
        demo.build()
    assert text in str(excinfo.value)


@pytest.mark.guarantee("build-writes-into-no-volume")
@pytest.mark.parametrize(
    ("volume", "file", "path"),
    [
        ("~/data", "dest: /home/agent/data/x, after: users", "data/x"),
        ("~/data", "dest: /home/agent/data, after: env", "data"),
        ("~/data", "dest: /home/agent/data/x, owner: root, before: env", "data/x"),
        ("/home/agent/data", "dest: ~/data/x, after: users", "data/x"),
        ("/home/agent/data", "dest: ~/data/x, before: workdir", "data/x"),
        ("~/data", "dest: /home/agent/data/x, after: habitat", "data/x"),
        ("~/data", "dest: /home/agent/data/x, before: files", "data/x"),
        ("~", "dest: /home/agent/x, after: users", "x"),
    ],
)
def test_file_copied_before_phase_6_below_volume_that_only_image_knows_is_refused(
    tmp_path: Path, volume: str, file: str, path: str
) -> None:
    more = f"files:\n  - {{source: note, {file}}}\n"
    demo = mounted_demo(tmp_path, f"{{source: ../../data, dest: '{volume}'}}", more=more)
    with pytest.raises(StepError) as excinfo:
        demo.build()
    assert str(excinfo.value).startswith(
        f"habitats/demo/config.yaml:4: {HOME}/{path} is in the volume {volume} (habitats/demo/config.yaml:6): a build "
        "writes nothing into a mount: write another dest, or remove the volume"
    )


@pytest.mark.guarantee("build-writes-into-no-volume")
@pytest.mark.parametrize(("dest", "file"), [("/data", "/l/x"), ("/l", "/data/x")])
@pytest.mark.parametrize("point", ["before: users", "after: users", "after: habitat"])
def test_file_copied_before_phase_6_meeting_volume_through_link_is_refused(
    tmp_path: Path, dest: str, file: str, point: str
) -> None:
    demo = LinkedProject(tmp_path, dest, f"files:\n  - {{source: note, dest: {file}, owner: root, {point}}}\n")
    with pytest.raises(StepError, match=f":5: /data/x is in the volume {dest} "):
        demo.build()


@pytest.mark.parametrize("dest", ["/workspace", "/home/agent", "~", "/workspace/sub", "/usr/local/share/x"])
def test_volume_at_folder_that_build_makes_before_phase_6_is_accepted(tmp_path: Path, dest: str) -> None:
    more = "files: [{source: note, dest: /opt/x, after: users}, {source: note, dest: /srv/x, after: habitat}]\n"
    demo = mounted_demo(tmp_path, f"{{source: ../../data, dest: '{dest}'}}", more=more)
    assert demo.build()[-1] == "final"


def test_volume_below_home_and_file_in_home_of_other_user_are_accepted(tmp_path: Path) -> None:
    more = "files: [{source: note, dest: ~/data/x, owner: root}]\n"
    assert mounted_demo(tmp_path, "{source: ../../data, dest: ~/data}", more=more).build()


# The short form


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("../../data:/data", ("../../data", "/data", False)),
        ("../../data:/data:ro", ("../../data", "/data", True)),
        ("../../data:/data:rw", ("../../data", "/data", False)),
        ("'../../data:~/data/'", ("../../data", "~/data", False)),
        ("../../data:sub", ("../../data", "/workspace/sub", False)),
        ("../../data:$WORKDIR/x:ro", ("../../data", "/workspace/x", True)),
    ],
)
def test_volume_in_short_form_is_that_of_docker_run(tmp_path: Path, row: str, expected: tuple[str, str, bool]) -> None:
    mounted_demo(tmp_path, row)
    (volume,) = load(tmp_path).volumes[-1:]
    assert (volume.shown, volume.dest, volume.readonly) == expected
    assert str(volume.origin) == "habitats/demo/config.yaml:4"


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("../../data", "'../../data' is not SOURCE:DEST: write SOURCE:DEST or SOURCE:DEST:ro;"),
        ("'../../data:'", "'../../data:' is not SOURCE:DEST: "),
        ("':/data'", "':/data' is not SOURCE:DEST: "),
        ("../../data:/data:z", "'../../data:/data:z' has the option 'z': write ro, rw or none;"),
        ("'../../data:/data:'", "'../../data:/data:' has the option '': "),
        ("../../data:/data:ro:x", "'../../data:/data:ro:x' has the option 'ro:x': "),
        ("'../../data:/data:ro,rw'", "'../../data:/data:ro,rw' has several options: keep one of them"),
        ("../../nothing:/data", "there is neither "),
    ],
)
def test_volume_in_short_form_with_mistake_is_one_line_error(tmp_path: Path, row: str, problem: str) -> None:
    with pytest.raises(ConfigError) as excinfo:
        mounted_demo(tmp_path, row).build()
    assert str(excinfo.value).startswith(f"habitats/demo/config.yaml:4: volumes: {problem}")
    assert "\n" not in str(excinfo.value)


# Files of the engine


@pytest.mark.parametrize(
    ("row", "subject"),
    [
        ("{source: note, dest: /etc/hosts}", "note"),
        ("{source: note, dest: /etc//./resolv.conf, after: setup}", "note"),
        ("{source: hostname, dest: /etc/}", "hostname"),
        ("{source: tree, dest: /etc}", "tree"),
        ("{source: tree/etc, dest: /etc/hosts}", "tree/etc"),
        ("{source: root, dest: /}", "root"),
    ],
)
def test_copied_file_at_place_of_engines_own_file_is_refused(tmp_path: Path, row: str, subject: str) -> None:
    for path in ("note", "hostname", "tree/hosts", "tree/etc/x", "root/etc/resolv.conf"):
        write(tmp_path, f"habitats/demo/{path}")
    with pytest.raises(ConfigError) as excinfo:
        load(tmp_path, f"{BASE}files:\n  - {row}\n")
    text = str(excinfo.value)
    assert text.startswith(
        f"habitats/demo/config.yaml:3: files: {subject} would not be in the image: the engine mounts"
    )
    assert re.search(r": mount it there instead: `volumes: \[SOURCE:/etc/[a-z.]+:ro\]`$", text)


def test_volume_at_place_of_engines_own_file_and_files_beside_it_are_accepted(tmp_path: Path) -> None:
    write(tmp_path, "habitats/demo/tree/hostsx")
    write(tmp_path, "data/hosts")
    assert volumes(tmp_path, "../../data/hosts, dest: /etc/hosts", more="files: [{source: tree, dest: /etc}]\n")
