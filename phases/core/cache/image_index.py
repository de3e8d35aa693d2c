"""Which phases of a habitat are up to date, and why the others are not.

A snapshot is valid when all its hash labels up to its own phase equal the hashes of today's slices
and, where the snapshot before it still exists, that is the one it was made from. Every phase up to
the deepest valid snapshot is up to date, also where an earlier snapshot was pruned. verify and test
leave no snapshot: their verdict is carried by the stamp, and by final's labels once that is there.
"""

from __future__ import annotations

import re
import threading
import time
from math import inf, isfinite
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from phases.protocol import slug
from phases.registry import NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from phases.core.cache.stamps import Stamps
    from phases.core.engine.protocol import Image, ImageConfig
    from phases.protocol import Phase

LABEL_NAME = "habitat.name"
LABEL_PHASE = "habitat.phase"
LABEL_PARENT = "habitat.parent"
LABEL_CREATED = "habitat.created"
LABEL_SECONDS = "habitat.seconds"

#: A digest of what its phase met beside its slice (`core.sharing`).
LABEL_ENVIRONMENT_DIGEST = "habitat.surroundings"

#: On what is kept of a phase that failed, with the value FAILED; no such image is ever a snapshot.
LABEL_RESULT = "habitat.result"
FAILED = "fail"

# The labels that mean something to the program, those of later versions too.
_OURS = re.compile(rf"habitat\..*|(?:{'|'.join(NAMES)})\.hash", re.DOTALL)

#: The reason that a person gave.
FORGOTTEN = "it was forgotten (doit forget)"

#: On every image that is committed here, and on none that is made from it.
COMMENT = "snapshot of a habitat"


def repository(habitat: str) -> str:
    return f"habitat-{habitat}"


def snapshot_tag(habitat: str, phase: Phase) -> str:
    return f"{repository(habitat)}:{slug(phase)}"


def failed_tag(habitat: str, phase: Phase) -> str:
    """Of the container of a phase that failed, as it was then."""
    return f"{snapshot_tag(habitat, phase)}-failed"


def labels(habitat: str, phase: Phase, parent: str, seconds: float) -> dict[str, str]:
    """Of an image that a phase makes of `parent`; the hashes of a snapshot come to them."""
    return {
        LABEL_NAME: habitat,
        LABEL_PHASE: phase.NAME,
        LABEL_PARENT: parent,
        LABEL_CREATED: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        LABEL_SECONDS: f"{seconds:.3f}",
    }


def withheld(inherited: Mapping[str, str]) -> dict[str, str]:
    """The labels that a build container gets, so that none of the program's own is inherited from its image.

    A base image may have any label, and a snapshot is to say nothing that its own phase didn't write. An
    empty value counts as none wherever the program reads a label: it can't be taken away.
    """
    return {name: "" for name, value in inherited.items() if value and _OURS.fullmatch(name)}


def seconds(labels: Mapping[str, str]) -> float:
    """How long an image took to be made, 0 where nothing tells."""
    return number(labels.get(LABEL_SECONDS)) or 0.0


def number(value: object) -> float | None:
    """What a stamp or a label says, which anybody may have written; None for what is none."""
    try:
        found = float(str(value))
    except ValueError:
        return None
    return found if isfinite(found) else None


def final_tag(habitat: str) -> str:
    return f"{repository(habitat)}:final"


def dockerfile_tag(habitat: str) -> str:
    """Of what the Dockerfile makes, until the first snapshot rests on it: without a tag, a killed
    run's would be nobody's.
    """
    return f"{repository(habitat)}:0-dockerfile-build"


def hash_label(phase: Phase) -> str:
    return f"{phase.NAME}.hash"


def task_name(phase: Phase, habitat: str) -> str:
    """The doit task of a phase."""
    return f"{phase.NAME}:{habitat}"


def another_config(phase: Phase) -> str:
    """The reason of a phase whose hash is not that of its slice, as far as hashes tell it."""
    return f"the config of {phase.NAME} is another than it was last built from"


