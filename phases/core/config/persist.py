"""The list `entry.persist`: paths whose content outlives the container and its image."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from phases.core.config import places
from phases.core.config.places import in_home, overlap
from phases.core.errors import ConfigError
from phases.core.model import Persisted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from phases.core.config.scope import Scope
    from phases.core.model import Habitat


def paths(scope: Scope, texts: Iterable[str]) -> Iterator[Persisted]:
    """As they are written, but for `.`, `..` and slashes too many; a slash at the end makes a folder."""
    for i, text in enumerate(texts):
        where = ("entry", "persist", i)
        written = scope.text(text, *where)
        path = scope.inside(text, *where)
        is_folder = posixpath.basename(written) in ("", ".", "..")
        yield Persisted(path + "/" if is_folder and path != "/" else path, scope.at(*where))


def check(habitat: Habitat, home: str = "") -> None:
    """Refuse what would hide or be hidden by something else. home: of USER, "" while only the image knows
    it. Raises ConfigError with the line of the first such path.
    """
    built = [posixpath.normpath(path) for path in (home or "~", habitat.workdir, *habitat.paths.values())]
    before: list[Persisted] = []
    for kept in habitat.entry.persist:
        place = in_home(kept.path, home)
        flaw = places.flaw(place, built)
        flaw = flaw or next(
            (f"{v.dest} is a volume ({v.origin})" for v in habitat.volumes if overlap(place, v.dest)), ""
        )
        flaw = flaw or next(
            (f"{p.path} persists ({p.origin})" for p in before if overlap(place, in_home(p.path, home))), ""
        )
        if flaw:
            remedy = "keep one of them" if "(" in flaw else "name a file or folder within it, or another"
            raise ConfigError(f"entry.persist: {kept.path} can't persist: {flaw}", where=kept.origin, remedy=remedy)
        before.append(kept)
