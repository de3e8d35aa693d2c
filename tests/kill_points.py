"""Kills a real `doit` at an exact point. The dodo.py of the crash tests calls `arm`; the program knows
nothing of it.

CRASH=PHASE:POINT in the environment says where: the engine and the stamps are wrapped, and the process
gets SIGNAL (SIGKILL) there. CRASH="any:before METHOD", or after, is at the first call of a method of the engine. For
other signals it then has time to end in order.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from io import UnsupportedOperation
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from phases.core import events
from phases.core.cache.image_labels import failed_tag, snapshot_tag
from phases.core.cache.stamps import Stamps
from phases.core.engine import select
from phases.protocol import slug
from phases.registry import named
from phases.ui.commands import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from phases.core.engine.docker_api import client
    from phases.core.files.tar import DockerfileArchive
    from phases.core.project import Project

#: What a phase is inside of when it is killed at `inside`.
INSIDE = {
    "dockerfile": "build",
    "base": "stat",
    "users": "exec",
    "env": "put_archive",
    "workdir": "put_archive",
    "habitat": "put_archive",
    "files": "put_archive",
    "setup": "exec",
    "repos": "exec",
    "tools": "exec",
    "verify": "stat",
    "test": "exec",
    "final": "put_archive",
    "start": "exec",
}

#: The project's own dodo.py, armed.
DODO = f"""\
{(Path(__file__).parents[1] / "dodo.py").read_text()}

import kill_points
from phases.ui.tasks import current_project

