"""What differs between two slices, and how a person reads it.

difflib finds what was put into a list or taken out of it; all else is walking down mappings.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from phases.core.cache.slices import canonical
from phases.core.errors import printable, without_credentials
from phases.core.events import ABSENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from phases.protocol import ChangeDescription, Json, Key

# Signs of a value: two of them, and the key, make a line.
_LONGEST = 32
_LONGEST_ALONE = 50

# Signs that a long value and its successor have in common before they differ, as far as they are shown.
_LEAD = 6

# By which a person knows an element of a list.
_TELLING = ("url", "dest", "script")

_FILE = re.compile(r"[0-7]+ [0-9a-f]{64}")


@dataclass(frozen=True)
class Difference:
    """key: where, in the slice of today but for an element that was taken out of a list."""

    key: Key
    before: Json = ABSENT
    after: Json = ABSENT

    @property
    def is_removed_element(self) -> bool:
        return self.after is ABSENT and isinstance(self.key[-1], int)


def differences(before: Json, after: Json, key: Key = ()) -> Iterator[Difference]:
    """All that differs, each as far down as it goes."""
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted({*before, *after}):
            was, now = before.get(name, ABSENT), after.get(name, ABSENT)
            yield from differences(_or_empty(was, now), _or_empty(now, was), (*key, name))
    elif isinstance(before, list) and isinstance(after, list):
        yield from _elements(before, after, key)
    else:
        yield Difference(key, before, after)


def _or_empty(value: Json, other: Json) -> Json:
    """A section that isn't there is one with nothing in it."""
    return type(other)() if value is ABSENT and isinstance(other, (dict, list)) else value


def _elements(before: list[Json], after: list[Json], key: Key) -> Iterator[Difference]:
    old, new = [canonical(element) for element in before], [canonical(element) for element in after]
    for kind, start, end, at, to in _opcodes(old, new):
        if kind == "equal":
            continue
        pairs = [(start + n, at + n) for n in range(min(end - start, to - at))]
        kept = [(was, now) for was, now in pairs if _akin(before[was], after[now])]
        for was, now in kept:
            yield from differences(before[was], after[now], (*key, now))
        for n in sorted({*range(start, end)} - {was for was, _ in kept}):
            yield Difference((*key, n), before=before[n])
        for n in sorted({*range(at, to)} - {now for _, now in kept}):
            yield Difference((*key, n), after=after[n])


def _akin(one: Json, other: Json) -> bool:
    """Whether one became the other, rather than made room for it."""
    if isinstance(one, dict) and isinstance(other, dict):
        return any(value and other.get(name) == value for name, value in one.items())
    return True


def told(difference: Difference, written: ChangeDescription) -> str:
    """A difference in one line."""
    return printable(f"{written.name}: {_words(difference.before, difference.after, written.kind)}")


def _words(before: Json, after: Json, kind: str) -> str:
    if kind == "file":
        return _of_file(before, after)
    if before is ABSENT:
        return f"added{_gist(after)}"
    if after is ABSENT:
        return f"removed{_gist(before)}"
    if kind == "image":
        return f"moved from {_short_id(before)} to {_short_id(after)}"
    return _of_texts(_text(before), _text(after))


def _of_texts(was: str, now: str) -> str:
    if was == now:
        return "changed (a password or a token in it)"
    if "\n" in was.strip("\n") or "\n" in now.strip("\n"):
        return _of_lines(was.splitlines(), now.splitlines())
    return _change(was, now)


def _of_file(before: Json, after: Json) -> str:
    """before and after: as trees.Item.identity has them."""
    if before is ABSENT:
        return "added"
    if after is ABSENT:
        return "removed"
    if before.startswith("link ") and after.startswith("link "):
        return _change(before, after)
    if not (_FILE.fullmatch(before) and _FILE.fullmatch(after)):
        return "changed"
    (mode, digest), (mode_now, digest_now) = before.split(), after.split()
    executable = "" if mode == mode_now else "made executable" if mode_now == "755" else "no longer executable"
    return " and ".join(part for part in ("" if digest == digest_now else "changed", executable) if part)


def _of_lines(was: Sequence[str], now: Sequence[str]) -> str:
    """The first line that differs, and whether there are more."""
    changed = [row for row in _opcodes(was, now) if row[0] != "equal"]
    if not changed:
        return "changed (how its last line ends)"
    kind, start, end, at, to = changed[0]
    more = ", and more" if len(changed) > 1 or max(end - start, to - at) > 1 else ""
    if kind == "insert":
        return f"changed (line {at + 1} added: {_cut(now[at])}{more})"
    if kind == "delete":
        return f"changed (line {start + 1} removed: {_cut(was[start])}{more})"
    return f"changed (line {at + 1}: {_change(was[start], now[at])}{more})"


def _text(value: Json) -> str:
    return without_credentials(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _change(was: str, now: str) -> str:
    """Long texts from where they begin to differ."""
    shared = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(was, now, strict=False))))
    skip = shared - _LEAD if max(len(was), len(now)) > _LONGEST and shared > 2 * _LEAD else 0
    return " → ".join(_cut(f"…{text[skip:]}" if skip else text) for text in (was, now))


def _cut(text: str, longest: int = _LONGEST) -> str:
    """Shortened, and quoted where one couldn't see its ends."""
    short = text if len(text) <= longest else f"{text[: longest - 1]}…"
    return short if short and short == short.strip() else f'"{short}"'


def _gist(value: Json) -> str:
    """What an element is known by, in parentheses."""
    known = next((value[name] for name in _TELLING if value.get(name)), "") if isinstance(value, dict) else value
    rows = _text(known).splitlines()
    more = " …" if len(rows) > 1 else ""
    return f" ({_cut(rows[0], _LONGEST_ALONE)}{more})" if rows else ""


def _short_id(image: str) -> str:
    return f"{str(image).removeprefix('sha256:')[:12]}…"


def _opcodes(before: Sequence[Any], after: Sequence[Any]) -> list[tuple[str, int, int, int, int]]:
    from difflib import SequenceMatcher

    return list(SequenceMatcher(None, before, after, autojunk=False).get_opcodes())
