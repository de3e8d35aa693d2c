"""Hides secrets in what commands print, before anybody sees it or it is written down."""

from __future__ import annotations

import base64
import re
from collections import defaultdict
from typing import TYPE_CHECKING

from phases.core import quoted_forms

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_STARS = b"***"

# A line of a secret that is shorter tells nothing, and would make stars of half the output: `{`, say.
_SHORTEST_LINE = 4
_SHORTEST_BASE64 = 8

# base64 is printed in lines of 76 signs, by some in shorter ones, and hex in lines of 60. An expression for more would
# be slow.
_SHORTEST_WRAP, _LONGEST_WRAPPED = 60, 4096
_BREAK = b"(?:\r?\n)?"
_BREAKS = b"\r\n"

# Bytes that a form begins with, which are looked for first.
_BEGIN = 6

# Two bytes in hex are any number. A line of a large file is not looked for in all quotings, which would take long.
_SHORTEST_HEX, _MOST_QUOTED_LINES = 4, 200


class Mask:
    """Replaces each of `secrets`, each of their lines, and their usual encodings.

    In a stream (`feed`, `flush`) a secret may come in pieces: what could be the beginning of one is
    held back until it is known.
    """

    def __init__(self, secrets: Iterable[bytes], *, keep_width: bool = False) -> None:
        """keep_width: as many stars as the secret has bytes, for a screen that is drawn on."""
        found = list(secrets)
        encoded = {form for secret in found for form in (*_in_base64(secret.strip()), *_in_hex(secret.strip()))}
        self._wrapped = {form for form in encoded if len(form) <= _LONGEST_WRAPPED}
        # In one order, or an expression would be compiled anew for each command.
        forms = sorted(encoded.union(*map(_forms, found)), key=lambda form: (-len(form), form))
        self._pattern = re.compile(b"|".join(map(self._expression, forms))) if forms else None
        self._begins = {form[:_BEGIN] for form in forms if form not in self._wrapped}
        self._wrapped_begins = {form[:_BEGIN] for form in self._wrapped}
        self._longest = max(map(self._most, forms), default=0)
        self._by_first: dict[int, list[bytes]] = defaultdict(list)
        for form in forms:
            self._by_first[form[0]].append(form)
        self._keep_width = keep_width
        self._held = b""

    @property
    def holds(self) -> bool:
        """Return whether something waits for what comes after it."""
        return bool(self._held)

    def feed(self, data: bytes) -> bytes:
        """What of the stream so far can be shown now."""
        if not self._pattern:
            return data
        data = self._held + data
        found = [one.span() for one in self._pattern.finditer(data)] if self._may_hold(data) else []
        end = self._open_end(data, found)
        self._held = data[end:]
        return self._starred(data[:end]) if found else data[:end]

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
        if not self._pattern or not self._may_hold(data):
            return data
        return self._pattern.sub(lambda found: b"*" * len(found[0]) if self._keep_width else _STARS, data)

    def _may_hold(self, data: bytes) -> bool:
        """Return whether `data` may hold a whole form. Looking for beginnings is ten times as fast as the regex."""
        bare = data.translate(None, _BREAKS)
        return any(begin in data for begin in self._begins) or any(begin in bare for begin in self._wrapped_begins)

    def _expression(self, form: bytes) -> bytes:
        if form not in self._wrapped:
            return re.escape(form)
        return _BREAK.join(re.escape(form[i : i + 1]) for i in range(len(form)))

    def _most(self, form: bytes) -> int:
        """How many bytes a form takes, with all its line breaks."""
        return len(form) + (2 * (len(form) // _SHORTEST_WRAP + 1) if form in self._wrapped else 0)

    def _open_end(self, data: bytes, found: list[tuple[int, int]]) -> int:
        """Where in `data` the first secret may begin that isn't whole yet. What is whole before that stays
        as it is found; one secret may be a part of another. found: the secrets that are whole.
        """
        begin, near = 0, len(data) - self._longest + 1
        for last, following in [*found, (len(data) - 1, 0)]:
            for start in range(max(begin, near), last + 1):
                if self._may_become(data, start):
                    return start
            begin = following
        return len(data)

    def _may_become(self, data: bytes, start: int) -> bool:
        """Return whether `data` ends, from `start` on, with the beginning of a secret."""
        forms = self._by_first.get(data[start])
        if not forms:
            return False
        end = data[start:]
        bare = end.translate(None, _BREAKS)
        if len(bare) < _SHORTEST_LINE:
            bare = end  # or each line that ends as a secret begins would wait for the next
        for form in forms:
            met = bare if form in self._wrapped else end
            if len(form) > len(met) and form.startswith(met):
                return True
        return False


def _forms(secret: bytes) -> Iterator[bytes]:
    """A secret as it may be met: as it is, line by line, from a terminal, and as `quotings` has it."""
    bare = secret.strip()
    if not bare:
        return
    yield re.sub(b"\r?\n", b"\r\n", bare)
    yield from quoted_forms.of(bare)
    lines = [line for row in bare.splitlines() if len(line := row.strip()) >= _SHORTEST_LINE]
    for line in lines:
        yield line
        if len(lines) <= _MOST_QUOTED_LINES:
            yield from quoted_forms.in_a_shell(line)


def _in_hex(secret: bytes) -> Iterator[bytes]:
    """In small letters and in large ones, as `xxd -p` has it, which prints lines of 60."""
    if len(secret) >= _SHORTEST_HEX:
        yield secret.hex().encode()
        yield secret.hex().upper().encode()


def _in_base64(secret: bytes) -> Iterator[bytes]:
    """What base64 makes of it wherever it begins, as `user:token` has it: the signs that are its alone.
    In a URL two of the signs are others.
    """
    for before in range(3):
        whole = secret[-before % 3 :]
        whole = whole[: len(whole) // 3 * 3]
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            if len(form := encode(whole)) >= _SHORTEST_BASE64:
                yield form