kill_points.arm(current_project())
"""

#: The environment in which that dodo.py finds this module.
ARMED = {"PYTHONPATH": str(Path(__file__).parent)}

#: Where a process that gets another signal than SIGKILL notes when it did.
MARK = "crashed-at"

#: With SLOW in the environment: where it notes that it removes a container from then on, for a minute.
CLOSING = "closing"


def arm(project: Project) -> None:
    """Die where the environment says, if it does. PATIENCE: seconds that a clean-up may take."""
    if patience := os.environ.get("PATIENCE"):
        run._PATIENCE = int(patience)
    if where := os.environ.get("CRASH"):
        _CrashPoint(project, *where.split(":")).set()


class _CrashPoint:
    def __init__(self, project: Project, phase: str, point: str) -> None:
        self.project = project
        self.phase = phase
        self.point = point
        self.now = ""  # the phase that runs
        self._number = signal.Signals[os.environ.get("SIGNAL", "SIGKILL")]

    def at(self, point: str) -> bool:
        return self.phase in ("any", self.now) and self.point == point

    def spring(self) -> None:
        self.point = ""
        (self.project.root / MARK).write_text(str(time.time()))
        os.kill(os.getpid(), self._number)

    def set(self) -> None:
        emit, write, connect = self.project.bus.emit, Stamps.write, select.connect
        replace = Path.replace

        def emitting(event: events.Event) -> None:
            if isinstance(event, events.PhaseStarted | events.PhaseShared):
                self.now = event.phase
            emit(event)
            if isinstance(event, events.PhaseStarted) and self.at("announced"):
                self.spring()

        def writing(stamps: Stamps, task: str, record: dict[str, Any]) -> None:
            own = task.partition(":")[0] == self.phase
            if own and self.at("before the stamp"):
                self.spring()
            write(stamps, task, record)
            if own and self.at("stamped"):
                self.spring()

        def replacing(path: Path, target: Path) -> Path:
            if self.at("before the rename") and path.name.startswith(f".{slug(named(self.phase))}.stamp."):
                self.spring()
            return replace(path, target)

        Path.replace = replacing  # type: ignore[assignment, method-assign]
        self.project.bus.emit = emitting  # type: ignore[method-assign]
        Stamps.write = writing  # type: ignore[assignment, method-assign]
        select.connect = lambda: _CrashingEngine(cast("client.DockerEngine", _AnyCall(connect(), self)), self)  # type: ignore[assignment, return-value]


class _AnyCall:
    """The real engine, with a trap before and after each of its methods."""

    def __init__(self, engine: client.DockerEngine, trap: _CrashPoint) -> None:
        self._engine = engine
        self._trap = trap

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._engine, name)
        if self._trap.phase != "any" or not callable(value):
            return value

        def call(*arguments: Any, **options: Any) -> Any:
            if self._trap.at(f"before {name}"):
                self._trap.spring()
            result = value(*arguments, **options)
            if self._trap.at(f"after {name}"):
                self._trap.spring()
            return result

        return call


class _CrashingEngine:
    """The real engine, with a trap in it."""

    def __init__(self, engine: client.DockerEngine, trap: _CrashPoint) -> None:
        self._engine = engine
        self._trap = trap

    def __getattr__(self, method: str) -> Any:
        return getattr(self._engine, method)

    def _inside(self, method: str) -> bool:
        return INSIDE.get(self._trap.phase) == method and self._trap.at("inside")

    def build(self, context: DockerfileArchive, tag: str, on_line: Callable[[str], None], secrets: Any = ()) -> str:
        def on_first(line: str) -> None:
            on_line(line)
            if self._inside("build"):
                self._trap.spring()

        return self._engine.build(context, tag, on_first, secrets)

    def stat(self, container: str, path: str) -> Any:
        if self._inside("stat"):
            threading.Timer(0.01, self._trap.spring).start()
        return self._engine.stat(container, path)

    def put_archive(self, container: str, folder: str, archive: IO[bytes]) -> None:
        half = _TruncatedArchive(archive, self._trap) if self._inside("put_archive") else archive
        self._engine.put_archive(container, folder, half)  # type: ignore[arg-type]

    def exec(self, container: str, argv: Any, *, on_output: Any = None, **options: Any) -> int:
        if not self._inside("exec"):
            return self._engine.exec(container, argv, on_output=on_output, **options)

        def on_first(data: bytes, is_err: bool) -> None:
            on_output(data, is_err)
            if self._inside("exec"):
                self._trap.spring()

        if self._trap.phase == "users":  # its script says nothing
            threading.Timer(0.05, self._trap.spring).start()
        code = self._engine.exec(container, argv, on_output=on_first, **options)
        if self._inside("exec"):
            self._trap.spring()
        return code

    def create(self, image: str, name: str, *arguments: Any, **wishes: Any) -> str:
        if not name.startswith("habitat_build_"):
            self._trap.now = "start"
        if self._trap.at("before create"):
            self._trap.spring()
        if self._trap.at("create in flight"):
            threading.Timer(0.02, self._trap.spring).start()
        container = self._engine.create(image, name, *arguments, **wishes)
        if self._trap.at("made"):
            self._trap.spring()
        return container

    def remove(self, container: str, **options: Any) -> None:
        if os.environ.get("SLOW") and (self._trap.project.root / MARK).exists():
            (self._trap.project.root / CLOSING).touch()
            time.sleep(60)
        self._engine.remove(container, **options)

    def start(self, container: str) -> None:
        self._engine.start(container)
        if self._trap.at("started"):
            self._trap.spring()

    def stop(self, container: str, grace: int = 10) -> None:
        if self._trap.at("before the stop"):
            self._trap.spring()
        self._engine.stop(container, grace)
        if self._trap.at("stopped"):
            self._trap.spring()

    def commit(self, *arguments: Any, **wishes: Any) -> str:
        if self._trap.at("before the commit"):
            self._trap.spring()
        if self._trap.at("commit in flight"):
            threading.Timer(0.02, self._trap.spring).start()
        image = self._engine.commit(*arguments, **wishes)
        if self._trap.at("committed"):
            self._trap.spring()
        return image

    def tag(self, image: str, reference: str) -> None:
        self._engine.tag(image, reference)
        own = self._trap.now and reference in _tags(reference, self._trap.phase)
        if self._trap.phase == "final" and self._trap.point == "tagged":
            own = reference.endswith(":final")
        if self._trap.point == "shared" and reference in _tags(reference, self._trap.phase):
            self._trap.spring()  # nothing is announced of what isn't built
        if own and (self._trap.at("tagged") or self._trap.at("one of two tags")):
            self._trap.spring()


def _tags(reference: str, phase: str) -> tuple[str, str]:
    """What a phase of the reference's habitat leaves has one of these."""
    habitat = reference.rpartition(":")[0].removeprefix("habitat-")
    return snapshot_tag(habitat, named(phase)), failed_tag(habitat, named(phase))


class _TruncatedArchive:
    """An archive of which the engine gets half."""

    def __init__(self, archive: IO[bytes], trap: _CrashPoint) -> None:
        self._archive = archive
        self._trap = trap
        self._half = Path(f"/proc/self/fd/{archive.fileno()}").stat().st_size // 2

    def __getattr__(self, name: str) -> Any:
        return getattr(self._archive, name)

    def fileno(self) -> int:
        raise UnsupportedOperation("whoever sends it has to read it")

    def read(self, size: int = -1) -> bytes:
        if not self._half:
            self._trap.spring()
        data, self._half = self._archive.read(self._half or size), 0
        return data
