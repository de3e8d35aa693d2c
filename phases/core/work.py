"""What carrying out a phase needs to know."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from phases.core.closing import Maker
from phases.protocol import slug

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from phases.core.engine import Bind, Engine
    from phases.core.events import Event
    from phases.core.model import Habitat
    from phases.protocol import Phase

#: Lines of output a failed command shows; the log has all of them.
SHOWN_OUTPUT = 40


@dataclass(frozen=True)
class Work:
    """A phase to be carried out. log: where its output goes; binds: mounted meanwhile; known_files:
    image id to what was read of its files by path, to be used and added to; maker: makes its container.
    """

    habitat: Habitat
    phase: Phase
    engine: Engine
    emit: Callable[[Event], None]
    log: Path
    container_name: str
    binds: tuple[Bind, ...] = ()
    known_files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    maker: Maker = field(default_factory=Maker)

    @property
    def place(self) -> str:
        """Where a person is told something went wrong that no line of a config says."""
        return f"{self.habitat.name}: {self.phase.NAME}"

    @property
    def shown_log(self) -> str:
        return f".stamps/{self.habitat.name}/{slug(self.phase)}.log"
