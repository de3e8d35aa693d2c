"""What carrying out a phase needs to know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from phases.core.build.container_reuse import ContainerPool
from phases.core.engine.background import BackgroundRemover, ContainerCreator
from phases.core.engine.protocol import BlockSplitter
from phases.core.masking import Mask
from phases.protocol import slug

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from phases.core.build.file_cache import ImageContents
    from phases.core.engine.locks import EngineLocks
    from phases.core.engine.protocol import Bind, Engine, OnLines
    from phases.core.events import Event
    from phases.core.model import Cache, Habitat, Value
    from phases.protocol import Phase

#: Lines of output a failed command shows; the log has all of them.
SHOWN_OUTPUT = 40


class PhaseContext(Struct, frozen=True):
    """A phase to be carried out. log: where its output goes; binds, caches: mounted meanwhile; draft_name: of a
        container that only looks; secrets: what its commands may read; known_files: what was read of images,
    to be used and added to; maker: makes its container; parking: where that of the phase before may be;
    remover: takes it away; keep: takes the image of what is left when it fails; forget: takes away what is kept of an
    earlier failure; locks: of the run, where there are caches.
    """

    habitat: Habitat
    phase: Phase
    engine: Engine
    emit: Callable[[Event], None]
    log: Path
    container_name: str
    remover: BackgroundRemover
    binds: tuple[Bind, ...] = ()
    caches: tuple[Cache, ...] = ()
    draft_name: str = ""
    secrets: tuple[Value, ...] = ()
    known_files: ImageContents = field(default_factory=dict)
    maker: ContainerCreator = field(default_factory=ContainerCreator)
    parking: ContainerPool = field(default_factory=ContainerPool)
    keep: Callable[[str], None] | None = None
    forget: Callable[[], None] | None = None
    locks: EngineLocks | None = None

    def masked(self, on_lines: OnLines) -> BlockSplitter:
        """What takes a command's output, and hands on its lines without secrets in them."""
        return BlockSplitter(on_lines, Mask(value.data for value in self.secrets))

    @property
    def place(self) -> str:
        """Where a person is told something went wrong that no line of a config says."""
        return f"{self.habitat.name}: {self.phase.NAME}"

    @property
    def shown_log(self) -> str:
        return f".stamps/{self.habitat.name}/{slug(self.phase)}.log"
