"""The keys of the tool that this one takes after, as keys of today."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phases.core.config import schema
from phases.core.migrate.result import Row

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Keys of `container:` that are variables now.
_VARIABLES = {"user": "USER", "work_dir": "WORKDIR", "workdir": "WORKDIR"}

KEYS = ("repositories", "container", "claude")


def has_older(document: Any) -> bool:
    return any(key in document for key in KEYS)


def modernise(document: Any) -> list[Row]:
    """Rename, in a document that ruamel.yaml read, what has another name now. Returns what became of it."""
    rows: list[Row] = []
    if "repositories" in document:
        rows.append(_repositories(document))
    for key in ("container", "claude"):
        if key in document:
            rows += _section(document, key)
    return rows


def _line(document: Any, key: str) -> int:
    return int(document.lc.key(key)[0]) + 1


def _rename(document: Any, old: str, new: str, value: Any) -> None:
    """In its place, with its comments."""
    place, comment = list(document).index(old), document.ca.items.pop(old, None)
    del document[old]
    document.insert(place, new, value)
    if comment is not None:
        document.ca.items[new] = comment


def _repositories(document: Any) -> Row:
    line, value = _line(document, "repositories"), document["repositories"]
    if "repos" in document:
        document["repos"].extend(value or [])
        del document["repositories"]
    else:
        _rename(document, "repositories", "repos", value)
    return Row(line, "repositories", "repos")


def _section(document: Any, key: str) -> Iterable[Row]:
    """`container:` and `claude:`, both of which are `entry:` now, but for what is a variable."""
    section = document[key]
    if not isinstance(section, dict):
        del document[key]
        return [Row(1, key, "", "it holds no keys")]
    rows, known = [], schema.Entry.__struct_encode_fields__
    entry = document.get("entry")
    for name in list(section):
        row = Row(_line(section, name), f"{key}.{name}", "")
        rows.append(row)
        value = section[name]
        if name in _VARIABLES:
            env = document.setdefault("env", [])
            env.append(f"{_VARIABLES[name]}={value}")
            row.place = f"env.{_VARIABLES[name]}"
        elif name not in known or (entry is not None and name in entry):
            row.why = "entry has it already" if name in known else "entry has no such key"
        else:
            row.place = f"entry.{name}"
            continue
        del section[name]
    if entry is None and section:
        _rename(document, key, "entry", section)
        return rows
    for name in list(section):
        entry[name] = section[name]
    del document[key]
    return rows
