"""Find why a container of a habitat no longer matches its image or its config."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from phases import hooks
from phases.core.cache import host_mounts, image_labels
from phases.core.cache.host_mounts import mounts_of
from phases.core.config.mounts import workspaces
from phases.core.container.main_process import main_process, restrictions
from phases.core.engine.confinement.restrictions import ContainerLimits
from phases.core.json_types import dotted
from phases.core.model import AGENT_FOLDER
from phases.core.origin import with_places
from phases.core.runtime.new_container import (
    LABEL_HOME,
    LABEL_LIMITS,
    LABEL_RESTRICTIONS,
    limits_label,
    restrictions_label,
)
from phases.core.runtime.persistence.volumes import paths_of, persistence_of, workspaces_of
from phases.core.runtime.session import entry_env
from phases.core.runtime.session.entry_env import LABEL_ENTRY_ENV
from phases.registry import PHASES, habitat_phases, last_snapshot

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from phases.core.engine.types import Bind, Container
    from phases.core.model import Habitat
    from phases.core.origin import Origin
    from phases.core.project import Project

# The parts of LABEL_RESTRICTIONS, and the keys of `entry:` that they are made from; others are of `entry.limits`.
_KEYS = {"network": ("network",), "shm": ("shm_size",)}

# Stands for restrictions that the config doesn't decide.
_OWN = "own"

# The limits that some engines change in place.
_LIMITS = ("memory", "cpus", "pids")

#: Why a container is replaced that has an older image.
OLDER_IMAGE = "its image is out of date"


class ContainerDifference(Struct, frozen=True):
    """The differences of a container from its image and the config. It is false if there are none.

    image: whether its image has other files or another environment. settings: the settings of the config that it
    doesn't have, none if its image differs. is_of_limits: whether all these are limits, which some engines change.
    """

    image: bool = False
    settings: tuple[str, ...] = ()
    is_of_limits: bool = False

    def __bool__(self) -> bool:
        return self.image or bool(self.settings)

    @property
    def reason(self) -> str:
        if self.image:
            return OLDER_IMAGE
        return f"{' and '.join(self.settings)} changed" if self.settings else ""


def difference(project: Project, habitat: Habitat, container: Container, image: str) -> ContainerDifference:
    """Return what of a container differs from an image and the settings of the config.

    image: The id of the image of today's config, "" if it has to be built.
    """
    if not is_alike(project, habitat, container.image, image):
        return ContainerDifference(image=True)
    settings = []
    if container.command != main_process(habitat):
        settings.append(_at(habitat, "entry", "init_command"))
    home = container.labels.get(LABEL_HOME, "")
    agents = {bind for bind in container.binds if bind.dest == AGENT_FOLDER}
    if agents != {*_agents(project, habitat)}:
        settings.append(_at(habitat, "entry", "ssh_agent"))
    if {*container.binds} - agents != {*host_mounts.in_home(mounts_of(habitat), home)}:
        settings.append(with_places("volumes", *_origins_of_new_volumes(habitat, container, home)))
    changed = _changed_restrictions(habitat, container)
    settings += _described(habitat, changed, container.labels)
    if container.labels.get(LABEL_ENTRY_ENV, "") != entry_env.label(habitat).get(LABEL_ENTRY_ENV, ""):
        settings.append(with_places("entry.env", *_origins_of_entry_env(habitat)))
    paths = persistence_of(container).paths
    if paths != paths_of(habitat):
        new = (one.origin for one in habitat.entry.persist if (one.path, one.shared) not in paths)
        settings.append(with_places("entry.persist", *new))
    if workspaces_of(container).candidates != workspaces.candidates(habitat):
        settings.append(with_places("the place of WORKDIR and the repositories", habitat.line_of(("workspace",))))
    is_of_limits = len(settings) == len(changed) and {*_LIMITS} >= changed
    return ContainerDifference(settings=tuple(settings), is_of_limits=bool(settings) and is_of_limits)


def _agents(project: Project, habitat: Habitat) -> tuple[Bind, ...]:
    """Return the mounts by which the person's SSH agent can be lent to a container."""
    if not habitat.entry.ssh_agent:
        return ()
    from phases.core.runtime.person import agent_folder  # imported late: many habitats don't ask for it

    return agent_folder.binds(project, habitat)


def limits_of(habitat: Habitat) -> ContainerLimits:
    """Return the limits of the config."""
    wanted = restrictions(habitat)
    return ContainerLimits(wanted.memory, round(wanted.cpus * 1e9), wanted.pids)


