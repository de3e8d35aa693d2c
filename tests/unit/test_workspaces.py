"""Workspaces, on the fake engine: WORKDIR and the repositories on volumes, and what becomes of them."""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING

import pytest
from fake_files import Node
from unit_helpers import DemoProject, FakeTerminal, load, make_user, write

from phases.core.build.builder import Builder
from phases.core.config.mounts import workspaces
from phases.core.engine.types import VolumeMount
from phases.core.errors import EngineError, HabitatError
from phases.core.project import Project
from phases.core.runtime import clean
from phases.core.runtime import start as runtime_start
from phases.core.runtime.destroy import destroy
from phases.core.runtime.persistence.volumes import workspace_volume_name, workspaces_of
from phases.core.runtime.session import exit_guard
from phases.core.runtime.workspace.comparison import Changes, Comparison
from phases.core.runtime.workspace.trees import FileEntry, WorkspaceTree, parse
from phases.p02_users import CREATE_USER
from phases.ui.verbs import destroy as destroy_verb

if TYPE_CHECKING:
    from pathlib import Path

    from fake_engine import Command

BASE = "base_image: base:1\nentry:\n  command: 'true'\n"
VOLUME = workspace_volume_name("demo", "/workspace")
HOME = "/home/agent"


def built(root: Path, text: str = "", image: dict[str, str] | None = None, base: str = BASE) -> DemoProject:
    """A built habitat. text: the rest of its config; image: files of its image, which are USER's."""
    demo = DemoProject(root, text + base)
    demo.engine.files("base:1").add(HOME, Node("dir", 0o755, 1000, 1000))
    for path, content in (image or {}).items():
        demo.engine.files("base:1").write(path, content, uid=1000)
    demo.build()
    return demo


def start(demo: DemoProject, during: dict[str, str] | None = None, *, fresh: bool = False) -> str:
    """Start it; `during` is what its command puts into files. Returns the container's id."""

    def on_execute(command: Command) -> tuple[int, str] | None:
        if command.script != "true":
            return make_user(command)
        for path, content in (during or {}).items():
            command.container.files.add(path, Node("file", 0o644, 1000, 1000, content.encode()))
        return 0, ""

    demo.engine.on_execute = on_execute
    runtime_start.start(demo.run_anew(), "demo", FakeTerminal(), fresh=fresh)
    return demo.container().id


def text(demo: DemoProject, path: str) -> str | None:
    node = demo.engine.files("habitat-demo").find(path)
    return node.content.decode() if node else None


def configure(demo: DemoProject, more: str, base: str = BASE) -> None:
    write(demo.root, "habitats/demo/config.yaml", more + base)


def volumes(demo: DemoProject) -> list[str]:
    return [volume.name for volume in demo.engine.volumes()]


# Volumes


@pytest.mark.guarantee("workspace-outlives-containers")
def test_workspace_keeps_work_over_new_image_new_container_and_removed_container(tmp_path: Path) -> None:
    demo = built(tmp_path, image={"/workspace/README": "image's"})
    first = start(demo, {"/workspace/work": "mine"})
    assert (text(demo, "/workspace/README"), volumes(demo)) == ("image's", [VOLUME])
    configure(demo, "env: [A=b]\n")
    demo.build()
    assert start(demo) != first
    assert text(demo, "/workspace/work") == "mine"
    start(demo, {"/workspace/more": "mine too"}, fresh=True)
    demo.engine.remove("habitat-demo")
    start(demo)
    assert (text(demo, "/workspace/work"), text(demo, "/workspace/more")) == ("mine", "mine too")
    assert volumes(demo) == [VOLUME]


def test_workspace_of_image_is_in_container(tmp_path: Path) -> None:
    demo = built(tmp_path, "workspace: image\n")
    start(demo, {"/workspace/work": "mine"})
    assert volumes(demo) == []
    assert "/workspace/work" in demo.engine.files("habitat-demo").own


