"""Durations as text."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Return a duration such as 0.1s, 45s, 2m 15s or 1h 02m."""
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02}m"
