"""`entry.persist`, on the fake engine: what is on a habitat's volumes, and what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fake_files import Node
from unit_helpers import FakeTerminal, Site, bring_up, make_user, write

from phases.core import events
from phases.core.engine.protocol import VolumeMount
from phases.core.errors import EngineError, HabitatError
from phases.core.runtime import clean, stop
from phases.core.runtime import start as runtime_start
from phases.core.runtime.destroy import destroy
from phases.core.runtime.persistent_volumes import volume_name

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


def made(root: Path, *paths: str, image: dict[str, str] | None = None) -> Site:
    """A habitat with paths that persist, built. image: what its own files are, root's."""
    site = Site(root, config(*paths))
    site.engine.files("base:1").add(HOME, Node("dir", 0o755, 1000, 1000))
    for path, text in (image or {}).items():
        site.engine.files("base:1").write(path, text)
    site.build()
    return site


def start(site: Site, during: dict[str, str] | None = None, *, fresh: bool = False) -> str:
    """Start it; `during` is what its command puts into files, in the place of what was there. Returns the
    container's id.
    """

    def on_execute(command: Command) -> tuple[int, str] | None:
        if command.script != "true":
            return None
        for path, text in (during or {}).items():
            command.container.files.nodes[path] = Node("file", 0o644, 1000, 1000, text.encode())
        return 0, ""

    site.engine.on_execute = on_execute
    runtime_start.start(site.run_anew(), "demo", FakeTerminal(), fresh=fresh)
    found = site.engine.container("habitat-demo")
    assert found
    return found.id


def text(site: Site, path: str) -> str:
    node = site.engine.files("habitat-demo").find(path)
    assert node, path
    return node.content.decode()


def owners(site: Site, *paths: str) -> list[tuple[int, int]]:
    nodes = site.engine.files("habitat-demo").nodes
    return [(nodes[path].uid, nodes[path].gid) for path in paths]


def rebuilt(site: Site, *paths: str, command: str = "true") -> Site:
    write(site.root, "habitats/demo/config.yaml", config(*paths).replace("'true'", f"'true' # {command}"))
    write(site.root, "habitats/demo/note", command)
    site.build()
    return site


def refusing(asked: list[str]) -> Callable[[str], bool]:
    def refuse(question: str) -> bool:
        asked.append(question)
        return False

    return refuse


def told(site: Site) -> list[str]:
    return [event.text for event in site.seen if isinstance(event, events.Line)]


# Folders


def test_a_folder_has_at_first_what_the_image_has_and_is_the_users(tmp_path: Path) -> None:
    site = made(tmp_path, "/var/lib/thing/", image={"/var/lib/thing/data": "image's"})
    start(site)
    assert text(site, "/var/lib/thing/data") == "image's"
    assert owners(site, "/var/lib/thing", "/var/lib/thing/data") == [(1000, 1000)] * 2


def test_what_is_in_a_folder_outlives_a_rebuild(tmp_path: Path) -> None:
    site = made(tmp_path, "~/.cache/", image={f"{HOME}/.cache/x": "image's"})
    old = start(site, {f"{HOME}/.cache/x": "mine", f"{HOME}/.cache/y": "new"})
    assert start(rebuilt(site, "~/.cache/", command="other")) != old
    assert (text(site, f"{HOME}/.cache/x"), text(site, f"{HOME}/.cache/y")) == ("mine", "new")


def test_an_emptied_folder_stays_empty(tmp_path: Path) -> None:
    site = made(tmp_path, "~/.cache/", image={f"{HOME}/.cache/x": "image's"})
    start(site)
    del site.engine.files("habitat-demo").nodes[f"{HOME}/.cache/x"]
    start(site, fresh=True)
    assert site.engine.files("habitat-demo").find(f"{HOME}/.cache/x") is None


def test_folders_on_the_way_are_the_users_in_the_home_and_roots_elsewhere(tmp_path: Path) -> None:
    site = made(tmp_path, "~/.local/share/thing/", "/srv/a/b/", "~/.config/x.json")
    start(site)
    in_home = owners(site, f"{HOME}/.local", f"{HOME}/.local/share", f"{HOME}/.config")
    assert in_home == [(1000, 1000)] * 3
    assert owners(site, "/srv", "/srv/a") == [(0, 0)] * 2