def test_workspace_any_other_word_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HabitatError) as excinfo:
        load(tmp_path, f"workspace: host\n{BASE}")
    assert str(excinfo.value).startswith("habitats/demo/config.yaml:1: workspace: must be volume or image, is 'host': ")


def test_second_container_with_workspace_needs_no_lock_and_no_look(tmp_path: Path) -> None:
    demo = built(tmp_path)
    start(demo)
    demo.engine.calls.clear()
    start(demo, fresh=True)
    assert [call for call in demo.engine.called("create_volume") if "start" in call[1]] == []
    assert [call[2].startswith("habitat-demo-") for call in demo.engine.called("create")] == [True]


@pytest.mark.parametrize(
    ("config", "places"),
    [
        ("", ("/workspace",)),
        ("env: [WORKDIR=/]\n", ()),
        ("env: [WORKDIR=/home/agent]\n", ()),
        ("env: [WORKDIR=/usr/local]\n", ()),
        ("env: [WORKDIR=/usr/src/app]\n", ("/usr/src/app",)),
        ("env: [WORKDIR=/etc/x]\n", ()),
        ("env: ['WORKDIR=/x\"y']\n", ()),
        ("env: ['WORKDIR=/x y']\n", ("/x y",)),
        ("env: [USER=root, WORKDIR=/root]\n", ()),
        ("env: [USER=root, WORKDIR=/root/x]\n", ("/root/x",)),
        ("repos: [{url: u, path: p}, {url: u, path: /srv/a}]\n", ("/workspace", "/srv/a")),
        ("repos: [{url: u, path: /srv/a}, {url: u, path: /srv/a/b}]\n", ("/workspace", "/srv/a")),
        ("env: [WORKDIR=/home/agent]\nrepos: [{url: u, path: p}]\n", ("/home/agent/p",)),
        ("env: [WORKDIR=/]\nrepos: [{url: u, path: ~/p}]\n", ("~/p",)),
        ("volumes: [{source: data, dest: /workspace}]\n", ()),
        ("volumes: [{source: data, dest: /workspace/data}]\n", ("/workspace",)),
    ],
)
def test_workspaces_of_config_are_workdir_and_repositories_outside(
    tmp_path: Path, config: str, places: tuple[str, ...]
) -> None:
    (tmp_path / "habitats/demo/data").mkdir(parents=True)
    habitat = load(tmp_path, config + BASE)
    actual = workspaces.outermost((path, path) for path in workspaces.candidates(habitat))
    assert {path for path, _ in actual} == set(places)


def test_workdir_that_is_home_in_image_is_no_workspace(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path, BASE)
    demo.engine.files("base:1").write(
        "/etc/passwd", "root:x:0:0::/root:/bin/sh\nagent:x:1000:1000::/workspace:/bin/sh\n"
    )
    demo.engine.on_execute = lambda command: (0, "") if command.script == CREATE_USER.text else None
    demo.build()
    start(demo)
    assert volumes(demo) == []
    assert start(demo) == demo.container().id


def test_workdir_that_is_link_of_root_is_workspace_at_its_target(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path, BASE)
    demo.engine.files("base:1").add("/workspace", Node("link", 0o777, target="/srv/real"))
    demo.engine.files("base:1").write("/srv/real/x", "image's")
    demo.build()
    start(demo, {"/workspace/work": "mine"})
    (entry,) = workspaces_of(demo.container()).entries
    assert (entry.resolved, text(demo, "/workspace/x")) == ("/srv/real", "image's")
    start(demo, fresh=True)
    assert text(demo, "/srv/real/work") == "mine"


def test_workdir_behind_link_of_user_stays_in_container_with_warning(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path, BASE)
    demo.build()
    image = demo.engine.files("habitat-demo:final")
    image.nodes["/workspace"] = Node("link", 0o777, 1000, 1000, target="/etc")
    start(demo)
    assert volumes(demo) == []
    assert [
        text for text in demo.notices() if text.startswith("/workspace stays in the container, and not on a volume")
    ]


