"""Which phases of a habitat are up to date, and why the others have to run.

The rule:

1. A snapshot is valid if each hash label for its own phase and the phases before it equals the hash of today's slice,
   and if it was made from the current snapshot before it, where there is one.
2. verify and test leave no snapshot. Their verdict is in the stamp, and holds for the snapshot that they checked.
3. All phases up to the deepest valid snapshot are up to date, even if an earlier snapshot was pruned.
4. The first phase behind it that is not valid has to run, and all phases after that one.
5. If the Dockerfile names an image that is another one than at the build, no snapshot is valid.
6. A forgotten phase (`habitat forget`) has to run, whatever the labels say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from phases.core.cache.image_labels import LABEL_DOCKERFILE_IMAGES, LABEL_PARENT, final_tag, hash_label, snapshot_tag
from phases.core.cache.stamps import task_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phases.core.cache.image_index import ImageIndex
    from phases.core.cache.stamps import Stamps
    from phases.core.engine.types import Image
    from phases.protocol import Phase

#: The reason of rule 6.
FORGOTTEN = "it was forgotten"


def config_changed(phase: Phase) -> str:
    """Return why a phase has to run whose slice has changed since its last build."""
    return f"the config of {phase.NAME} has changed since its last build"


class Assessment(Struct, frozen=True):
    """Which phases of one habitat are up to date.

    Act on the image ids in it, not on tags: a tag may have moved since.

    Attributes:
        hashes: Phase name to the hash of today's slice.
        stale: Phase name to the reason why it has to run; phases that are up to date are absent.
        changed: Phase name to the hash of the slice of its last build, for stale phases where it is not today's.
        images: Phase name to the id of its snapshot, for phases that are up to date.
    """

    hashes: Mapping[str, str]
    stale: Mapping[str, str]
    changed: Mapping[str, str]
    images: Mapping[str, str] = field(default_factory=dict)

    @property
    def final(self) -> str:
        """The id of the image that the habitat runs in, "" if it has to be built."""
        return self.images.get("final", "")


class _LastBuild(Struct, frozen=True):
    """The result of the last build of one phase.

    Attributes:
        phase: The phase.
        hash: The hash of today's slice, to compare with.
        tag: The tag of the snapshot.
        snapshot: The snapshot, None if it is gone, or if the phase makes none.
        has_stamp: Whether there is a stamp.
        values: What the stamp records of the last success: `hash`, and `parent`, the id of the image it started from.
        is_forgotten: Whether `habitat forget` was called since.
        moved: Why the images that the Dockerfile names are not those of the build, "" if they are.
    """

    phase: Phase
    hash: str
    tag: str
    snapshot: Image | None
    has_stamp: bool
    values: Mapping[str, object]
    is_forgotten: bool
    moved: str

    @property
    def misses_snapshot(self) -> bool:
        return self.phase.SNAPSHOT and self.snapshot is None


def assess(
    habitat: str,
    phases: Sequence[Phase],
    hashes: Mapping[str, str],
    image_index: ImageIndex,
    stamps: Stamps,
    engine_name: str = "",
) -> Assessment:
    """Find out which phases of a habitat are up to date.

    Args:
        habitat: The name of the habitat.
        phases: Its phases, in order.
        hashes: Phase name to the hash of today's slice.
        image_index: The images on the engine.
        stamps: The stamps of the project.
        engine_name: The habitat's name on the engine, if that is another one.
    """
    name = engine_name or habitat
    builds = [
        _last_build(
            snapshot_tag(name, phase), task_name(phase, habitat), phase, hashes[phase.NAME], image_index, stamps
        )
        for phase in phases
    ]
    final = image_index.tagged(final_tag(name))
    final_flaw = "" if final and final.id == _id(builds[-1]) else f"{final_tag(name)} is not {builds[-1].tag}"
    stale = _stale(builds, final_flaw)
    last_hashes = {
        build.phase.NAME: _last_hash(builds[index:]) for index, build in enumerate(builds) if build.phase.NAME in stale
    }
    return Assessment(
        hashes=hashes,
        stale=stale,
        changed={name: last for name, last in last_hashes.items() if last not in ("", hashes[name])},
        images={b.phase.NAME: b.snapshot.id for b in builds if b.snapshot and b.phase.NAME not in stale},
    )


def _last_build(tag: str, task: str, phase: Phase, today: str, image_index: ImageIndex, stamps: Stamps) -> _LastBuild:
    stamp = stamps.read(task)
    snapshot = image_index.tagged(tag) if phase.SNAPSHOT else None
    return _LastBuild(
        phase=phase,
        hash=today,
        tag=tag,
        snapshot=snapshot,
        has_stamp=bool(stamp),
        values=stamp.get("_values_:") or {},
        is_forgotten=stamps.is_forgotten(task),
        moved=_moved(snapshot, image_index) if snapshot else "",
    )


def _moved(snapshot: Image, image_index: ImageIndex) -> str:
    """Return why the images that the Dockerfile names are not those of the build, "" if they are."""
    if LABEL_DOCKERFILE_IMAGES not in snapshot.labels:
        return ""
    from phases.core.cache import dockerfile_images  # imported late: most habitats have no Dockerfile

    return dockerfile_images.moved(snapshot.labels, image_index)


def _id(build: _LastBuild) -> str:
    return build.snapshot.id if build.snapshot else ""


def _stale(builds: Sequence[_LastBuild], final_flaw: str) -> dict[str, str]:
    """Return the phases that have to run, with the reason of each."""
    forgotten = next((index for index, build in enumerate(builds) if build.is_forgotten), len(builds))
    flaws = [_flaw(builds[: index + 1], final_flaw) for index in range(forgotten)]
    valid = [index for index, flaw in enumerate(flaws) if builds[index].phase.SNAPSHOT and not flaw]
    behind = valid[-1] + 1 if valid else 0
    first = next((index for index in range(behind, forgotten) if flaws[index]), forgotten)

    def reason(index: int) -> str:
        if index == forgotten:
            return FORGOTTEN
        if index == first or (index < forgotten and builds[index].misses_snapshot):
            return flaws[index]
        return f"{builds[first].phase.NAME} runs again"

    return {builds[index].phase.NAME: reason(index) for index in range(first, len(builds))}


def _flaw(builds: Sequence[_LastBuild], final_flaw: str) -> str:
    """Return why the result of the last of `builds` is not valid, "" if it is valid.

    Args:
        builds: The phase, behind the phases before it.
        final_flaw: Why the tag `final` is not on the last snapshot, "" if it is.
    """
    *_, own = builds
    parent = next((build for build in reversed(builds[:-1]) if build.phase.SNAPSHOT), None)
    if not own.phase.SNAPSHOT or own.moved:
        return own.moved or _verdict_flaw(own, parent)
    if own.snapshot is None:
        return f"image {own.tag} is gone" if own.has_stamp else "it isn't built yet"
    if own.phase.NAME == "final" and final_flaw:
        return final_flaw
    for build in builds:
        if own.snapshot.labels.get(hash_label(build.phase)) != build.hash:
            return config_changed(own.phase) if build is own else f"{own.tag} was built on another {build.phase.NAME}"
    if parent and parent.snapshot and own.snapshot.labels.get(LABEL_PARENT) != parent.snapshot.id:
        return f"{own.tag} was not made from the current {parent.tag}"
    return ""


def _verdict_flaw(own: _LastBuild, parent: _LastBuild | None) -> str:
    """Return why the verdict of a phase without a snapshot does not hold for the snapshot before it, "" if it does."""
    if not own.values:
        return "it has never succeeded"
    if own.values.get("hash") != own.hash:
        return config_changed(own.phase)
    if parent is None or parent.snapshot is None or own.values.get("parent") != parent.snapshot.id:
        return "its verdict is about an earlier snapshot"
    return ""


def _last_hash(builds: Sequence[_LastBuild]) -> str:
    """Return the hash of the slice that the first of `builds` was last built from, "" if it is unknown.

    The hash comes from the phase's snapshot, else from its stamp, else from the snapshots of later phases, which have
    the same label.
    """
    own, *_ = builds
    in_snapshot, *in_later = [
        build.snapshot.labels.get(hash_label(own.phase)) if build.snapshot else "" for build in builds
    ]
    return next((str(known) for known in (in_snapshot, own.values.get("hash"), *in_later) if known), "")