# Files


def test_a_file_has_at_first_what_the_image_has_and_outlives_a_rebuild(tmp_path: Path) -> None:
    site = made(tmp_path, "~/.state.json", image={JSON: "image's"})
    start(site)
    assert text(site, JSON) == "image's"
    site.engine.files("habitat-demo").write(KEPT, "mine")  # as a program that follows the link
    start(rebuilt(site, "~/.state.json", command="other"))
    assert text(site, JSON) == "mine"


def test_a_file_that_a_program_has_replaced_is_kept_when_it_is_left(tmp_path: Path) -> None:
    site = made(tmp_path, "~/.state.json", image={JSON: "image's"})
    start(site, {JSON: "renamed"})
    assert site.engine.files("habitat-demo").nodes[JSON] == Node("link", 0o777, 1000, 1000, target=KEPT)
    start(site, {JSON: "again"}, fresh=True)
    site.engine.remove("habitat-demo")
    start(site)
    assert text(site, JSON) == "again"
    assert site.engine.files("habitat-demo").nodes[KEPT].mode == 0o644


def test_a_file_that_neither_has_is_kept_once_it_is_there(tmp_path: Path) -> None:
    site = made(tmp_path, "~/.state.json")
    start(site)
    assert site.engine.files("habitat-demo").find(JSON, last=False) is None  # a program may make what it likes
    start(site, {JSON: "new"})
    start(site, fresh=True)
    assert text(site, JSON) == "new"


def test_a_file_where_the_user_may_make_none_can_be_written_through_its_link(tmp_path: Path) -> None:
    site = made(tmp_path, "/var/lib/thing.db")
    start(site)
    link = site.engine.files("habitat-demo").nodes["/var/lib/thing.db"]
    assert link.target == f"/var/lib/habitat/{volume_name('demo', '/var/lib/thing.db')}/thing.db"
    assert owners(site, link.target.rpartition("/")[0]) == [(1000, 1000)]


@pytest.mark.parametrize("then", ["the next start", "another image", "a new container", "stop", "destroy"])
def test_a_replaced_file_of_a_killed_start_is_kept_by_what_comes_next(tmp_path: Path, then: str) -> None:
    site = made(tmp_path, "~/.state.json", image={JSON: "image's"})
    start(site)
    site.engine.files("habitat-demo").nodes[JSON] = Node("file", 0o600, 1000, 1000, b"renamed")
    if then == "stop":
        site.engine.start("habitat-demo")
        stop.stop(site.run_anew(), "demo")
    elif then == "destroy":
        destroy(site.run_anew(), "demo", lambda _: True, keep_volumes=True)
    elif then == "another image":
        rebuilt(site, "~/.state.json", command="other")
    start(site, fresh=then == "a new container")
    assert text(site, JSON) == "renamed"
    assert site.engine.files("habitat-demo").nodes[JSON].kind == "link"


def test_a_folder_in_the_place_of_a_file_is_told_and_left_alone(tmp_path: Path) -> None:
    site = made(tmp_path, "~/.state.json")
    start(site)
    site.engine.files("habitat-demo").add(f"{JSON}/x", Node("file"))
    start(site)
    assert site.notices()[-1] == (
        "~/.state.json does not persist yet: it is a folder, which ~/.state.json/ would keep; it is in habitat-demo"
    )
    assert site.engine.files("habitat-demo").find(f"{JSON}/x")


def test_a_link_that_was_removed_is_back_at_the_next_start(tmp_path: Path) -> None:
    site = made(tmp_path, "~/.state.json", image={JSON: "image's"})
    start(site)
    del site.engine.files("habitat-demo").nodes[JSON]
    start(site)
    assert text(site, JSON) == "image's"


# Containers


