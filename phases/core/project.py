"""A project at work: its habitats, its engine, and what is known of both in this run."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from functools import cached_property, partial
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from phases.core import events
from phases.core.build import file_cache
from phases.core.build.container_reuse import TemporaryContainers
from phases.core.cache import image_index, slices
from phases.core.cache.image_index import Assessment, Inventory
from phases.core.cache.image_store import ImageStore
from phases.core.cache.slice_files import SliceStore
from phases.core.cache.stamps import Stamps, state_dir
from phases.core.config import dockerfile, loader
from phases.core.engine.background import ContainerCreator
from phases.core.errors import ConfigError, EngineError, EngineUnreachable, HabitatError, NotFound, SourceChanged
from phases.core.files.digest_cache import Digests
from phases.core.files.locks import FileLock
from phases.core.files.tree import Sources
from phases.core.secrets.store import SecretStore
from phases.protocol import slug
from phases.registry import (
    NAMES,
    PHASES,
    habitat_phases,
    last_snapshot,
    mounts_caches,
    named,
    phases_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from phases.core.build.context import PhaseContext
    from phases.core.build.file_cache import ImageContents
    from phases.core.build.lock import BuildLock
    from phases.core.build.shared_builds import SharedBuilds
    from phases.core.engine.locks import EngineLocks
    from phases.core.engine.protocol import Engine, Image
    from phases.core.model import Habitat
    from phases.core.runtime.presence import Presence
    from phases.core.trust import Ask, Trust
    from phases.protocol import Phase


class PhaseResult(Struct, frozen=True):
    """The verdict of a phase, as its stamp keeps it. parent: id of the image it started from."""

    hash: str
    parent: str
    seconds: float

    def values(self) -> dict[str, object]:
        return {"hash": self.hash, "parent": self.parent, "seconds": round(self.seconds, 3)}


class Project:
    """The project at `root`. connect: returns the engine; called when one is first needed. shares: whether snapshots
    of other habitats are taken over. ask: puts a question to the person, see `trust`.

    Habitats are loaded when first asked for, so one that is broken stops no other.
    """

    def __init__(
        self, root: Path, connect: Callable[[], Engine], *, shares: bool = False, ask: Ask = lambda *_: None
    ) -> None:
        self.root = root
        self.shares = shares
        self.bus = events.Bus()
        self.stamps = Stamps(root, self._warn)
        self.slices = SliceStore(root)
        self.vault = SecretStore(root, lambda name: self.trust.need(self.habitat(name)))
        self._ask = ask
        self._connect = connect
        self._loaded: dict[str, Habitat | HabitatError] = {}
        self._phases: dict[str, tuple[Phase, ...]] = {}
        self._build_locks: dict[str, BuildLock] = {}
        self._engine_locks: EngineLocks | None = None
        self._assessed: dict[str, Assessment] = {}
        self._guard = threading.RLock()
        self._warned: set[str] = set()
        self._known_files: dict[str, ImageContents] = {}
        self._running: dict[str, Phase] = {}
        self._hurries = False
        #: Makes containers, as long as the run isn't told to stop.
        self.maker = ContainerCreator()
        self.scratch = TemporaryContainers(root, lambda: self.engine, self._warn)
        #: Of each start under way, what is to be done when it ends, however it does.
        self.open_ends: dict[str, Callable[[], None]] = {}

    def _warn(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self.bus.emit(events.Notice("", text, warning=True))

    @cached_property
    def engine(self) -> Engine:
        """Raises EngineUnreachable."""
        engine = self._connect()
        engine.patience.tell = lambda text: self.bus.emit(events.Notice("", text, warning=True))
        if self._hurries:
            engine.patience.hurry()
        return engine

    def hurry(self) -> None:
        """The run is to end: what the engine doesn't answer soon is waited for no longer. For a signal to call."""
        self._hurries = True
        if engine := self.__dict__.get("engine"):
            engine.patience.hurry()

    @property
    def unanswered(self) -> list[str]:
        """What a run that is to end has asked a silent engine for, in vain."""
        engine = self.__dict__.get("engine")
        return engine.patience.unanswered if engine else []

    @cached_property
    def trust(self) -> Trust:
        """Loaded where a config asks something of the host."""
        from phases.core.trust import Trust

        return Trust(self.root, self.bus, self._ask)

    @cached_property
    def inventory(self) -> Inventory:
        return Inventory(self.engine.images, self.engine.image_config)

    @cached_property
    def store(self) -> ImageStore:
        return ImageStore(self.engine, self.inventory)

    @property
    def locks(self) -> EngineLocks:
        """Loaded where something is to be built, or made."""
        with self._guard:
            if self._engine_locks is None:
                from phases.core.engine.locks import EngineLocks

                self._engine_locks = EngineLocks(self.engine, self.maker)
            return self._engine_locks

    @cached_property
    def neighbours(self) -> SharedBuilds:
        """Loaded where something is to be built."""
        from phases.core.build.shared_builds import SharedBuilds

        return SharedBuilds(self)

    @property
    def names(self) -> list[str]:
        return loader.habitat_names(self.root)

    def phases(self, name: str) -> tuple[Phase, ...]:
        """The phases of a habitat, whether or not its config is sound: the same for the whole run."""
        if name not in self._phases:
            self._phases[name] = phases_of(has_dockerfile=dockerfile.lies_in(self.root / "habitats" / name))
        return self._phases[name]

    def habitat(self, name: str) -> Habitat:
        """Raises the ConfigError that loading it met, each time."""
        with self._guard:
            if name not in self._loaded:
                try:
                    self._loaded[name] = self._load(name)
                except HabitatError as error:
                    self._loaded[name] = error
            found = self._loaded[name]
        if isinstance(found, HabitatError):
            raise found
        return found

    def _load(self, name: str) -> Habitat:
        sources = Sources(Digests(state_dir(self.root, name) / "digests"))
        habitat = replace(loader.load(self.root, name, NAMES), sources=sources)
        if habitat_phases(habitat) != self.phases(name):  # tasks were made of these
            raise SourceChanged(habitat.folder / (habitat.dockerfile or "config.yaml"), "came or went just now")
        return habitat

    # What is up to date

    def assess(self, name: str) -> Assessment:
        """The state of a habitat, its slices written."""
        with self._guard:
            if name in self._assessed:
                self.slices.write(self.habitat(name))
            else:
                self._assessed[name] = self._assess(name, write=True)
            return self._assessed[name]

    def look(self, name: str) -> Assessment:
        """The state of a habitat, nothing written. Kept until one of its phases has run."""
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
        return image_index.assess(name, phases, hashes, self.inventory, self.stamps)

    def _base_id(self, habitat: Habitat) -> str | None:
        """The id of the base image; where that is gone, of the one that was built on: it didn't move."""
        self.inventory.all()  # what is wrong with the engine is not with the name
        try:
            found = self.inventory.id_of(habitat.base_image)
        except EngineUnreachable:
            raise
        except EngineError as error:
            raise ConfigError(
                f"base_image: {error.message}", where=habitat.base_origin, remedy="write it like debian:bookworm-slim"
            ) from error
        built = self.inventory.tagged(image_index.snapshot_tag(habitat.name, named("base")))
        return found or (built.labels.get(image_index.LABEL_PARENT) or None if built else None)

    def log_path(self, name: str, phase: Phase) -> Path:
        return state_dir(self.root, name) / f"{slug(phase)}.log"

    def look_again(self, name: str) -> None:
        """What is on the engine may have changed: look again."""
        with self._guard:
            self._assessed.pop(name, None)
            self.inventory.refresh()

    # Building

    def build(self, name: str, phase: Phase) -> PhaseResult:
        """Run one phase, whose predecessors are up to date. Raises HabitatError.

        Another run may be building the same habitat: then this waits, and looks again.
        """
        # From here on, so that no other thread takes its lock for one that nobody needs. Not taken back
        # when a signal ends it: `close` is to say where that was.
        with self._guard:
            self.maker.check()
            self._running[name] = phase
        try:
            built = self._build(name, phase)
            if phase is PHASES[-1]:
                # Before others may build: whoever starts the habitat uses the image that is there now.
                self.assess(name)
        except HabitatError as error:
            if isinstance(error, SourceChanged) and error.path:
                self.habitat(name).sources.forget(error.path)
            self._done(name, release=True)
            raise
        self._done(name, release=phase is PHASES[-1])
        return built

    def _take_over(self, name: str) -> None:
        """Take away what a killed run left. Only who holds the habitat's lock may: names of containers are those of
        whoever builds it in a folder of this path.
        """
        from phases.core.files import temporary_folder
        from phases.core.secrets import ssh_agent

        self._clear(name)
        temporary_folder.sweep(state_dir(self.root, name))
        slices.sweep(state_dir(self.root, name))
        ssh_agent.sweep(state_dir(self.root, name))
        with self._guard:  # the images were listed for that
            self._assessed.pop(name, None)

    def _clear(self, name: str) -> None:
        for container in self.scratch.builds(name):
            self.engine.remove(container.id)
        self.store.sweep(name)

    def _done(self, name: str, *, release: bool) -> None:
        with self._guard:
            del self._running[name]
        if release:
            self.release(name)

    def _build(self, name: str, phase: Phase) -> PhaseResult:
        if self._built_by_another_run(name, phase):
            self.bus.emit(events.Notice(name, f"{phase.NAME} was built by another run"))
            return PhaseResult(self.assess(name).hashes[phase.NAME], self.parent_of(name, phase), 0.0)
        self._check_before(name, phase)
        try:
            if shared := self._share(name, phase):
                return shared
            with self.neighbours.turn(name, phase) as is_news:
                if is_news and (shared := self._share(name, phase)):
                    return shared
                return self._carry_out(name, phase)
        except HabitatError:
            self.stamps.drop(image_index.task_name(phase, name))
            raise

    def _share(self, name: str, phase: Phase) -> PhaseResult | None:
        """Have another habitat's snapshot for this one's; None where there is none, or it went meanwhile."""
        from phases.core.build.phase_log import PhaseLog

        found = self.neighbours.shareable(name).get(phase.NAME)
        if found is None:
            return None
        with PhaseLog(self.log_path(name, phase)) as log:
            log.write(f"nothing was run: the snapshot is that of {found.habitat}")
        try:
            self._publish(name, phase, found.image, self.parent_of(name, phase))
        except NotFound:  # its own habitat asks for no lock of this one
            self.look_again(name)
            return None
        self.neighbours.note(name, follows=True)
        self.slices.keep(self.habitat(name), phase)
        tag = image_index.snapshot_tag(name, phase)
        self.bus.emit(events.PhaseShared(name, phase.NAME, found.habitat, tag, found.image.id))
        digest, seconds = self.slices.hash(self.habitat(name), phase), image_index.seconds(found.image.labels)
        return PhaseResult(digest, self.parent_of(name, phase), seconds)

    def _carry_out(self, name: str, phase: Phase) -> PhaseResult:
        from phases.core.build import credential_files
        from phases.core.build.executor import run_phase

        habitat = self.habitat(name)
        self.neighbours.note(name, follows=False)
        self._admit(habitat, phase)
        self.bus.emit(events.PhaseStarted(name, phase.NAME))
        if left_out := credential_files.told(habitat, phase):
            self.bus.emit(events.Notice(name, left_out))
        started = time.monotonic()
        parent = self.parent_of(name, phase)
        self._see_that_it_is_ours(name, phase, parent)
        image = run_phase(self._work(habitat, phase), parent, phase.plan(habitat), self._labels(habitat, phase))
        self._publish(name, phase, image, parent)
        self.slices.keep(self.habitat(name), phase)
        file_cache.note(self._contents_path(name), self._contents_of(name))
        built = PhaseResult(self.slices.hash(self.habitat(name), phase), parent, time.monotonic() - started)
        snapshot = image_index.snapshot_tag(name, phase) if image else ""
        self.bus.emit(events.PhaseFinished(name, phase.NAME, built.seconds, snapshot, image.id if image else ""))
        return built

    def _admit(self, habitat: Habitat, phase: Phase) -> None:
        """See that the person agrees to what a phase does on the host, before anything is drawn over the question."""
        from phases.core.cache import mounts

        if any(secret.command for secret in habitat.secrets_of(phase.NAME)):
            self.trust.need(habitat)
        mounts.admit(self, habitat, mounts.mounts_in(habitat, phase))

    def _check_before(self, name: str, phase: Phase) -> None:
        """What a phase is built on must be what the config says now: its labels will say so for good.

        doit has seen to that, unless another run built in between, or it was told to run one task alone.
        """
        stale = self.assess(name).stale
        for before in self.phases(name):
            if before is phase:
                return
            if before.NAME in stale:
                raise HabitatError(
                    f"{before.NAME} has to run first ({stale[before.NAME]})",
                    where=f"{name}: {phase.NAME}",
                    remedy="run the same command again, without --single",
                )

    def _built_by_another_run(self, name: str, phase: Phase) -> bool:
        """Take the habitat's lock, if this run doesn't have it, and see what happened before that."""
        if name in self._build_locks:
            return False
        was_stale = phase.NAME in self.assess(name).stale
        self._lock(name)
        self.maker.check()  # it may have waited for long
        self._take_over(name)
        return was_stale and phase.NAME not in self.assess(name).stale

    def _lock(self, name: str) -> None:
        def on_wait(holder: str) -> None:
            self.bus.emit(events.Notice(name, f"waiting for another run that builds {name} ({holder})"))

        from phases.core.build.lock import BuildLock

        # Who waits for one lock holds no other, or two runs could wait for each other.
        with self._guard:
            for other in [held for held in self._build_locks if held not in self._running]:
                self.release(other)
            of_clone = FileLock(state_dir(self.root, name) / "lock")
            lock = self._build_locks[name] = BuildLock(of_clone, self.locks.lock(f"build {name}"))
        lock.acquire(on_wait)

    def release(self, name: str) -> None:
        """Let other runs build the habitat."""
        with self._guard:
            self.scratch.abandon(name)
            if lock := self._build_locks.pop(name, None):
                lock.release()

    def close(self) -> list[str]:
        """Take away what a build that was told to stop has open. Returns the tasks it was at."""
        self.maker.close()
        with self._guard:
            at = dict(self._running)
        for name in list(self.open_ends):
            self.attempt(name, self.open_ends.pop(name))
        # One that still waits for the lock has no container; there may be one of who holds it.
        building = [name for name in at if name in self._build_locks and self._build_locks[name].is_held]
        self._clear_all(building)
        for name in list(self._build_locks):
            self.release(name)
        if self._engine_locks:
            self._engine_locks.close()
        self.scratch.remover.wait(until_gone=bool(at))
        self.bus.close()
        return [image_index.task_name(phase, name) for name, phase in at.items()]

    def _clear_all(self, names: Sequence[str]) -> None:
        """At once, since each takes the engine a while, and somebody waits for it."""
        if names:
            from concurrent.futures import ThreadPoolExecutor

            with ThreadPoolExecutor(len(names)) as pool:
                list(pool.map(lambda name: self.attempt(name, partial(self._clear_own, name)), names))

    def _clear_own(self, name: str) -> None:
        """Where the lock was lost, what is there is somebody else's."""
        self._build_locks[name].check()
        self._clear(name)

    def attempt(self, name: str, clear: Callable[[], None]) -> None:
        """An engine that can't clear one thing away keeps nobody from the next, or from ending."""
        try:
            clear()
        except HabitatError as error:
            # Of what the engine doesn't answer, whoever ends the run tells.
            if not (isinstance(error, EngineUnreachable) and self.unanswered):
                self.bus.emit(events.Notice(name, str(error), warning=True))

    def parent_of(self, name: str, phase: Phase) -> str:
        """The id of the snapshot that `phase` starts from, "" for the first."""
        before = last_snapshot(self.phases(name), phase)
        if before is None:
            return ""
        image = self.assess(name).images.get(before.NAME)
        if image is None:
            raise HabitatError(
                f"image {image_index.snapshot_tag(name, before)} is gone",
                where=f"{name}: {phase.NAME}",
                remedy="run the same command again",
            )
        return image

    def _work(self, habitat: Habitat, phase: Phase) -> PhaseContext:
        from phases.core.build.context import PhaseContext
        from phases.core.cache.mounts import mounts_in

        return PhaseContext(
            habitat=habitat,
            phase=phase,
            engine=self.engine,
            locks=self.locks,
            emit=self.bus.emit,
            log=self.log_path(habitat.name, phase),
            container_name=self.scratch.build_name(habitat.name, phase),
            draft_name=self.scratch.draft_name(habitat.name),
            remover=self.scratch.remover,
            binds=mounts_in(habitat, phase),
            caches=habitat.caches if mounts_caches(phase) else (),
            secrets=self.vault.values(habitat.secrets_of(phase.NAME)),
            known_files=self._contents_of(habitat.name),
            maker=self.maker,
            parking=self.scratch.parking(habitat.name),
            keep=partial(self._keep_failed, habitat.name, phase),
            forget=partial(self.store.untag_failed, habitat.name),
        )

    def _contents_path(self, name: str) -> Path:
        return state_dir(self.root, name) / "contents"

    def _contents_of(self, name: str) -> ImageContents:
        """What is known of the files in a habitat's images."""
        with self._guard:
            if name not in self._known_files:
                self._known_files[name] = file_cache.recall(self._contents_path(name))
            return self._known_files[name]

    def _labels(self, habitat: Habitat, phase: Phase) -> Callable[[str, float], dict[str, str]]:
        environment = self.neighbours.environment_digest_of(habitat.name, phase) if phase.SNAPSHOT else ""

        def labels(parent: str, seconds: float) -> dict[str, str]:
            is_base = phase.ID == 1 and not habitat.has_dockerfile
            if is_base and parent != self.habitat(habitat.name).base_id:
                # The base was pulled just now, or has moved: its id belongs to the slice.
                self.look_again(habitat.name)
            hashes = self.assess(habitat.name).hashes
            if is_base and parent != self.habitat(habitat.name).base_id:
                raise SourceChanged(habitat.base_origin, f"base image {habitat.base_image} moved during the build")
            phases = habitat_phases(habitat)
            return {
                **{image_index.hash_label(p): hashes[p.NAME] for p in phases[: phases.index(phase) + 1]},
                **image_index.labels(habitat.name, phase, parent, seconds),
                image_index.LABEL_ENVIRONMENT_DIGEST: environment,
            }

        return labels

    def _see_that_it_is_ours(self, name: str, phase: Phase, parent: str) -> None:
        """Before containers are made or removed by name, and right before what others see is changed. parent: of the
        snapshot to be. Raises HabitatError where another run has the habitat's lock, or has had it meanwhile and built.
        """
        if self._build_locks[name].check():
            self.look_again(name)
            if self.parent_of(name, phase) != parent:
                raise HabitatError(
                    f"another run has built {name} meanwhile",
                    where=f"{name}: {phase.NAME}",
                    remedy="run the same command again",
                )

    def _keep_failed(self, name: str, phase: Phase, image: str) -> None:
        self._build_locks[name].check()
        self.store.keep_failed(name, phase, image)

    def _publish(self, name: str, phase: Phase, image: Image | None, parent: str) -> None:
        """Make `image` the result of `phase`, made from `parent`; what rests on the old one is nobody's any more.

        In this order, a kill at any point leaves what is either right or known to be invalid.
        """
        self._see_that_it_is_ours(name, phase, parent)
        later = self.from_on(name, phase)[1:]
        for behind in later:
            self.stamps.drop(image_index.task_name(behind, name))
        self.store.untag_failed(name)
        self.store.withdraw(name, later)
        if image:
            self.store.publish(name, phase, image)
        with self._guard:
            self._assessed.pop(name, None)

    def presence(self, name: str) -> Presence:
        """Return the record of a session in the habitat's container."""
        from phases.core.runtime.presence import Presence

        return Presence(state_dir(self.root, name))

    def from_on(self, name: str, first: Phase) -> tuple[Phase, ...]:
        """A phase and what rests on it. What a Dockerfile that is gone has left rests on nothing any
        more, and so goes with the first phase.
        """
        phases = self.phases(name)
        rest = phases[phases.index(first) :]
        return rest if first is not phases[0] or first is PHASES[0] else (*rest, PHASES[0])

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Not while another run builds the habitat; what a killed one left is gone."""
        try:
            self._lock(name)
            self._take_over(name)
            yield
        finally:
            self.release(name)
            self.look_again(name)
