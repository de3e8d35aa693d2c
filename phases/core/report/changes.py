"""Find the differences between two slices, and describe each in one line.

difflib finds the elements that were added to a list or removed from it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from phases.core.errors import printable, without_credentials
from phases.core.events import ABSENT
from phases.core.json_types import canonical
from phases.core.origin import with_places

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from phases.core.json_types import Json, Key
    from phases.protocol import ChangeDescription

# Characters of a value, of which a line shows two and a key; and of a value that is the only one.
_MAX_VALUE = 32
_MAX_SINGLE_VALUE = 50

# How many characters are shown before the first difference of two long values.
_CONTEXT = 6

# The keys by which a person recognizes an element of a list.
_IDENTIFYING_KEYS = ("url", "dest", "script")

_FILE = re.compile(r"[0-7]+ [0-9a-f]{64}")

_MODE_CHANGES = {("644", "755"): "made executable", ("755", "644"): "no longer executable"}


@dataclass(frozen=True)
class Difference:
    """One value that differs.

    Attributes:
        key: The path of the value in the newer slice; of a removed list element, in the older one.
        before: The older value, or ABSENT.
        after: The newer value, or ABSENT.
    """

    key: Key
    before: Json = ABSENT
    after: Json = ABSENT

    @property
    def is_removed_element(self) -> bool:
        """Return whether an element was removed from a list."""
        return self.after is ABSENT and isinstance(self.key[-1], int)


def differences(before: Json, after: Json, key: Key = ()) -> Iterator[Difference]:
    """Yield the differences between two slices, each at the innermost value that differs."""
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
    """Treat a missing mapping or list as an empty one, if the other value is a mapping or list."""
    return type(other)() if value is ABSENT and isinstance(other, (dict, list)) else value


def _elements(before: list[Json], after: list[Json], key: Key) -> Iterator[Difference]:
    old, new = [canonical(element) for element in before], [canonical(element) for element in after]
    for kind, start, end, at, to in _opcodes(old, new):
        if kind == "equal":
            continue
        pairs = [(start + n, at + n) for n in range(min(end - start, to - at))]
        kept = [(was, now) for was, now in pairs if _is_same_element(before[was], after[now])]
        for was, now in kept:
            yield from differences(before[was], after[now], (*key, now))
        for n in sorted({*range(start, end)} - {was for was, _ in kept}):
            yield Difference((*key, n), before=before[n])
        for n in sorted({*range(at, to)} - {now for _, now in kept}):
            yield Difference((*key, n), after=after[n])


def _is_same_element(one: Json, other: Json) -> bool:
    """Return whether one element was changed into the other, rather than replaced by it."""
    if isinstance(one, dict) and isinstance(other, dict):
        return any(value and other.get(name) == value for name, value in one.items())
    return True


def describe(difference: Difference, value: ChangeDescription) -> str:
    """Return a difference as one line.

    Args:
        difference: The difference.
        value: The name and the kind of the value that differs.
    """
    name = value.name if difference.after is ABSENT else with_places(value.name, value.origin)
    return printable(f"{name}: {_change(difference.before, difference.after, value.kind)}")


def _change(before: Json, after: Json, kind: str) -> str:
    if kind == "file":
        return _file_change(before, after)
    if before is ABSENT:
        return f"added{_identification(after)}"
    if after is ABSENT:
        return f"removed{_identification(before)}"
    if kind == "image":
        return f"moved from {_short_id(before)} to {_short_id(after)}"
    return _text_change(_text(before), _text(after))


def _text_change(was: str, now: str) -> str:
    if was == now:
        return "changed (a password or a token in it)"
    if "\n" in was.strip("\n") or "\n" in now.strip("\n"):
        return _line_change(was.splitlines(), now.splitlines())
    return _arrow(was, now)


def _file_change(before: Json, after: Json) -> str:
    """Describe a change of a file by its identities (`files.tree.Item.identity`)."""
    if before is ABSENT:
        return "added"
    if after is ABSENT:
        return "removed"
    if before.startswith("link ") and after.startswith("link "):
        return _arrow(before, after)
    if before.startswith("dir") and after.startswith("dir"):
        return _mode_change(*(text.removeprefix("dir").strip() or "755" for text in (before, after)))
    if not (_FILE.fullmatch(before) and _FILE.fullmatch(after)):
        return "changed"
    (mode, digest), (mode_now, digest_now) = before.split(), after.split()
    modes = "" if mode == mode_now else _MODE_CHANGES.get((mode, mode_now)) or _mode_change(mode, mode_now)
    return " and ".join(part for part in ("" if digest == digest_now else "changed", modes) if part)


def _mode_change(before: str, after: str) -> str:
    return f"mode {before} → {after}"


def _line_change(was: Sequence[str], now: Sequence[str]) -> str:
    """Describe the first line that differs, and say whether there are more."""
    changed = [row for row in _opcodes(was, now) if row[0] != "equal"]
    if not changed:
        return "changed (the end of its last line)"
    kind, start, end, at, to = changed[0]
    more = ", and more" if len(changed) > 1 or max(end - start, to - at) > 1 else ""
    if kind == "insert":
        return f"changed (line {at + 1} added: {_cut(now[at])}{more})"
    if kind == "delete":
        return f"changed (line {start + 1} removed: {_cut(was[start])}{more})"
    return f"changed (line {at + 1}: {_arrow(was[start], now[at])}{more})"


def _text(value: Json) -> str:
    return without_credentials(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _arrow(was: str, now: str) -> str:
    """Return `was → now`, long texts from where they begin to differ."""
    shared = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(was, now, strict=False))))
    is_long = max(len(was), len(now)) > _MAX_VALUE
    skip = shared - _CONTEXT if is_long and shared > 2 * _CONTEXT else 0
    return " → ".join(_cut(f"…{text[skip:]}" if skip else text) for text in (was, now))


def _cut(text: str, limit: int = _MAX_VALUE) -> str:
    """Shorten a text, and quote it if it is empty, or begins or ends with a space."""
    short = text if len(text) <= limit else f"{text[: limit - 1]}…"
    return short if short and short == short.strip() else f'"{short}"'


def _identification(value: Json) -> str:
    """Return, in parentheses, the part of a value by which a person recognizes it; "" for an empty value."""
    is_mapping = isinstance(value, dict)
    shown = next((value[key] for key in _IDENTIFYING_KEYS if value.get(key)), "") if is_mapping else value
    rows = _text(shown).splitlines()
    more = " …" if len(rows) > 1 else ""
    return f" ({_cut(rows[0], _MAX_SINGLE_VALUE)}{more})" if rows else ""


def _short_id(image: str) -> str:
    return f"{str(image).removeprefix('sha256:')[:12]}…"


def _opcodes(before: Sequence[Any], after: Sequence[Any]) -> list[tuple[str, int, int, int, int]]:
    from difflib import SequenceMatcher

    return list(SequenceMatcher(None, before, after, autojunk=False).get_opcodes())
