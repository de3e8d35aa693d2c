"""Where the build container of a habitat waits between two phases of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phases.core.engine import Bind, Tmpfs


class Parked(Struct, frozen=True):
    """A container between two phases. image: the snapshot that it is; base_size: bytes of the image it was made
    from; env, mounts: as it was made.
    """

    id: str
    image: str
    base_size: int
    env: Mapping[str, str]
    mounts: Sequence[Bind | Tmpfs]
    running: bool


class Parking:
    """Where the build container of a habitat waits for the next phase of a run."""

    def __init__(self) -> None:
        self._parked: Parked | None = None

    def put(self, container: Parked) -> None:
        self._parked = container

    def take(self) -> Parked | None:
        """Whoever takes it sees to its end."""
        container, self._parked = self._parked, None
        return container