def test_persistent_paths_inside_workspace_are_their_own(tmp_path: Path) -> None:
    persist = BASE + "  persist: [cache/, state.json]\n"
    demo = built(tmp_path, image={"/workspace/state.json": "image's"}, base=persist)
    start(demo, {"/workspace/work": "mine", "/workspace/cache/x": "kept"})
    configure(demo, "env: [A=b]\n", base=persist)
    demo.build()
    start(demo, {"/workspace/state.json": "mine"})
    assert [text(demo, f"/workspace/{name}") for name in ("work", "cache/x", "state.json")] == ["mine", "kept", "mine"]


def test_file_in_place_of_persistent_link_is_collected_after_container_was_removed(tmp_path: Path) -> None:
    persist = BASE + "  persist: [state.json]\n"
    demo = built(tmp_path, image={"/workspace/state.json": "image's"}, base=persist)
    start(demo)
    demo.engine.files("habitat-demo").nodes["/workspace/state.json"] = Node("file", 0o644, 1000, 1000, b"newer")
    demo.engine.remove("habitat-demo")
    start(demo)
    assert text(demo, "/workspace/state.json") == "newer"
    assert demo.engine.files("habitat-demo").nodes["/workspace/state.json"].kind == "link"


# Rebuilds


def rebuild(demo: DemoProject, files: dict[str, str | None]) -> None:
    """Build another image, with other files of USER's below /workspace; None for one that is gone."""
    image = demo.engine.files("base:1")
    for path, content in files.items():
        if content is None:
            del image.nodes[f"/workspace/{path}"]
        else:
            image.write(f"/workspace/{path}", content, uid=1000)
    number = len(demo.engine.images())
    configure(demo, f"env: [A={number}]\n")
    demo.engine.add_image("base:1", image)
    demo.engine.on_execute = make_user
    demo.build()


BEFORE = {f"/workspace/{name}": "old" for name in ("same", "theirs", "mine", "both", "gone", "dir/gone", "dropped")}


@pytest.mark.guarantee("workspace-follows-image")
def test_file_that_only_rebuild_changed_follows_and_others_stay(tmp_path: Path) -> None:
    demo = built(tmp_path, image=BEFORE)
    start(demo, {"/workspace/mine": "my own", "/workspace/both": "my own", "/workspace/new": "my own"})
    del demo.engine.files("habitat-demo").nodes["/workspace/dropped"]
    rebuild(demo, {"theirs": "new", "both": "new", "gone": None, "dir/gone": None, "more/deep": "new"})
    start(demo)
    names = ("same", "theirs", "mine", "both", "gone", "dir/gone", "dropped", "new", "more/deep")
    assert [text(demo, f"/workspace/{name}") for name in names] == [
        *("old", "new", "my own", "my own", None, None, None, "my own", "new"),
    ]
    followed, kept = (notice for notice in demo.notices() if notice.startswith("/workspace: "))
    assert followed == "/workspace: 5 changed by the rebuild: dir/gone, gone, more and 2 more"
    assert kept == (
        "/workspace: 1 path changed both here and by the rebuild, and stays as it is here: both; "
        "doit shell:demo --at final shows what the image has"
    )
    start(demo, fresh=True)
    assert [notice for notice in demo.notices() if notice.startswith("/workspace: ")] == []


def test_rebuild_without_change_below_workspace_needs_no_list(tmp_path: Path) -> None:
    demo = built(tmp_path, image=BEFORE)
    start(demo)
    rebuild(demo, {})
    demo.engine.calls.clear()
    start(demo)
    assert [notice for notice in demo.notices() if notice.startswith("/workspace: ")] == []
    assert demo.engine.called("put_archive") == []


