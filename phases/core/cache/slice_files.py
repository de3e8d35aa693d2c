"""Where the slices of a project are: made once in a run, written for whoever wants to check a hash, and
kept of the last build for whoever asks what has changed since.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from phases.core.cache import slices
from phases.core.cache.stamps import state_dir
from phases.core.files import safe_open
from phases.protocol import slug
from phases.registry import habitat_phases

if TYPE_CHECKING:
    from pathlib import Path

    from phases.core.model import Habitat
    from phases.protocol import Json, Phase

# Bytes of a kept slice: far above any.
_LONGEST = 256_000_000


class SliceStore:
    """The slices of the project at `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._made: dict[tuple[str, str, str | None], bytes] = {}
        self._written: dict[str, Habitat] = {}

    def path(self, name: str, phase: Phase) -> Path:
        """Where today's slice is, once it is written."""
        return state_dir(self._root, name) / f"{slug(phase)}.json"

    def _kept_path(self, name: str, phase: Phase) -> Path:
        return state_dir(self._root, name) / f"{slug(phase)}.built"

    def data(self, habitat: Habitat, phase: Phase) -> bytes:
        """Today's slice, canonical. Only base's can change in a run: its image may be pulled."""
        key = (habitat.name, phase.NAME, habitat.base_id if phase.NAME == "base" else "")
        if key not in self._made:
            self._made[key] = slices.canonical(phase.slice(habitat))
        return self._made[key]

    def today(self, habitat: Habitat, phase: Phase) -> Json:
        """The same, as it would be read again."""
        return json.loads(self.data(habitat, phase))

    def hash(self, habitat: Habitat, phase: Phase) -> str:
        return hashlib.sha256(self.data(habitat, phase)).hexdigest()

    def write(self, habitat: Habitat) -> None:
        """Today's of all phases, unless this run did so of this very habitat. Raises StateError."""
        if self._written.get(habitat.name) is habitat:
            return
        for phase in habitat_phases(habitat):
            slices.write_if_changed(self.path(habitat.name, phase), self.data(habitat, phase))
        self._written[habitat.name] = habitat

    def keep(self, habitat: Habitat, phase: Phase) -> None:
        """Keep the slice of a phase that is up to date, for the day that another one is to be compared
        with it. Unlike its stamp it stays when the phase fails, or is forgotten. Raises StateError.
        """
        slices.write_if_changed(self._kept_path(habitat.name, phase), self.data(habitat, phase))

    def has_kept(self, name: str, phase: Phase) -> bool:
        return self._kept_path(name, phase).is_file()

    def kept(self, name: str, phase: Phase, digest: str) -> Json | None:
        """The kept slice of a phase; None where it isn't the one with that hash, or isn't there."""
        try:
            data = safe_open.read(self._kept_path(name, phase), _LONGEST) or b""
        except OSError:
            return None
        return json.loads(data) if hashlib.sha256(data).hexdigest() == digest else None
