"""Carries the steps of a phase out: the one place where a plan meets the engine.

A phase works in a container on the snapshot before it, made only when a step needs one and started only
when a step runs something. What is put on a container at create is baked into every image committed
from it, so only what the image shall have goes there: its environment.
"""

from __future__ import annotations

import json
import shlex
import time
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import asdict, replace

from phases.core import events
from phases.core.build import base_image, cache_volumes
from phases.core.build.container import BuildContainer, instruction_word
from phases.core.build.context import SHOWN_OUTPUT, PhaseContext
from phases.core.build.failure import Failure, argv, typed
from phases.core.build.phase_log import PhaseLog
from phases.core.cache import image_index
from phases.core.container.users import NO_USER, UserDatabase
from phases.core.engine.protocol import Image
from phases.core.errors import (
    CommandFailed,
    Conflict,
    EngineError,
    EngineUnreachable,
    HabitatError,
    NotFound,
    PathsMissing,
    PhaseTimeout,
    SecretError,
    ShellError,
    SourceChanged,
    StateError,
    StepError,
    Stopped,
    full_disk_remedy,
)
from phases.core.secrets import ssh_agent
from phases.core.secrets.ssh_agent import AgentRelay
from phases.core.secrets.store import variables
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

    from phases.core.engine.protocol import ImageConfig
    from phases.protocol import Step

    #: The labels of a snapshot, given the id of the image it was made from and the seconds it took.
    Labels = Callable[[str, float], dict[str, str]]

PROFILE = "/etc/profile.d/habitat.sh"

