"""Takes over snapshots of other habitats, and waits for other runs that build the same phase."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from phases.core import events
from phases.core.cache import dockerfile_images, sharing
from phases.core.cache.host_mounts import mounts_in
from phases.core.cache.stamps import task_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from phases.core.cache.sharing import Shared
    from phases.core.project import Project
    from phases.protocol import Phase

# Seconds of waiting for another habitat's build of the same phase, after which the person gets a line about it.
_TOLD = 1.0


class SharedSnapshots:
    """The snapshots of other habitats that the habitats of `project` can take over."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._digests: dict[tuple[str, str], str] = {}

    def shareable(self, name: str) -> Mapping[str, Shared]:
        """Return the snapshot of another habitat for each phase that takes one over instead of being built."""
        project = self._project
        if not project.shares or not (assessment := project.assessments.look(name)).stale:
            return {}
        digest_of = partial(self.environment_digest_of, name)
        index = project.image_index
        images = (image for image in index.all() if not dockerfile_images.moved(image.labels, index))
        return sharing.shareable(project.names.of(name), self.phases(name), assessment, images, digest_of)

    def phases(self, name: str) -> tuple[Phase, ...]:
        """Return the phases that may be taken over: all before the first one that was forgotten (`habitat forget`)."""
        phases, stamps = self._project.phases(name), self._project.stamps
        forgotten = (n for n, phase in enumerate(phases) if stamps.is_forgotten(task_name(phase, name)))
        return phases[: next(forgotten, None)]

    def environment_digest_of(self, name: str, phase: Phase) -> str:
        """Return the environment digest of a phase."""
        if (name, phase.NAME) not in self._digests:
            habitat = self._project.habitat(name)
            self._digests[name, phase.NAME] = sharing.environment_digest(
                self._project.root.resolve(),
                phase.plan(habitat),
                mounts_in(habitat, phase),
                habitat.secrets_of(phase.NAME),
            )
        return self._digests[name, phase.NAME]


class SharedBuilds:
    """Keeps two runs from building the same phase for two habitats at the same time."""

    def __init__(self, project: Project, snapshots: SharedSnapshots) -> None:
        self._project = project
        self._snapshots = snapshots
        self._followers: set[str] = set()

    def note(self, name: str, *, follows: bool) -> None:
        """Record whether a habitat's last phase was taken over. If so, its next one may be built elsewhere, too."""
        (self._followers.add if follows else self._followers.discard)(name)

    @contextmanager
    def lock(self, name: str, phase: Phase) -> Iterator[bool]:
        """Hold the lock that keeps other runs from building the same phase for another habitat.

        If another run has the lock, this waits, so that its snapshot can be taken over. The holder waits for no
        other lock, so there is no deadlock.

        Yields:
            Whether another run may have made a snapshot meanwhile.
        """
        project, phases, waited = self._project, self._snapshots.phases(name), False
        with ExitStack() as stack:
            if project.shares and phase.SNAPSHOT and phase in phases:
                upto, hashes = phases[: phases.index(phase) + 1], project.assess(name).hashes
                parent = project.assessments.parent_id(name, phase)
                environment = self._snapshots.environment_digest_of(name, phase)
                same = sharing.build_name(upto, hashes, parent, environment)
                lock = project.locks.lock(f"turn {same}")
                stack.callback(lock.release)
                waited = lock.acquire(lambda who: self._tell(name, phase, who), report_after=_TOLD)
            # The run that was followed so far may have finished before this one had to wait.
            is_news = waited or name in self._followers
            if is_news:
                project.assessments.refresh(name)
            yield is_news

    def _tell(self, name: str, phase: Phase, holder: str) -> None:
        text = f"waiting for another run that builds the same {phase.NAME} ({holder})"
        self._project.bus.emit(events.Notice(name, text))
