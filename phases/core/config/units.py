"""Sizes and durations as a person writes them."""

from __future__ import annotations

import re

BYTES = re.compile(r"(\d+(?:\.\d+)?)\s*([kKmMgG]?)(?:[iI]?[bB])?", re.ASCII)
_FACTORS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}

DURATION = re.compile(r"(?:(\d+)h)?\s*(?:(\d+)m)?\s*(?:(\d+)s?)?", re.ASCII)

#: Seconds.
DAY = 86_400

_MAX_DAYS = 365

#: What `duration` accepts, and the beginning of a remedy.
DURATION_RULE = f"a duration from 1s to {_MAX_DAYS * 24}h"
DURATION_REMEDY = "write whole seconds, minutes or hours, such as"

# Characters: the expressions would take long for a long text.
_MAX_LENGTH = 100


def size(text: str) -> int:
    """Return the bytes of a size such as "512m", "4g" or "1.5GiB", 0 for "". Raises ValueError."""
    match = BYTES.fullmatch(text.strip() or "0") if len(text) < _MAX_LENGTH else None
    if not match:
        raise ValueError(text)
    return int(float(match[1]) * _FACTORS[match[2].lower()])


def duration(text: str) -> float:
    """Return the seconds of a duration such as "90", "90s", "30m" or "1h 30m". Raises ValueError."""
    match = DURATION.fullmatch(text.strip()) if len(text) < _MAX_LENGTH else None
    if not match or not any(match.groups()):
        raise ValueError(text)
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    total = hours * 3600 + minutes * 60 + seconds
    if not 0 < total <= _MAX_DAYS * DAY:
        raise ValueError(text)
    return total
