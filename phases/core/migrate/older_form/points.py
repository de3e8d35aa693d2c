"""Convert `before:` and `after:`, which name phases of the older tool."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.migrate.older_form import edits

if TYPE_CHECKING:
    from phases.core.migrate.older_form.document import Document


def convert_point(document: Document, *path: str | int) -> bool:
    """Convert `before:` or `after:` of a hook or a file. Return whether it has one.

    The older tool ran its scripts in a phase behind tools, which no phase of today is.
    """
    for when in ("before", "after"):
        if (pair := document.pair(*path, when)) and not pair.value.value:
            edits.remove(document, pair)
    if all(document.pair(*path, when) for when in ("before", "after")):
        return True  # no build has such a point: the config is refused, with the line
    for when in ("before", "after"):
        pair = document.pair(*path, when)
        if pair is None:
            continue
        phase = str(pair.value.value)
        if phase == "scripts":
            edits.replace(document, pair.value, "tools")
        elif (when, phase) == ("before", "base"):
            document.report(pair.key, "before: base", "after: base", "there is no image before it")
        else:
            return True
        if when == "before":
            pair = document.pair(*path, when)
            assert pair
            edits.rename(document, pair, "after")
        return True
    return False