@pytest.mark.guarantee("workspace-follows-image")
def test_workspace_of_container_that_was_removed_follows_all_the_same(tmp_path: Path) -> None:
    demo = built(tmp_path, image=BEFORE)
    start(demo, {"/workspace/mine": "my own"})
    demo.engine.remove("habitat-demo")
    rebuild(demo, {"mine": "new", "more": "new"})  # the build removes the image before, which nothing uses
    start(demo)
    assert (text(demo, "/workspace/mine"), text(demo, "/workspace/more")) == ("my own", "new")


def test_repository_is_left_to_git(tmp_path: Path) -> None:
    repository = {"/workspace/p/.git/HEAD": "old", "/workspace/p/file": "old", "/workspace/other": "old"}
    demo = built(tmp_path, image=repository)
    start(demo)
    rebuild(demo, {"p/.git/HEAD": "new", "p/file": "new", "other": "new", "q/.git/HEAD": "new", "q/x": "new"})
    start(demo)
    names = ("p/.git/HEAD", "p/file", "other", "q/.git/HEAD", "q/x")
    assert [text(demo, f"/workspace/{name}") for name in names] == ["old", "old", "new", "new", "new"]


def test_workspace_follows_nothing_through_link_that_was_put_in_place_of_folder(tmp_path: Path) -> None:
    demo = built(tmp_path, image={"/workspace/dir/a": "old"})
    start(demo)
    nodes = demo.engine.files("habitat-demo").nodes
    del nodes["/workspace/dir/a"]
    nodes["/workspace/dir"] = Node("link", 0o777, 1000, 1000, target="/etc")
    rebuild(demo, {"dir/b": "new"})
    start(demo)
    assert demo.engine.files("habitat-demo").nodes["/workspace/dir"].kind == "link"
    assert text(demo, "/etc/b") is None
    assert [notice for notice in demo.notices() if "stays as it is here: dir/b" in notice]


def test_workspace_that_running_container_uses_follows_later(tmp_path: Path) -> None:
    demo = built(tmp_path, image=BEFORE)
    start(demo)
    demo.engine.create(
        "base:1", "other", ("/bin/sh", "-c", "while :"), mounts=[VolumeMount(VOLUME, "/x", copies=False)]
    )
    demo.engine.start("other")
    rebuild(demo, {"theirs": "new"})
    start(demo)
    assert text(demo, "/workspace/theirs") == "old"
    demo.engine.remove("other")
    start(demo)
    assert text(demo, "/workspace/theirs") == "new"


def test_workspace_that_can_not_be_compared_stays_with_warning(tmp_path: Path) -> None:
    demo = built(tmp_path, image=BEFORE)
    start(demo)
    rebuild(demo, {"theirs": "new"})
    start(demo)
    rebuild(demo, {"theirs": "newer"})
    demo.engine.failures = {"exec": EngineError("no stat")}
    with contextlib.suppress(EngineError):
        start(demo)
    assert [notice for notice in demo.notices() if "what a rebuild has changed below /workspace is not in" in notice]


@pytest.mark.guarantee("workspace-follows-image")
@pytest.mark.parametrize(
    ("method", "number"), [*itertools.product(("create", "start", "exec", "put_archive", "remove"), range(6))]
)
def test_start_killed_while_workspace_follows_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, number: int
) -> None:
    demo = built(tmp_path, image=BEFORE)
    start(demo, {"/workspace/mine": "my own", "/workspace/both": "my own"})
    rebuild(demo, {"theirs": "new", "both": "new", "gone": None})
    killed_at(demo, monkeypatch, method, number)
    start(demo)
    names = ("same", "theirs", "mine", "both", "gone")
    assert [text(demo, f"/workspace/{name}") for name in names] == ["old", "new", "my own", "my own", None]
    assert not [row.name for row in demo.engine.containers() if row.name.startswith("habitat_start")]


# Containers of earlier versions


