"""The output of a command, cut into lines as it arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from phases.core.masking import Mask

    #: Called with one line of output, without its newline.
    OnLine = Callable[[str], None]
    #: Called with lines of output, without their newlines.
    OnLines = Callable[[list[str]], None]


# Bytes after which a line is cut: output that never ends a line is not for reading.
_LONGEST_LINE = 65536


class BlockSplitter:
    """Splits a stream of bytes into lines. A carriage return ends a line too, because progress bars repeat a line.

    A command may print a million lines a second, so `on_lines` gets all lines of a chunk at once, and no regular
    expression looks for them.

    Args:
        on_lines: Gets the lines.
        mask: Hides secrets before the stream is split.
    """

    def __init__(self, on_lines: OnLines, mask: Mask | None = None) -> None:
        self._on_lines = on_lines
        self._mask = mask
        self._rest: list[bytes] = []
        self._length = 0
        self._ended_by_return = False

    def feed(self, data: bytes) -> None:
        self._cut(self._mask.feed(data) if self._mask else data)

    def _cut(self, data: bytes) -> None:
        if not data:
            return
        if data.startswith(b"\n") and self._ended_by_return:
            data = data[1:]
        self._ended_by_return = data.endswith(b"\r")
        ended, end, rest = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").rpartition(b"\n")
        if end:
            self._rest.append(ended)
            self._end()
        self._rest.append(rest)
        self._length += len(rest)
        if self._length > _LONGEST_LINE:
            self._end()

    def _end(self) -> None:
        lines = b"".join(self._rest).decode(errors="replace").split("\n")
        self._rest, self._length = [], 0
        self._on_lines(lines)

    def close(self) -> None:
        if self._mask:
            self._cut(self._mask.flush())
        if self._length:
            self._end()


class LineSplitter(BlockSplitter):
    """Splits a stream of bytes into lines, and passes them on one by one."""

    def __init__(self, on_line: OnLine, mask: Mask | None = None) -> None:
        def each(lines: Sequence[str]) -> None:
            for line in lines:
                on_line(line)

        super().__init__(each, mask)