def test_another_list_is_another_container_with_the_same_volumes(tmp_path: Path) -> None:
    site = made(tmp_path, "~/.cache/", "~/.state.json")
    first = start(site, {f"{HOME}/.cache/x": "mine", JSON: "mine"})
    write(site.root, "habitats/demo/config.yaml", config("~/.state.json", "~/.cache/"))
    assert start(site) == first, "the order of the list means nothing"
    write(site.root, "habitats/demo/config.yaml", config("~/.state.json", "~/.cache/", "/srv/more/"))
    assert site.build() == []
    assert start(site) != first
    assert (text(site, JSON), text(site, f"{HOME}/.cache/x")) == ("mine", "mine")
    write(site.root, "habitats/demo/config.yaml", BASE)
    start(site)
    assert site.engine.files("habitat-demo").find(JSON) is None
    write(site.root, "habitats/demo/config.yaml", config("~/.state.json"))
    start(site)
    assert text(site, JSON) == "mine"


def test_a_container_of_an_image_that_was_committed_from_one_has_no_volumes_of_it(tmp_path: Path) -> None:
    site = made(tmp_path, "~/.state.json")
    start(site)
    committed = site.engine.commit("habitat-demo", ())
    site.engine.tag(committed, "base:1")
    site.engine.on_execute = make_user
    write(site.root, "habitats/demo/config.yaml", BASE)
    site.build()
    first = start(site)
    assert start(site) == first


def test_no_build_and_no_throwaway_container_has_the_volumes(tmp_path: Path) -> None:
    made(tmp_path, "~/.cache/").run_anew()
    site = Site(tmp_path, config("~/.cache/"))
    site.build()
    assert site.engine.volumes() == []


def test_a_start_that_fails_while_a_container_is_filled_leaves_none_behind(tmp_path: Path) -> None:
    site = made(tmp_path, "~/.state.json", image={JSON: "image's"})
    for method in ("put_archive", "rename"):
        site.engine.failures = {method: EngineError("no")}
        with pytest.raises(EngineError):
            start(site)
        assert site.engine.containers() == []
    site.engine.failures = {}
    start(site)
    assert text(site, JSON) == "image's"


def test_what_a_start_that_was_killed_has_left_is_removed_by_the_next(tmp_path: Path) -> None:
    site = made(tmp_path, "~/.state.json")
    draft = f"{site.project.scratch.prefix('start', 'demo')}draft"
    site.engine.create("habitat-demo:final", draft, ("x",), labels={"habitat.run": "demo"})
    start(site)
    assert [container.name for container in site.engine.containers()] == ["habitat-demo"]


def test_files_are_given_to_a_user_whose_number_has_changed_and_to_nobody_twice(tmp_path: Path) -> None:
    site = made(tmp_path, "~/.cache/")
    start(site, {f"{HOME}/.cache/x": "mine"})
    nodes = site.engine.files("habitat-demo").nodes
    nodes[f"{HOME}/.cache/roots"] = Node("file", 0o644, 0, 0)
    for path in (f"{HOME}/.cache", f"{HOME}/.cache/x"):  # of the USER that there was before
        nodes[path] = Node(nodes[path].kind, 0o755, 700, 700)
    start(site, fresh=True)
    assert owners(site, f"{HOME}/.cache", f"{HOME}/.cache/x", f"{HOME}/.cache/roots") == [
        (1000, 1000),
        (1000, 1000),
        (0, 0),
    ]


def test_container_whose_files_cannot_be_given_is_not_made(tmp_path: Path) -> None:
    site = made(tmp_path, "/srv/cache/", image={"/srv/cache/x": ""})
    site.engine.on_execute = lambda command: (127, "sh: stat: not found") if "chgrp" in command.script else None
    with pytest.raises(HabitatError) as caught:
        runtime_start.start(site.run_anew(), "demo", FakeTerminal())
    assert str(caught.value) == (
        "demo: the persistent volumes could not be given to USER (sh: stat: not found): "
        "check that the image has stat, find and chown"
    )
    assert site.engine.containers() == []


HOLDS_HOME = (
    "entry.persist: /home/ can't persist: /home/agent is in it, and the build puts files there: "
    "name a file or folder within it, or another"
)


