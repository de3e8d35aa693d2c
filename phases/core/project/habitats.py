"""The habitats of a project, each loaded when it is first needed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from msgspec.structs import replace

from phases.core import layout
from phases.core.cache.stamps import state_dir
from phases.core.config import dockerfile, loader
from phases.core.errors import HabitatError, SourceChanged
from phases.core.files.digest_cache import Digests
from phases.core.files.tree import Sources
from phases.registry import NAMES, PHASES, habitat_phases, phases_of

if TYPE_CHECKING:
    from pathlib import Path

    from phases.core.model import Habitat
    from phases.protocol import Phase


class Habitats:
    """The habitats of a project in one run. A habitat with a broken config doesn't affect the others.

    Args:
        root: The folder of the project.

    Attributes:
        guard: The lock that a thread holds while it loads or assesses a habitat.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._loaded: dict[str, Habitat | HabitatError] = {}
        self._phases: dict[str, tuple[Phase, ...]] = {}
        self.guard = threading.RLock()

    @property
    def names(self) -> list[str]:
        """The names of the habitats."""
        return loader.habitat_names(self._root)

    @property
    def removed(self) -> list[str]:
        """The names of habitats that were removed or renamed, and left files in .stamps/."""
        states = layout.state_folder(self._root)
        left = {entry.name for entry in states.iterdir() if entry.is_dir()} if states.is_dir() else set()
        return sorted(left - set(self.names))

    def phases(self, name: str) -> tuple[Phase, ...]:
        """Return the phases of a habitat, also if its config is broken. They stay the same for the whole run."""
        if name not in self._phases:
            self._phases[name] = phases_of(has_dockerfile=dockerfile.exists_in(layout.habitat_folder(self._root, name)))
        return self._phases[name]

    def phases_from(self, name: str, first: Phase) -> tuple[Phase, ...]:
        """Return a phase and all later phases, which rest on it.

        If the Dockerfile was removed, the dockerfile phase is no longer one of the habitat's. It is then returned with
        the first phase.
        """
        phases = self.phases(name)
        rest = phases[phases.index(first) :]
        return rest if first is not phases[0] or first is PHASES[0] else (*rest, PHASES[0])

    def get(self, name: str) -> Habitat:
        """Return a habitat. Raises HabitatError, the same each time, if its config is broken."""
        with self.guard:
            if name not in self._loaded:
                try:
                    self._loaded[name] = self._load(name)
                except HabitatError as error:
                    self._loaded[name] = error
            habitat = self._loaded[name]
        if isinstance(habitat, HabitatError):
            raise habitat
        return habitat

    def for_others(self, name: str) -> Habitat:
        """Return a habitat as everybody has it, without the person's own config. Raises HabitatError."""
        habitat = self.get(name)
        common = loader.load(self._root, name, NAMES, with_personal=False)
        return replace(common, sources=habitat.sources, base_id=habitat.base_id)

    def set_base_id(self, name: str, base_id: str | None) -> Habitat:
        """Record the id of a habitat's base image. Returns the habitat with it."""
        habitat = self.get(name)
        if base_id != habitat.base_id:
            habitat = self._loaded[name] = replace(habitat, base_id=base_id)
        return habitat

    def _load(self, name: str) -> Habitat:
        sources = Sources(Digests(state_dir(self._root, name) / "digests"))
        habitat = replace(loader.load(self._root, name, NAMES), sources=sources)
        if habitat_phases(habitat) != self.phases(name):  # doit has tasks for these
            raise SourceChanged(habitat.folder / (habitat.dockerfile or "config.yaml"), "came or went just now")
        return habitat
