"""Reports the files that a phase doesn't copy because they have the names of credential files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core import copied_files
from phases.core.errors import ConfigError
from phases.core.files import tree
from phases.core.files.ignore import TOOL_FOLDERS, is_one_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from phases.core.files.ignore import Ignore
    from phases.core.model import Habitat
    from phases.protocol import Phase

# How many names the report lists. It only counts the others.
_SHOWN = 5


def notice(habitat: Habitat, phase: Phase) -> str:
    """Return a line about files that only the built-in list excludes from a phase, no person's rule; "" for none."""
    try:
        paths = list(_paths(habitat, phase.NAME))
    except ConfigError:
        return ""  # the files have changed since the slice was computed, which the phase itself reports
    if not paths:
        return ""
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    name = paths[0].rstrip("/").rpartition("/")[2]
    return (
        f"not copied, since {'its name looks' if len(paths) == 1 else 'their names look'} like credentials: "
        f"{', '.join(paths[:_SHOWN])}{more}; to copy {paths[0]} anyway, add `!{name}` to "
        f"{habitat.layer('local').shown}/.habignore"
    )


def _paths(habitat: Habitat, phase: str) -> Iterator[str]:
    for root, shown, ignore, own in _trees(habitat, phase):
        secret = is_one_of(root, habitat.secret_files)
        for path in tree.left_out(root, ignore.also_if(secret)):
            if not own(path) and not secret(path):
                yield f"{shown.rstrip('/')}/{path}"


def _trees(habitat: Habitat, phase: str) -> Iterator[tuple[Path, str, Ignore, Ignore]]:
    """Yield each folder that a phase copies, its name for people, its rules, and those without the built-in list."""
    layers = [layer for layer in habitat.layers if layer.dest and layer.folder.is_dir()]
    match phase:
        case "files":
            for layer in layers:
                rules, own = (copied_files.layer_ignore(habitat, layer, credentials=named) for named in (True, False))
                yield layer.folder, layer.shown, rules, own
        case "tools" | "test":
            name = "tools" if phase == "tools" else "tests"
            tested = {test.layer.name for test in habitat.tests}
            for layer in layers:
                folder = layer.folder / name
                if folder.is_dir() and (phase == "tools" or layer.name in tested):
                    rules, own = (
                        habitat.ignore(layer, folder, TOOL_FOLDERS, credentials=named) for named in (True, False)
                    )
                    yield folder, f"{layer.shown}/{name}", rules, own
    for copy in habitat.files:
        if (copy.point.phase if copy.point else "files") == phase and copy.source.is_dir():
            rules, own = (copied_files.file_ignore(habitat, copy, credentials=named) for named in (True, False))
            yield copy.source, copy.shown, rules, own