@pytest.mark.parametrize(
    ("path", "image", "said"),
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
def test_what_only_the_image_knows_is_refused_with_the_line(
    tmp_path: Path, path: str, image: dict[str, str], said: str
) -> None:
    site = made(tmp_path, path, image=image)
    with pytest.raises(HabitatError) as caught:
        start(site)
    assert str(caught.value) == f"habitats/demo/config.yaml:5: {said}"
    assert site.engine.containers() == []
    assert site.engine.volumes() == []


def test_two_names_of_one_place_are_found_where_the_home_is_known(tmp_path: Path) -> None:
    site = made(tmp_path, "~/.cache/", f"{HOME}/.cache/pip/")
    with pytest.raises(HabitatError) as caught:
        start(site)
    assert "~/.cache/ persists (habitats/demo/config.yaml:5): keep one of them" in str(caught.value)


# Volumes


def test_the_names_of_volumes_are_readable_and_nobody_elses() -> None:
    names = [
        volume_name(habitat, path)
        for habitat in ("demo", "demo-state", "x" * 200)
        for path in ("~/.state.json", "~/.state.json/", "~/state/json", "json", "/" + "ä" * 300, "/" + "a" * 300)
    ]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) < 255
    assert names[0].startswith("habitat-demo-state-json-")


def test_destroy_shows_what_persists_and_removes_it_after_a_yes(tmp_path: Path) -> None:
    site = made(tmp_path, "~/.cache/", "~/.state.json")
    start(site)
    write(site.root, "habitats/demo/config.yaml", config("~/.cache/"))  # what left the config is found by its label
    asked: list[str] = []
    assert not destroy(site.run_anew(), "demo", refusing(asked))
    assert asked == ["Remove the container, with all changes in it, and 2 persistent volumes?"]
    names = [volume_name("demo", path) for path in ("~/.cache/", "~/.state.json")]
    assert told(site) == [
        "habitat-demo (stopped): nothing has changed in it since its image",
        f"~/.cache/: volume {names[0]}, since 2026-01-01",
        f"~/.state.json: volume {names[1]}, since 2026-01-01",
    ]
    assert len(site.engine.volumes()) == 2
    assert destroy(site.run_anew(), "demo", lambda _: True)
    assert site.engine.volumes() == []
    assert site.notices() == ["removed habitat-demo, 2 persistent volumes; its snapshots are kept"]


def test_destroy_finds_what_persists_without_a_container(tmp_path: Path) -> None:
    site = made(tmp_path, "~/.cache/")
    start(site)
    site.engine.remove("habitat-demo")
    asked: list[str] = []
    destroy(site.run_anew(), "demo", refusing(asked))
    assert asked == ["Remove 1 persistent volume?"]


def test_destroy_leaves_the_volumes_of_another_habitat_and_those_of_others(tmp_path: Path) -> None:
    site = made(tmp_path, "~/.cache/")
    start(site)
    mounts = [
        VolumeMount("other", "/x", {"habitat.name": "demo2", "habitat.persist": "/x/"}),
        VolumeMount("foreign", "/y", {"habitat.name": "demo"}),
    ]
    site.engine.create("base:1", "other", ("x",), mounts=mounts)
    assert destroy(site.run_anew(), "demo", lambda _: True)
    assert [volume.name for volume in site.engine.volumes()] == ["foreign", "other"]


def test_a_volume_that_another_container_has_stays_and_is_told(tmp_path: Path) -> None:
    site = made(tmp_path, "~/.cache/")
    start(site)
    (volume,) = site.engine.volumes()
    site.engine.create("base:1", "guest", ("x",), mounts=[VolumeMount(volume.name, "/x")])
    assert not destroy(site.run_anew(), "demo", lambda _: True)
    assert site.notices()[0].startswith(f"volume {volume.name} is kept: another container uses it")
    assert site.engine.volumes() == [volume]


def test_clean_keeps_what_persists(tmp_path: Path) -> None:
    site = made(tmp_path, "~/.cache/")
    start(site)
    clean.clean_all(site.run_anew(), "demo")
    assert len(site.engine.volumes()) == 1


def test_a_habitat_where_nothing_persists_asks_nothing_more_of_the_engine(tmp_path: Path) -> None:
    site = Site(tmp_path, BASE)
    site.build()
    site.engine.calls.clear()
    bring_up(site.run_anew(), site.project.habitat("demo"))
    changing = [call[0] for call in site.engine.calls if call[0] != "images"]
    assert changing == ["create", "start"]
