"""Which paths of a habitat may be somebody else's than the image's: what something is mounted on is hidden."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, NamedTuple

from phases.core.errors import ConfigError
from phases.core.model import SECRETS_FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from phases.core.model import Cache, Habitat, Persisted

#: Where a running habitat has the volumes of single files that persist.
OWN_FOLDER = "/var/lib/habitat"

# Below these nothing can be mounted, ...
_KERNEL = ("/proc", "/sys", "/dev")
# ... and these are the image's programs and what they know: of the next image from the next one on.
_SYSTEM = ("/", "/bin", "/boot", "/etc", "/lib", "/lib32", "/lib64", "/run", "/sbin", "/usr", "/var")


def flaw(place: str, built: Iterable[str]) -> str:
    """Why nothing can be mounted at a place, as the end of a sentence; "" where it can. built: the folders
    that the build puts files into.
    """
    if place in _SYSTEM:
        return "it is the image's own"
    if kernel := next((path for path in _KERNEL if within(place, path)), ""):
        return f"{kernel} is the kernel's"
    if taken := next((path for path in (SECRETS_FOLDER, OWN_FOLDER) if overlap(place, path)), ""):
        return f"{taken} is the habitat's own"
    if hidden := next((path for path in built if within(path, place)), ""):
        return "the build puts files there" if hidden == place else f"{hidden} is in it, and the build puts files there"
    return ""


def built_in(habitat: Habitat, home: str) -> list[str]:
    """The folders that the build puts files into. home: as of `in_home`."""
    return [posixpath.normpath(path) for path in (home or "~", habitat.workdir, *habitat.paths.values())]


class Words(NamedTuple):
    """How paths of one kind are spoken of: `KEY: /x can't BE: /y IS_ONE; name WITHIN within it`."""

    key: str
    be: str
    is_one: str
    within: str


def check(paths: Iterable[Cache | Persisted], home: str, why: Callable[[str], str], words: Words) -> None:
    """Refuse the first of the paths that overlaps another, or that can't be where it is. why: that is so of a place, as
    the end of a sentence, with where it stands what a person could take away; "" for none. Raises ConfigError.
    """
    before: list[Cache | Persisted] = []
    for path in paths:
        place = in_home(path.path, home)
        taken = (f"{p.path} {words.is_one} ({p.origin})" for p in before if overlap(place, in_home(p.path, home)))
        if reason := why(place) or next(taken, ""):
            remedy = "keep one of them" if "(" in reason else f"name {words.within} within it, or another"
            raise ConfigError(f"{words.key}: {path.path} can't {words.be}: {reason}", where=path.origin, remedy=remedy)
        before.append(path)


def in_home(path: str, home: str) -> str:
    """`path` without a slash at its end. home: what ~ stands for, "" while only the image knows it."""
    bare = path.rstrip("/") or "/"
    return home + bare[1:] if home and bare.startswith("~") else bare


def within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def overlap(one: str, other: str) -> bool:
    return within(one, other) or within(other, one)
