"""A base image with nearly as many layers as the engine takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from unit_helpers import DemoProject, load, make_user, write

from phases.core import events
from phases.core.build.container import layers
from phases.core.engine.docker_api.api import refusal
from phases.core.errors import HabitatError

if TYPE_CHECKING:
    from pathlib import Path

    from fake_engine import Command

SECRET = "secrets: [{name: T, env: T, phases: [setup], optional: true}]\n"


def deep(root: Path, count: int, text: str = "") -> DemoProject:
    """A project whose base has `count` layers, and whose setup writes two megabytes."""
    demo = DemoProject(root, f"base_image: deep:1\nsetup: {{root: [big], user: [big]}}\n{text}")
    demo.engine.add_image("deep:1", layers=count)

    def run(command: Command) -> tuple[int, str] | None:
        if command.script != "big":
            return make_user(command)
        command.container.files.write(f"/big-{command.user}", "x" * 2_000_000)
        return 0, ""

    demo.engine.on_execute = run
    return demo


def count_of(demo: DemoProject, tag: str) -> int:
    config = demo.engine.image_config(f"habitat-demo:{tag}")
    assert config
    return config.layers


@pytest.mark.guarantee("too-many-layers-told-at-base")
def test_base_with_too_many_layers_fails_at_base_with_numbers(tmp_path: Path) -> None:
    demo = deep(tmp_path, 125)
    with pytest.raises(HabitatError) as caught:
        demo.build()
    text = str(caught.value)
    assert text.startswith(
        "habitats/demo/config.yaml:1: the image deep:1 has 125 layers, and the habitat adds at least 1:"
    )
    assert "the engine takes 125" in text
    assert "COPY --from=IMAGE / /" in text
    assert "habitat-demo:2-users" not in demo.engine.tags()
    notices = [event.text for event in demo.seen if isinstance(event, events.Notice)]
    assert notices == [], "the error has the reason, and nothing to debug"


@pytest.mark.guarantee("too-many-layers-told-at-base")
def test_too_many_layers_for_a_later_addition_are_an_error_at_first_phase(tmp_path: Path) -> None:
    demo = deep(tmp_path, 122)
    demo.build()
    before = demo.engine.tags()["habitat-demo:9-tools"]
    text = (tmp_path / "habitats/demo/config.yaml").read_text()
    more = "caches: [/c]\ntests: [t]\nvolumes: [{source: ../../data, dest: /d}]\n"
    write(tmp_path, "habitats/demo/t")
    write(tmp_path, "data/x")
    write(tmp_path, "habitats/demo/config.yaml", f"{text}{more}")
    with pytest.raises(
        HabitatError, match=r"the snapshot before files has 123 layers, and the habitat adds at least 3"
    ):
        demo.build()
    assert demo.engine.tags()["habitat-demo:9-tools"] == before


def test_base_with_just_few_enough_layers_is_built(tmp_path: Path) -> None:
    """The phases share a container then, although each commit writes the two megabytes again."""
    demo = deep(tmp_path, 124)
    demo.build()
    assert count_of(demo, "12-final") == 125
    other = deep(tmp_path / "other", 20)
    other.build()
    assert count_of(other, "12-final") == 22, "with layers to spare, a new container is faster"


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("", 1),
        ("tests: [t]\n", 2),
        ("volumes: [{source: data, dest: /data}]\n", 2),
        ("caches: [/c]\n", 3),
        (SECRET, 3),
        (SECRET + "tests: [t]\n", 4),
        ("repos: [{url: 'git@h:x', path: x, ssh_agent: true, known_hosts: k}]\n", 3),
    ],
)
def test_needed_layers_are_those_of_containers_that_cannot_be_shared(tmp_path: Path, text: str, needed: int) -> None:
    for path in ("data/x", "habitats/demo/t", "habitats/demo/k"):
        write(tmp_path, path, "x")
    habitat = load(tmp_path, f"base_image: base:1\nsetup: {{root: [x]}}\n{text}")
    assert layers.needed_by(habitat) == needed


@pytest.mark.parametrize(("text", "needed"), [("", 1), (SECRET, 3), ("tests: [t]\n", 2), ("caches: [/c]\n", 3)])
def test_habitat_that_passes_check_at_base_is_built(tmp_path: Path, text: str, needed: int) -> None:
    write(tmp_path, "habitats/demo/t", "x")
    demo = deep(tmp_path, 125 - needed, text)
    write(tmp_path, "habitats/demo/t", "", 0o755)
    own = demo.engine.on_execute
    assert own
    demo.engine.on_execute = lambda c: (0, "") if "/t" in str(c.args) and "exec" in c.script else own(c)
    demo.build()
    assert count_of(demo, "12-final") <= 125


def test_commit_with_too_many_layers_has_remedy(tmp_path: Path) -> None:
    demo = deep(tmp_path, 120)
    demo.build("setup")
    demo.engine.failures["commit"] = refusal("committing the container", 500, "max depth exceeded")
    with pytest.raises(HabitatError, match=r"max depth exceeded.*too many layers: join its RUNs"):
        demo.build()