class Inventory:
    """The engine's images, asked for once and kept until they may be others: an engine takes a tenth of a millisecond
    for each. images: lists them; config: of one, however its name is written.
    """

    def __init__(self, images: Callable[[], list[Image]], config: Callable[[str], ImageConfig | None]) -> None:
        self._list = images
        self._config = config
        self._lock = threading.Lock()
        self._images: list[Image] | None = None
        self._asked = self._wanted = -inf  # when the list was asked for, and of what time it has to be at least
        self._by_tag: dict[str, Image] = {}
        self._unlisted: dict[str, str | None] = {}

    def refresh(self) -> None:
        """They may be others by now. Where several habitats say so while they are listed, one more list is for all."""
        self._wanted = time.monotonic()

    def all(self) -> list[Image]:
        with self._lock:
            if self._images is None or self._asked < self._wanted:
                asked = time.monotonic()
                self._images = self._list()
                self._asked = asked
                self._by_tag = {tag: image for image in self._images for tag in image.tags}
                self._unlisted = {}
            return self._images

    def add(self, image: Image) -> None:
        """An image that got these tags just now."""
        with self._lock:
            if self._images is not None:
                self._take(image.tags)
                known = next((known for known in self._images if known.id == image.id), None)
                whole = replace(image, tags=(*known.tags, *image.tags)) if known else image
                self._images = [*(other for other in self._images if other is not known), whole]
                self._by_tag.update(dict.fromkeys(whole.tags, whole))

    def drop(self, tags: Iterable[str]) -> None:
        """Tags of ours that are gone. What has none left may be gone with them; the next list tells."""
        with self._lock:
            if self._images is not None:
                self._take(tags)

    def _take(self, tags: Iterable[str]) -> None:
        assert self._images is not None
        for tag in tags:
            if had := self._by_tag.pop(tag, None):
                left = replace(had, tags=tuple(other for other in had.tags if other != tag))
                self._images[self._images.index(had)] = left
                self._by_tag.update(dict.fromkeys(left.tags, left))

    def tagged(self, reference: str) -> Image | None:
        self.all()
        return self._by_tag.get(reference)

    def id_of(self, reference: str) -> str | None:
        """The id of any image, however it is written; None when the engine doesn't have it."""
        self.all()  # what was asked beside it is as old as the list
        for spelling in _spellings(reference):
            if image := self._by_tag.get(spelling):
                return image.id
        if reference not in self._unlisted:
            config = self._config(reference)
            self._unlisted[reference] = config.id if config else None
        return self._unlisted[reference]

    def labels_of(self, image: str) -> Mapping[str, str]:
        """The labels of the image with that id, none for one that is gone."""
        listed = next((known for known in self.all() if known.id == image), None)
        if listed:
            return listed.labels
        config = self._config(image)  # it is newer than the list, or one of those that the list leaves out
        return config.labels if config else {}


def _spellings(reference: str) -> list[str]:
    """How engines list `debian`: debian:latest, docker.io/library/debian:latest, …"""
    if "@" in reference:
        return []
    full = reference if ":" in reference.rpartition("/")[2] else f"{reference}:latest"
    short = full.removeprefix("docker.io/").removeprefix("library/")
    return [short, f"docker.io/{short}", f"docker.io/library/{short}", f"localhost/{short}"]


class Assessment(Struct, frozen=True):
    """The state of one habitat. hashes: phase name to hash; stale: phase name to the reason why it
    has to run, absent for what is up to date; changed: of the stale ones that were built of another
    slice than today's, phase name to the hash of that; images: phase name to the id of its snapshot, of those
    that are up to date. Whoever acts on an assessment uses these ids: the tags may have moved since.
    """

    hashes: Mapping[str, str]
    stale: Mapping[str, str]
    changed: Mapping[str, str]
    images: Mapping[str, str] = field(default_factory=dict)

    @property
    def final(self) -> str:
        """The id of the image that the habitat runs in, "" where it has to be built."""
        return self.images.get("final", "")


