"""Snapshots that another habitat has already: they are found by their labels, and tagged instead of built.

A slice says what a phase depends on of its own habitat's config. For two habitats that is not enough: `./data` of one
is another folder than that of the other, and final writes down whose image it is. So each snapshot has a digest of
its phase's surroundings as well. Only what would be the same if the other habitat were renamed to this one is shared.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from msgspec import Struct

from phases.core import json_types
from phases.core.cache import image_names
from phases.protocol import Copy, FromDockerfile, FromImage, RequirePaths, Run, SetImageConfig, slug

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from phases.core.cache.freshness import Assessment
    from phases.core.engine.protocol import Bind, Image
    from phases.core.json_types import Json
    from phases.core.model import Secret
    from phases.protocol import Entry, Phase, Step


class Shared(Struct, frozen=True):
    """A snapshot to be taken over. habitat: one that has it."""

    image: Image
    habitat: str


def environment_digest(root: Path, steps: Iterable[Step], binds: Iterable[Bind], secrets: Iterable[Secret]) -> str:
    """A digest of all that a phase meets and its slice doesn't say, equal for two habitats or nothing is shared.

    steps: its plan; binds, secrets: what its commands see, as folders of the host, and by where they come from on it,
    never by value; root: of the project, where commands that print a secret are run.
    """
    return json_types.digest(
        {
            "steps": [_step(step) for step in steps],
            "mounts": [[bind.source, bind.dest, bind.readonly] for bind in binds],
            "secrets": [_source(root, secret) for secret in secrets],
        }
    )


def name_of(phases: Iterable[Phase], hashes: Mapping[str, str], parent: str, environment: str) -> str:
    """What the last of `phases` would come to, as a name: equal for two habitats that could share it. parent: id of the
    snapshot that it starts from.
    """
    return json_types.digest([[hashes[phase.NAME] for phase in phases], parent, environment])


def _step(step: Step) -> Json:
    """Without what is only told, and what files contain, which the slice says."""
    match step:
        case FromImage():
            return ["image", step.reference]
        case FromDockerfile():
            return ["dockerfile"]
        case Run():
            hosts = None if step.known_hosts is None else str(step.known_hosts)
            return ["run", step.user, step.script, step.args, step.workdir, step.env, hosts]
        case Copy():
            return ["put", [_entry(entry) for entry in step.entries]]
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
    """Phase to the snapshot that it can take over: the first of the stale phases, and those behind it up to one
    that has to run. phases: of the habitat, without those from the first that was forgotten on; digest_of: returns
    the environment digest of a phase today.
    """
    first = next((index for index, phase in enumerate(phases) if phase.NAME in assessment.stale), len(phases))
    images = list(images)
    wanted = _until_none_is_left(phases[first:])
    matching: list[list[Image]] = []
    for index, phase in enumerate(wanted, start=first):
        found = [image for image in images if _matches(image, habitat, phases[: index + 1], assessment.hashes)]
        # Asked for only where hashes agree: it takes the phase's plan.
        own = digest_of(phase) if found else ""
        matching.append([image for image in found if image.labels.get(image_names.LABEL_ENVIRONMENT_DIGEST) == own])
        if not matching[-1]:
            break
    anchor = assessment.images.get(phases[first - 1].NAME, "") if first else None
    chain = _longest(anchor, matching)
    return {
        phase.NAME: Shared(image, _owner(image, habitat, phase)) for phase, image in zip(wanted, chain, strict=False)
    }


def _until_none_is_left(phases: Sequence[Phase]) -> list[Phase]:
    """Those before the first that leaves no snapshot: its verdict is about this habitat's."""
    found = []
    for phase in phases:
        if not phase.SNAPSHOT:
            break
        found.append(phase)
    return found


def _matches(image: Image, habitat: str, phases: Sequence[Phase], hashes: Mapping[str, str]) -> bool:
    """Whether it is another habitat's snapshot of the last of `phases`, by its hashes."""
    phase, labels = phases[-1], image.labels
    return (
        labels.get(image_names.LABEL_PHASE) == phase.NAME
        and not labels.get(image_names.LABEL_RESULT)
        # What a person makes from a snapshot has all of its labels, but a tag of his own.
        and bool(_owner(image, habitat, phase))
        and all(labels.get(image_names.hash_label(before)) == hashes[before.NAME] for before in phases)
    )


def _owner(image: Image, habitat: str, phase: Phase) -> str:
    """The habitat that has it as its snapshot of `phase`: whose it was at first, if it still has it. "" for none."""
    owners = sorted(set(_owners(image, phase)) - {habitat})
    made_by = image.labels.get(image_names.LABEL_NAME, "")
    return made_by if made_by in owners else next(iter(owners), "")


def _owners(image: Image, phase: Phase) -> Iterator[str]:
    for tag in image.tags:
        owner, _, rest = tag.removeprefix(image_names.repository("")).partition(":")
        if tag.startswith(image_names.repository("")) and rest == slug(phase):
            yield owner


def _longest(anchor: str | None, matching: Sequence[Sequence[Image]]) -> list[Image]:
    """Of the ways from snapshot to snapshot the one that goes on longest, of several the latest. anchor: the id of the
    one before, None where there is none.
    """
    if not matching:
        return []
    here = [image for image in matching[0] if anchor is None or image.labels.get(image_names.LABEL_PARENT) == anchor]
    chains = ([image, *_longest(image.id, matching[1:])] for image in here)
    return max(chains, key=lambda chain: (len(chain), chain[-1].labels.get(image_names.LABEL_CREATED, "")), default=[])
