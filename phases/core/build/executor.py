"""Runs the steps of a phase: the one place where a plan meets the engine.

A phase works in a container on the snapshot before it, made only when a step needs one and started only
when a step runs something. What is put on a container at create is baked into every image committed
from it, so only what the image shall have goes there: its environment.
"""

from __future__ import annotations

import json
import shlex
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from msgspec.structs import replace

from phases.core import events
from phases.core.build import base_image, cache_volumes
from phases.core.build import failure as build_failure
from phases.core.build.commands import CommandRunner
from phases.core.build.container import BuildContainer, instruction_word
from phases.core.build.context import PhaseContext, PhaseOutput
from phases.core.cache import image_names
from phases.core.container.users import UserDatabase
from phases.core.engine.types import Image
from phases.core.errors import (
    EngineError,
    EngineUnreachable,
    HabitatError,
    PathsMissing,
    StepError,
)
from phases.core.files.phase_log import PhaseLog
from phases.core.secrets.ssh_agent import AgentRelay
from phases.core.variables import in_image
from phases.protocol import (
    Copy,
    Entry,
    FromDockerfile,
    FromImage,
    RequirePaths,
    Run,
    SetImageConfig,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from phases.core.engine.types import ImageConfig
    from phases.protocol import Step

    #: The labels of a snapshot, given the id of the image it was made from and the seconds it took.
    Labels = Callable[[str, float], dict[str, str]]

PROFILE = "/etc/profile.d/habitat.sh"


def run_phase(work: PhaseContext, parent: str, steps: Sequence[Step], labels: Labels) -> Image | None:
    """Carry out `steps` from the image `parent` ("" when the first step brings one).

    Returns the committed image, None for a phase without snapshot. Nothing is committed unless every step
    succeeded. The container is left to the next phase, or on its way out.
    """
    started = time.monotonic()
    with PhaseLog(work.log) as log:
        bench = _PhaseExecutor(work, log, parent, steps)
        try:
            bench.mount_caches()
            started = time.monotonic()  # waiting for others is no part of it
            for step in steps:
                bench.run_phase(step)
            made = None
            if work.phase.SNAPSHOT:
                marks = labels(parent or bench.image.id, time.monotonic() - started)
                made = Image(bench.commit(marks), (), marks)
            bench.park()
        except HabitatError as error:
            if isinstance(error, EngineError):
                # The engine's own words know neither the place nor what to do.
                error.where = error.where or work.place
                error.remedy = error.remedy or f"run the same again; log: {work.shown_log}"
            bench.keep(error, time.monotonic() - started)
            raise
        finally:
            bench.clear()
    return made


class _PhaseExecutor:
    """Runs the steps of one phase, and holds their container and the image config that they change."""

    def __init__(self, work: PhaseContext, log: PhaseLog, parent: str, steps: Sequence[Step]) -> None:
        self.work = work
        self._output = PhaseOutput(work, log)
        self._commands = CommandRunner(work, self._output)
        self._configures = [step for step in steps if isinstance(step, SetImageConfig)]
        self._image: ImageConfig | None = None
        self._container: BuildContainer | None = None
        self._agent: AgentRelay | None = None
        self._step: Step | None = None  # the one at work
        self._lender = next((step for step in steps if isinstance(step, Run) and step.known_hosts), None)
        self._runs = any(isinstance(step, Run) for step in steps)
        self._caches: tuple[cache_volumes.CacheMount, ...] = ()
        self._holds = ExitStack()  # those that nobody else may use meanwhile
        self._tagged = ""  # what has a tag only as long as this phase is at work
        if parent:
            self._start_from(parent, "the snapshot that it starts from")

    @property
    def image(self) -> ImageConfig:
        """The image the phase starts from, with what its SetImageConfig steps changed."""
        assert self._image, "no step brought an image"
        return self._image

    def _start_from(self, reference: str, called: str = "") -> None:
        image = self.work.engine.image_config(reference)
        if image is None:
            problem = f"{called or f'image {reference}'} is gone"
            raise EngineError(problem, where=self.work.place, remedy="run the same command again")
        self._image = image

    def mount_caches(self) -> None:
        """Have the phase's caches in its container, each held as the config says while commands may use it."""
        work = self.work
        if not work.caches:
            return
        self._image, self._caches = cache_volumes.prepared(work, self.image)
        if self._runs:
            assert work.locks
            self._holds.enter_context(cache_volumes.held(work.locks, self._caches, self._notice))
        self._commands.restart_clock()

    def _notice(self, text: str) -> None:
        self.work.emit(events.Notice(self.work.habitat.name, text))

    def run_phase(self, step: Step) -> None:
        self._step = step
        match step:
            case FromImage():
                base_image.pull(self.work, step, self._output.write)
                self._start_from(step.reference)
            case FromDockerfile():
                self._tagged = image_names.dockerfile_tag(self.work.habitat.name)
                self._start_from(base_image.build(self.work, step, self._output.line))
            case Run():
                self._commands.run(step, self.container, self.image.workdir)
            case Copy():
                self._put(step.entries)
            case SetImageConfig():
                self._configure(step)
            case RequirePaths():
                self._require(step)
        self._step = None

    @property
    def container(self) -> BuildContainer:
        """Its environment has to be right from the first: that of all SetImageConfig steps."""
        if not self._container:
            env: dict[str, str] = {}
            for configure in self._configures:
                for name, (template, origin) in configure.env.items():
                    env[name] = in_image(template, {**self.image.env, **env}, origin)
            if self._lender:
                self._agent = AgentRelay(self.work.log.parent, self._lender.origin)
            agent = self._agent.bind if self._agent else None
            mounts = [cache.mount for cache in self._caches]
            self._container = BuildContainer(self.work, self.image, env, agent, mounts)
        return self._container

    @property
    def accounts(self) -> UserDatabase:
        return UserDatabase(self.container.read)

    def park(self) -> None:
        """Leave the container to the next phase."""
        if self._container:
            self._container.park()
            self._container = None

    def clear(self) -> None:
        """Give back what the phase holds. If a tag can't be removed, the next run does that."""
        if self._agent:
            self._agent.close()
        if self._container:
            self._container.remove()
        self._holds.close()
        try:
            if self._tagged:
                self.work.engine.untag(self._tagged)
        except EngineUnreachable:
            pass  # the next request reports it
        except EngineError as error:
            text = f"{error}: the next run that builds {self.work.habitat.name} does that"
            self.work.emit(events.Notice(self.work.habitat.name, text, warning=True))

    def commit(self, labels: dict[str, str]) -> str:
        """CMD, ENTRYPOINT, USER and WORKDIR are the container's own otherwise, so all are set.

        An image that runs nothing gets a shell: the engine takes an empty CMD for none given.
        """
        image = self.image
        command = image.command or (() if image.entrypoint else ("/bin/sh",))
        changes = [
            f"ENTRYPOINT {json.dumps(list(image.entrypoint))}",
            f"CMD {json.dumps(list(command))}",
            f"USER {instruction_word(image.user or '0')}",
            f"WORKDIR {instruction_word(image.workdir or '/')}",
            *(f"LABEL {name}={instruction_word(value)}" for name, value in labels.items()),
        ]
        return self.container.commit(changes)

    def keep(self, error: HabitatError, seconds: float) -> None:
        """Keep what the phase has come to, for `doit debug`. `error` is what the person is told in any case."""
        work = self.work
        if work.keep is None or build_failure.is_elsewhere(error):
            return
        if self._container is None or (isinstance(error, EngineError) and not self._container.is_made):
            build_failure.forget_older(work)
            return
        labels = image_names.labels(work.habitat.name, work.phase, self.image.id, seconds)
        labels |= build_failure.describe(work, self._step, error, self._commands.folder, self._caches).labels()
        build_failure.keep(work, error, lambda: self.commit(labels))

    # Steps

    def _put(self, entries: Iterable[Entry]) -> None:
        accounts = self.accounts
        for entry in entries:
            dest = accounts.expand(entry.dest, entry.owner, entry.origin)
            owner = accounts.ids(entry.owner, entry.origin)
            try:
                self.container.put(
                    dest,
                    entry.kind,
                    entry.mode,
                    owner,
                    source=entry.source,
                    content=entry.content,
                    target=entry.target,
                    adopt=entry.adopt,
                    sha256=entry.sha256,
                )
            except StepError as error:
                error.where = error.where or entry.origin
                raise

    def _configure(self, step: SetImageConfig) -> None:
        changed = {
            key: value
            for key, value in (
                ("entrypoint", step.entrypoint),
                ("command", step.command),
                ("user", step.user),
                ("workdir", step.workdir),
            )
            if value is not None
        }
        if step.env:
            env = dict(self.image.env)
            for name, (template, origin) in step.env.items():
                env[name] = in_image(template, env, origin)
            lines = "".join(f"export {name}={shlex.quote(env[name])}\n" for name in step.env)
            self.container.put(PROFILE, "file", 0o644, (0, 0), content=self.container.read(PROFILE) + lines.encode())
            changed["env"] = env  # type: ignore[assignment]
        self._image = replace(self.image, **changed)

    def _require(self, step: RequirePaths) -> None:
        user = self.work.habitat.user
        paths = [(self.accounts.expand(path, user, origin), origin) for path, origin in step.paths]
        missing = [(path, origin) for path, origin in paths if not self._exists(path)]
        if missing:
            names = ", ".join(path for path, _ in missing)
            count = f"{len(missing)} required path{'s are' if len(missing) > 1 else ' is'} missing"
            raise PathsMissing(f"{count}: {names}", where=missing[0][1], remedy=step.hint)

    def _exists(self, path: str) -> bool:
        for _ in range(40):  # as many links in a row as Linux follows
            found = self.container.stat(path)
            if found is None or not found.link:
                return found is not None
            path = found.link
        return False