def of_earlier_version(demo: DemoProject, during: dict[str, str]) -> str:
    """Start it as a version without workspaces did, and put files into it."""
    rest = (demo.root / "habitats/demo/config.yaml").read_text()
    write(demo.root, "habitats/demo/config.yaml", "workspace: image\n" + rest)
    container = start(demo, during)
    write(demo.root, "habitats/demo/config.yaml", rest)
    del demo.engine._container(container).labels["habitat.workspace"]
    return container


@pytest.mark.guarantee("workspace-outlives-containers")
@pytest.mark.parametrize("rebuilt", [False, True])
def test_work_in_container_of_earlier_version_is_taken_along(tmp_path: Path, rebuilt: bool) -> None:
    demo = built(tmp_path, image={"/workspace/a": "image's", "/workspace/b": "image's"})
    old = of_earlier_version(demo, {"/workspace/work": "mine", "/workspace/b": "mine"})
    del demo.engine.files("habitat-demo").nodes["/workspace/a"]
    images = demo.engine.images()
    if rebuilt:
        configure(demo, "env: [A=b]\n")
        demo.build()
    assert start(demo) != old
    assert [text(demo, f"/workspace/{name}") for name in ("work", "b", "a")] == ["mine", "mine", None]
    assert [notice for notice in demo.notices() if "on a volume now" in notice] == [
        "the files in /workspace of habitat-demo are on a volume now, which rebuilds keep"
    ]
    others = [image for image in demo.engine.images() if image.id != demo.container().image]
    assert rebuilt or {row.id for row in others} == {row.id for row in images}, "what was committed for it is removed"


def test_container_of_earlier_version_without_work_leaves_no_trace(tmp_path: Path) -> None:
    demo = built(tmp_path, image={"/workspace/a": "image's"})
    of_earlier_version(demo, {})
    start(demo)
    assert demo.engine.called("commit")[len(demo.engine.called("commit")) :] == []
    assert text(demo, "/workspace/a") == "image's"


class KilledError(BaseException):
    """The run is killed."""


def requests() -> list[tuple[str, int]]:
    return [*itertools.product(("create", "commit", "remove", "start", "rename"), range(3))]


@pytest.mark.guarantee("workspace-outlives-containers")
@pytest.mark.parametrize(("method", "number"), requests())
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_start_killed_at_any_request_loses_no_work_of_earlier_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, number: int, after: bool
) -> None:
    demo = built(tmp_path, image={"/workspace/a": "image's"})
    of_earlier_version(demo, {"/workspace/work": "mine"})
    killed_at(demo, monkeypatch, method, number, after=after)
    start(demo)
    assert (text(demo, "/workspace/work"), text(demo, "/workspace/a")) == ("mine", "image's")
    start(demo, {"/workspace/more": "mine"})
    demo.engine.remove("habitat-demo")
    start(demo)
    assert (text(demo, "/workspace/work"), text(demo, "/workspace/more")) == ("mine", "mine")


def killed_at(
    demo: DemoProject, monkeypatch: pytest.MonkeyPatch, method: str, number: int, *, after: bool = False
) -> None:
    """Start it, and kill the run at a request: no later one reaches the engine."""
    counts = itertools.count()
    dead: list[bool] = []

    def killing(name: str) -> None:
        plain = getattr(demo.engine, name)

        def call(*args: object, **options: object) -> object:
            if dead:
                raise KilledError
            is_it = name == method and next(counts) == number
            if is_it:
                dead.append(True)
                if not after:
                    raise KilledError
            answer = plain(*args, **options)
            if is_it:
                raise KilledError
            return answer

        patch.setattr(demo.engine, name, call)

    with monkeypatch.context() as patch:
        patch.setattr(exit_guard.Guard, "watch", lambda *_: None)  # it would wait for the end of the tests
        for name in ("create", "commit", "remove", "start", "rename", "stop", "put_archive", "exec"):
            killing(name)
        with contextlib.suppress(KilledError, HabitatError):
            start(demo)
    demo.project.connection.close_locks()  # as the end of a process does
    demo.builder = Builder(Project(demo.root, lambda: demo.engine))
    for container in demo.engine._containers.values():
        container.running = False


