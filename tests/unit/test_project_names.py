"""Two projects on one engine that have a habitat of the same name, and clones of one project."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from unit_helpers import DemoProject, FakeTerminal, load, write

from phases.core.cache.project_identity import LABEL_ID, LABEL_ORIGIN, LABEL_PROJECT, ProjectIdentity
from phases.core.config import names
from phases.core.errors import ConfigError, Conflict, StartError, StateError
from phases.core.report import status
from phases.core.runtime import clean, logs, stop
from phases.core.runtime import exec as runtime_exec
from phases.core.runtime import start as runtime_start
from phases.core.runtime.destroy import destroy
from phases.core.runtime.orphans import destroy_earlier, orphans
from phases.core.runtime.persistence.volumes import volumes_of
from phases.ui.status import cells

if TYPE_CHECKING:
    from pathlib import Path

    from fake_engine import FakeEngine

CONFIG = "base_image: base:1\nentry: {command: 'true', persist: [/srv/]}\n"


def project_in(folder: Path, engine: FakeEngine | None = None, *, name: str = "", more: str = "") -> DemoProject:
    """A project with a habitat demo. name: its `project:`; more: of its config."""
    folder.mkdir(exist_ok=True)
    if name:
        write(folder, "shared/config.yaml", f"project: {name}\n")
    demo = DemoProject(folder, f"{CONFIG}{more}")
    if engine:
        demo.engine = engine
        demo.run_anew()
    return demo


def git_clone(folder: Path, url: str) -> Path:
    """A repository that was cloned from a URL."""
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    subprocess.run(["git", "-C", str(folder), "remote", "add", "origin", url], check=True)
    return folder


def repositories(engine: FakeEngine) -> set[str]:
    return {tag.partition(":")[0] for tag in engine.tags() if tag.startswith("habitat-")}


def state_of(engine: FakeEngine, name: str) -> tuple[object, ...]:
    """All that an engine has of a habitat, by its name there."""
    tags = {tag: image for tag, image in engine.tags().items() if tag.startswith(f"habitat-{name}:")}
    rows = [(row.name, row.running) for row in engine.containers(label=f"habitat.run={name}")]
    return tags, rows, [volume.name for volume in engine.volumes(label=f"habitat.name={name}")]


@pytest.fixture
def shop(tmp_path: Path) -> DemoProject:
    """A project that is the first one on its engine, with a running container and a volume."""
    shop = project_in(tmp_path / "shop")
    shop.build()
    runtime_start.start_detached(shop.run_anew(), "demo")
    return shop


@pytest.fixture
def blog(shop: DemoProject, tmp_path: Path) -> DemoProject:
    """Another project on the same engine, with another config."""
    return project_in(tmp_path / "blog", shop.engine, more="env: [COLOUR=blue]\n")


# One project alone


def test_project_alone_has_names_without_project(shop: DemoProject) -> None:
    assert repositories(shop.engine) == {"habitat-demo"}
    assert [container.name for container in shop.engine.containers()] == ["habitat-demo"]
    assert not (shop.root / ".stamps/demo/engine-name").exists()


def test_snapshot_container_and_volume_have_labels_of_project(shop: DemoProject) -> None:
    record = json.loads((shop.root / ".stamps/_project.json").read_text())
    labels = {LABEL_PROJECT: str(shop.root), LABEL_ID: record["id"], LABEL_ORIGIN: ""}
    images = [image for image in shop.engine.images() if image.tags != ("base:1",)]
    of_images = [image.labels for image in images]
    of_containers = [container.labels for container in shop.engine.containers()]
    of_volumes = [volume.labels for volume in shop.engine.volumes(label="habitat.persist")]
    assert (len(of_images) > 8, len(of_containers), len(of_volumes)) == (True, 1, 1)
    every = [*of_images, *of_containers, *of_volumes]
    assert [{key: each.get(key) for key in labels} for each in every] == [labels] * len(every)


def test_cached_run_asks_engine_for_images_alone(shop: DemoProject) -> None:
    project = shop.run_anew()
    shop.engine.calls.clear()
    assert project.assess("demo").stale == {}
    assert [call for call in shop.engine.calls if call[0] != "images"] == []


# Another project


@pytest.mark.guarantee("projects-apart-on-one-engine")
def test_second_project_takes_its_name_and_leaves_first_alone(shop: DemoProject, blog: DemoProject) -> None:
    before = state_of(shop.engine, "demo")
    blog.build()
    runtime_start.start_detached(blog.run_anew(), "demo")
    assert repositories(blog.engine) == {"habitat-demo", "habitat-blog.demo"}
    assert state_of(shop.engine, "demo") == before
    (_, containers, volumes) = state_of(blog.engine, "blog.demo")
    assert containers == [("habitat-blog.demo", True)]
    assert len(volumes) == 2  # type: ignore[arg-type]
    assert (shop.build(), blog.build()) == ([], [])


def test_first_build_of_second_project_names_the_first_once(shop: DemoProject, blog: DemoProject) -> None:
    blog.build()
    ours = "images, containers and volumes of demo are called habitat-blog.demo here"
    assert blog.notices() == [f"habitat-demo is of the project in {shop.root}: {ours}"]
    blog.project.stamps.forget("setup:demo")
    assert blog.build()
    assert blog.notices() == []


@pytest.mark.guarantee("projects-apart-on-one-engine")
def test_verbs_of_second_project_touch_nothing_of_first(shop: DemoProject, blog: DemoProject) -> None:
    before = state_of(shop.engine, "demo")
    for is_built in (False, True):
        if is_built:
            blog.build()
            runtime_start.start_detached(blog.run_anew(), "demo")
        (row,) = status.overview(blog.run_anew(), ["demo"]).habitats
        assert (row.container.name if row.container else "") == ("habitat-blog.demo" if is_built else "")
        assert {phase.state for phase in row.phases} == ({"cached"} if is_built else {"new"})
        stop.stop(blog.run_anew(), "demo", force=True)
        logs.show(blog.run_anew(), "demo")
        assert orphans(blog.run_anew()) == []
        assert destroy(blog.run_anew(), "demo", lambda _: True)
        assert destroy(blog.run_anew(), "demo", lambda _: True, workspace=True)
        clean.clean_all(blog.run_anew(), "demo")
        assert state_of(blog.engine, "blog.demo") == ({}, [], [])
        assert state_of(shop.engine, "demo") == before


def test_first_project_cleaned_with_container_left_keeps_its_name(shop: DemoProject, blog: DemoProject) -> None:
    stop.stop(shop.run_anew(), "demo")
    clean.clean_all(shop.run_anew(), "demo")
    blog.build()
    assert repositories(blog.engine) == {"habitat-blog.demo"}
    shop.build()
    assert repositories(blog.engine) == {"habitat-demo", "habitat-blog.demo"}


def test_second_project_keeps_its_name_after_first_is_gone(shop: DemoProject, blog: DemoProject) -> None:
    blog.build()
    runtime_start.start_detached(blog.run_anew(), "demo")
    assert destroy(shop.run_anew(), "demo", lambda _: True)
    assert destroy(shop.run_anew(), "demo", lambda _: True, workspace=True)
    clean.clean_all(shop.run_anew(), "demo")
    shutil.rmtree(shop.root / ".stamps")
    clean.clean_all(blog.run_anew(), "demo")
    assert (blog.root / ".stamps/demo/engine-name").read_text() == "blog.demo"
    blog.build()
    assert repositories(blog.engine) == {"habitat-blog.demo"}
    assert destroy(blog.run_anew(), "demo", lambda _: True)
    assert destroy(blog.run_anew(), "demo", lambda _: True, workspace=True)
    clean.clean_all(blog.run_anew(), "demo")
    blog.build()
    assert repositories(blog.engine) == {"habitat-demo"}


@pytest.mark.guarantee("own-images-stay-own")
@pytest.mark.parametrize("which", ["shop", "blog"])
def test_state_removed_project_finds_its_own_images(shop: DemoProject, blog: DemoProject, which: str) -> None:
    blog.build()
    demo = {"shop": shop, "blog": blog}[which]
    before = demo.engine.tags()
    shutil.rmtree(demo.root / ".stamps")
    assert demo.build() == ["verify", "test"] or demo.build("tools") == []
    assert {*demo.engine.tags()} == {*before}


@pytest.mark.guarantee("own-images-stay-own")
def test_folder_moved_project_finds_its_own_images(shop: DemoProject) -> None:
    moved = shop.root.rename(shop.root.parent / "moved")
    demo = project_in(moved, shop.engine)
    assert demo.build() == []
    runtime_start.start_detached(demo.run_anew(), "demo")
    assert repositories(demo.engine) == {"habitat-demo"}


@pytest.mark.guarantee("own-images-stay-own")
def test_images_of_earlier_version_are_own(shop: DemoProject, tmp_path: Path) -> None:
    for image in shop.engine._images.values():
        for label in (LABEL_ID, LABEL_PROJECT, LABEL_ORIGIN):
            image.labels.pop(label, None)
    other = project_in(tmp_path / "other", shop.engine)
    assert other.project.names.of("demo") == "demo"


def test_third_project_in_folder_of_same_name_is_refused(shop: DemoProject, blog: DemoProject, tmp_path: Path) -> None:
    blog.build()
    (tmp_path / "c").mkdir()
    third = project_in(tmp_path / "c" / "blog", shop.engine)
    before = shop.engine.tags()
    with pytest.raises(Conflict) as caught:
        third.build()
    assert str(caught.value) == (
        f"demo: the image habitat-blog.demo is of the project in {blog.root}: write project: NAME into the shared"
        " config.yaml, for names of this project's own"
    )
    (row,) = status.overview(third.run_anew(), ["demo"]).habitats
    assert "habitat-blog.demo is of the project in" in row.error
    with pytest.raises(Conflict):
        clean.clean_all(third.run_anew(), "demo")
    assert shop.engine.tags() == before
    write(third.root, "shared/config.yaml", "project: third\n")
    third.build()
    assert repositories(shop.engine) == {"habitat-demo", "habitat-blog.demo", "habitat-third.demo"}


def test_two_first_builds_at_once_second_is_refused_and_then_has_its_own_name(tmp_path: Path) -> None:
    shop = project_in(tmp_path / "shop")
    blog = project_in(tmp_path / "blog", shop.engine)
    assert blog.project.names.of("demo") == "demo"
    blog.project.assess("demo")
    first = blog.project.phases("demo")[0]
    shop.build()
    before = shop.engine.tags()
    with pytest.raises(Conflict, match=r"is of the project in .*/shop: run the same command again$"):
        blog.builder.build("demo", first)
    assert shop.engine.tags() == before
    blog.build()
    assert repositories(shop.engine) == {"habitat-demo", "habitat-blog.demo"}


def test_container_of_other_project_under_own_name_is_refused(tmp_path: Path, shop: DemoProject) -> None:
    """As two projects have left it that an earlier version built in turns."""
    for image in shop.engine._images.values():
        image.labels.pop(LABEL_ID, None)
    other = project_in(tmp_path / "other", shop.engine)
    before = state_of(shop.engine, "demo")
    for verb in (
        lambda project: runtime_start.start_detached(project, "demo"),
        lambda project: runtime_exec.execute(project, "demo", ["true"], FakeTerminal()),
        lambda project: stop.stop(project, "demo", force=True),
    ):
        with pytest.raises(Conflict, match=r"the container habitat-demo is of the project in .*/shop: write project: "):
            verb(other.run_anew())
    with pytest.raises(Conflict, match=r"the volume \S+ is of the project in .*/shop"):
        volumes_of(other.run_anew(), "demo")
    assert state_of(shop.engine, "demo") == before


# project:


@pytest.mark.guarantee("projects-apart-on-one-engine")
def test_named_project_has_its_name_in_all_names(tmp_path: Path) -> None:
    demo = project_in(tmp_path / "x", name="shop")
    demo.build()
    runtime_start.start_detached(demo.run_anew(), "demo")
    assert repositories(demo.engine) == {"habitat-shop.demo"}
    assert [container.name for container in demo.engine.containers()] == ["habitat-shop.demo"]
    assert [re.sub("-[0-9a-f]{8}$", "", volume.name) for volume in demo.engine.volumes()] == [
        "habitat-shop.demo-srv",
        "habitat-shop.demo-workspace",
    ]
    (row,) = status.overview(demo.run_anew(), ["demo"]).habitats
    assert row.container
    assert row.container.name == "habitat-shop.demo"
    assert demo.build() == []


def test_projects_of_same_name_share_images(tmp_path: Path) -> None:
    one = project_in(tmp_path / "one", name="shop")
    one.build()
    two = project_in(tmp_path / "two", one.engine, name="shop")
    assert two.build("tools") == []


def test_name_of_project_is_in_no_slice(tmp_path: Path) -> None:
    one, two = (project_in(tmp_path / name, name=name).project.assess("demo").hashes for name in ("one", "two"))
    assert one == two


def test_name_that_is_given_later_leaves_earlier_images_and_says_so(shop: DemoProject) -> None:
    before = state_of(shop.engine, "demo")
    write(shop.root, "shared/config.yaml", "project: store\n")
    project = shop.run_anew()
    shop.builder.build("demo", project.phases("demo")[0])
    assert shop.notices()[0] == (
        "images, containers and volumes of demo are called habitat-store.demo here, by project: store."
        " habitat-demo stays as it is: `doit destroy:demo --earlier-names` removes it, after asking"
    )
    assert state_of(shop.engine, "demo") == before


def test_name_that_is_given_later_lists_what_has_the_earlier_name(shop: DemoProject) -> None:
    write(shop.root, "shared/config.yaml", "project: store\n")
    (row,) = orphans(shop.run_anew())
    assert (row.name, row.engine_name, row.is_renamed) == ("demo", "demo", True)
    assert (row.containers, row.running, len(row.volumes)) == (["habitat-demo"], ["habitat-demo"], 2)
    assert row.images == len({image for tag, image in shop.engine.tags().items() if tag.startswith("habitat-demo:")})
    shown = cells.orphan(row).plain
    assert shown.startswith("demo, as habitat-demo: 1 container (1 up), 2 volumes, ")
    assert shown.endswith(" images; to remove: `doit destroy:demo --earlier-names`")
    assert [row.images for row in orphans(shop.run_anew())] == [row.images]


@pytest.mark.guarantee("removed-habitats-listed")
def test_destroy_earlier_names_keeps_what_has_the_name_of_today(shop: DemoProject) -> None:
    write(shop.root, "shared/config.yaml", "project: store\n")
    shop.build()
    runtime_start.start_detached(shop.run_anew(), "demo")
    today, before = state_of(shop.engine, "store.demo"), state_of(shop.engine, "demo")
    questions: list[str] = []

    def refuse(question: str) -> bool:
        questions.append(question)
        return False

    assert not destroy_earlier(shop.run_anew(), "demo", refuse)
    assert re.fullmatch(
        r"Remove the container, with all changes in it, and 1 persistent volume, and \d+ images\?",
        questions[0],
    )
    assert state_of(shop.engine, "demo") == before
    assert destroy_earlier(shop.run_anew(), "demo", lambda _: True)
    assert destroy_earlier(shop.run_anew(), "demo", lambda _: True, workspace=True)
    assert state_of(shop.engine, "demo") == ({}, [], [])
    assert state_of(shop.engine, "store.demo") == today
    assert shop.build() == []
    assert orphans(shop.run_anew()) == []
    assert destroy_earlier(shop.run_anew(), "demo", lambda _: True)
    assert shop.notices() == ["demo has nothing under an earlier name: nothing to remove"]


def test_port_of_container_of_earlier_name_is_freed_by_its_own_name(tmp_path: Path) -> None:
    demo = project_in(tmp_path / "shop")
    write(demo.root, "shared/config.yaml", "entry: {ports: [8080]}\n")
    demo.build()
    runtime_start.start_detached(demo.run_anew(), "demo")
    write(demo.root, "shared/config.yaml", "project: store\nentry: {ports: [8080]}\n")
    demo.build()
    with pytest.raises(StartError, match="is taken by habitat-demo: `docker stop habitat-demo` frees it"):
        runtime_start.start_detached(demo.run_anew(), "demo")


def test_destroy_of_habitat_keeps_what_has_an_earlier_name(shop: DemoProject) -> None:
    before = state_of(shop.engine, "demo")
    write(shop.root, "shared/config.yaml", "project: store\n")
    shop.build()
    assert destroy(shop.run_anew(), "demo", lambda _: True)
    clean.clean_all(shop.run_anew(), "demo")
    assert state_of(shop.engine, "demo") == before
    assert [row.engine_name for row in orphans(shop.run_anew())] == ["demo"]


def test_every_earlier_name_is_listed_and_removed(shop: DemoProject) -> None:
    for name in ("store", "depot", "last"):
        write(shop.root, "shared/config.yaml", f"project: {name}\n")
        shop.build()
    assert [row.engine_name for row in orphans(shop.run_anew())] == ["demo", "depot.demo", "store.demo"]
    assert {row.name for row in orphans(shop.run_anew())} == {"demo"}
    assert destroy_earlier(shop.run_anew(), "demo", lambda _: True)
    assert repositories(shop.engine) == {"habitat-last.demo"}


def test_habitat_removed_after_its_project_was_named_is_removed_with_earlier_names(shop: DemoProject) -> None:
    write(shop.root, "shared/config.yaml", "project: store\n")
    shop.build()
    shutil.rmtree(shop.root / "habitats/demo")
    rows = {row.engine_name: (row.name, row.is_renamed) for row in orphans(shop.run_anew())}
    assert rows == {"demo": ("demo", True), "store.demo": ("demo", False)}
    assert destroy_earlier(shop.run_anew(), "demo", lambda _: True)
    assert destroy_earlier(shop.run_anew(), "demo", lambda _: True, workspace=True)
    assert [row.engine_name for row in orphans(shop.run_anew())] == ["store.demo"]


def test_habitat_removed_after_project_was_moved_is_listed(shop: DemoProject) -> None:
    moved = project_in(shop.root.rename(shop.root.parent / "moved"), shop.engine)
    (moved.root / "habitats/demo").rename(moved.root / "habitats/other")
    (row,) = orphans(moved.run_anew())
    assert (row.name, row.containers, len(row.volumes)) == ("demo", ["habitat-demo"], 2)
    assert row.images > 8


@pytest.mark.guarantee("removed-habitats-listed")
def test_copy_of_project_with_state_lists_nothing_of_the_original(shop: DemoProject, tmp_path: Path) -> None:
    shutil.copytree(shop.root, tmp_path / "copy")
    copy = project_in(tmp_path / "copy", shop.engine, name="copy")
    before = state_of(shop.engine, "demo")
    copy.build()
    assert orphans(copy.run_anew()) == []
    assert destroy_earlier(copy.run_anew(), "demo", lambda _: True)
    assert state_of(shop.engine, "demo") == before


def test_earlier_name_is_of_the_habitat_with_the_longest_fitting_name(shop: DemoProject) -> None:
    known = ("api", "web.api", "web")
    rows = [shop.project.names.habitat(name, known) for name in ("api", "web.api", "old.web.api", "old.api", "x.y")]
    assert rows == ["api", "web.api", "web.api", "api", "x.y"]
    assert shop.project.names.habitat("shop.y", known) == "y"


def test_image_that_a_person_made_is_not_left_under_an_earlier_name(shop: DemoProject) -> None:
    final = next(image for image in shop.engine.images() if "habitat-demo:final" in image.tags)
    shop.engine.add_image("mine:1", labels={**final.labels})
    write(shop.root, "shared/config.yaml", "project: store\n")
    destroy_earlier(shop.run_anew(), "demo", lambda _: True)
    destroy_earlier(shop.run_anew(), "demo", lambda _: True, workspace=True)
    assert "mine:1" in shop.engine.tags()
    assert orphans(shop.run_anew()) == []


def test_removed_habitat_of_named_project_is_listed_and_removed_by_its_own_name(tmp_path: Path) -> None:
    demo = project_in(tmp_path / "x", name="shop")
    demo.build()
    runtime_start.start_detached(demo.run_anew(), "demo")
    (demo.root / "habitats/demo").rename(demo.root / "habitats/other")
    (row,) = orphans(demo.run_anew())
    assert (row.name, row.containers, len(row.volumes)) == ("demo", ["habitat-shop.demo"], 2)
    assert row.images > 8
    stop.stop(demo.run_anew(), "demo")
    assert destroy(demo.run_anew(), "demo", lambda _: True)
    assert destroy(demo.run_anew(), "demo", lambda _: True, workspace=True)
    clean.clean_all(demo.run_anew(), "demo")
    assert orphans(demo.run_anew()) == []
    assert repositories(demo.engine) == set()


def test_broken_shared_config_keeps_recorded_name(tmp_path: Path) -> None:
    demo = project_in(tmp_path / "x", name="shop")
    demo.build()
    runtime_start.start_detached(demo.run_anew(), "demo")
    write(demo.root, "shared/config.yaml", "project: shop\nenv: [\n")
    stop.stop(demo.run_anew(), "demo")
    assert [container.running for container in demo.engine.containers()] == [False]


@pytest.mark.parametrize(
    ("path", "text", "problem"),
    [
        ("habitats/demo/config.yaml", "base_image: base:1\nproject: shop\n", "is allowed only in the shared layer"),
        ("shared/config.yaml", "project: My Shop\n", "'My Shop' can't name a project"),
        ("shared/config.yaml", f"project: {'x' * 29}\n", "can't name a project"),
        ("shared/config.yaml", "project: [a]\n", "project: must be text, is a list"),
    ],
)
def test_project_key_wrong_is_error_with_line(tmp_path: Path, path: str, text: str, problem: str) -> None:
    write(tmp_path, "habitats/demo/config.yaml", "base_image: base:1\n")
    write(tmp_path, path, text)
    with pytest.raises(ConfigError, match=re.escape(problem)) as caught:
        load(tmp_path)
    assert f"{path}:{text[: text.index('project')].count(chr(10)) + 1}" in str(caught.value)


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("shop", "shop"),
        ("My Shop.v2", "my-shop-v2"),
        ("_x_", "x"),
        ("ÄÖ", "project"),
        ("a" * 40, "a" * 28),
        (f"{'a' * 27}-b", "a" * 27),
    ],
)
def test_folder_name_becomes_name_of_project(folder: str, expected: str) -> None:
    assert names.as_project_name(folder) == expected
    assert names.is_project_name(expected)


# Clones


@pytest.mark.guarantee("clones-share-an-engine")
@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("https://github.com/me/shop.git", "git@github.com:me/shop.git"),
        ("https://me:token@GitHub.com/me/shop", "ssh://git@github.com/me/shop/"),
        ("/srv/git/shop.git", "/srv/git/shop.git"),
    ],
)
def test_clones_of_one_repository_share_images(tmp_path: Path, one: str, two: str) -> None:
    first = project_in(git_clone(tmp_path / "one", one))
    first.build()
    second = project_in(git_clone(tmp_path / "two", two), first.engine)
    assert second.build("tools") == []
    assert repositories(first.engine) == {"habitat-demo"}


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("https://github.com/me/shop", "https://github.com/me/blog"),
        ("https://github.com/me/shop", "https://example.org/me/shop"),
        ("host:a/b", "host:a/c"),
    ],
)
def test_clones_of_other_repositories_are_other_projects(tmp_path: Path, one: str, two: str) -> None:
    first = project_in(git_clone(tmp_path / "one", one))
    first.build()
    assert project_in(git_clone(tmp_path / "two", two), first.engine).project.names.of("demo") == "two.demo"


def test_clone_of_repository_of_this_machine_is_same_project(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path / "one")], check=True)
    one, two = ProjectIdentity(tmp_path / "one"), ProjectIdentity(git_clone(tmp_path / "two", "../one"))
    three = ProjectIdentity(git_clone(tmp_path / "three", f"file://{tmp_path}/two"))
    assert one.origin == two.origin == three.origin != ""


def test_projects_in_folders_of_one_repository_are_two(tmp_path: Path) -> None:
    top = git_clone(tmp_path / "top", "https://github.com/me/all")
    for name in ("a", "b"):
        (top / name).mkdir()
    first = project_in(top / "a")
    first.build()
    assert project_in(top / "b", first.engine).project.names.of("demo") == "b.demo"


def test_label_has_no_url_and_no_token(tmp_path: Path) -> None:
    demo = project_in(git_clone(tmp_path / "one", "https://me:s3cret@example.org/private/name"))
    demo.build()
    text = repr([image.labels for image in demo.engine.images()])
    assert "s3cret" not in text
    assert "private" not in text


def test_same_folder_with_other_origin_is_other_project(tmp_path: Path) -> None:
    """As jobs of a CI system are, each in a container, with their repositories at the same path."""
    first = project_in(git_clone(tmp_path / "work", "https://example.org/a"))
    first.build()
    shutil.rmtree(first.root)
    second = project_in(git_clone(tmp_path / "work", "https://example.org/b"), first.engine)
    assert second.project.names.of("demo") == "work.demo"


# The id


def test_id_of_two_projects_at_once_is_created_once(tmp_path: Path) -> None:
    one, two = ProjectIdentity(tmp_path), ProjectIdentity(tmp_path)
    assert one.id == two.id == ""
    assert one.labels == two.labels
    assert [path.name for path in (tmp_path / ".stamps").iterdir()] == ["_project.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"id": 7}', '{"id": "../x"}', "\0" * 20_000])
def test_id_file_damaged_is_replaced(tmp_path: Path, text: str) -> None:
    write(tmp_path, ".stamps/_project.json", text)
    identity = ProjectIdentity(tmp_path)
    assert identity.id == ""
    assert identity.labels[LABEL_ID] == ProjectIdentity(tmp_path).id != ""


def test_id_that_can_not_be_written_is_error_in_one_line(tmp_path: Path) -> None:
    write(tmp_path, ".stamps", "a file")
    with pytest.raises(StateError, match=r"\.stamps/_project\.json"):
        ProjectIdentity(tmp_path).labels  # noqa: B018
