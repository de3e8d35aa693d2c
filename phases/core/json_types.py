"""JSON values, the keys in them, and the one canonical form in which they are hashed."""

from __future__ import annotations

import hashlib
import json
from typing import Any, TypeAlias

#: A value that JSON can hold.
Json: TypeAlias = Any

#: The path of a value inside a JSON value: names of mappings, indexes of lists.
Key: TypeAlias = tuple[str | int, ...]


def canonical(value: Json) -> bytes:
    """Return the canonical JSON of a value: keys sorted, no spaces, UTF-8, no newline at the end."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    # A file name that is not UTF-8 arrives here as lone surrogates.
    return text.encode("utf-8", "backslashreplace")


def digest(value: Json) -> str:
    """Return the sha256 of a value's canonical JSON, as 64 hex digits."""
    return hashlib.sha256(canonical(value)).hexdigest()


def dotted(*key: str | int) -> str:
    """Return a key as a person writes it: `repos[0].branch`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key).removeprefix(".")