def test_volume_half_filled_by_engine_that_died_is_filled_again(tmp_path: Path) -> None:
    demo = built(tmp_path, image={"/workspace/a": "image's", "/workspace/b": "image's"})
    demo.engine.failures = {"create": EngineError("out of space")}
    with pytest.raises(HabitatError):
        start(demo)
    demo.engine.failures = {}
    half = {"habitat.name": "demo", "habitat.workspace": "/workspace", **demo.project.identity.labels}
    demo.engine.create_volume(VOLUME, half)
    demo.engine._volumes[VOLUME][1]["/a"] = Node("file", content=b"ima")
    start(demo)
    assert (text(demo, "/workspace/a"), text(demo, "/workspace/b")) == ("image's", "image's")


# Destroy


@pytest.mark.parametrize("lost", [True, False])
def test_existing_container_without_record_of_its_workspace_starts_as_it_is(tmp_path: Path, lost: bool) -> None:
    """Another clone of the project has created it, or the state folder was removed."""
    demo = built(tmp_path, image={"/workspace/a": "image's"})
    start(demo, {"/workspace/a": "mine"})
    path = demo.root / ".stamps/demo/workspaces"
    path.unlink() if lost else path.write_text("{}")
    before = len(demo.engine.called("create"))
    assert "workspace" not in start(demo)
    assert len(demo.engine.called("create")) == before
    assert text(demo, "/workspace/a") == "mine"
    assert VOLUME in path.read_text()


@pytest.mark.guarantee("workspace-outlives-containers")
def test_destroy_removes_workspace_only_on_request_and_shows_it_first(tmp_path: Path) -> None:
    demo = built(tmp_path, base=BASE + "  persist: [~/.cache/]\n")
    start(demo)
    asked: list[str] = []

    def agree(question: str) -> bool:
        asked.append(question)
        return True

    assert destroy(demo.run_anew(), "demo", agree)
    assert [line.split(": ")[0] for line in demo.lines()] == ["habitat-demo (stopped)", "~/.cache/"]
    assert (demo.engine.containers(), volumes(demo)) == ([], [VOLUME])
    kept = "its workspace is kept: `doit destroy:demo --workspace` removes it"
    assert demo.notices()[-1].startswith(f"removed habitat-demo, 1 persistent volume; {kept}")
    assert destroy(demo.run_anew(), "demo", agree)
    assert demo.notices()[-1].startswith(f"demo has no container and no persistent volume: nothing to remove; {kept}")
    start(demo)
    assert destroy(demo.run_anew(), "demo", agree, workspace=True)
    assert demo.lines()[0] == f"/workspace: workspace, all work in it, volume {VOLUME}, since 2026-01-01"
    assert demo.lines()[1].startswith("habitat-demo (stopped)")
    questions = ("and 1 persistent volume?", "and 1 workspace?")
    assert asked == [f"Remove the container, with all changes in it, {question}" for question in questions]
    assert demo.engine.containers() == []
    assert VOLUME not in volumes(demo)


def test_destroy_workspace_keeps_what_persists(tmp_path: Path) -> None:
    demo = built(tmp_path, image={"/workspace/a": "image's"}, base=BASE + "  persist: [~/.cache/]\n")
    start(demo, {"/workspace/a": "mine", f"{HOME}/.cache/x": "kept"})
    assert destroy_verb.run(demo.run_anew(), "demo", yes=True, workspace=True) == 0
    assert len(volumes(demo)) == 1
    start(demo)
    assert (text(demo, "/workspace/a"), text(demo, f"{HOME}/.cache/x")) == ("image's", "kept")


