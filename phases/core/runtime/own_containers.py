"""Decides which containers belong to a habitat.

`docker commit` hands the labels of a container down to an image, and the image hands them down to every
container that is made of it. So a label identifies nothing by itself. A container is a habitat's own if it
has a name that the program gives, and a nonce that its image doesn't have.
"""

from __future__ import annotations

import itertools
import os
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from phases.core.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from phases.core.engine.types import Container
    from phases.core.project import Project

#: The habitat whose container it is.
LABEL_RUN = "habitat.run"

#: Random digits of the container. Containers that earlier versions made have none.
LABEL_NONCE = "habitat.nonce"

#: The label of a carried image, which has the files of a container (`carry.carried`), and of its containers: the final
#: image that they stem from, and how many layers that has.
LABEL_CARRIED = "habitat.carried"

#: The label of a container with the files of another one: when that one ended, so that its later work isn't lost.
LABEL_CARRIED_AT = "habitat.carried-at"

#: The label of a container with volumes that stand for VOLUMEs of its image: their names.
LABEL_IMAGE_VOLUMES = "habitat.image-volumes"

#: The label of a new container with the id of the one that it is to replace.
LABEL_REPLACES = "habitat.replaces"

#: The label of a new container that a person asked for: "yes" if no start is to use the one before again.
LABEL_RETIRES = "habitat.retires"

# The end of the name of a container that has yet to take its habitat's name: nobody has been in it.
_NEW = "-new"

# The end of the name of a container that a person replaced with `start --new`: no start uses it again.
_RETIRED = "-retired"

# The end of the name of a container that has nothing that the one in its place lacks: it is about to be removed.
_OLD = "-old"

_STAMP = "%Y%m%d-%H%M%S"

# The end of `aside_names`, `new_names` and `old_names`.
_ASIDE = re.compile(rf"-\d{{8}}-\d{{6}}(-\d+)?({_NEW}|{_RETIRED}|{_OLD})?", re.ASCII)


def container_name(habitat: str) -> str:
    """Return the name of a habitat's container. habitat: its name on the engine (see `EngineNames`)."""
    return f"habitat-{habitat}"


def aside_names(name: str, *, retired: bool = False) -> Iterator[str]:
    """Yield the names for a container that is set aside, the best first: `name`, the time, and a number if needed.

    retired: Whether no start is to use it again.
    """
    stamped, end = f"{name}-{time.strftime(_STAMP)}", _RETIRED if retired else ""
    yield f"{stamped}{end}"
    yield from (f"{stamped}-{number}{end}" for number in itertools.count(2))


def new_names(name: str) -> Iterator[str]:
    """Yield the names for a container that is to replace the one called `name`, the best first."""
    yield from (f"{aside}{_NEW}" for aside in aside_names(name))


def old_names(name: str) -> Iterator[str]:
    """Yield the names for a container called `name` until it is removed, the best first."""
    yield from (f"{aside}{_OLD}" for aside in aside_names(name))


def is_old(name: str) -> bool:
    """Return whether a name is one of `old_names`."""
    return name.endswith(_OLD) and bool(_ASIDE.search(name))


def is_new(name: str) -> bool:
    """Return whether a name is one of `new_names`."""
    return name.endswith(_NEW) and bool(_ASIDE.search(name))


def is_retired(name: str) -> bool:
    """Return whether a name is that of a container which no start is to use again."""
    return name.endswith(_RETIRED) and bool(_ASIDE.search(name))


def set_aside_at(name: str) -> datetime | None:
    """Return when a container was set aside, as its name has it, in UTC; None for one that wasn't."""
    match = _ASIDE.search(name)
    if not match:
        return None
    stamp = match[0].lstrip("-")[: len("20260101-000000")]
    try:
        return datetime.strptime(stamp, _STAMP).astimezone(UTC)  # the stamp is of the local time
    except ValueError:
        return None


def marks(habitat: str) -> dict[str, str]:
    """Return the labels of a new container of the habitat with this name on the engine."""
    return {LABEL_RUN: habitat, LABEL_NONCE: os.urandom(16).hex()}


def is_own(container: Container, inherited: Mapping[str, str]) -> bool:
    """Return whether a container belongs to the habitat that its label names. inherited: the labels of its image."""
    habitat, nonce = container.labels.get(LABEL_RUN), container.labels.get(LABEL_NONCE)
    if not habitat or not _is_name(container.name, habitat):
        return False
    if not nonce:
        return not inherited.get(LABEL_RUN)
    return inherited.get(LABEL_NONCE) != nonce


def _is_name(name: str, habitat: str) -> bool:
    own = container_name(habitat)
    return name == own or (name.startswith(own) and bool(_ASIDE.fullmatch(name, len(own))))


def owner(project: Project, container: Container) -> str:
    """Return the habitat, of any project, that a container belongs to, by its name on the engine; "" for none."""
    habitat = container.labels.get(LABEL_RUN, "")
    return habitat if habitat and is_own(container, project.image_index.labels_of(container.image)) else ""


def containers(project: Project, name: str = "") -> list[Container]:
    """List the project's containers: of a habitat, or of all that it has or had."""
    label = f"{LABEL_RUN}={project.names.of(name)}" if name else LABEL_RUN
    return [
        container
        for container in project.engine.containers(label=label)
        if owner(project, container) and not project.identity.is_foreign(container.labels)
    ]


def own_container(project: Project, name: str) -> Container | None:
    """Return the habitat's container, None if there is none. Raises Conflict if another container has its name."""
    engine_name = project.names.of(name)
    container = project.engine.container(container_name(engine_name))
    if container and owner(project, container) != engine_name:
        raise Conflict(
            f"the container name {container.name} is taken by another container",
            remedy=f"rename that container: docker rename {container.name} OTHER",
        )
    if container and project.identity.is_foreign(container.labels):
        raise project.names.conflict(name, f"the container {container.name}", container.labels)
    return container
