"""The paths of a habitat where caches and persistent volumes may be mounted, since a mount hides what is below it."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from phases.core.errors import ConfigError
from phases.core.model import SECRETS_FOLDER
from phases.core.problems import Problems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from phases.core.entry_settings import Persisted
    from phases.core.model import Cache, Habitat

_Path = TypeVar("_Path", "Cache", "Persisted")

#: The folder of a running habitat with the volumes of single persistent files.
OWN_FOLDER = "/var/lib/habitat"

# The kernel's folders, below which nothing can be mounted.
_KERNEL = ("/proc", "/sys", "/dev")
# Folders with the image's programs and their data: a volume over one would hide those of the next image.
_SYSTEM = ("/", "/bin", "/boot", "/etc", "/lib", "/lib32", "/lib64", "/run", "/sbin", "/usr", "/var")


def flaw(place: str, built: Iterable[str]) -> str:
    """Return why nothing can be mounted at `place`, as the end of a sentence; "" if something can.

    Args:
        place: A path in the habitat.
        built: The folders that the build puts files into.
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


def build_folders(habitat: Habitat, home: str) -> list[str]:
    """Return the folders that the build puts files into. `home` is as of `in_home`."""
    extends = [layer.dest for layer in habitat.layers if layer.role == "extends" and layer.dest]
    return [posixpath.normpath(path) for path in (home or "~", habitat.workdir, *habitat.paths.values(), *extends)]


class ErrorWords(NamedTuple):
    """The words of an error about a path of one kind: `KEY: /x can't VERB: /y STATE: name NOUN somewhere else`."""

    key: str
    verb: str
    state: str
    noun: str


def check(paths: Iterable[Cache | Persisted], home: str, flaw_at: Callable[[str], str], words: ErrorWords) -> None:
    """Refuse each path that overlaps an earlier one, or that can't be mounted.

    Args:
        paths: The paths, in order.
        home: As of `in_home`.
        flaw_at: Returns why nothing can be mounted at a path, as the end of a sentence; "" if something can. The text
            ends with an origin in parentheses if the reason is another line of the config.
        words: The words of the error.

    Raises:
        ConfigError: With the line of the first such path.

    """
    problems = Problems()
    before: list[Cache | Persisted] = []
    for path in paths:
        place = in_home(path.path, home)
        taken = (f"{p.path} {words.state} ({p.origin})" for p in before if overlap(place, in_home(p.path, home)))
        if reason := flaw_at(place) or next(taken, ""):
            problem = f"{words.key}: {path.path} can't {words.verb}: {reason}"
            if "(" in reason:
                remedy = "keep one of them"
            elif flaw_at(f"{place.rstrip('/')}/name"):
                remedy = f"name {words.noun} somewhere else"
            else:
                remedy = f"name {words.noun} below it, or somewhere else"
            problems.add(ConfigError(problem, where=path.origin, remedy=remedy))
        before.append(path)
    problems.raise_all()


def latest(paths: Iterable[_Path]) -> tuple[_Path, ...]:
    """Return paths of a config without those that a later layer, such as one that extends another, names again."""
    result: list[_Path] = []
    for path in paths:
        result = [one for one in result if one.path != path.path or one.origin.layer == path.origin.layer]
        result.append(path)
    return tuple(result)


def in_home(path: str, home: str) -> str:
    """Return `path` with ~ replaced by `home`, if that is known, and without a slash at its end."""
    bare = path.rstrip("/") or "/"
    return home + bare[1:] if home and bare.startswith("~") else bare


def within(path: str, folder: str) -> bool:
    """Return whether `path` is `folder` or below it."""
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def overlap(one: str, other: str) -> bool:
    """Return whether one path is the other or below it."""
    return within(one, other) or within(other, one)
