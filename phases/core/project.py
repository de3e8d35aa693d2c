"""A project at work: its habitats, its engine, and what is known of both in this run."""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from phases.core import config, events, slices, snapshots
from phases.core.build import carry_out
from phases.core.engine import Bind
from phases.core.errors import HabitatError
from phases.core.locks import BuildLock
from phases.core.snapshots import Assessment, Inventory
from phases.core.stamps import Stamps, state_dir
from phases.core.work import Work
from phases.protocol import slug
from phases.registry import NAMES, PHASES, habitat_phases, last_snapshot, mounts_volumes, phases_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from phases.core.engine import Engine
    from phases.core.model import Habitat
    from phases.protocol import Phase


@dataclass(frozen=True)
class Built:
    """The verdict of a phase, as its stamp keeps it. parent: id of the image it started from."""

    hash: str
    parent: str
    seconds: float

    def values(self) -> dict[str, object]:
        return {"hash": self.hash, "parent": self.parent, "seconds": round(self.seconds, 3)}


class Project:
    """The project at `root`. connect: returns the engine; called when one is first needed.

    Habitats are loaded when first asked for, so one that is broken stops no other.
    """

    def __init__(self, root: Path, connect: Callable[[], Engine]) -> None:
        self.root = root
        self.bus = events.Bus()
        self.stamps = Stamps(root, self._warn)
        self._connect = connect
        self._loaded: dict[str, Habitat | HabitatError] = {}
        self._locks: dict[str, BuildLock] = {}
        self._assessed: dict[str, Assessment] = {}
        self._hashes: dict[tuple[str, str, str | None], str] = {}
        self._guard = threading.RLock()
        self._warned: set[str] = set()
        self._running: dict[str, Phase] = {}

    def _warn(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self.bus.emit(events.Notice("", text, warning=True))

    @cached_property
    def engine(self) -> Engine:
        """Raises EngineUnreachable."""
        return self._connect()

    @cached_property
    def inventory(self) -> Inventory:
        return Inventory(self.engine)

    @property
    def names(self) -> list[str]:
        return config.habitat_names(self.root)

    def phases(self, name: str) -> tuple[Phase, ...]:
        """The phases of a habitat, whether or not its config is sound."""
        return phases_of(has_dockerfile=(self.root / "habitats" / name / "Dockerfile").is_file())

    def habitat(self, name: str) -> Habitat:
        """Raises the ConfigError that loading it met, each time."""
        with self._guard:
            if name not in self._loaded:
                try:
                    self._loaded[name] = config.load(self.root, name, NAMES)
                except HabitatError as error:
                    self._loaded[name] = error
            found = self._loaded[name]
        if isinstance(found, HabitatError):
            raise found
        return found

    # What is up to date

    def assess(self, name: str) -> Assessment:
        """The state of a habitat, its slices written. Kept until one of its phases has run."""
        with self._guard:
            if name not in self._assessed:
                self._assessed[name] = self._assess(name)
            return self._assessed[name]

    def _assess(self, name: str) -> Assessment:
        habitat = self.habitat(name)
        if not habitat.has_dockerfile:
            habitat = replace(habitat, base_id=self.inventory.id_of(habitat.base_image))
            self._loaded[name] = habitat
        phases = habitat_phases(habitat)
        hashes = {phase.NAME: self._hash(habitat, phase) for phase in phases}
        return snapshots.assess(name, phases, hashes, self.inventory, self.stamps)

    def _hash(self, habitat: Habitat, phase: Phase) -> str:
        """The hash of a phase's slice. Only base's can change in a run: its image may be pulled."""
        key = (habitat.name, phase.NAME, habitat.base_id if phase.NAME == "base" else "")
        if key not in self._hashes:
            data = slices.canonical(phase.slice(habitat))
            slices.write_if_changed(self.slice_path(habitat.name, phase), data)
            self._hashes[key] = hashlib.sha256(data).hexdigest()
        return self._hashes[key]

    def slice_path(self, name: str, phase: Phase) -> Path:
        return state_dir(self.root, name) / f"{slug(phase)}.json"

    def log_path(self, name: str, phase: Phase) -> Path:
        return state_dir(self.root, name) / f"{slug(phase)}.log"

    def forget_state(self, name: str) -> None:
        """What is on the engine may have changed: look again."""
        with self._guard:
            self._assessed.pop(name, None)
            self.inventory.refresh()

    # Building

    def build(self, name: str, phase: Phase) -> Built:
        """Run one phase, whose predecessors are up to date. Raises HabitatError.

        Another run may be building the same habitat: then this waits, and looks again.
        """
        habitat = self.habitat(name)
        if self._lock(name):
            self.forget_state(name)
            if phase.NAME not in self.assess(name).stale:
                parent = self._parent(habitat, phase)
                self.bus.emit(events.Notice(name, f"{phase.NAME} was built by the other run"))
                return Built(self.assess(name).hashes[phase.NAME], parent, 0.0)
        self._running[name] = phase
        self.bus.emit(events.PhaseStarted(name, phase.NAME))
        started = time.monotonic()
        parent = self._parent(habitat, phase)
        image = carry_out(self._work(habitat, phase), parent, phase.plan(habitat), self._labels(habitat, phase))
        self._supersede(name, phase)
        if image:
            self._tag(name, phase, image)
        self.forget_state(name)
        built = Built(self._hash(self.habitat(name), phase), parent, time.monotonic() - started)
        snapshot = snapshots.snapshot_tag(name, phase) if image else ""
        del self._running[name]
        self.bus.emit(events.PhaseFinished(name, phase.NAME, built.seconds, snapshot))
        return built

    def _lock(self, name: str) -> bool:
        """Take the habitat's build lock, and clear what a killed run left. Returns whether it waited."""
        with self._guard:
            if name in self._locks:
                return False
            lock = self._locks[name] = BuildLock(state_dir(self.root, name) / "lock")

        def on_wait(holder: str) -> None:
            self.bus.emit(events.Notice(name, f"waiting for another run that builds {name} ({holder})"))

        waited = lock.acquire(on_wait)
        self.engine.remove(self.build_container(name))
        self._sweep(name)
        return waited

    def release(self) -> None:
        """Let other runs build."""
        for lock in self._locks.values():
            lock.release()

    def abort(self) -> list[str]:
        """Take away what a build that was told to stop has open. Returns the tasks it was at."""
        for name in self._locks:
            self.engine.remove(self.build_container(name))
        self.release()
        return [snapshots.task_name(phase, name) for name, phase in self._running.items()]

    def _parent(self, habitat: Habitat, phase: Phase) -> str:
        """The id of the snapshot that `phase` starts from, "" for the first."""
        before = last_snapshot(habitat_phases(habitat), phase)
        image = self.inventory.tagged(snapshots.snapshot_tag(habitat.name, before)) if before else None
        if before and image is None:
            raise HabitatError(
                f"image {snapshots.snapshot_tag(habitat.name, before)} is gone",
                where=f"{habitat.name}: {phase.NAME}",
                remedy="run the same command again",
            )
        return image.id if image else ""

    def _work(self, habitat: Habitat, phase: Phase) -> Work:
        return Work(
            habitat=habitat,
            phase=phase,
            engine=self.engine,
            emit=self.bus.emit,
            log=self.log_path(habitat.name, phase),
            container_name=self.build_container(habitat.name),
            binds=binds_of(habitat) if mounts_volumes(phase) else (),
        )

    def build_container(self, name: str) -> str:
        """The one name the build container of a habitat can have, so that one left by a killed run
        is found; different for another clone of the project on the same engine.

        A label would do as well, but labels of a container are baked into what is committed from it.
        """
        clone = hashlib.sha256(str(self.root.resolve()).encode()).hexdigest()[:8]
        return f"habitat_build_{name}_{clone}"

    def _labels(self, habitat: Habitat, phase: Phase) -> Callable[[str, float], dict[str, str]]:
        def labels(parent: str, seconds: float) -> dict[str, str]:
            if phase.ID == 1 and not habitat.has_dockerfile:
                # The base may have been pulled just now: its id belongs to the slice.
                self.forget_state(habitat.name)
            hashes = self.assess(habitat.name).hashes
            phases = habitat_phases(habitat)
            return {
                **{snapshots.hash_label(p): hashes[p.NAME] for p in phases[: phases.index(phase) + 1]},
                snapshots.LABEL_NAME: habitat.name,
                snapshots.LABEL_PHASE: phase.NAME,
                snapshots.LABEL_PARENT: parent,
                snapshots.LABEL_CREATED: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                snapshots.LABEL_SECONDS: f"{seconds:.3f}",
            }

        return labels

    def _supersede(self, name: str, phase: Phase) -> None:
        """The phase was built anew: what rests on its old result is nobody's any more."""
        phases = self.phases(name)
        later = phases[phases.index(phase) + 1 :]
        for behind in later:
            self.stamps.drop(snapshots.task_name(behind, name))
        self._untag(name, later)

    def _tag(self, name: str, phase: Phase, image: str) -> None:
        """Move the phase's tag to its new image; the replaced one goes, unless it is in use."""
        old = self.inventory.tagged(snapshots.snapshot_tag(name, phase))
        self.engine.tag(image, snapshots.snapshot_tag(name, phase))
        if phase.NAME == "final":
            self.engine.tag(image, snapshots.final_tag(name))
        if old and old.id != image:
            self.engine.remove_image(old.id)

    def _untag(self, name: str, phases: Sequence[Phase]) -> int:
        """Take the tags of phases away, the last first. Returns how many images there were."""
        tags = [snapshots.snapshot_tag(name, phase) for phase in reversed(phases) if phase.SNAPSHOT]
        if any(phase.NAME == "final" for phase in phases):
            tags.insert(0, snapshots.final_tag(name))
        found = [image for tag in tags if (image := self.inventory.tagged(tag))]
        for tag in tags:
            if self.inventory.tagged(tag):
                self.engine.untag(tag)
        return len({image.id for image in found})

    # Cleaning

    def cleanable(self) -> list[str]:
        """The habitats, and those whose folder is gone but not what was built of them."""
        states = state_dir(self.root, "")
        left = {entry.name for entry in states.iterdir() if entry.is_dir()} if states.is_dir() else set()
        return sorted({*self.names, *left})

    def images_of(self, name: str) -> int:
        """How many images `clean_all` would remove."""
        prefix = f"{snapshots.repository(name)}:"
        return len({image.id for image in self.inventory.all() if any(tag.startswith(prefix) for tag in image.tags)})

    def containers_of(self, name: str) -> list[str]:
        """The names of containers made from any of the habitat's images, but for a build's own."""
        ours = self.engine.containers(label=f"{snapshots.LABEL_NAME}={name}")
        return sorted(c.name for c in ours if c.name != self.build_container(name))

    def clean_from(self, name: str, first: Phase) -> int:
        """Remove the snapshot of a phase and all that rest on it, with stamps, slices and logs.

        Returns how many images there were.
        """
        phases = self.phases(name)
        gone = phases[phases.index(first) :]
        count = self._untag(name, gone)
        self._sweep(name)
        for phase in gone:
            for path in state_dir(self.root, name).glob(f"{slug(phase)}.*"):
                path.unlink(missing_ok=True)
        self.forget_state(name)
        return count

    def clean_all(self, name: str) -> int:
        """Everything of a habitat but the containers a person started. Returns how many images."""
        self.engine.remove(self.build_container(name))
        count = self._untag(name, PHASES)
        self._sweep(name)
        folder = state_dir(self.root, name)
        if folder.is_dir():
            for path in folder.iterdir():
                path.unlink(missing_ok=True)
            folder.rmdir()
        self.forget_state(name)
        return count

    def _sweep(self, name: str) -> None:
        """Remove images of ours without a tag that nothing uses: replaced ones, and a killed run's."""
        self.inventory.refresh()
        for image in self.inventory.all():
            if not image.tags and image.labels.get(snapshots.LABEL_NAME) == name:
                self.engine.remove_image(image.id)
        self.inventory.refresh()


def binds_of(habitat: Habitat) -> tuple[Bind, ...]:
    """The volumes of a habitat that this host has."""
    return tuple(Bind(str(v.source.resolve()), v.dest, v.readonly) for v in habitat.volumes if v.present)
