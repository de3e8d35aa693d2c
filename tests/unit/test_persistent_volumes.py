"""`entry.persist`, on the fake engine: what is on a habitat's volumes, and what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fake_files import Node
from unit_helpers import DemoProject, FakeTerminal, bring_up, make_user, write

from phases.core.engine.types import VolumeMount
from phases.core.errors import EngineError, HabitatError
from phases.core.runtime import clean, stop
from phases.core.runtime import start as runtime_start
from phases.core.runtime.destroy import destroy
from phases.core.runtime.persistence.volumes import volume_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fake_engine import Command

BASE = "base_image: base:1\nentry:\n  command: 'true'\n"
HOME = "/home/agent"
JSON = f"{HOME}/.state.json"
KEPT = f"/var/lib/habitat/{volume_name('demo', '~/.state.json')}/.state.json"


def config(*paths: str, more: str = "") -> str:
    return BASE + more + "  persist:\n" + "".join(f"    - {path}\n" for path in paths)


def built_demo(root: Path, *paths: str, image: dict[str, str] | None = None) -> DemoProject:
    """A habitat with paths that persist, built. image: what its own files are, root's."""
    demo = DemoProject(root, config(*paths))
    demo.engine.files("base:1").add(HOME, Node("dir", 0o755, 1000, 1000))
    for path, text in (image or {}).items():
        demo.engine.files("base:1").write(path, text)
    demo.build()
    return demo


def start(demo: DemoProject, during: dict[str, str] | None = None, *, fresh: bool = False) -> str:
    """Start it; `during` is what its command puts into files, in the place of what was there. Returns the
    container's id.
    """

    def on_execute(command: Command) -> tuple[int, str] | None:
        if command.script != "true":
            return None
        for path, text in (during or {}).items():
            command.container.files.nodes[path] = Node("file", 0o644, 1000, 1000, text.encode())
        return 0, ""

    demo.engine.on_execute = on_execute
    runtime_start.start(demo.run_anew(), "demo", FakeTerminal(), fresh=fresh)
    return demo.container().id


def text(demo: DemoProject, path: str) -> str:
    node = demo.engine.files("habitat-demo").find(path)
    assert node, path
    return node.content.decode()


def owners(demo: DemoProject, *paths: str) -> list[tuple[int, int]]:
    nodes = demo.engine.files("habitat-demo").nodes
    return [(nodes[path].uid, nodes[path].gid) for path in paths]


def rebuilt(demo: DemoProject, *paths: str, command: str = "true") -> DemoProject:
    write(demo.root, "habitats/demo/config.yaml", config(*paths).replace("'true'", f"'true' # {command}"))
    write(demo.root, "habitats/demo/note", command)
    demo.build()
    return demo


def refusing(asked: list[str]) -> Callable[[str], bool]:
    def refuse(question: str) -> bool:
        asked.append(question)
        return False

    return refuse


# Folders


def test_persisted_folder_starts_with_image_files_owned_by_user(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "/var/lib/thing/", image={"/var/lib/thing/data": "image's"})
    start(demo)
    assert text(demo, "/var/lib/thing/data") == "image's"
    assert owners(demo, "/var/lib/thing", "/var/lib/thing/data") == [(1000, 1000)] * 2


def test_persisted_folder_keeps_changes_after_rebuild(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "~/.cache/", image={f"{HOME}/.cache/x": "image's"})
    old = start(demo, {f"{HOME}/.cache/x": "mine", f"{HOME}/.cache/y": "new"})
    assert start(rebuilt(demo, "~/.cache/", command="other")) != old
    assert (text(demo, f"{HOME}/.cache/x"), text(demo, f"{HOME}/.cache/y")) == ("mine", "new")


def test_persisted_folder_emptied_by_user_stays_empty(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "~/.cache/", image={f"{HOME}/.cache/x": "image's"})
    start(demo)
    del demo.engine.files("habitat-demo").nodes[f"{HOME}/.cache/x"]
    start(demo, fresh=True)
    assert demo.engine.files("habitat-demo").find(f"{HOME}/.cache/x") is None


def test_persisted_path_parents_belong_to_user_in_home_and_root_elsewhere(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "~/.local/share/thing/", "/srv/a/b/", "~/.config/x.json")
    start(demo)
    in_home = owners(demo, f"{HOME}/.local", f"{HOME}/.local/share", f"{HOME}/.config")
    assert in_home == [(1000, 1000)] * 3
    assert owners(demo, "/srv", "/srv/a") == [(0, 0)] * 2


