"""A project in one run: its habitats, its engine, and what the run knows of both. Building is `build.builder`."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING

from msgspec.structs import replace

from phases.core import events
from phases.core.cache import freshness, image_names
from phases.core.cache.image_index import Inventory
from phases.core.cache.image_store import ImageStore
from phases.core.cache.slices import SliceStore
from phases.core.cache.stamps import Stamps, state_dir
from phases.core.cache.temporary_containers import TemporaryContainers
from phases.core.config import dockerfile, loader
from phases.core.engine.background import ContainerCreator
from phases.core.errors import ConfigError, EngineError, EngineUnreachable, HabitatError, SourceChanged
from phases.core.files.digest_cache import Digests
from phases.core.files.tree import Sources
from phases.core.secrets.store import SecretStore
from phases.protocol import slug
from phases.registry import (
    NAMES,
    PHASES,
    habitat_phases,
    last_snapshot,
    named,
    phases_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from phases.core.cache.freshness import Assessment
    from phases.core.engine.locks import EngineLocks
    from phases.core.engine.protocol import Engine
    from phases.core.engine.types import Container
    from phases.core.model import Habitat, Value
    from phases.core.secrets.fingerprints import OutputCheck
    from phases.core.trust import Ask, Trust
    from phases.protocol import Phase


class Project:
    """A project in one run. Habitats are loaded when they are first needed, so a broken one stops no other.

    Args:
        root: The folder of the project.
        connect: Returns the engine. It is called when the engine is first needed.
        shares: Whether a build takes over snapshots of other habitats.
        ask: Asks the person a question (see `trust`).
    """

    def __init__(
        self, root: Path, connect: Callable[[], Engine], *, shares: bool = False, ask: Ask = lambda *_: None
    ) -> None:
        self.root = root
        self.shares = shares
        self.bus = events.Bus()
        self.stamps = Stamps(root, self.warn)
        self.slices = SliceStore(root)
        self.vault = SecretStore(root, lambda name: self.trust.require(self.habitat(name)))
        self._ask = ask
        self._connect = connect
        self._loaded: dict[str, Habitat | HabitatError] = {}
        self._phases: dict[str, tuple[Phase, ...]] = {}
        self._engine_locks: EngineLocks | None = None
        self._assessed: dict[str, Assessment] = {}
        self._guard = threading.RLock()
        self._warned: set[str] = set()
        self._hurries = False
        #: Makes containers until the run is told to stop.
        self.maker = ContainerCreator()
        self.scratch = TemporaryContainers(root, lambda: self.engine)
        #: What ends the session or the temporary container that this run has open, by habitat.
        self.open_ends: dict[str, Callable[[], None]] = {}

    def warn(self, text: str) -> None:
        """Show a warning that belongs to no habitat, once in a run."""
        if text not in self._warned:
            self._warned.add(text)
            self.bus.emit(events.Notice("", text, warning=True))

    @cached_property
    def engine(self) -> Engine:
        """The engine. Raises EngineUnreachable."""
        engine = self._connect()
        engine.timeout.report = lambda text: self.bus.emit(events.Notice("", text, warning=True))
        if self._hurries:
            engine.timeout.shorten()
        return engine

    def hurry(self) -> None:
        """Wait only a little longer for the engine, since the run has to end. A signal handler calls this."""
        self._hurries = True
        if engine := self.__dict__.get("engine"):
            engine.timeout.shorten()

    @property
    def unanswered(self) -> list[str]:
        """The requests that a run that has to end no longer waits for."""
        engine = self.__dict__.get("engine")
        return engine.timeout.unanswered if engine else []

    @cached_property
    def trust(self) -> Trust:
        """What the person has agreed to. The module is loaded if a config asks something of the host."""
        from phases.core.trust import Trust

        return Trust(self.root, self.bus, self._ask)

    def need_trust(self, habitat: Habitat) -> None:
        """Raise Untrusted if the person has not agreed to what the habitat does on this host."""
        self.trust.require(habitat)

    @cached_property
    def inventory(self) -> Inventory:
        """The images of the engine."""
        return Inventory(self.engine.images, self.engine.image_config)

    @cached_property
    def store(self) -> ImageStore:
        """What tags and removes images."""
        return ImageStore(self.engine, self.inventory)

    @property
    def locks(self) -> EngineLocks:
        """The locks of the engine. The module is loaded if the run builds, or makes a container."""
        with self._guard:
            if self._engine_locks is None:
                from phases.core.engine.locks import EngineLocks

                self._engine_locks = EngineLocks(self.engine, self.maker)
            return self._engine_locks

    @property
    def names(self) -> list[str]:
        """The names of the habitats."""
        return loader.habitat_names(self.root)

    def phases(self, name: str) -> tuple[Phase, ...]:
        """Return the phases of a habitat, also if its config is broken. They stay the same for the whole run."""
        if name not in self._phases:
            self._phases[name] = phases_of(has_dockerfile=dockerfile.exists_in(self.root / "habitats" / name))
        return self._phases[name]

    def habitat(self, name: str) -> Habitat:
        """Return a habitat. Raises HabitatError, the same each time, if its config is broken."""
        with self._guard:
            if name not in self._loaded:
                try:
                    self._loaded[name] = self._load(name)
                except HabitatError as error:
                    self._loaded[name] = error
            habitat = self._loaded[name]
        if isinstance(habitat, HabitatError):
            raise habitat
        return habitat

    def _load(self, name: str) -> Habitat:
        sources = Sources(Digests(self.state_folder(name) / "digests"))
        habitat = replace(loader.load(self.root, name, NAMES), sources=sources)
        if habitat_phases(habitat) != self.phases(name):  # doit has tasks for these
            raise SourceChanged(habitat.folder / (habitat.dockerfile or "config.yaml"), "came or went just now")
        return habitat

    def assess(self, name: str) -> Assessment:
        """Return which phases of a habitat are up to date, and write its slices."""
        with self._guard:
            if name in self._assessed:
                self.slices.write(self.habitat(name))
            else:
                self._assessed[name] = self._assess(name, write=True)
            return self._assessed[name]

    def look(self, name: str) -> Assessment:
        """Return which phases of a habitat are up to date, and write nothing. Kept until one of them has run."""
        with self._guard:
            if name not in self._assessed:
                self._assessed[name] = self._assess(name, write=False)
            return self._assessed[name]

    def _assess(self, name: str, *, write: bool) -> Assessment:
        habitat = self.habitat(name)
        if not habitat.has_dockerfile:
            base_id = self._base_id(habitat)
            if base_id != habitat.base_id:
                habitat = self._loaded[name] = replace(habitat, base_id=base_id)
        if write:
            self.slices.write(habitat)
            habitat.sources.save()
        phases = habitat_phases(habitat)
        hashes = {phase.NAME: self.slices.hash(habitat, phase) for phase in phases}
        return freshness.assess(name, phases, hashes, self.inventory, self.stamps)

    def _base_id(self, habitat: Habitat) -> str | None:
        """Return the id of the base image. If it was removed, it is still the one that the habitat was built on."""
        self.inventory.all()  # raises the errors of the engine, which say nothing about the name
        try:
            base_id = self.inventory.id_of(habitat.base_image)
        except EngineUnreachable:
            raise
        except EngineError as error:
            raise ConfigError(
                f"base_image: {error.message}", where=habitat.base_origin, remedy="write it like debian:bookworm-slim"
            ) from error
        built = self.inventory.tagged(image_names.snapshot_tag(habitat.name, named("base")))
        return base_id or (built.labels.get(image_names.LABEL_PARENT) or None if built else None)

    def state_folder(self, name: str) -> Path:
        """Return the folder below .stamps/ that holds what is known of a habitat."""
        return state_dir(self.root, name)

    def output_check(self, name: str, container: Container, values: Iterable[Value] | None = None) -> OutputCheck:
        """Return what decides whether the output of a habitat's container may be shown.

        Args:
            name: The habitat.
            container: The container.
            values: The secrets that the container was given, if they are known already.
        """
        from phases.core.secrets.fingerprints import OutputCheck

        try:
            secrets = [secret for secret in self.habitat(name).secrets if secret.start]
        except HabitatError:
            return OutputCheck(self.state_folder(name), container, None, self.vault, values)
        return OutputCheck(self.state_folder(name), container, secrets, self.vault, values)

    def log_path(self, name: str, phase: Phase) -> Path:
        """Return the path of a phase's log."""
        return self.state_folder(name) / f"{slug(phase)}.log"

    def reassess(self, name: str) -> None:
        """Assess a habitat anew when it is next needed, because its images or stamps have changed."""
        with self._guard:
            self._assessed.pop(name, None)

    def look_again(self, name: str) -> None:
        """Do as `reassess`, with a new list of images, because another run may have built."""
        with self._guard:
            self.reassess(name)
            self.inventory.refresh()

    def end_open(self) -> None:
        """End the sessions and temporary containers that this run has open."""
        for name in list(self.open_ends):
            self.attempt(name, self.open_ends.pop(name))

    def close_locks(self) -> None:
        """Give back all locks that this run has on the engine."""
        if self._engine_locks:
            self._engine_locks.close()

    def close(self) -> list[str]:
        """End a run that built nothing. Returns no task, as Builder.close returns those that it was at."""
        self.maker.close()
        self.end_open()
        self.close_locks()
        self.bus.close()
        return []

    def attempt(self, name: str, clear: Callable[[], None]) -> None:
        """Call `clear` at the end of a run. An error is shown, and keeps the run from nothing else."""
        try:
            clear()
        except HabitatError as error:
            # The end of the run reports the requests that the engine did not answer.
            if not (isinstance(error, EngineUnreachable) and self.unanswered):
                self.bus.emit(events.Notice(name, str(error), warning=True))

    def parent_of(self, name: str, phase: Phase) -> str:
        """Return the id of the snapshot that `phase` starts from, "" for the first. Raises HabitatError."""
        before = last_snapshot(self.phases(name), phase)
        if before is None:
            return ""
        image = self.assess(name).images.get(before.NAME)
        if image is None:
            raise HabitatError(
                f"image {image_names.snapshot_tag(name, before)} is gone",
                where=f"{name}: {phase.NAME}",
                remedy="run the same command again",
            )
        return image

    def from_on(self, name: str, first: Phase) -> tuple[Phase, ...]:
        """Return a phase and those that rest on it.

        If the Dockerfile was removed, nothing rests on the dockerfile phase any more; it then comes with the first one.
        """
        phases = self.phases(name)
        rest = phases[phases.index(first) :]
        return rest if first is not phases[0] or first is PHASES[0] else (*rest, PHASES[0])
