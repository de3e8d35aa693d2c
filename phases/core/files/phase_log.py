"""The log of a phase: all that its commands printed, or the beginning and the end of it.

What a command prints without end is not to fill the disk. So a log that has become large is cut: its head and its tail
stay, with a line between them that says how many bytes are left out. The cut log is written beside the old one and
takes its name at once, so that what a killed run leaves is a whole log of all that it had written.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Self

from phases.core.errors import state_error
from phases.core.files import safe_open

if TYPE_CHECKING:
    from pathlib import Path

#: Bytes that stay of the beginning, and of the end; while it is written, there may be twice as many of the end.
HEAD = TAIL = 4_000_000

# Bytes of a line, with the signs that stand for what is no text: where a log is cut, one is looked for the end of.
_LINE = 400_000

_CUT = "── {:,} bytes are left out here ──"
_IS_CUT = re.compile(rb"\xe2\x94\x80\xe2\x94\x80 [0-9,]+ bytes are left out here \xe2\x94\x80\xe2\x94\x80\n")


def is_cut(line: bytes) -> bool:
    """Return whether a line of a log stands for what was left out."""
    return bool(_IS_CUT.fullmatch(line))


class PhaseLog:
    """The log of a phase, begun anew. Raises StateError where it can't be written.

    Nothing is held back, so what a full disk has refused is not tried again when it is closed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._head = 0  # bytes before the line that says what is left out, 0 as long as nothing is
        self._left_out = 0
        self._size = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = safe_open.open_own(path)
            self._file.truncate(0)
        except OSError as error:
            raise state_error(path, "written", error) from error

    def write(self, *lines: str) -> None:
        data = "\n".join((*lines, "")).encode(errors="replace")
        try:
            # A block that is larger than all that may be there is cut before it is written.
            for start in range(0, len(data), TAIL):
                self._append(data[start : start + TAIL])
        except OSError as error:
            raise state_error(self._path, "written", error) from error

    def _append(self, data: bytes) -> None:
        if self._size + len(data) > HEAD + 2 * TAIL:
            self._cut(TAIL - len(data))
        _write(self._file.fileno(), data)
        self._size += len(data)

    def _cut(self, tail: int) -> None:
        """Leave out what is in the middle, all but the last `tail` bytes behind the head."""
        old = self._file.fileno()
        if not self._head:
            self._head = _end_of_line(old, HEAD - _LINE, HEAD)
            behind = self._head
        else:
            behind = self._head + len(self._line)
        start = _begin_of_line(old, max(behind, self._size - tail), self._size)
        self._left_out += start - behind
        fresh_path = self._path.with_name(f".{self._path.name}.{os.getpid()}")  # as atomic.sweep_state knows it
        fresh = safe_open.open_own(fresh_path)
        try:
            fresh.truncate(0)
            _copy(old, 0, self._head, fresh.fileno())
            _write(fresh.fileno(), self._line)
            _copy(old, start, self._size, fresh.fileno())
            fresh_path.replace(self._path)
        except BaseException:
            fresh.close()
            fresh_path.unlink(missing_ok=True)
            raise
        self._size = self._head + len(self._line) + self._size - start
        self._file.close()
        self._file = fresh

    @property
    def _line(self) -> bytes:
        """Stands for what is left out by now."""
        return f"{_CUT.format(self._left_out)}\n".encode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _write(descriptor: int, data: bytes) -> None:
    """All of it: the kernel may take a part."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _copy(source: int, start: int, end: int, descriptor: int) -> None:
    while start < end:
        data = os.pread(source, min(end - start, 1 << 20), start)
        _write(descriptor, data)
        start += len(data)


def _end_of_line(descriptor: int, start: int, end: int) -> int:
    """Where the last line between two places ends; the second place where none does."""
    start = max(0, start)
    found = os.pread(descriptor, end - start, start).rfind(b"\n")
    return end if found < 0 else start + found + 1


def _begin_of_line(descriptor: int, start: int, end: int) -> int:
    """Where the first line behind a place begins; that place where none does."""
    return start + os.pread(descriptor, min(_LINE, end - start), start).find(b"\n") + 1
