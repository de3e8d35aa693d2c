"""The container that the steps of one phase work in.

It is made when a step first needs it, and started when one first runs something. Each call of the
engine's file API costs some fifty milliseconds, so what is put in is sent in one archive as late
as may be, and what was read of an image is remembered for the next phase.
"""

from __future__ import annotations

import contextlib
import posixpath
import time
from typing import TYPE_CHECKING, Any

from phases.core import secrets
from phases.core.archive import Archive
from phases.core.engine import Bind, Tmpfs
from phases.core.errors import Conflict, EngineError
from phases.core.snapshots import COMMENT
from phases.protocol import SECRETS_FOLDER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from phases.core.engine import Engine, Stat
    from phases.core.secrets import Value
    from phases.core.work import Work

# Idles as the main process of a container, reaps what is orphaned to it, and ends when asked to.
# The shell does that as well as an init of the engine's, which not every installation has.
IDLE = ("/bin/sh", "-c", "trap 'exit 0' TERM INT; while :; do sleep 86400 & wait $!; done")

# The exit code of what was killed, as all is that runs in a container when that ends.
_KILLED = 137


def ended_under(engine: Engine, container: str, code: int) -> bool:
    """Whether a command ended with `code` because its container did."""
    if code != _KILLED:
        return False
    for _ in range(10):  # the engine tells of the command first
        found = engine.container(container)
        if found is None or not found.running:
            return True
        time.sleep(0.1)
    return False


# How often the name of the container may be found taken. A run has one request on its way when it is
# killed; the engine answers with the conflict as long as it is at that.
_TRIES, _PAUSE = 50, 0.1


class BuildContainer:
    """env: of the image to be; it is baked in; agent: the host's SSH agent. Call `remove` in any case."""

    def __init__(self, work: Work, image: str, env: Mapping[str, str], agent: Bind | None = None) -> None:
        self._work = work
        self._agent = agent
        self._given: tuple[str, tuple[Value, ...]] = ("", ())  # secrets, and the user who can read them
        self._engine: Engine = work.engine
        self._image = image
        self._env = env
        self._id = ""
        self._running = False
        self._outbox: Archive | None = None
        self._made: dict[str, int] = {}  # folders in the outbox that were not there before, and their modes
        self._links: set[str] = set()  # links in the outbox: only the engine knows what is below them
        self._found: set[str] = set()  # folders that are there
        known = work.known_files.get(image, {})
        self._files = {path: data for path, data in known.items() if not self._mounted(path)}

    @property
    def _mounts(self) -> list[Bind | Tmpfs]:
        mounts: list[Bind | Tmpfs] = [*self._work.binds]
        if self._work.secrets or self._agent:
            mounts.append(Tmpfs(SECRETS_FOLDER))
        return [*mounts, self._agent] if self._agent else mounts

    def _open(self) -> str:
        if not self._id:
            self._id = self._work.maker.make(self._make)
        return self._id

    def _make(self) -> str:
        name = self._work.container_name
        for _ in range(_TRIES):
            self._engine.remove(name)
            # A killed run's request may still be on its way, and arrive between the two.
            with contextlib.suppress(Conflict):
                return self._create(name)
            time.sleep(_PAUSE)
        return self._create(name)

    def _create(self, name: str) -> str:
        return self._engine.create(self._image, name, IDLE, env=self._env, mounts=self._mounts)

    @property
    def is_made(self) -> bool:
        return bool(self._id)

    def remove(self) -> None:
        if self._outbox:
            self._outbox.close()
        if self._id:
            self._engine.remove(self._id)

    # Files

    def read(self, path: str) -> bytes:
        """The content of a file, b"" where there is none."""
        if path not in self._files:
            self._flush()
            self._files[path] = self._engine.get(self._open(), path) or b""
        return self._files[path]

    def stat(self, path: str) -> Stat | None:
        self._flush()
        return self._engine.stat(self._open(), path)

    def put(
        self,
        dest: str,
        kind: str,
        mode: int,
        owner: tuple[int, int],
        source: Path | None = None,
        content: bytes = b"",
        target: str = "",
        *,
        adopt: bool = False,
    ) -> None:
        """Put something at `dest`, with the folders above it that are missing; they belong to `owner`.

        A folder that is there keeps its mode, and its owner unless `adopt`.
        """
        if any(dest == link or dest.startswith(f"{link}/") for link in self._links):
            self._flush()
        outbox = self._outbox = self._outbox or Archive()
        for path in self._missing_above(dest):
            outbox.add(path, "dir", 0o755, owner)
            self._made[path] = 0o755
        if kind == "dir":
            there = self._before(dest)
            is_dir = dest in self._made or (there is not None and there.is_dir)
            if (there and there.link) or (is_dir and not adopt):
                return
            if is_dir:
                mode = there.mode if there else self._made[dest]
            else:
                self._made[dest] = mode
        elif kind == "link":
            self._links.add(dest)
        outbox.add(dest, kind, mode, owner, source, content, target)
        self._files.pop(dest, None)
        if kind == "file" and source is None:
            self._files[dest] = content

    def _before(self, path: str) -> Stat | None:
        """What is at `path` without the outbox; nothing is below a folder that the outbox makes."""
        if path in self._made or posixpath.dirname(path) in self._made:
            return None
        return self._engine.stat(self._open(), path)

    def _missing_above(self, dest: str) -> list[str]:
        """The folders above `dest` that are nowhere yet, the highest first."""
        missing: list[str] = []
        parent = posixpath.dirname(dest)
        while parent != "/" and parent not in self._found and parent not in self._made:
            if self._before(parent):
                self._found.add(parent)
                break
            missing.append(parent)
            parent = posixpath.dirname(parent)
        return missing[::-1]

    def _flush(self) -> None:
        """Send what was put."""
        if self._outbox:
            with self._outbox as outbox:
                self._outbox = None
                self._made.clear()
                self._links.clear()
                self._engine.put(self._open(), "/", outbox.finish())

    # Commands, and the end

    def execute(self, argv: Sequence[str], *, user: str, secret: tuple[Value, ...] = (), **how: Any) -> int:
        """As Engine.execute; `user`, and nobody else, can read what is `secret`. What was known of the
        files is not known any more.
        """
        self._flush()
        if not self._running:
            self._start()
        if secret and self._given != (user, secret):
            secrets.deliver(self._engine, self._id, secret, user)
            self._given = (user, secret)
        self._found.clear()
        self._files.clear()
        return self._engine.execute(self._id, argv, user=user, **how)

    def _start(self) -> None:
        try:
            self._engine.start(self._open())
        except EngineError as error:
            raise EngineError(
                f"the build container can't be started ({error.message})",
                remedy=error.remedy or "see that its image and volumes are whole",
            ) from error
        self._running = True

    def ended_under(self, code: int) -> bool:
        """Whether a command ended with `code` because the container did."""
        return ended_under(self._engine, self._id, code)

    def commit(self, changes: Sequence[str]) -> str:
        """The id of the image that it becomes."""
        self._flush()
        image = self._engine.commit(self._open(), changes, COMMENT)
        self._work.known_files[image] = {path: data for path, data in self._files.items() if not self._mounted(path)}
        return image

    def _mounted(self, path: str) -> bool:
        """Whether what is at `path` is a volume's, and not the image's."""
        return any(path == bind.dest or path.startswith(f"{bind.dest}/") for bind in self._work.binds)
