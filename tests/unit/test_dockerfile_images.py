"""The images that a Dockerfile names: which they are, and that a moved tag builds it again."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace
from unit_helpers import DemoProject, write

from phases.core import events
from phases.core.build.shared_builds import SharedSnapshots
from phases.core.cache import dockerfile_images
from phases.core.cache.dockerfile_references import base, references
from phases.core.errors import HabitatError
from phases.core.report import plan
from phases.ui.verbs import plan as plan_verb

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "images"),
    [
        ("FROM a\n", ["a"]),
        ("from a:1 as x\nFROM b AS y\nFROM x\nCOPY --from=y / /\n", ["a:1", "b"]),
        ("FROM a AS Build\nFROM build\nCOPY --from=BUILD / /\nCOPY --from=0 / /\n", ["a"]),
        ("FROM a\nCOPY --chown=1 --from=tool:2 /x /y\n", ["a", "tool:2"]),
        ("FROM a\nCOPY \\\n  --from=tool:2 \\\n /x /y\n", ["a", "tool:2"]),
        ("FROM a\nRUN --mount=from=b,target=/x --mount=type=bind,target=/y,from=c ls\n", ["a", "b", "c"]),
        ("FROM a\nRUN --mount=type=cache,target=/x ls --from=no\nRUN echo FROM no\n", ["a"]),
        ("FROM a\nRUN cat <<E\nFROM no\nCOPY --from=no / /\nE\n", ["a"]),
        ("# FROM no\nARG V=12\nARG R=corp\nFROM $R/x:${V:-9}\n", ["corp/x:12"]),
        ("ARG V\nFROM x:${V:-9}\n", ["x:9"]),
        (
            "ARG T=t:1\nFROM a\nARG T\nARG U=u\nRUN --mount=from=$T,target=/x --mount=from=$U,target=/y ls\n",
            ["a", "t:1", "u"],
        ),
        ("FROM base-${TARGETARCH}\n", ["base-arm64"]),
        ("FROM --platform=linux/amd64 a\nFROM --platform=$BUILDPLATFORM b\n", ["a", "b"]),
        ("FROM scratch\nCOPY --from=a@sha256:12 / /\n", []),
        ("FROM a:1@sha256:12\n", []),
        ("FROM a\nFROM a\nCOPY --from=a / /\n", ["a"]),
        ("FROM localhost:5000/a\n", ["localhost:5000/a"]),
        ("# escape=`\nFROM a`\n\n", ["a"]),
        ("FROM ${X\n", []),
        ("no Dockerfile", []),
        ("", []),
    ],
)
def test_dockerfile_references_are_images_of_all_stages(text: str, images: list[str]) -> None:
    assert references(text, "linux/arm64") == images


@pytest.mark.parametrize(
    ("text", "image"),
    [
        ("FROM a\nFROM b\n", "b"),
        ("FROM a AS x\nFROM x AS y\nFROM b AS z\nFROM Y\n", "a"),
        ("ARG V=3\nFROM a:$V\nCOPY --from=t / /\n", "a:3"),
        ("FROM scratch\n", ""),
        ("FROM scratch AS x\nFROM x\n", ""),
        ("nothing", ""),
    ],
)
def test_dockerfile_base_is_image_of_last_stage(text: str, image: str) -> None:
    assert base(text, "linux/amd64") == image


ALL = ["dockerfile", "base", "users", "env", "workdir", "habitat", "files", "setup", "repos", "tools"]
ALL += ["verify", "test", "final"]


@pytest.fixture
def demo(tmp_path: Path) -> DemoProject:
    write(tmp_path, "habitats/demo/Dockerfile.rest", "FROM tool:1\nFROM base:1\n")
    demo = DemoProject(tmp_path, "dockerfile: Dockerfile.rest\nenv: [USER=root]\n")
    demo.engine.add_image("tool:1")
    return demo


@pytest.mark.guarantee("dockerfile-image-moved")
@pytest.mark.parametrize("name", ["base:1", "tool:1"])
def test_dockerfile_image_with_moved_tag_builds_again_once(demo: DemoProject, name: str) -> None:
    assert demo.build() == ALL
    assert demo.build() == []
    old, new = demo.engine.image_config(name), demo.engine.add_image(name)
    assert old
    reason = f"image {name} of the Dockerfile: moved from {old.id[7:19]}… to {new[7:19]}…"
    assert [row.text for rows in plan.plan(demo.run_anew(), "demo").why.values() for row in rows] == [reason]
    assert demo.build() == ALL
    assert demo.build() == []


def test_dockerfile_image_moved_after_first_snapshot_was_pruned_builds_again(demo: DemoProject) -> None:
    demo.build()
    demo.engine.untag("habitat-demo:0-dockerfile")
    demo.engine.untag("habitat-demo:1-base")
    assert demo.build() == []
    demo.engine.add_image("base:1")
    assert demo.build() == ALL


def test_dockerfile_image_removed_builds_nothing(demo: DemoProject) -> None:
    demo.build()
    demo.engine.untag("tool:1")
    assert demo.build() == []


def test_dockerfile_image_of_builder_cache_that_comes_to_engine_builds_again(
    demo: DemoProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BuildKit doesn't list an image that it pulled, and prefers one that the engine has."""
    listed = demo.engine.images
    unlisted = lambda: [replace(image, tags=tuple({*image.tags} - {"tool:1"})) for image in listed()]  # noqa: E731
    monkeypatch.setattr(demo.engine, "images", unlisted)
    demo.build()
    assert demo.build() == []
    image = demo.project.image_index.tagged("habitat-demo:0-dockerfile")
    assert image
    assert json.loads(image.labels["habitat.images"]) == {"base:1": demo.base, "tool:1": ""}
    monkeypatch.undo()
    assert demo.build() == ALL
    assert demo.build() == []


