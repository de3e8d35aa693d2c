"""The tags and labels of a habitat's images."""

from __future__ import annotations

import re
import time
from math import isfinite
from typing import TYPE_CHECKING

from phases.protocol import slug
from phases.registry import NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from phases.protocol import Phase

LABEL_NAME = "habitat.name"
LABEL_PHASE = "habitat.phase"
LABEL_PARENT = "habitat.parent"
LABEL_CREATED = "habitat.created"
LABEL_SECONDS = "habitat.seconds"

#: The label that holds the environment digest of a phase (`cache.sharing`).
LABEL_ENVIRONMENT_DIGEST = "habitat.surroundings"

#: The label of all snapshots that rest on a Dockerfile: the images that it names (`cache.dockerfile_images`).
LABEL_DOCKERFILE_IMAGES = "habitat.images"

#: The label of a snapshot of the last phase that has hooks or files there: their digest (`phases.hooks.digest`).
LABEL_HOOKS = "habitat.hooks"

#: The label of an image that is kept of a failed phase; its value is FAILED. Such an image is never a snapshot.
LABEL_RESULT = "habitat.result"
FAILED = "fail"

#: The comment of every image that this program commits. Images made from one don't inherit it.
COMMENT = "snapshot of a habitat"

# The labels that this program reads, and those that a later version may read.
_OWN_LABEL = re.compile(rf"habitat\..*|(?:{'|'.join(NAMES)})\.hash", re.DOTALL)


#: Begins the tag of an image that is to be removed.
REMOVED = "removed-"


def repository(habitat: str) -> str:
    """Return the repository of a habitat's images: their tags without the part after the colon."""
    return f"habitat-{habitat}"


def snapshot_tag(habitat: str, phase: Phase) -> str:
    """Return the tag of a phase's snapshot."""
    return f"{repository(habitat)}:{slug(phase)}"


def final_tag(habitat: str) -> str:
    """Return the tag of the image that the habitat runs in, which is also the snapshot of the last phase."""
    return f"{repository(habitat)}:final"


def removed_tag(habitat: str, image: str) -> str:
    """Return the tag that keeps an image until it is removed in the background. image: its id."""
    return f"{repository(habitat)}:{REMOVED}{image.removeprefix('sha256:')[:12]}"


def failed_tag(habitat: str, phase: Phase) -> str:
    """Return the tag for the image of a failed phase, in which `habitat debug` opens a shell."""
    return f"{snapshot_tag(habitat, phase)}-failed"


def dockerfile_tag(habitat: str) -> str:
    """Return the tag of the image that a Dockerfile builds, until the first snapshot is made from it.

    If the run is killed in between, only the tag tells which habitat the image belongs to.
    """
    return f"{repository(habitat)}:0-dockerfile-build"


def hash_label(phase: Phase) -> str:
    """Return the label that holds the hash of a phase's slice."""
    return f"{phase.NAME}.hash"


def labels(habitat: str, phase: Phase, parent: str, seconds: float) -> dict[str, str]:
    """Return the labels of an image that a phase makes, apart from the hashes of its slices.

    Args:
        habitat: The name of the habitat.
        phase: The phase.
        parent: The id of the image that the phase started from.
        seconds: How long the phase took.
    """
    return {
        LABEL_NAME: habitat,
        LABEL_PHASE: phase.NAME,
        LABEL_PARENT: parent,
        LABEL_CREATED: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        LABEL_SECONDS: f"{seconds:.3f}",
    }


def cleared_labels(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the labels for a build container that hide this program's labels on its image.

    A base image may have any label, and a snapshot must not inherit one that its phase did not write. An engine
    can't remove an inherited label, so the value is empty, which counts as no label everywhere in the program.
    """
    return {name: "" for name, value in inherited.items() if value and _OWN_LABEL.fullmatch(name)}


def seconds(labels: Mapping[str, str]) -> float:
    """Return the seconds that the phase took whose image has these labels, 0 if no label has them."""
    return number(labels.get(LABEL_SECONDS)) or 0.0


def number(value: object) -> float | None:
    """Return the number in a stamp or a label, which anybody may have written; None if there is none."""
    try:
        parsed = float(str(value))
    except ValueError:
        return None
    return parsed if isfinite(parsed) else None
