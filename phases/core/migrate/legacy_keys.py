"""Convert the keys of an earlier tool's config.yaml into today's keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phases.core.config import schema
from phases.core.migrate.result import ReportRow

if TYPE_CHECKING:
    from collections.abc import Iterable

# Keys of `container:` that are variables today.
_VARIABLES = {"user": "USER", "work_dir": "WORKDIR", "workdir": "WORKDIR"}

_KEYS = ("repositories", "container", "claude")


def has_legacy_keys(document: Any) -> bool:
    """Return whether a document has keys to convert."""
    return any(key in document for key in _KEYS)


def convert(document: Any) -> list[ReportRow]:
    """Rename the old keys of a document that ruamel.yaml loaded.

    Returns:
        What became of each.
    """
    rows: list[ReportRow] = []
    if "repositories" in document:
        rows.append(_repositories(document))
    for key in ("container", "claude"):
        if key in document:
            rows += _section(document, key)
    return rows


def _line(document: Any, key: str) -> int:
    return int(document.lc.key(key)[0]) + 1


def _rename(document: Any, old: str, new: str, value: Any) -> None:
    """Rename a key; its position and comments stay."""
    place, comment = list(document).index(old), document.ca.items.pop(old, None)
    del document[old]
    document.insert(place, new, value)
    if comment is not None:
        document.ca.items[new] = comment


def _repositories(document: Any) -> ReportRow:
    line, value = _line(document, "repositories"), document["repositories"]
    if "repos" in document:
        document["repos"].extend(value or [])
        del document["repositories"]
    else:
        _rename(document, "repositories", "repos", value)
    return ReportRow(line, "repositories", "repos")


def _section(document: Any, key: str) -> Iterable[ReportRow]:
    """Turn `container:` or `claude:` into `entry:` and variables."""
    section = document[key]
    if not isinstance(section, dict):
        del document[key]
        return [ReportRow(1, key, "", "it has no keys")]
    rows, known = [], schema.EntryKeys.__struct_encode_fields__
    entry = document.get("entry")
    for name in list(section):
        row = ReportRow(_line(section, name), f"{key}.{name}", "")
        rows.append(row)
        value = section[name]
        if name in _VARIABLES:
            document.setdefault("env", []).append(f"{_VARIABLES[name]}={value}")
            row.place = f"env.{_VARIABLES[name]}"
        elif name not in known or (entry is not None and name in entry):
            row.why = "entry already has it" if name in known else "entry has no such key"
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
