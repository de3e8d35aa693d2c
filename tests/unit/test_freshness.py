"""Which phases are up to date: a table over what the engine has and what the stamps say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from fake_engine import FakeEngine

from phases import registry
from phases.core.cache.freshness import Assessment, assess
from phases.core.cache.image_index import ImageIndex
from phases.core.cache.image_labels import LABEL_PARENT, final_tag, hash_label, snapshot_tag
from phases.core.cache.stamps import Stamps, task_name
from phases.core.engine.types import Image
from phases.registry import PHASES, named, phases_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ALL = phases_of(has_dockerfile=False)
NAMES = [phase.NAME for phase in ALL]
AFTER = {name: NAMES[index:] for index, name in enumerate(NAMES)}


@dataclass
class BuiltHabitat:
    """A habitat that was built whole on a fake engine, to be spoilt."""

    root: Path
    engine: FakeEngine = field(default_factory=FakeEngine)
    hashes: dict[str, str] = field(default_factory=lambda: {name: f"{name:0<64}" for name in NAMES})
    ids: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.stamps = Stamps(self.root)
        parent = ""
        for index, phase in enumerate(ALL):
            if phase.SNAPSHOT:
                labels = {hash_label(p): self.hashes[p.NAME] for p in ALL[: index + 1]}
                image = self.engine.add_image(
                    snapshot_tag("demo", phase), labels={**labels, LABEL_PARENT: parent or "base"}
                )
                self.ids[phase.NAME] = parent = image
            self.stamp(phase.NAME, parent)
        self.engine.tag(parent, final_tag("demo"))

    def stamp(self, name: str, parent: str) -> None:
        values = {"hash": self.hashes[name], "parent": parent}
        self.stamps.write(task_name(named(name), "demo"), {"_values_:": values})

    def forget(self, name: str) -> None:
        self.stamps.forget(task_name(named(name), "demo"))

    def drop(self, name: str) -> None:
        self.stamps.drop(task_name(named(name), "demo"))

    def prune(self, *names: str) -> None:
        for name in names:
            self.engine.untag(snapshot_tag("demo", named(name)))
            if name == "final":
                self.engine.untag(final_tag("demo"))

    def relabel(self, name: str, label: str, value: str) -> None:
        tag = snapshot_tag("demo", named(name))
        (image,) = [image for image in self.engine.images() if tag in image.tags]
        moved = self.engine.add_image(tag, labels={**image.labels, label: value})
        if name == "final":
            self.engine.tag(moved, final_tag("demo"))

    def change(self, name: str) -> None:
        self.hashes[name] = "f" * 64

    def assess(self) -> Assessment:
        return assess("demo", ALL, self.hashes, ImageIndex(self.engine.images, self.engine.image_config), self.stamps)


def nothing(_: BuiltHabitat) -> None:
    pass


def no_stamps(built: BuiltHabitat) -> None:
    for name in NAMES:
        built.drop(name)


def final_elsewhere(built: BuiltHabitat) -> None:
    built.engine.tag(built.ids["tools"], final_tag("demo"))


def no_final_tag(built: BuiltHabitat) -> None:
    built.engine.untag(final_tag("demo"))


def rebuilt_by_somebody(built: BuiltHabitat) -> None:
    """setup has the right labels, but repos was made from another one."""
    built.relabel("setup", "habitat.created", "now")
    built.prune("final")


def unfinished(built: BuiltHabitat) -> None:
    built.prune("final")


def untested(built: BuiltHabitat) -> None:
    built.prune("final")
    built.drop("test")


def unverified(built: BuiltHabitat) -> None:
    built.prune("final")
    built.drop("verify")


def judged_elsewhere(built: BuiltHabitat) -> None:
    built.prune("final")
    built.stamp("test", "sha256:other")


def verify_changed(built: BuiltHabitat) -> None:
    built.prune("final")
    built.change("verify")


def begun_and_forgotten(built: BuiltHabitat) -> None:
    built.prune("repos", "tools", "final")
    built.forget("setup")


def everything_gone(built: BuiltHabitat) -> None:
    built.prune(*built.ids)


def never_built(built: BuiltHabitat) -> None:
    built.prune(*built.ids)
    no_stamps(built)


#: How the built habitat is spoilt, and the phases that have to run.
CASES: dict[str, tuple[Callable[[BuiltHabitat], None], list[str]]] = {
    "nothing changed": (nothing, []),
    "no stamps at all": (no_stamps, []),
    "the first pruned": (lambda b: b.prune("base"), []),
    "one in the middle pruned": (lambda b: b.prune("files"), []),
    "all but final pruned": (lambda b: b.prune(*[n for n in b.ids if n != "final"]), []),
    "final pruned": (unfinished, ["final"]),
    "the deepest two pruned": (lambda b: b.prune("tools", "final"), AFTER["tools"]),
    "everything pruned": (everything_gone, NAMES),
    "never built": (never_built, NAMES),
    "another hash of setup": (lambda b: b.change("setup"), AFTER["setup"]),
    "another hash of base": (lambda b: b.change("base"), NAMES),
    "another hash of verify": (lambda b: b.change("verify"), AFTER["verify"]),
    "another hash of test": (lambda b: b.change("test"), AFTER["test"]),
    "another hash of final": (lambda b: b.change("final"), ["final"]),
    "a label of final differs": (lambda b: b.relabel("final", "env.hash", "x"), ["final"]),
    "a label in the middle differs": (lambda b: b.relabel("setup", "setup.hash", "x"), []),
    "final of another parent": (lambda b: b.relabel("final", LABEL_PARENT, "sha256:x"), ["final"]),
    # The deepest valid snapshot decides, and tools was made from the repos that is there.
    "setup rebuilt under repos": (rebuilt_by_somebody, ["final"]),
    "no tag final": (no_final_tag, ["final"]),
    "tag final elsewhere": (final_elsewhere, ["final"]),
    "verify never succeeded": (unverified, AFTER["verify"]),
    "test never succeeded": (untested, AFTER["test"]),
    "test about another image": (judged_elsewhere, AFTER["test"]),
    "verify changed before final": (verify_changed, AFTER["verify"]),
    "forgotten, and nothing built after it": (begun_and_forgotten, AFTER["setup"]),
    **{f"{name} forgotten": (lambda b, name=name: b.forget(name), AFTER[name]) for name in NAMES},  # type: ignore[misc]
}


@pytest.mark.parametrize("case", CASES)
def test_assess_changed_state_lists_stale_phases(tmp_path: Path, case: str) -> None:
    spoil, expected = CASES[case]
    built = BuiltHabitat(tmp_path)
    spoil(built)
    assert list(built.assess().stale) == expected


@pytest.mark.parametrize(
    ("case", "phase", "reason"),
    [
        ("final pruned", "final", "image habitat-demo:12-final is gone"),
        ("never built", "base", "it isn't built yet"),
        (
            "another hash of setup",
            "setup",
            "the config of setup has changed since its last build",
        ),
        (
            "final of another parent",
            "final",
            "habitat-demo:12-final was not made from the current habitat-demo:9-tools",
        ),
        ("no tag final", "final", "habitat-demo:final is not habitat-demo:12-final"),
        ("a label of final differs", "final", "habitat-demo:12-final was built on another env"),
        ("setup forgotten", "setup", "it was forgotten"),
        ("setup forgotten", "repos", "setup runs again"),
        ("another hash of setup", "repos", "setup runs again"),
        ("forgotten, and nothing built after it", "repos", "setup runs again"),
        ("test never succeeded", "test", "it has never succeeded"),
        ("test about another image", "test", "its verdict is about an earlier snapshot"),
        (
            "verify changed before final",
            "verify",
            "the config of verify has changed since its last build",
        ),
    ],
)
def test_assess_stale_phase_has_reason(tmp_path: Path, case: str, phase: str, reason: str) -> None:
    built = BuiltHabitat(tmp_path)
    CASES[case][0](built)
    assert built.assess().stale[phase] == reason


def test_assess_repeated_lists_images_once(tmp_path: Path) -> None:
    built = BuiltHabitat(tmp_path)
    built.engine.calls.clear()
    image_index = ImageIndex(built.engine.images, built.engine.image_config)
    for _ in range(3):
        assess("demo", ALL, built.hashes, image_index, built.stamps)
    assert built.engine.calls == [("images",)]


def test_assess_habitat_with_dockerfile_includes_dockerfile_phase_first(tmp_path: Path) -> None:
    hashes = {phase.NAME: "0" * 64 for phase in PHASES}
    engine = FakeEngine()
    image_index = ImageIndex(engine.images, engine.image_config)
    actual = assess("demo", PHASES, hashes, image_index, Stamps(tmp_path))
    assert list(actual.stale) == list(registry.NAMES)


@pytest.mark.parametrize(
    ("reference", "listed", "known"),
    [
        ("debian", "debian:latest", True),
        ("debian:12", "debian:12", True),
        ("docker.io/library/debian:12", "debian:12", True),
        ("debian:12", "docker.io/library/debian:12", True),
        ("mine:1", "localhost/mine:1", True),
        ("host:5000/mine", "host:5000/mine:latest", True),
        ("debian:12", "debian:13", False),
    ],
)
def test_image_index_finds_image_by_any_spelling_of_reference(reference: str, listed: str, known: bool) -> None:
    engine = FakeEngine()
    image = engine.add_image(listed)
    assert ImageIndex(engine.images, engine.image_config).id_of(reference) == (image if known else None)


def test_image_index_refresh_during_listing_lists_images_again() -> None:
    """But not before they say so: a list that was on its way then may be too old."""
    lists: list[int] = []
    during: list[Callable[[], None]] = []

    def images() -> list[Image]:
        lists.append(len(lists))
        for say in during:
            say()
        return [Image(str(len(lists)), (), {})]

    image_index = ImageIndex(images, lambda _: None)
    assert [image.id for image in image_index.all()] == ["1"]
    image_index.refresh()
    image_index.refresh()
    during.append(image_index.refresh)
    assert [image.id for image in image_index.all()] == ["2"]
    during.clear()
    assert [image.id for image in image_index.all()] == ["3"]
    assert [image.id for image in image_index.all()] == ["3"]