def _at(habitat: Habitat, *key: str) -> str:
    return with_places(dotted(*key), habitat.line_of(key))


def _origins_of_new_volumes(habitat: Habitat, container: Container, home: str) -> Iterator[Origin]:
    """Yield the lines of the volumes that the container doesn't have."""
    present = (volume for volume in habitat.volumes if volume.present)
    for volume, bind in zip(present, host_mounts.in_home(mounts_of(habitat), home), strict=True):
        if bind not in container.binds:
            yield volume.origin


def _origins_of_entry_env(habitat: Habitat) -> list[Origin]:
    """Return the lines of `entry.env`, none if the habitat's own config has one of them.

    A container's label has only a digest, so which variable has changed is not known.
    """
    origins = [variable.origin for variable in entry_env.of_main_process(habitat)]
    return [] if any(origin.role == "local" for origin in origins) else origins


def _changed_restrictions(habitat: Habitat, container: Container) -> set[str]:
    """Return the names of the restrictions and ports that a container doesn't have, as its labels call them.

    The engine is asked for limits that it can change. For all others, labels say what the container was created with.
    """
    pairs = [(container.labels.get(LABEL_RESTRICTIONS, ""), restrictions_label(habitat))]
    if limits := container.labels.get(LABEL_LIMITS):
        pairs.append((limits, limits_label(habitat)))
    changed = _changed_limits(container.limits, limits_of(habitat)) if container.limits else set()
    known = _LIMITS if container.limits else ()
    parts_of = [(_without(before, known), _without(now, known)) for before, now in pairs]
    if all(before == now for before, now in parts_of):
        return changed
    parts = {part.partition("=")[0] for before, now in parts_of for part in {*before} ^ {*now}}
    if not pairs[0][0] or "privileges" in parts:
        return {_OWN}  # an earlier version created it
    return changed | (parts or {"port"})  # a port may be there twice


def _changed_limits(before: ContainerLimits, now: ContainerLimits) -> set[str]:
    return {name for name in _LIMITS if getattr(before, name) != getattr(now, name)}


def _without(label: str, names: Collection[str]) -> list[str]:
    return [part for part in label.split() if part.partition("=")[0] not in names]


def _described(habitat: Habitat, names: Collection[str], labels: Mapping[str, str]) -> list[str]:
    """Return the keys of the config for names of restrictions. labels: those of the container."""
    if _OWN in names:
        return ["the program's own restrictions"]
    return sorted(_restriction(habitat, name, labels) for name in names)


def _restriction(habitat: Habitat, part: str, labels: Mapping[str, str]) -> str:
    """Return the key of a part of the labels. labels: those of the container."""
    if part == "port":
        before = labels.get(LABEL_RESTRICTIONS, "").split()
        return with_places("entry.ports", *(p.origin for p in habitat.entry.ports if f"port={p}" not in before))
    return _at(habitat, "entry", *_KEYS.get(part, ("limits", part)))


def is_alike(project: Project, habitat: Habitat, one: str, other: str) -> bool:
    """Return whether containers of two images have the same files and environment. other: "" for today's, not built.

    The last phase itself sets only what a container gets from the config. So images of it are alike if they have one
    parent, and the same hooks and files at that phase. An image with files that were carried over has the labels of its
    final one.
    """
    if one == other:
        return True
    labels = project.image_index.labels_of
    contents = _contents(labels(one))
    others = _contents(labels(other)) if other else _contents_today(project, habitat)
    return contents is not None and contents == others


def _contents(labels: Mapping[str, str]) -> tuple[str, str] | None:
    """Return what decides about the files of an image of the last phase: its parent, and its hooks and files."""
    parent = labels.get(image_labels.LABEL_PARENT)
    if not parent or labels.get(image_labels.LABEL_PHASE) != PHASES[-1].NAME:
        return None
    return parent, labels.get(image_labels.LABEL_HOOKS, "")


def _contents_today(project: Project, habitat: Habitat) -> tuple[str, str] | None:
    """Return the same for the image that a build would make, None if it also builds earlier snapshots."""
    before = last_snapshot(habitat_phases(habitat), PHASES[-1])
    parent = project.assessments.look(habitat.name).images.get(before.NAME) if before else None
    return (parent, hooks.digest(habitat, PHASES[-1].NAME)) if parent else None