@pytest.mark.parametrize("option", ["keep_volumes", "set_aside"])
def test_destroy_with_option_keeps_workspace(tmp_path: Path, option: str) -> None:
    demo = built(tmp_path)
    start(demo, {"/workspace/a": "mine"})
    assert destroy_verb.run(demo.run_anew(), "demo", yes=True, **{option: True}) == 0
    clean.clean_all(demo.run_anew(), "demo")
    demo.build()
    start(demo)
    assert text(demo, "/workspace/a") == "mine"
    with pytest.raises(HabitatError, match="--workspace removes volumes"):
        destroy_verb.run(demo.run_anew(), "demo", yes=True, workspace=True, **{option: True})


def test_workspace_of_repository_that_left_config_is_kept_and_listed_by_destroy(tmp_path: Path) -> None:
    demo = built(tmp_path)
    labels = {"habitat.name": "demo", "habitat.workspace": "/srv/old", **demo.project.identity.labels}
    name = workspace_volume_name("demo", "/srv/old")
    demo.engine.create_volume(name, labels)
    demo.engine.create("base:1", "x", ("x",), mounts=[VolumeMount("foreign", "/y", {"habitat.name": "demo"})])
    start(demo)
    assert destroy(demo.run_anew(), "demo", lambda _: True, workspace=True)
    assert [line.split(": ")[0] for line in demo.lines()] == ["/srv/old", "/workspace", "habitat-demo (stopped)"]
    assert volumes(demo) == ["foreign"]


# Comparison


def entry(content: str, *, mode: int = 0o644, mtime: int = 1) -> FileEntry:
    return FileEntry("file", mode, 1000, 1000, len(content), mtime)


def compared(base: dict[str, FileEntry], image: dict[str, FileEntry], workspace: dict[str, FileEntry]) -> Changes:
    folder = {".": FileEntry("dir", 0o755, 1000, 1000)}
    trees = [WorkspaceTree({**folder, **entries}) for entries in (base, image, workspace)]
    return Comparison(*trees).changes()


def test_comparison_of_unknown_base_takes_new_paths_and_keeps_all_others() -> None:
    changes = compared({}, {"./a": entry("new"), "./b": entry("new")}, {"./b": entry("mine!"), "./c": entry("mine")})
    assert (changes.copy, changes.kept, changes.delete) == (["./a"], ["./b"], [])


def test_comparison_leaves_folder_with_work_in_place_of_file_of_image() -> None:
    folder = {"./d": FileEntry("dir", 0o755, 1000, 1000), "./d/old": entry("old")}
    image = {"./d": entry("a file now")}
    assert compared(folder, image, {**folder, "./d/mine": entry("mine")}).kept == ["./d"]
    changes = compared(folder, image, folder)
    assert (changes.copy, changes.rmdir, changes.delete) == (["./d"], ["./d"], ["./d/old"])


def test_comparison_takes_mode_of_file_and_folder() -> None:
    base = {"./x": entry("x"), "./d": FileEntry("dir", 0o755, 1000, 1000)}
    image = {"./x": entry("x", mode=0o755), "./d": FileEntry("dir", 0o700, 1000, 1000)}
    changes = compared(base, image, base)
    assert (changes.copy, list(changes.attributes), changes.kept) == (["./x"], ["./d"], [])


def test_listing_with_odd_lines_is_read_as_far_as_it_is_one() -> None:
    listing = b"= ./p\n41ed 1 2 0 3 ./p\n81a4 1 2 5 3 ./an odd \xff\nrubbish\na1ff 1 2 3 4 ./l\n'./l' -> 'x'\n81a4 1 2"
    tree = parse(listing)
    assert list(tree.repositories) == ["./p"]
    assert tree.entries == {
        "./an odd \udcff": FileEntry("file", 0o644, 1, 2, 5, 3),
        "./l": FileEntry("link", 0o777, 1, 2, 3, 4, "'./l' -> 'x'"),
    }