# Lines that came at once, of which no person reads one by one.
_MANY = 100


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
    """The steps of one phase at work: their container, and what they made of the image's config."""

    def __init__(self, work: PhaseContext, log: PhaseLog, parent: str, steps: Sequence[Step]) -> None:
        self.work = work
        self._log = log
        self._configures = [step for step in steps if isinstance(step, SetImageConfig)]
        self._timeout = work.habitat.timeouts.get(work.phase.NAME)
        self._deadline = self._time_up()
        self._image: ImageConfig | None = None
        self._container: BuildContainer | None = None
        self._agent: AgentRelay | None = None
        self._step: Step | None = None  # the one at work
        self._folder = work.habitat.workdir  # where the last command ran
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

    def _time_up(self) -> float | None:
        return time.monotonic() + self._timeout if self._timeout else None

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
        self._deadline = self._time_up()

    def _notice(self, text: str) -> None:
        self.work.emit(events.Notice(self.work.habitat.name, text))

    def run_phase(self, step: Step) -> None:
        self._step = step
        match step:
            case FromImage():
                base_image.pull(self.work, step, self._write)
                self._start_from(step.reference)
            case FromDockerfile():
                self._tagged = image_index.dockerfile_tag(self.work.habitat.name)
                self._start_from(base_image.build(self.work, step, self._line))
            case Run():
                self._run(step)
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
        """The next phase may go on in the container."""
        if self._container:
            self._container.park()
            self._container = None

    def clear(self) -> None:
        """What the phase came to stands also where a tag can't be removed; the next run does that."""
        if self._agent:
            self._agent.close()
        if self._container:
            self._container.remove()
        self._holds.close()
        try:
            if self._tagged:
                self.work.engine.untag(self._tagged)
        except EngineUnreachable:
            pass  # whoever asks it next tells
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

    # Failing

    def keep(self, error: HabitatError, seconds: float) -> None:
        """Have what the phase has come to kept, to be entered. `error` is what is told, whatever that meets."""
        work = self.work
        # No shell in there helps against what is wrong with this host, or with the engine.
        elsewhere = isinstance(
            error, EngineUnreachable | SecretError | ShellError | SourceChanged | StateError | Stopped
        )
        if work.keep is None or elsewhere:
            return
        if self._container is None or (isinstance(error, EngineError) and not self._container.is_made):
            self._forget_older()
            return
        labels = image_index.labels(work.habitat.name, work.phase, self.image.id, seconds)
        try:
            # A run that is told to stop meanwhile keeps nothing: this may be why it failed.
            work.maker.make(lambda: self._keep(labels | self._failure_of(error).labels()))
        except Stopped:
            return
        except (NotFound, Conflict):
            self._forget_older()  # or it is gone, or going, as `error` says
        except HabitatError as why:
            self._forget_older()
            text = f"what is left of {work.phase.NAME} could not be kept: {why.message}"
            work.emit(events.Notice(work.habitat.name, text, warning=True))
        else:
            hint = f"doit debug:{work.habitat.name} opens a shell there"
            error.remedy = f"{error.remedy}; {hint}" if error.remedy else hint

    def _forget_older(self) -> None:
        """Take away what is kept of an earlier failure, which `doit debug` would show as the last."""
        if self.work.forget:
            with suppress(HabitatError):
                self.work.maker.make(self.work.forget)

    def _keep(self, labels: dict[str, str]) -> None:
        assert self.work.keep
        self.work.keep(self.commit(labels))

    def _failure_of(self, error: HabitatError) -> Failure:
        work, step = self.work, self._step
        told = Failure(
            error.message,
            str(error.where or work.place),
            time.time(),
            work.habitat.user,
            self._folder,
            caches=[asdict(cache) for cache in self._caches],
        )
        if not isinstance(step, Run):
            return told
        return replace(
            told,
            user=step.user,
            what=step.title,
            env=step.env | (ssh_agent.ENV if step.known_hosts else {}),
            script=step.script,
            args=step.args,
            code=error.exit_code if isinstance(error, CommandFailed) else None,
        )

    # Steps

    def _run(self, step: Run) -> None:
        work = self.work
        if step.user not in self.accounts:
            raise StepError(f"there is no user '{step.user}' in the image", where=step.origin, remedy=NO_USER)
        rows: list[str] = []

        def on_lines(lines: list[str], stream: events.Stream) -> None:
            rows.extend(lines[-SHOWN_OUTPUT:])
            del rows[:-SHOWN_OUTPUT]
            self._lines(lines, show=work.habitat.debug, stream=stream)

        self._write(f"$ {step.title} (as {step.user})")
        out, err = work.masked(partial(on_lines, stream="stdout")), work.masked(partial(on_lines, stream="stderr"))
        env, secret = step.env | variables(work.secrets), work.secrets
        if step.known_hosts:
            env |= ssh_agent.ENV
            secret = (*secret, ssh_agent.known_hosts(step.known_hosts, step.origin))
        left = max(0.0, self._deadline - time.monotonic()) if self._deadline else None
        self._folder = self.accounts.expand(step.workdir or self.image.workdir, step.user, step.origin)
        try:
            code = self.container.execute(
                argv(step.script, step.args),
                user=step.user,
                workdir=self._folder,
                env=env,
                secret=secret,
                ends=step.ends,
                on_output=lambda data, is_err: (err if is_err else out).feed(data),
                timeout=left,
            )
        except PhaseTimeout as error:
            raise PhaseTimeout(
                f"{step.title} was stopped: {work.phase.NAME} took longer than {self._timeout:g}s",
                where=step.origin,
                remedy=f"raise timeouts.{work.phase.NAME}, or see the log: {self.work.shown_log}",
                output=[*typed(step.script, step.args), *rows],
            ) from error
        except Conflict as error:
            raise StepError(
                f"the build container had ended before {step.title}",
                where=step.origin,
                remedy=f"see what an earlier command does to its main process; log: {work.shown_log}",
            ) from error
        except NotFound as error:
            raise self._cut_off(step, rows) from error
        finally:
            out.close()
            err.close()
        if self.container.ended_under(code):
            raise self._cut_off(step, rows)
        if code:
            raise self._failure(step, code, rows)

    def _cut_off(self, step: Run, rows: list[str]) -> StepError:
        return StepError(
            f"the build container was stopped or removed while {step.title} ran",
            where=step.origin,
            remedy=f"run the same again, unless the command itself did that; log: {self.work.shown_log}",
            output=[*typed(step.script, step.args), *rows],
        )

    def _failure(self, step: Run, code: int, rows: list[str]) -> CommandFailed:
        """What a command said last tells what is known to be wrong; anything else needs all of it."""
        known = step.remedies.get(code)
        said = _verdict(rows) if known else ""
        printed = "\n".join(rows)
        remedy = known or full_disk_remedy(printed) or _privileges_remedy(printed) or "mend it and run the same again"
        return CommandFailed(
            f"{step.title} ended with exit code {code}" + (f" ({said})" if said else ""),
            where=step.origin,
            remedy=f"{remedy}; log: {self.work.shown_log}",
            output=[*typed(step.script, step.args), *rows],
            exit_code=code,
        )

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
                    entry.source,
                    entry.content,
                    entry.target,
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

    # Lines

    def _write(self, line: str) -> None:
        self._log.write(line)

    def _line(self, line: str, *, show: bool) -> None:
        self._lines([line], show=show)

    def _lines(self, lines: list[str], *, show: bool, stream: events.Stream = "") -> None:
        self._log.write(*lines)
        name, phase, emit = self.work.habitat.name, self.work.phase.NAME, self.work.emit
        if len(lines) > _MANY and not show:
            emit(events.OutputBlock(name, phase, tuple(lines), stream))
            return
        for line in lines:
            emit(events.Output(name, phase, line, show, stream))


def _privileges_remedy(printed: str) -> str:
    """What to do where sudo says that it may not; "" where it doesn't."""
    if "no new privileges" not in printed:
        return ""
    return "run it as root in setup, or write `build: {new_privileges: true}`"


def _verdict(rows: list[str]) -> str:
    """The line of a command's output that says why: git's first `fatal:`, else the last."""
    said = [row.strip() for row in rows if row.strip()] or [""]
    first = next((number for number, row in enumerate(said) if row.startswith("fatal:")), -1)
    return " ".join(said[first : first + 2]) if said[first].endswith(":") else said[first]
