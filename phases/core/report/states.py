"""The state of habitats, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from phases.core.runtime.orphans import Orphan

#: new: never built. unknown: the config is broken, or no engine answers.
State: TypeAlias = Literal["cached", "stale", "failed", "new", "unknown"]


@dataclass(frozen=True)
class PhaseState:
    """The state of a phase. `reason` is why it would run; "" if it only runs because a phase before it does."""

    id: int
    name: str
    state: State
    reason: str = ""


@dataclass(frozen=True)
class ContainerState:
    """The state of a habitat's container.

    Args:
        name: Its name.
        running: It runs.
        since: When it was started; if it doesn't run, when it ended.
        pids: The processes of doit that use it.
    """

    name: str
    running: bool
    since: datetime | None
    pids: Sequence[int]


@dataclass(frozen=True)
class Base:
    """The base image of a habitat.

    Args:
        reference: As in the config, or in FROM of the Dockerfile; "" if that isn't known.
        dockerfile: The habitat has a Dockerfile.
        id: Its id, "" if the engine doesn't have it.
        created: When it was built.
    """

    reference: str
    dockerfile: bool
    id: str = ""
    created: datetime | None = None


@dataclass(frozen=True)
class HabitatState:
    """The state of a habitat.

    Args:
        name: The habitat.
        description: As in its config.
        error: The error in its config, "" for none.
        phases: The state of each phase.
        base: Its base image, None if the config is broken.
        container: Its container, None for none.
        set_aside: Names of its other containers.
        aside_up: Names of those that run.
        notes: What a person should know about its workspaces.
        aside_bytes: The size of what was changed or added in those, without what a carried image has.
        aside_since: When the first of them was set aside.
        bytes: What removing all its images would free, None if no engine answers.
    """

    name: str
    description: str
    error: str
    phases: Sequence[PhaseState]
    base: Base | None
    container: ContainerState | None
    set_aside: Sequence[str]
    bytes: int | None
    aside_up: Sequence[str] = ()
    notes: Sequence[str] = ()
    aside_bytes: int = 0
    aside_since: datetime | None = None

    @property
    def first(self) -> PhaseState | None:
        """The phase with which a build would begin, None if all are up to date."""
        return next((phase for phase in self.phases if phase.state in ("stale", "failed", "new")), None)


@dataclass(frozen=True)
class Overview:
    """The state of habitats.

    Args:
        engine: The engine's address, "" if it doesn't answer.
        error: Why the engine doesn't answer, "" if it does.
        bytes: The size of the habitats' images and of those below them, each layer counted once.
        habitats: The state of each.
        orphans: What is left of habitats that were removed, or have another name on the engine now.
    """

    engine: str
    error: str
    bytes: int | None
    habitats: Sequence[HabitatState]
    orphans: Sequence[Orphan] = ()
