"""The base of all mappings of config.yaml, and the descriptions of their keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import re


class Mapping(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A mapping of the file, in which any other key is an error."""


def key(description: str, **constraints: object) -> msgspec.Meta:
    """Return what editors show and check for a key.

    The program itself checks values later, with the same patterns, when variables are filled in.

    Args:
        description: What the key is for.
        constraints: Keywords of JSON Schema.
    """
    return msgspec.Meta(description=description, extra_json_schema=constraints or None)


def whole(pattern: re.Pattern[str], *, may_be_empty: bool = True) -> str:
    """Return the JSON Schema pattern of a whole text."""
    return f"^(?:{pattern.pattern}){'?' if may_be_empty else ''}$"


def one_of(words: tuple[str, ...]) -> str:
    """Return the JSON Schema pattern of one of some words, or of an empty text."""
    return f"^({'|'.join(words)})?$"
