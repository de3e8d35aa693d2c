"""Other habitats, as far as a build has to do with them: what it can take over of theirs instead of building it, and
who builds the same just now.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from phases.core import events
from phases.core.cache import image_index, sharing
from phases.core.cache.mounts import mounts_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from phases.core.cache.sharing import Shared
    from phases.core.project import Project
    from phases.protocol import Phase

# Seconds after which it is told that another habitat's build of the same is waited for.
_TOLD = 1.0


class SharedBuilds:
    """Of the habitats of `project`, if it shares anything."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._digests: dict[tuple[str, str], str] = {}
        self._followers: set[str] = set()

    def shareable(self, name: str) -> Mapping[str, Shared]:
        """Phase to what it would take over of another habitat instead of being built."""
        project = self._project
        if not project.shares or not (assessment := project.look(name)).stale:
            return {}
        digest_of = partial(self.environment_digest_of, name)
        return sharing.shareable(name, self._not_forgotten(name), assessment, project.inventory.all(), digest_of)

    def _not_forgotten(self, name: str) -> tuple[Phase, ...]:
        """Those before the first that was: who had it forgotten wants it built."""
        phases, stamps = self._project.phases(name), self._project.stamps
        forgotten = (n for n, phase in enumerate(phases) if stamps.is_forgotten(image_index.task_name(phase, name)))
        return phases[: next(forgotten, None)]

    def environment_digest_of(self, name: str, phase: Phase) -> str:
        """What a phase of a habitat meets beside its slice, as a digest."""
        if (name, phase.NAME) not in self._digests:
            habitat = self._project.habitat(name)
            found = sharing.environment_digest(
                self._project.root.resolve(),
                phase.plan(habitat),
                mounts_in(habitat, phase),
                habitat.secrets_of(phase.NAME),
            )
            self._digests[name, phase.NAME] = found
        return self._digests[name, phase.NAME]

    def note(self, name: str, *, follows: bool) -> None:
        """A habitat has taken over its phase, or builds it. Who follows another may find that one further on."""
        (self._followers.add if follows else self._followers.discard)(name)

    @contextmanager
    def turn(self, name: str, phase: Phase) -> Iterator[bool]:
        """While this lasts, nobody builds the same for another habitat. Who was at it is waited for, so that it can be
        taken over. He waits for nobody meanwhile, and so no two runs for each other.

        Yields whether there may be something to take over that wasn't there before.
        """
        project, phases, waited = self._project, self._not_forgotten(name), False
        with ExitStack() as stack:
            if project.shares and phase.SNAPSHOT and phase in phases:
                upto, hashes = phases[: phases.index(phase) + 1], project.assess(name).hashes
                parent, environment = project.parent_of(name, phase), self.environment_digest_of(name, phase)
                same = sharing.name_of(upto, hashes, parent, environment)
                lock = project.locks.lock(f"turn {same}")
                stack.callback(lock.release)
                waited = lock.acquire(lambda who: self._tell(name, phase, who), report_after=_TOLD)
            # Whoever is ahead may have been done before he had to be waited for.
            is_news = waited or name in self._followers
            if is_news:
                project.look_again(name)
            yield is_news

    def _tell(self, name: str, phase: Phase, holder: str) -> None:
        text = f"waiting for another run that builds the same {phase.NAME} ({holder})"
        self._project.bus.emit(events.Notice(name, text))