# Files


def test_persisted_file_starts_with_image_file_and_keeps_changes_after_rebuild(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "~/.state.json", image={JSON: "image's"})
    start(demo)
    assert text(demo, JSON) == "image's"
    demo.engine.files("habitat-demo").write(KEPT, "mine")  # as a program that follows the link
    start(rebuilt(demo, "~/.state.json", command="other"))
    assert text(demo, JSON) == "mine"


def test_persisted_file_replaced_by_rename_is_kept(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "~/.state.json", image={JSON: "image's"})
    start(demo, {JSON: "renamed"})
    assert demo.engine.files("habitat-demo").nodes[JSON] == Node("link", 0o777, 1000, 1000, target=KEPT)
    start(demo, {JSON: "again"}, fresh=True)
    demo.engine.remove("habitat-demo")
    start(demo)
    assert text(demo, JSON) == "again"
    assert demo.engine.files("habitat-demo").nodes[KEPT].mode == 0o644


def test_persisted_file_absent_from_image_is_kept_once_created(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "~/.state.json")
    start(demo)
    assert demo.engine.files("habitat-demo").find(JSON, last=False) is None  # a program may make what it likes
    start(demo, {JSON: "new"})
    start(demo, fresh=True)
    assert text(demo, JSON) == "new"


def test_persisted_file_in_root_owned_folder_is_writable_through_link(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "/var/lib/thing.db")
    start(demo)
    link = demo.engine.files("habitat-demo").nodes["/var/lib/thing.db"]
    assert link.target == f"/var/lib/habitat/{volume_name('demo', '/var/lib/thing.db')}/thing.db"
    assert owners(demo, link.target.rpartition("/")[0]) == [(1000, 1000)]


@pytest.mark.guarantee("persisted-files-survive-kill")
@pytest.mark.parametrize("then", ["the next start", "another image", "a new container", "stop", "destroy"])
def test_persisted_file_replaced_in_killed_start_is_kept_by_next_command(tmp_path: Path, then: str) -> None:
    demo = built_demo(tmp_path, "~/.state.json", image={JSON: "image's"})
    start(demo)
    demo.engine.files("habitat-demo").nodes[JSON] = Node("file", 0o600, 1000, 1000, b"renamed")
    if then == "stop":
        demo.engine.start("habitat-demo")
        stop.stop(demo.run_anew(), "demo")
    elif then == "destroy":
        destroy(demo.run_anew(), "demo", lambda _: True, keep_volumes=True)
    elif then == "another image":
        rebuilt(demo, "~/.state.json", command="other")
    start(demo, fresh=then == "a new container")
    assert text(demo, JSON) == "renamed"
    assert demo.engine.files("habitat-demo").nodes[JSON].kind == "link"


def test_persisted_file_replaced_by_folder_gives_notice_and_is_kept(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "~/.state.json")
    start(demo)
    demo.engine.files("habitat-demo").add(f"{JSON}/x", Node("file"))
    start(demo)
    assert demo.notices()[-1] == (
        "~/.state.json does not persist yet: it is a folder, which ~/.state.json/ would keep; it is in habitat-demo"
    )
    assert demo.engine.files("habitat-demo").find(f"{JSON}/x")


def test_persisted_file_link_removed_is_restored_by_next_start(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "~/.state.json", image={JSON: "image's"})
    start(demo)
    del demo.engine.files("habitat-demo").nodes[JSON]
    start(demo)
    assert text(demo, JSON) == "image's"


# Containers


@pytest.mark.guarantee("persisted-files-survive")
def test_persist_list_changed_gives_new_container_with_same_volumes(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "~/.cache/", "~/.state.json")
    first = start(demo, {f"{HOME}/.cache/x": "mine", JSON: "mine"})
    write(demo.root, "habitats/demo/config.yaml", config("~/.state.json", "~/.cache/"))
    assert start(demo) == first, "the order of the list means nothing"
    write(demo.root, "habitats/demo/config.yaml", config("~/.state.json", "~/.cache/", "/srv/more/"))
    assert demo.build() == []
    assert start(demo) != first
    assert (text(demo, JSON), text(demo, f"{HOME}/.cache/x")) == ("mine", "mine")
    write(demo.root, "habitats/demo/config.yaml", BASE)
    start(demo)
    node = demo.engine.files("habitat-demo").find(JSON, last=False)
    assert (node.kind, node.content) == ("file", b"mine") if node else False
    write(demo.root, "habitats/demo/config.yaml", config("~/.state.json"))
    start(demo)
    assert text(demo, JSON) == "mine"


