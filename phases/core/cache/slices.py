"""The slices of a project: the part of a config that one phase depends on, as canonical JSON.

`.stamps/NAME/7-setup.json` is the hash's input, byte for byte: `sha256sum` of it prints the label `setup.hash` of the
snapshot. `.stamps/NAME/7-setup.built` is the slice of the last build, to find out later what has changed since.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from phases.core.cache.stamps import state_dir
from phases.core.files import atomic, safe_open
from phases.core.json_types import canonical
from phases.protocol import slug
from phases.registry import habitat_phases

if TYPE_CHECKING:
    from pathlib import Path

    from phases.core.json_types import Json
    from phases.core.model import Habitat
    from phases.protocol import Phase

# The largest kept slice that is read, in bytes: far larger than any.
_MAX_BYTES = 256_000_000


class SliceStore:
    """The slices of the project at `root`, each computed once in a run."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._data: dict[tuple[str, str, str | None], bytes] = {}
        self._written: dict[str, Habitat] = {}

    def path(self, name: str, phase: Phase) -> Path:
        """Return the file that `write` writes a phase's slice to."""
        return state_dir(self._root, name) / f"{slug(phase)}.json"

    def _kept_path(self, name: str, phase: Phase) -> Path:
        return state_dir(self._root, name) / f"{slug(phase)}.built"

    def data(self, habitat: Habitat, phase: Phase) -> bytes:
        """Return a phase's slice today. Only that of base can change during a run: a pull may bring another image."""
        key = (habitat.name, phase.NAME, habitat.base_id if phase.NAME == "base" else "")
        if key not in self._data:
            self._data[key] = canonical(phase.slice(habitat))
        return self._data[key]

    def today(self, habitat: Habitat, phase: Phase) -> Json:
        """Return a phase's slice today, parsed from JSON."""
        return json.loads(self.data(habitat, phase))

    def hash(self, habitat: Habitat, phase: Phase) -> str:
        """Return the sha256 of a phase's slice today."""
        return hashlib.sha256(self.data(habitat, phase)).hexdigest()

    def write(self, habitat: Habitat) -> None:
        """Write today's slices of all phases, once for each habitat object. Raises StateError."""
        if self._written.get(habitat.name) is habitat:
            return
        for phase in habitat_phases(habitat):
            atomic.write_if_changed(self.path(habitat.name, phase), self.data(habitat, phase))
        self._written[habitat.name] = habitat

    def keep(self, habitat: Habitat, phase: Phase) -> None:
        """Save the slice with which a phase was built, so that a later one can be compared with it.

        Unlike the phase's stamp it stays when the phase fails or is forgotten. Raises StateError.
        """
        atomic.write_if_changed(self._kept_path(habitat.name, phase), self.data(habitat, phase))

    def has_kept(self, name: str, phase: Phase) -> bool:
        """Return whether there is a kept slice of a phase."""
        return self._kept_path(name, phase).is_file()

    def kept(self, name: str, phase: Phase, digest: str) -> Json | None:
        """Return the kept slice of a phase, None if there is none with the sha256 `digest`."""
        try:
            data = safe_open.read(self._kept_path(name, phase), _MAX_BYTES) or b""
        except OSError:
            return None
        return json.loads(data) if hashlib.sha256(data).hexdigest() == digest else None
