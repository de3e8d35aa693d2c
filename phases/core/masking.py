"""Hides secrets in what commands print, before anybody sees it or it is written down."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

_STARS = b"***"

# A line of a secret that is shorter tells nothing, and would make stars of half the output: `{`, say.
_SHORTEST_LINE = 4
_SHORTEST_BASE64 = 8


class Mask:
    """Replaces each of `secrets`, each of their lines, and their usual encodings.

    In a stream (`feed`, `flush`) a secret may come in pieces: what could be the beginning of one is
    held back until it is known.
    """

    def __init__(self, secrets: Iterable[bytes], *, keep_width: bool = False) -> None:
        """keep_width: as many stars as the secret has bytes, for a screen that is drawn on."""
        self._forms = sorted({form for secret in secrets for form in _forms(secret)}, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, self._forms))) if self._forms else None
        self._keep_width = keep_width
        self._held = b""

    @property
    def holds(self) -> bool:
        """Whether something waits for what comes after it."""
        return bool(self._held)

    def feed(self, data: bytes) -> bytes:
        """What of the stream so far can be shown now."""
        if not self._pattern:
            return data
        data = self._held + data
        end = self._open_end(data)
        self._held = data[end:]
        return self._starred(data[:end])

    def flush(self) -> bytes:
        """What was held back, when nothing more is to come soon."""
        held, self._held = self._held, b""
        return self._starred(held)

    def text(self, line: str) -> str:
        """A line, or a message, that came whole."""
        if not self._pattern:
            return line
        return self._starred(line.encode(errors="surrogateescape")).decode(errors="surrogateescape")

    def _starred(self, data: bytes) -> bytes:
        if not self._pattern:
            return data
        return self._pattern.sub(lambda found: b"*" * len(found[0]) if self._keep_width else _STARS, data)

    def _open_end(self, data: bytes) -> int:
        """Where the longest end of `data` begins that may become a secret, behind all that are whole."""
        assert self._pattern
        begin = last = 0
        for found in self._pattern.finditer(data):
            begin, last = found.span()
        longest = len(self._forms[0]) - 1
        start: int
        for start in (begin, *range(max(last, len(data) - longest), len(data))):
            end = data[start:]
            if any(len(form) > len(end) and form.startswith(end) for form in self._forms):
                return start
        return len(data)


def _forms(secret: bytes) -> Iterable[bytes]:
    """A secret as it may be met: as it is, line by line, in a URL, in base64."""
    bare = secret.strip()
    if not bare:
        return
    lines = [line.strip() for line in bare.splitlines()]
    yield bare
    yield from (line for line in lines if len(line) >= _SHORTEST_LINE)
    yield quote_from_bytes(bare, safe="").encode()
    yield from (form for form in _in_base64(bare) if len(form) >= _SHORTEST_BASE64)


def _in_base64(secret: bytes) -> Iterable[bytes]:
    """What base64 makes of it wherever it begins, as `user:token` has it: the signs that are its alone."""
    for before in range(3):
        whole = secret[-before % 3 :]
        yield base64.b64encode(whole[: len(whole) // 3 * 3])