def test_persist_volumes_are_absent_from_container_of_committed_image(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "~/.state.json")
    start(demo)
    committed = demo.engine.commit("habitat-demo", ())
    demo.engine.tag(committed, "base:1")
    demo.engine.on_execute = make_user
    write(demo.root, "habitats/demo/config.yaml", BASE)
    demo.build()
    first = start(demo)
    assert start(demo) == first


def test_persist_volumes_are_created_by_no_build(tmp_path: Path) -> None:
    built_demo(tmp_path, "~/.cache/").run_anew()
    demo = DemoProject(tmp_path, config("~/.cache/"))
    demo.build()
    assert demo.engine.volumes() == []


def test_start_failure_while_container_is_filled_leaves_no_container(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "~/.state.json", image={JSON: "image's"})
    for method in ("put_archive", "rename"):
        demo.engine.failures = {method: EngineError("no")}
        with pytest.raises(EngineError):
            start(demo)
        assert demo.engine.containers() == []
    demo.engine.failures = {}
    start(demo)
    assert text(demo, JSON) == "image's"


def test_start_draft_container_of_killed_run_is_removed_by_next_start(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "~/.state.json")
    draft = f"{demo.project.temporary_containers.prefix('start', 'demo')}draft"
    demo.engine.create("habitat-demo:final", draft, ("x",), labels={"habitat.run": "demo"})
    start(demo)
    assert [container.name for container in demo.engine.containers()] == ["habitat-demo"]


@pytest.mark.guarantee("persisted-files-collected-as-user")
def test_persisted_files_of_old_uid_are_given_to_new_uid_only(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "~/.cache/")
    start(demo, {f"{HOME}/.cache/x": "mine"})
    nodes = demo.engine.files("habitat-demo").nodes
    nodes[f"{HOME}/.cache/roots"] = Node("file", 0o644, 0, 0)
    for path in (f"{HOME}/.cache", f"{HOME}/.cache/x"):  # of the USER that there was before
        nodes[path] = Node(nodes[path].kind, 0o755, 700, 700)
    start(demo, fresh=True)
    assert owners(demo, f"{HOME}/.cache", f"{HOME}/.cache/x", f"{HOME}/.cache/roots") == [
        (1000, 1000),
        (1000, 1000),
        (0, 0),
    ]


@pytest.mark.guarantee("persisted-files-collected-as-user")
def test_start_without_stat_in_image_fails_and_leaves_no_container(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "/srv/cache/", image={"/srv/cache/x": ""})
    demo.engine.on_execute = lambda command: (127, "sh: stat: not found") if "chgrp" in command.script else None
    with pytest.raises(HabitatError) as excinfo:
        runtime_start.start(demo.run_anew(), "demo", FakeTerminal())
    assert str(excinfo.value) == (
        "demo: the persistent volumes could not be given to USER (sh: stat: not found): "
        "check that the image has stat, find and chown"
    )
    assert demo.engine.containers() == []


HOLDS_HOME = (
    "entry.persist: /home/ can't persist: /home/agent is in it, and the build puts files there: "
    "name a file or folder below it, or somewhere else"
)


@pytest.mark.parametrize(
    ("path", "image", "message"),
    [
        ("~/.x", {f"{HOME}/.x/y": ""}, "~/.x is a folder in the image: write ~/.x/"),
        ("/srv/x/", {"/srv/x": ""}, "/srv/x is a file in the image: write /srv/x"),
        (
            "/home/",
            {},
            HOLDS_HOME,
        ),
    ],
)
def test_persist_path_wrong_for_image_is_refused_with_line(
    tmp_path: Path, path: str, image: dict[str, str], message: str
) -> None:
    demo = built_demo(tmp_path, path, image=image)
    with pytest.raises(HabitatError) as excinfo:
        start(demo)
    assert str(excinfo.value) == f"habitats/demo/config.yaml:5: {message}"
    assert demo.engine.containers() == []
    assert demo.engine.volumes() == []


def test_persist_paths_equal_after_home_expansion_are_refused(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "~/.cache/", f"{HOME}/.cache/pip/")
    with pytest.raises(HabitatError) as excinfo:
        start(demo)
    assert "~/.cache/ persists (habitats/demo/config.yaml:5): keep one of them" in str(excinfo.value)


# Volumes


