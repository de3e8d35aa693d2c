"""Find snapshots of other habitats that can be tagged instead of built, by their labels.

A slice holds what a phase depends on in its own habitat's config. Equal slices of two habitats can still give
different images: `./data` is another folder in each, and the last phase writes the habitat's name into the image. So
each snapshot also has an environment digest.
A snapshot is shared only if the build would have the same result with the other habitat renamed to this one.
"""

from __future__ import annotations

import hashlib
from itertools import takewhile
from typing import TYPE_CHECKING

from msgspec import Struct

from phases.core import json_types
from phases.core.cache import image_labels
from phases.protocol import Copy, CopyRepository, FromDockerfile, FromImage, RequirePaths, Run, SetImageConfig, slug

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from phases.core.cache.freshness import Assessment
    from phases.core.engine.types import Bind, Image
    from phases.core.json_types import Json
    from phases.core.model import Secret
    from phases.protocol import Entry, Phase, Step


class Shared(Struct, frozen=True):
    """A snapshot to share.

    Attributes:
        image: The snapshot.
        habitat: A habitat that has this snapshot.
    """

    image: Image
    habitat: str


def environment_digest(root: Path, steps: Iterable[Step], binds: Iterable[Bind], secrets: Iterable[Secret]) -> str:
    """Return a digest of everything that a phase depends on and that is not in its slice.

    Two habitats share a snapshot only if their digests are equal.

    Args:
        root: The root of the project, where commands that print secrets are run.
        steps: The phase's plan.
        binds: The folders of the host that its commands see.
        secrets: The secrets that its commands see. The digest holds where their values come from, never a value.
    """
    return json_types.digest(
        {
            # The slice has the user whose identity a step sets.
            "steps": [_step(step) for step in steps if not (isinstance(step, SetImageConfig) and step.identity)],
            "mounts": [[bind.source, bind.dest, bind.readonly] for bind in binds],
            "secrets": [_source(root, secret) for secret in secrets],
        }
    )


def build_name(phases: Iterable[Phase], hashes: Mapping[str, str], parent: str, environment: str) -> str:
    """Return a name for the build of the last of `phases`, equal for two habitats that could share its snapshot.

    Args:
        phases: The phase, behind the phases before it.
        hashes: Phase name to the hash of today's slice.
        parent: The id of the snapshot that the phase starts from.
        environment: The environment digest of the phase.
    """
    return json_types.digest([[hashes[phase.NAME] for phase in phases], parent, environment])


def _step(step: Step) -> Json:
    """Return a step without its messages, and without the contents of files, which are in the slice."""
    match step:
        case FromImage() | FromDockerfile():
            return ["image", step.reference] if isinstance(step, FromImage) else ["dockerfile"]
        case Run():
            hosts = None if step.known_hosts is None else str(step.known_hosts)
            return ["run", step.user, step.script, step.args, step.workdir, step.env, hosts]
        case Copy():
            return ["put", [_entry(entry) for entry in step.entries]]
        case CopyRepository():
            return ["repository", str(step.source), step.dest, step.owner]
        case SetImageConfig():
            env = [[name, template] for name, (template, _) in step.env.items()]
            return ["configure", env, step.entrypoint, step.user, step.workdir, step.command]
        case RequirePaths():
            return ["require", [path for path, _ in step.paths]]


def _entry(entry: Entry) -> Json:
    content = hashlib.sha256(entry.content).hexdigest() if entry.content else ""
    return [entry.dest, entry.kind, entry.owner, entry.mode, entry.target, entry.adopt, content]


def _source(root: Path, secret: Secret) -> Json:
    file = None if secret.file is None else str(secret.file)
    return [secret.name, secret.env, file, [str(root), secret.command] if secret.command else []]


def shareable(
    habitat: str,
    phases: Sequence[Phase],
    assessment: Assessment,
    images: Iterable[Image],
    digest_of: Callable[[Phase], str],
) -> Mapping[str, Shared]:
    """Find the snapshots that the first stale phases of a habitat can share.

    Args:
        habitat: The name of the habitat.
        phases: Its phases up to the first forgotten one.
        assessment: Which of them are stale.
        images: The images on the engine.
        digest_of: Returns the environment digest of a phase.

    Returns:
        Phase name to snapshot, without a gap, from the first stale phase on.

    """
    first = next((index for index, phase in enumerate(phases) if phase.NAME in assessment.stale), len(phases))
    images = list(images)
    wanted = list(takewhile(lambda phase: phase.SNAPSHOT, phases[first:]))
    matching: list[list[Image]] = []
    for index, phase in enumerate(wanted, start=first):
        candidates = [image for image in images if _matches(image, habitat, phases[: index + 1], assessment.hashes)]
        # The digest needs the phase's plan, so it is computed only if the hashes agree.
        own = digest_of(phase) if candidates else ""
        label = image_labels.LABEL_ENVIRONMENT_DIGEST
        matching.append([image for image in candidates if image.labels.get(label) == own])
        if not matching[-1]:
            break
    parent = assessment.images.get(phases[first - 1].NAME, "") if first else None
    chain = _longest_chain(parent, matching)
    return {
        phase.NAME: Shared(image, _owner(image, habitat, phase)) for phase, image in zip(wanted, chain, strict=False)
    }


def _matches(image: Image, habitat: str, phases: Sequence[Phase], hashes: Mapping[str, str]) -> bool:
    """Return whether an image is another habitat's snapshot of the last of `phases`, and all hash labels match."""
    phase, labels = phases[-1], image.labels
    return (
        labels.get(image_labels.LABEL_PHASE) == phase.NAME
        and not labels.get(image_labels.LABEL_RESULT)
        # An image that a person made from a snapshot inherits all of its labels, but not its tag.
        and bool(_owner(image, habitat, phase))
        and all(labels.get(image_labels.hash_label(before)) == hashes[before.NAME] for before in phases)
    )


def _owner(image: Image, habitat: str, phase: Phase) -> str:
    """Return another habitat that has an image as its snapshot of `phase`, "" for none.

    If several have it, the one that built it is returned, if it is among them.
    """
    owners = sorted(set(_owners(image, phase)) - {habitat})
    builder = image.labels.get(image_labels.LABEL_NAME, "")
    return builder if builder in owners else next(iter(owners), "")


def _owners(image: Image, phase: Phase) -> Iterator[str]:
    for tag in image.tags:
        owner, _, rest = tag.removeprefix(image_labels.repository("")).partition(":")
        if tag.startswith(image_labels.repository("")) and rest == slug(phase):
            yield owner


def _longest_chain(parent: str | None, matching: Sequence[Sequence[Image]]) -> list[Image]:
    """Return the longest chain of snapshots, each made from the one before; on a tie, the newest.

    Args:
        parent: The id of the snapshot that the first one must be made from, None for any.
        matching: The candidates for each phase.
    """
    if not matching:
        return []
    label = image_labels.LABEL_PARENT
    starts = [image for image in matching[0] if parent is None or image.labels.get(label) == parent]
    chains = ([image, *_longest_chain(image.id, matching[1:])] for image in starts)
    return max(chains, key=lambda chain: (len(chain), chain[-1].labels.get(image_labels.LABEL_CREATED, "")), default=[])
