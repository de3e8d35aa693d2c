"""Carries the steps of a phase out: the one place where a plan meets the engine.

Each phase gets a container of its own on the snapshot before it, made only when a step needs one
and started only when a step runs something. What is put on a container at create is baked into
every image committed from it, so only what the image shall have goes there: its environment.
"""

from __future__ import annotations

import io
import json
import posixpath
import shlex
import tarfile
import tempfile
import time
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING

from phases.core import events
from phases.core.engine import Bind, LineSplitter
from phases.core.errors import (
    CommandFailed,
    ConfigError,
    EngineError,
    PathsMissing,
    PhaseTimeout,
    StateError,
    StepError,
)
from phases.core.variables import in_image
from phases.protocol import (
    Configure,
    Entry,
    FromDockerfile,
    FromImage,
    Put,
    Require,
    Run,
    slug,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from phases.core.engine import Engine, ImageConfig
    from phases.core.errors import Origin
    from phases.core.model import Habitat
    from phases.protocol import Phase, Step

PROFILE = "/etc/profile.d/habitat.sh"

# Idles as the main process of a container, reaps what is orphaned to it, and ends when asked to.
# The shell does that as well as an init of the engine's, which not every installation has.
IDLE = ("/bin/sh", "-c", "trap 'exit 0' TERM INT; while :; do sleep 86400 & wait $!; done")

#: Lines of output a failed command shows; the log has all of them.
SHOWN_OUTPUT = 40


@dataclass
class Work:
    """What carrying out a phase needs to know. binds: mounted while it runs; show: stream output."""

    habitat: Habitat
    phase: Phase
    engine: Engine
    emit: Callable[[events.Event], None]
    log: Path
    container_name: str
    binds: tuple[Bind, ...] = ()


def carry_out(work: Work, parent: str, steps: Sequence[Step], labels: Callable[[str, float], dict[str, str]]) -> str:
    """Carry out `steps` from the image `parent` ("" when the first step brings one).

    labels: given the id of the image it was made from and the seconds it took, the labels of the
    snapshot. Returns the id of the committed image, "" for a phase without snapshot. Nothing is
    committed unless every step succeeded, and the container is gone in any case.
    """
    started = time.monotonic()
    with _open_log(work.log) as log:
        bench = _Bench(work, log, parent, steps)
        try:
            for step in steps:
                bench.carry_out(step)
            if not work.phase.SNAPSHOT:
                return ""
            seconds = time.monotonic() - started
            return bench.commit(labels(parent or bench.image.id, seconds))
        finally:
            bench.clear()


def _open_log(path: Path) -> IO[str]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("w", errors="replace")
    except OSError as error:
        raise StateError(
            f"can't be written ({error.strerror})", where=str(path), remedy="make .stamps/ writable for you"
        ) from error


class _Bench:
    """The container that the steps of one phase work in, and what they did to its config."""

    def __init__(self, work: Work, log: IO[str], parent: str, steps: Sequence[Step]) -> None:
        self.work = work
        self._log = log
        self._configures = [step for step in steps if isinstance(step, Configure)]
        self._container = ""
        self._running = False
        self._users: _Users | None = None
        timeout = work.habitat.timeouts.get(work.phase.NAME)
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout if timeout else None
        self._image: ImageConfig | None = None
        if parent:
            self._start_from(parent)

    @property
    def image(self) -> ImageConfig:
        """The image the phase starts from, with what its Configure steps changed."""
        assert self._image, "no step brought an image"
        return self._image

    def _start_from(self, reference: str) -> None:
        image = self.work.engine.image_config(reference)
        if image is None:
            raise EngineError(f"image {reference} is gone", remedy="run the same command again")
        self._image = image

    def carry_out(self, step: Step) -> None:
        match step:
            case FromImage():
                self._pull(step)
            case FromDockerfile():
                self._build(step)
            case Run():
                self._run(step)
            case Put():
                self._put(step.entries)
            case Configure():
                self._configure(step)
            case Require():
                self._require(step)

    # Where an image comes from

    def _pull(self, step: FromImage) -> None:
        work = self.work
        if work.engine.image_config(step.reference) is None:

            def on_pull(layer: str, status: str, done: int, total: int) -> None:
                self._write(f"{layer} {status}".strip())
                work.emit(events.Pulled(work.habitat.name, step.reference, layer, status, done, total))

            try:
                work.engine.pull(step.reference, on_pull)
            except EngineError as error:
                raise EngineError(
                    f"base image {step.reference} can't be pulled ({error.message.removeprefix('pulling ')})",
                    where=step.origin,
                    remedy="check the name and the network, or bring the image with docker load",
                ) from error
        self._start_from(step.reference)

    def _build(self, step: FromDockerfile) -> None:
        rows: list[str] = []

        def on_line(line: str) -> None:
            rows.append(line)
            self._line(line, show=True)

        with tempfile.TemporaryFile() as spool:
            with tarfile.open(fileobj=spool, mode="w") as tar:
                for item in step.context:
                    # Ours, not the Dockerfile's: a changed description must not build the image again.
                    if item.path not in ("", "config.yaml"):
                        _add(tar, item.path, item.kind, item.mode, (0, 0), item.source, target=item.target)
            spool.seek(0)
            try:
                self._start_from(self.work.engine.build(spool, on_line))
            except EngineError as error:
                raise StepError(
                    error.message,
                    where=f"habitats/{self.work.habitat.name}/Dockerfile",
                    remedy=f"mend the Dockerfile; log: {self._shown_log}",
                    output=rows[-SHOWN_OUTPUT:],
                ) from error

    # The container

    def _open(self, *, run: bool = False) -> str:
        """The container, made when the first step needs it, started when `run` does."""
        engine, work = self.work.engine, self.work
        if not self._container:
            env = {}
            for configure in self._configures:
                for name, (template, origin) in configure.env.items():
                    env[name] = in_image(template, {**self.image.env, **env}, origin)
            engine.remove(work.container_name)
            self._container = engine.create(
                self.image.id, work.container_name, IDLE, env=env, binds=work.binds
            )
        if run and not self._running:
            try:
                engine.start(self._container)
            except EngineError as error:
                raise EngineError(
                    f"the build container can't be started ({error.message})",
                    where=f"{work.habitat.name}: {work.phase.NAME}",
                    remedy="see that its image and volumes are whole",
                ) from error
            self._running = True
        return self._container

    def clear(self) -> None:
        if self._container:
            self.work.engine.remove(self._container)

    def commit(self, labels: dict[str, str]) -> str:
        """CMD, ENTRYPOINT, USER and WORKDIR are the container's own otherwise, so all are set."""
        image = self.image
        changes = [
            f"ENTRYPOINT {json.dumps(list(image.entrypoint))}",
            f"CMD {json.dumps(list(image.command))}",
            f"USER {_instruction(image.user or '0')}",
            f"WORKDIR {_instruction(image.workdir or '/')}",
            *(f"LABEL {name}={json.dumps(value)}" for name, value in labels.items()),
        ]
        return self.work.engine.commit(self._open(), changes)

    # Steps

    def _run(self, step: Run) -> None:
        work = self.work
        if step.user not in self._known_users():
            raise StepError(f"there is no user '{step.user}' in the image", where=step.origin, remedy=_NO_USER)
        container = self._open(run=True)
        rows: list[str] = []

        def on_line(line: str) -> None:
            rows.append(line)
            del rows[:-SHOWN_OUTPUT]
            self._line(line, show=work.habitat.debug)

        self._write(f"$ {step.what} (as {step.user})")
        out, err = LineSplitter(on_line), LineSplitter(on_line)
        left = max(0.0, self._deadline - time.monotonic()) if self._deadline else None
        try:
            code = work.engine.execute(
                container,
                ("/bin/sh", "-e", "-c", step.script, "sh", *step.args),
                user=step.user,
                workdir=step.workdir or self.image.workdir,
                env=step.env,
                on_output=lambda data, is_err: (err if is_err else out).feed(data),
                timeout=left,
            )
        except PhaseTimeout as error:
            raise PhaseTimeout(
                f"{step.what} was stopped: {work.phase.NAME} took longer than {self._timeout:g}s",
                where=step.origin,
                remedy=f"raise timeouts.{work.phase.NAME}, or see the log: {self._shown_log}",
                output=rows,
            ) from error
        finally:
            out.close()
            err.close()
            self._users = None
        if code:
            failure = CommandFailed(
                f"{step.what} ended with exit code {code}",
                where=step.origin,
                remedy=f"mend it and run the same again; log: {self._shown_log}",
                output=[*_command_lines(step), *rows],
            )
            failure.exit_code = code
            raise failure

    def _put(self, entries: Iterable[Entry]) -> None:
        container, users = self._open(), self._known_users()
        seen: set[str] = set()
        with tempfile.TemporaryFile() as spool:
            with tarfile.open(fileobj=spool, mode="w") as tar:
                for entry in entries:
                    owner = users.ids(entry.owner, entry.origin)
                    dest = users.expand(entry.dest, entry.owner, entry.origin)
                    self._add_parents(tar, dest, owner, seen)
                    mode = entry.mode
                    if entry.kind == "dir":
                        there = self.work.engine.stat(container, dest)
                        seen.add(dest)
                        if there and (there.link or (there.is_dir and not entry.adopt)):
                            continue
                        mode = there.mode if there and there.is_dir else mode
                    _add(tar, dest, entry.kind, mode, owner, entry.source, entry.content, entry.target)
            spool.seek(0)
            try:
                self.work.engine.put(container, "/", spool)
            except EngineError as error:
                raise replace_where(error, f"{self.work.habitat.name}: {self.work.phase.NAME}") from error

    def _add_parents(self, tar: tarfile.TarFile, dest: str, owner: tuple[int, int], seen: set[str]) -> None:
        """The folders above `dest` that are not there yet belong to whoever `dest` belongs to."""
        missing = []
        parent = posixpath.dirname(dest)
        while parent not in seen and parent != "/":
            seen.add(parent)
            if self.work.engine.stat(self._container, parent):
                break
            missing.append(parent)
            parent = posixpath.dirname(parent)
        for path in reversed(missing):
            _add(tar, path, "dir", 0o755, owner)

    def _configure(self, step: Configure) -> None:
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
            # The container is made with the environment of all Configure steps: before this changes.
            container = self._open()
            lines = "".join(f"export {name}={shlex.quote(env[name])}\n" for name in step.env)
            before = self.work.engine.get(container, PROFILE) or b""
            origin = next(iter(step.env.values()))[1]
            self._put([Entry(PROFILE, "file", "root", 0o644, origin, content=before + lines.encode())])
            changed["env"] = env  # type: ignore[assignment]
        self._image = replace(self.image, **changed)  # type: ignore[arg-type]

    def _require(self, step: Require) -> None:
        missing = [(path, origin) for path, origin in step.paths if not self._exists(path)]
        if missing:
            names = ", ".join(path for path, _ in missing)
            count = f"{len(missing)} required path{'s are' if len(missing) > 1 else ' is'} missing"
            raise PathsMissing(f"{count}: {names}", where=missing[0][1], remedy=step.hint)

    def _exists(self, path: str) -> bool:
        for _ in range(40):  # as many links in a row as Linux follows
            found = self.work.engine.stat(self._open(), path)
            if found is None or not found.link:
                return found is not None
            path = found.link
        return False

    # Users, lines

    def _known_users(self) -> _Users:
        if self._users is None:
            read = self.work.engine.get
            container = self._open()
            self._users = _Users(read(container, "/etc/passwd") or b"", read(container, "/etc/group") or b"")
        return self._users

    @property
    def _shown_log(self) -> str:
        return f".stamps/{self.work.habitat.name}/{slug(self.work.phase)}.log"

    def _write(self, line: str) -> None:
        self._log.write(line + "\n")
        self._log.flush()

    def _line(self, line: str, *, show: bool) -> None:
        self._write(line)
        self.work.emit(events.Output(self.work.habitat.name, self.work.phase.NAME, line, show))


_NO_USER = "make it in an earlier phase, or name another"


class _Users:
    """The users of an image, from its passwd and group files."""

    def __init__(self, passwd: bytes, group: bytes) -> None:
        rows = [line.split(":") for line in passwd.decode(errors="replace").splitlines()]
        self._users = {row[0]: row for row in rows if len(row) > 5}
        rows = [line.split(":") for line in group.decode(errors="replace").splitlines()]
        self._groups = {row[0]: row[2] for row in rows if len(row) > 2}

    def __contains__(self, name: str) -> bool:
        return name in self._users or name == "root" or name.isdigit()

    def ids(self, owner: str, origin: Origin) -> tuple[int, int]:
        """uid and gid of NAME or NAME:GROUP; numbers stand for themselves. Raises ConfigError."""
        name, _, group = owner.partition(":")
        if name not in self:
            raise ConfigError(f"there is no user '{name}' in the image", where=origin, remedy=_NO_USER)
        if group and group not in self._groups and not group.isdigit():
            raise ConfigError(f"there is no group '{group}' in the image", where=origin, remedy=_NO_USER)
        row = self._users.get(name) or [name, "", "0" if name == "root" else name, "0" if name == "root" else name]
        return int(row[2]), int(self._groups.get(group, group) if group else row[3])

    def expand(self, dest: str, owner: str, origin: Origin) -> str:
        """`dest` with ~ as the owner's home."""
        if not (dest == "~" or dest.startswith("~/")):
            return dest
        name = owner.partition(":")[0]
        home = self._users[name][5] if name in self._users else ""
        if not home.startswith("/"):
            raise ConfigError(f"user '{name}' has no home", where=origin, remedy="write the whole path")
        return home.rstrip("/") + dest[1:]


def _add(
    tar: tarfile.TarFile,
    path: str,
    kind: str,
    mode: int,
    owner: tuple[int, int],
    source: Path | None = None,
    content: bytes = b"",
    target: str = "",
) -> None:
    """One entry of an archive that is unpacked at the container's root. Raises ConfigError."""
    info = tarfile.TarInfo(path.lstrip("/"))
    info.mode, (info.uid, info.gid), info.mtime = mode, owner, int(time.time())
    info.type = {"dir": tarfile.DIRTYPE, "link": tarfile.SYMTYPE}.get(kind, tarfile.REGTYPE)
    info.linkname = target
    if kind != "file":
        tar.addfile(info)
        return
    if source is None:
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
        return
    try:
        with source.open("rb") as file:
            info.size = source.stat().st_size
            tar.addfile(info, file)
    except OSError as error:
        raise ConfigError(f"can't be read ({error})", where=str(source), remedy="run the same again") from error


def _instruction(value: str) -> str:
    """A value for a Dockerfile instruction that expands variables and ends at the line's end."""
    return value.replace("\\", "\\\\").replace("$", "\\$")


def _command_lines(step: Run) -> list[str]:
    """The failed script as a person wrote it; our own scripts stay ours."""
    return [] if step.args else [f"$ {line}" for line in step.script.strip().splitlines()]


def replace_where(error: EngineError, where: str) -> EngineError:
    """The same error with a place a person knows."""
    return type(error)(error.message, where=error.where or where, remedy=error.remedy, output=error.output)
