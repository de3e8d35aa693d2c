"""The list `entry.persist`: paths whose content outlives the container and its image."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from phases.core.errors import ConfigError
from phases.core.model import Persisted
from phases.protocol import SECRETS_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from phases.core.config.scope import Scope
    from phases.core.model import Habitat

#: Where a running habitat has the volumes of single files.
OWN_FOLDER = "/var/lib/habitat"

# Below these nothing can persist, ...
_KERNEL = ("/proc", "/sys", "/dev")
# ... and these are the image's programs and what they know: of the next image from the next one on.
_SYSTEM = ("/", "/bin", "/boot", "/etc", "/lib", "/lib32", "/lib64", "/run", "/sbin", "/usr", "/var")


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

    def at(path: str) -> str:
        return home + path[1:] if home and path.startswith("~") else path.rstrip("/") or "/"

    built = (home or "~", habitat.workdir, *habitat.paths.values())
    before: list[Persisted] = []
    for kept in habitat.entry.persist:
        place = at(kept.path.rstrip("/") or "/")
        flaw = _flaw(place, [posixpath.normpath(path) for path in built])
        flaw = flaw or next(
            (f"{v.dest} is a volume ({v.origin})" for v in habitat.volumes if _overlap(place, v.dest)), ""
        )
        flaw = flaw or next(
            (f"{p.path} persists ({p.origin})" for p in before if _overlap(place, at(p.path.rstrip("/")))), ""
        )
        if flaw:
            remedy = "keep one of them" if "(" in flaw else "name a file or folder within it, or another"
            raise ConfigError(f"entry.persist: {kept.path} can't persist: {flaw}", where=kept.origin, remedy=remedy)
        before.append(kept)


def _flaw(place: str, built: list[str]) -> str:
    """Why nothing can persist at a place, as the end of a sentence; "" where it can."""
    if place in _SYSTEM:
        return "it is the image's own"
    if kernel := next((path for path in _KERNEL if _within(place, path)), ""):
        return f"{kernel} is the kernel's"
    if taken := next((path for path in (SECRETS_FOLDER, OWN_FOLDER) if _overlap(place, path)), ""):
        return f"{taken} is the habitat's own"
    if hidden := next((path for path in built if _within(path, place)), ""):
        return "the build puts files there" if hidden == place else f"{hidden} is in it, and the build puts files there"
    return ""


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def _overlap(one: str, other: str) -> bool:
    return _within(one, other) or _within(other, one)