def test_persist_volume_names_are_unique_readable_and_short() -> None:
    names = [
        volume_name(habitat, path)
        for habitat in ("demo", "demo-state", "x" * 200)
        for path in ("~/.state.json", "~/.state.json/", "~/state/json", "json", "/" + "ä" * 300, "/" + "a" * 300)
    ]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) < 255
    assert names[0].startswith("habitat-demo-state-json-")


@pytest.mark.guarantee("persisted-files-survive")
def test_destroy_lists_persist_volumes_and_removes_them_after_yes(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "~/.cache/", "~/.state.json")
    start(demo)
    write(demo.root, "habitats/demo/config.yaml", config("~/.cache/"))  # what left the config is found by its label
    asked: list[str] = []
    assert not destroy(demo.run_anew(), "demo", refusing(asked))
    assert asked == ["Remove the container, with all changes in it, and 2 persistent volumes?"]
    names = [volume_name("demo", path) for path in ("~/.cache/", "~/.state.json")]
    assert demo.lines() == [
        "habitat-demo (stopped): nothing has changed in it since its image",
        f"~/.cache/: volume {names[0]}, since 2026-01-01",
        f"~/.state.json: volume {names[1]}, since 2026-01-01",
    ]
    assert len(demo.engine.volumes()) == 3
    assert destroy(demo.run_anew(), "demo", lambda _: True)
    assert len(demo.engine.volumes()) == 1
    kept = "its workspace is kept: `doit destroy:demo --workspace` removes it"
    images = "its snapshots are kept: `doit clean demo` removes them"
    assert demo.notices() == [f"removed habitat-demo, 2 persistent volumes; {kept}; {images}"]


def test_destroy_names_only_what_is_kept(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "~/.cache/")
    start(demo)
    clean.clean_all(demo.run_anew(), "demo")
    assert destroy(demo.run_anew(), "demo", lambda _: True, keep_volumes=True)
    kept = "its workspace is kept: `doit destroy:demo --workspace` removes it; its persistent volumes are kept"
    assert demo.notices() == [f"removed habitat-demo; {kept}"]


def test_destroy_finds_persist_volumes_without_container(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "~/.cache/")
    start(demo)
    demo.engine.remove("habitat-demo")
    asked: list[str] = []
    destroy(demo.run_anew(), "demo", refusing(asked))
    assert asked == ["Remove 1 persistent volume?"]


def test_destroy_keeps_volumes_of_other_habitats_and_programs(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "~/.cache/")
    start(demo)
    mounts = [
        VolumeMount("other", "/x", {"habitat.name": "demo2", "habitat.persist": "/x/"}),
        VolumeMount("foreign", "/y", {"habitat.name": "demo"}),
    ]
    demo.engine.create("base:1", "other", ("x",), mounts=mounts)
    assert destroy(demo.run_anew(), "demo", lambda _: True)
    assert destroy(demo.run_anew(), "demo", lambda _: True, workspace=True)
    assert [volume.name for volume in demo.engine.volumes()] == ["foreign", "other"]


def test_destroy_keeps_persist_volume_used_by_other_container(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "~/.cache/")
    start(demo)
    (volume,) = demo.engine.volumes(label="habitat.persist")
    demo.engine.create("base:1", "guest", ("x",), mounts=[VolumeMount(volume.name, "/x")])
    assert destroy(demo.run_anew(), "demo", lambda _: True, workspace=True)
    assert not destroy(demo.run_anew(), "demo", lambda _: True)
    assert demo.notices()[0].startswith(f"volume {volume.name} is kept: another container uses it")
    assert demo.engine.volumes() == [volume]


@pytest.mark.guarantee("persisted-files-survive")
def test_clean_keeps_persist_volumes(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "~/.cache/")
    start(demo)
    clean.clean_all(demo.run_anew(), "demo")
    assert len(demo.engine.volumes(label="habitat.persist")) == 1


def test_start_without_persist_makes_no_extra_engine_requests(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path, BASE)
    demo.build()
    demo.engine.calls.clear()
    bring_up(demo.run_anew(), demo.project.habitat("demo"))
    changing = [call[0] for call in demo.engine.calls if call[0] not in ("images", "create_volume", "remove_volume")]
    # Once for an image: its users and its git configs. Volumes are those of the lock, while a workspace is filled.
    assert changing == ["create", *["read_file"] * 2, "start"]
    demo.engine.remove("habitat-demo")
    demo.engine.calls.clear()
    bring_up(demo.run_anew(), demo.project.habitat("demo"))
    assert [call[0] for call in demo.engine.calls if call[0] != "images"] == ["create", "start"]
