"""The stream in which an engine sends a command's two outputs, taken apart."""

from __future__ import annotations

import struct

# Which output, three bytes of nothing, how many bytes follow.
_HEAD = struct.Struct(">BxxxL")
_STDERR = 2


class Frames:
    """Cuts what arrives into chunks, each with whether it is of stderr. A frame need not come whole."""

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        self._is_err = False

    def feed(self, data: bytes) -> list[tuple[bytes, bool]]:
        chunks: list[tuple[bytes, bool]] = []
        while data:
            if not self._left:
                missing = _HEAD.size - len(self._head)
                self._head, data = self._head + data[:missing], data[missing:]
                if len(self._head) == _HEAD.size:
                    kind, self._left = _HEAD.unpack(self._head)
                    self._head, self._is_err = b"", kind == _STDERR
                continue
            chunks.append((data[: self._left], self._is_err))
            data, self._left = data[self._left :], self._left - len(chunks[-1][0])
        return chunks


class FirstLine:
    """Keeps a number that a command prints first from the rest of its output."""

    def __init__(self) -> None:
        self.number = 0
        self._held: bytes | None = b""

    def feed(self, data: bytes) -> bytes:
        """What of the output is to be passed on."""
        if self._held is None:
            return data
        line, end, rest = (self._held + data).partition(b"\n")
        if not end and (not line or line.isdigit()):
            self._held = line
            return b""
        self._held = None
        if line.isdigit():
            self.number = int(line)
            return rest
        return line + end + rest