def test_dockerfile_image_moved_during_build_builds_again(demo: DemoProject, monkeypatch: pytest.MonkeyPatch) -> None:
    build = demo.engine.build

    def build_and_move(*args: Any) -> str:
        try:
            return build(*args)
        finally:
            demo.engine.add_image("base:1")

    monkeypatch.setattr(demo.engine, "build", build_and_move)
    with pytest.raises(HabitatError, match=r"dockerfile has to run first \(image base:1 of the Dockerfile: moved from"):
        demo.build()
    monkeypatch.undo()
    assert demo.build() == ALL
    assert demo.build() == []


@pytest.mark.parametrize("label", ["", "{", "[]", '{"base:1": 1}', '{"": null, "?": "x"}', "7"])
def test_dockerfile_images_label_of_any_text_is_no_error(demo: DemoProject, label: str) -> None:
    demo.build()
    assert isinstance(dockerfile_images.moved({"habitat.images": label}, demo.project.image_index), str)


def test_dockerfile_image_moved_snapshot_of_other_habitat_is_not_shared(demo: DemoProject) -> None:
    demo.build("dockerfile")
    demo.engine.add_image("base:1")
    shutil.copytree(demo.root / "habitats/demo", demo.root / "habitats/other")
    assert SharedSnapshots(demo.run_anew()).shareable("other") == {}


def test_dockerfile_images_are_compared_with_one_request(demo: DemoProject) -> None:
    demo.build()
    demo.run_anew()
    demo.engine.calls.clear()
    demo.project.assess("demo")
    assert [call[0] for call in demo.engine.calls] == ["images"]


def test_dockerfile_whose_images_cannot_be_read_is_named_by_plan(demo: DemoProject) -> None:
    assert plan.unread_dockerfile(demo.project, "demo") == ""
    write(demo.root, "habitats/demo/Dockerfile.rest", "FROM base:1\nFOO x\n")
    project = demo.run_anew()
    notices: list[events.Event] = []
    project.bus.subscribe(notices.append)
    plan_verb.run(project, "demo", all=False)
    (text,) = [event.text for event in notices if isinstance(event, events.Notice)]
    assert text.startswith(
        "habitats/demo/Dockerfile.rest can't be read here (Dockerfile parse error on line 2: unknown"
    )
    assert text.endswith("image that it names moves: `doit forget dockerfile:demo` builds it")
