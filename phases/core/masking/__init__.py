"""Replace secrets by stars in the output of commands, before it is shown or written."""

from __future__ import annotations

import base64
import re
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_STARS = b"***"

#: The least characters of a secret, of a line of one, and of its base64. A shorter one, such as `true`, may be part of
#: any output, which masking would make unreadable.
MIN_CHARACTERS = 8

# The least characters of a line's end that may be the beginning of base64.
_MIN_HELD = 4

# base64 is printed in lines of 76 characters or fewer, hex in lines of 60. The pattern for a form over 4096 characters
# has no line breaks, since it would be slow.
_MIN_WRAP, _MAX_WRAPPED = 60, 4096
_BREAK = b"(?:\r?\n)?"
_BREAKS = b"\r\n"

# The lines of a secret of which every line is also masked in its quoted forms. For a large file this would take long.
_MAX_QUOTED_LINES = 200

# The bytes at the beginning of each form that are searched for first.
_BEGINNING = 6


class Mask:
    """Replaces secrets, their lines, and their usual encodings by stars.

    In a stream (`feed`, `flush`), a secret may come in several pieces. Bytes that may be the beginning of one are held
    back until the following bytes are known.

    Args:
        secrets: The secrets.
        keep_width: Write as many stars as the form has bytes, for a program that draws on the whole screen.
    """

    def __init__(self, secrets: Iterable[bytes], *, keep_width: bool = False) -> None:
        self._keep_width = keep_width
        self._held = b""
        self._secrets: list[bytes] = []
        self._added = list(secrets)
        self._take_added()

    def add(self, secret: bytes) -> None:
        """Mask another secret, from the next bytes on. Another thread may feed the stream."""
        self._added.append(secret)

    def _take_added(self) -> None:
        added, self._added = self._added, []
        self._secrets += added
        self._compile(self._secrets)

    def _compile(self, secrets: Iterable[bytes]) -> None:
        secrets = [secret for secret in secrets if is_long_enough(secret)]
        encoded = {form for secret in secrets for form in (*_in_base64(secret.strip()), *_in_hex(secret.strip()))}
        self._wrapped = {form for form in encoded if len(form) <= _MAX_WRAPPED}
        # Always in the same order, so that re finds the compiled pattern in its cache.
        forms = sorted(encoded.union(*map(_forms, secrets)), key=lambda form: (-len(form), form))
        self._pattern = re.compile(b"|".join(map(self._expression, forms))) if forms else None
        self._beginnings = {form[:_BEGINNING] for form in forms if form not in self._wrapped}
        self._wrapped_beginnings = {form[:_BEGINNING] for form in self._wrapped}
        self._max_length = max(map(self._length, forms), default=0)
        self._by_first: dict[int, list[bytes]] = defaultdict(list)
        for form in forms:
            self._by_first[form[0]].append(form)

    @property
    def holds(self) -> bool:
        """Return whether bytes wait, because they may be the beginning of a secret."""
        return bool(self._held)

    def feed(self, data: bytes) -> bytes:
        """Return the bytes of the stream that can be shown now, masked."""
        if self._added:
            self._take_added()
        if not self._pattern:
            return data
        data = self._held + data
        spans = [match.span() for match in self._pattern.finditer(data)] if self._may_match(data) else []
        end = self._incomplete_start(data, spans)
        self._held = data[end:]
        return self._masked(data[:end]) if spans else data[:end]

    def flush(self) -> bytes:
        """Return the bytes that are held back, masked, at the end of the stream or after a pause."""
        held, self._held = self._held, b""
        return self._masked(held)

    def text(self, line: str) -> str:
        """Return a whole line or message, masked."""
        if not self._pattern:
            return line
        return self._masked(line.encode(errors="surrogateescape")).decode(errors="surrogateescape")

    def _masked(self, data: bytes) -> bytes:
        if not self._pattern or not self._may_match(data):
            return data
        return self._pattern.sub(lambda match: b"*" * len(match[0]) if self._keep_width else _STARS, data)

    def _may_match(self, data: bytes) -> bool:
        """Return whether `data` may contain a whole form. This is ten times as fast as the pattern."""
        unwrapped = data.translate(None, _BREAKS)
        return any(beginning in data for beginning in self._beginnings) or any(
            beginning in unwrapped for beginning in self._wrapped_beginnings
        )

    def _expression(self, form: bytes) -> bytes:
        if form not in self._wrapped:
            return re.escape(form)
        return _BREAK.join(re.escape(form[i : i + 1]) for i in range(len(form)))

    def _length(self, form: bytes) -> int:
        """Return the most bytes of a form, with line breaks."""
        return len(form) + (2 * (len(form) // _MIN_WRAP + 1) if form in self._wrapped else 0)

    def _incomplete_start(self, data: bytes, spans: list[tuple[int, int]]) -> int:
        """Return where the first form begins that may be incomplete, else the end of `data`.

        A form that is complete before that place stays complete, also if it is a part of a longer one.

        Args:
            data: The bytes.
            spans: The complete forms.
        """
        begin, earliest = 0, len(data) - self._max_length + 1
        for last, following in [*spans, (len(data) - 1, 0)]:
            for start in range(max(begin, earliest), last + 1):
                if self._may_become_form(data, start):
                    return start
            begin = following
        return len(data)

    def _may_become_form(self, data: bytes, start: int) -> bool:
        """Return whether `data` ends, from `start` on, with the beginning of a form."""
        forms = self._by_first.get(data[start])
        if not forms:
            return False
        end = data[start:]
        unwrapped = end.translate(None, _BREAKS)
        if len(unwrapped) < _MIN_HELD:
            unwrapped = end  # else each line that ends like the beginning of a secret would wait for the next one
        for form in forms:
            beginning = unwrapped if form in self._wrapped else end
            if len(form) > len(beginning) and form.startswith(beginning):
                return True
        return False


def is_long_enough(secret: bytes) -> bool:
    """Return whether a secret, or a line of one, is masked. Space around it doesn't count."""
    return len(secret.strip().decode(errors="replace")) >= MIN_CHARACTERS


def _forms(secret: bytes) -> Iterator[bytes]:
    """Yield the forms of a secret in output: as it is, from a terminal, in quotes, and line by line."""
    from phases.core.masking import quoted_forms  # imported late: many habitats have no secret

    bare = secret.strip()
    yield re.sub(b"\r?\n", b"\r\n", bare)
    yield from quoted_forms.all_forms(bare)
    lines = [line for row in bare.splitlines() if is_long_enough(line := row.strip())]
    for line in lines:
        yield line
        if len(lines) <= _MAX_QUOTED_LINES:
            yield from quoted_forms.in_a_shell(line)


def _in_hex(secret: bytes) -> Iterator[bytes]:
    """Yield the hex of a secret in lower and in upper case."""
    yield secret.hex().encode()
    yield secret.hex().upper().encode()


def _in_base64(secret: bytes) -> Iterator[bytes]:
    """Yield the base64 of a secret, also of one behind other bytes, such as `user:token`.

    base64 encodes three bytes at a time, so this yields the characters that depend on the secret alone, for each of the
    three places where it may begin. base64 for URLs has two other characters.
    """
    for before in range(3):
        groups = secret[-before % 3 :]
        groups = groups[: len(groups) // 3 * 3]
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            if len(form := encode(groups)) >= MIN_CHARACTERS:
                yield form