def assess(
    habitat: str, phases: Sequence[Phase], hashes: Mapping[str, str], inventory: Inventory, stamps: Stamps
) -> Assessment:
    """Compare the hashes with the labels on the engine, and with what was forgotten."""
    found = {phase.NAME: inventory.tagged(snapshot_tag(habitat, phase)) for phase in phases if phase.SNAPSHOT}
    absent: dict[str, str] = {}
    flaws: dict[str, str] = {}
    forgotten = next((phase for phase in phases if stamps.is_forgotten(task_name(phase, habitat))), None)
    deepest = -1
    for index, phase in enumerate(phases):
        if phase is forgotten:
            break
        if not phase.SNAPSHOT:
            continue
        if found[phase.NAME] is None:
            built = stamps.read(task_name(phase, habitat))
            absent[phase.NAME] = f"image {snapshot_tag(habitat, phase)} is {'gone' if built else 'not there yet'}"
        elif flaw := _flaw(habitat, phases[: index + 1], hashes, found, inventory):
            flaws[phase.NAME] = flaw
        else:
            deepest = index
    stale: dict[str, str] = {}
    for index, phase in enumerate(phases[deepest + 1 :], start=deepest + 1):
        if phase is forgotten:
            stale[phase.NAME] = FORGOTTEN
        elif stale:
            stale[phase.NAME] = absent.get(phase.NAME) or f"{next(iter(stale))} runs again"
        elif (
            reason := absent.get(phase.NAME)
            or flaws.get(phase.NAME)
            or _unverified(habitat, phases[:index], phase, hashes, found, stamps)
        ):
            stale[phase.NAME] = reason
    last = {
        phase.NAME: _last_hash(habitat, phases[index:], found, stamps)
        for index, phase in enumerate(phases)
        if phase.NAME in stale
    }
    changed = {name: was for name, was in last.items() if was not in ("", hashes[name])}
    images = {name: image.id for name, image in found.items() if image and name not in stale}
    return Assessment(hashes, stale, changed, images)


def _last_hash(habitat: str, phases: Sequence[Phase], found: Mapping[str, Image | None], stamps: Stamps) -> str:
    """The hash of what the first of `phases` was last built of, "" where nothing tells: its snapshot,
    its stamp, then the labels of later snapshots, which speak for it as well.
    """
    phase = phases[0]
    own, *later = [image.labels.get(hash_label(phase)) if (image := found.get(p.NAME)) else "" for p in phases]
    values = stamps.read(task_name(phase, habitat)).get("_values_:") or {}
    return next((str(known) for known in (own, values.get("hash"), *later) if known), "")


def _flaw(
    habitat: str,
    phases: Sequence[Phase],
    hashes: Mapping[str, str],
    found: Mapping[str, Image | None],
    inventory: Inventory,
) -> str:
    """Why the snapshot of the last of `phases` is not valid; "" if it is."""
    phase = phases[-1]
    image = found[phase.NAME]
    tag = snapshot_tag(habitat, phase)
    assert image, "only of a snapshot that is there"
    if phase.NAME == "final":
        final = inventory.tagged(final_tag(habitat))
        if final is None or final.id != image.id:
            return f"{final_tag(habitat)} is not {tag}"
    for earlier in phases:
        if image.labels.get(hash_label(earlier)) != hashes[earlier.NAME]:
            return another_config(phase) if earlier is phase else f"{tag} was built on another {earlier.NAME}"
    before = next((p for p in reversed(phases[:-1]) if p.SNAPSHOT), None)
    parent = found[before.NAME] if before else None
    if before and parent and image.labels.get(LABEL_PARENT) != parent.id:
        return f"{tag} was not made from the {snapshot_tag(habitat, before)} that is there"
    return ""


def _unverified(
    habitat: str,
    before: Sequence[Phase],
    phase: Phase,
    hashes: Mapping[str, str],
    found: Mapping[str, Image | None],
    stamps: Stamps,
) -> str:
    """Why the verdict of a phase without snapshot doesn't hold for the snapshot it would look at."""
    values = stamps.read(task_name(phase, habitat)).get("_values_:") or {}
    parent = next((found[p.NAME] for p in reversed(before) if p.SNAPSHOT), None)
    if not values:
        return "it never succeeded"
    if values.get("hash") != hashes[phase.NAME]:
        return another_config(phase)
    if parent is None or values.get("parent") != parent.id:
        return "its verdict is about an earlier snapshot"
    return ""
