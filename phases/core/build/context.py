"""The context of one phase: what its steps need, and the log that gets their output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from phases.core import events, layout
from phases.core.build.container.pool import ContainerPool
from phases.core.engine.background import BackgroundRemover, ContainerCreator
from phases.core.engine.output import BlockSplitter
from phases.core.masking import Mask

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from phases.core.cache.image_files import ImageContents
    from phases.core.engine.locks import EngineLocks
    from phases.core.engine.output import OnLines
    from phases.core.engine.protocol import Engine
    from phases.core.engine.types import Bind
    from phases.core.events import Event
    from phases.core.files.phase_log import PhaseLog
    from phases.core.model import Cache, Habitat, Value
    from phases.protocol import Phase

#: Lines of output a failed command shows; the log has all of them.
SHOWN_OUTPUT = 40


class PhaseOutput:
    """Takes the lines that a phase prints, for its log and for the person."""

    def __init__(self, work: PhaseContext, log: PhaseLog) -> None:
        self._work = work
        self._log = log

    def write(self, line: str) -> None:
        """Write a line into the log alone."""
        self._log.write(line)

    def line(self, line: str, *, show: bool) -> None:
        """Write a line into the log, and tell the person. show: also if the person doesn't want all output."""
        self.lines([line], show=show)

    def lines(self, lines: list[str], *, show: bool, stream: events.Stream = "") -> None:
        """Do as `line` for several lines that were printed at once."""
        self._log.write(*lines)
        name, phase, emit = self._work.habitat.name, self._work.phase.NAME, self._work.emit
        if not show:
            emit(events.OutputBlock(name, phase, tuple(lines), stream))
            return
        for line in lines:
            emit(events.Output(name, phase, line, stream))


class PhaseContext(Struct, frozen=True):
    """The context of one phase.

    Args:
        habitat: The habitat.
        phase: The phase.
        engine: The engine.
        emit: Takes events.
        log: The path of the phase's log.
        engine_name: The name of the habitat on the engine.
        container_name: The name of its container.
        remover: Removes a container in the background.
        binds: The folders of the host that are mounted.
        caches: The caches that are mounted.
        draft_name: The name of the container in which the build inspects an image.
        secrets: What its commands may read.
        known_files: What is known of the files of images. The build adds to it.
        maker: Creates its container.
        pool: Has the container of the phase before, if this phase may continue in it.
        keep: Keeps the image of a phase that failed, given its id.
        forget: Removes the image that is kept of an earlier failure.
        locks: The locks of the run, if there are caches.
        network: Whether its container has a network.
    """

    habitat: Habitat
    phase: Phase
    engine: Engine
    emit: Callable[[Event], None]
    log: Path
    engine_name: str
    container_name: str
    remover: BackgroundRemover
    binds: tuple[Bind, ...] = ()
    caches: tuple[Cache, ...] = ()
    draft_name: str = ""
    secrets: tuple[Value, ...] = ()
    known_files: ImageContents = field(default_factory=dict)
    maker: ContainerCreator = field(default_factory=ContainerCreator)
    pool: ContainerPool = field(default_factory=ContainerPool)
    keep: Callable[[str], None] | None = None
    forget: Callable[[], None] | None = None
    locks: EngineLocks | None = None
    network: bool = True

    def masked(self, on_lines: OnLines) -> BlockSplitter:
        """Return a splitter for a command's output. It passes the lines to `on_lines` without secrets."""
        return BlockSplitter(on_lines, Mask(value.data for value in self.secrets))

    def notice(self, text: str) -> None:
        """Show a line to the person."""
        self.emit(events.Notice(self.habitat.name, text))

    @property
    def place(self) -> str:
        """The place that an error names if no line of the config caused it."""
        return f"{self.habitat.name}: {self.phase.NAME}"

    @property
    def shown_log(self) -> str:
        """The path of the log as an error names it."""
        return layout.shown_state(self.log)
