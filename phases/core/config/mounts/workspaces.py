"""The workspaces of a habitat: the folders with a person's work, which are on volumes of their own.

WORKDIR is one, and each repository outside of it another. A folder that holds more than work is none: `/`, a home, or a
folder of the system.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from phases.core.config.mounts import mountable_paths
from phases.core.config.mounts.mountable_paths import in_home, within

if TYPE_CHECKING:
    from collections.abc import Iterable

    from phases.core.model import Habitat

# Folders that hold more than one thing, though not those below them.
_SHARED = (
    *("/home", "/media", "/mnt", "/opt", "/root", "/srv", "/tmp", "/usr/local", "/usr/src"),  # noqa: S108 (names)
    *("/var/cache", "/var/lib", "/var/log", "/var/mail", "/var/spool", "/var/tmp", "/var/www"),  # noqa: S108
)

# Folders with the image's programs, also below them.
_PROGRAMS = (
    *("/bin", "/boot", "/etc", "/lib", "/lib32", "/lib64", "/run", "/sbin", "/usr/bin", "/usr/include", "/usr/lib"),
    *("/usr/libexec", "/usr/sbin", "/usr/share", "/usr/local/bin", "/usr/local/lib", "/usr/local/share"),
)


# Signs with which Podman can mount no volume at a path: it reads a row of values, separated by commas.
_NOT_MOUNTABLE = frozenset('",:\\\n')


def candidates(habitat: Habitat) -> tuple[str, ...]:
    """Return the paths that are workspaces unless the image shows that one can't be.

    A path in the home of another user than USER begins with ~ and that user's name.
    """
    if habitat.workspace == "image":
        return ()
    paths = [habitat.workdir]
    for repo in habitat.repos:
        owner = habitat.user_named(repo.owner.partition(":")[0])
        is_others = repo.path.startswith("~/") and owner != habitat.user
        paths.append(f"~{owner}{repo.path[1:]}" if is_others else repo.path)
    normal = (path if path.startswith("~") else "/" + posixpath.normpath(path).lstrip("/") for path in paths)
    home = "/root" if habitat.user == "root" else f"/home/{habitat.user}"
    return tuple(path for path in dict.fromkeys(normal) if is_possible(habitat, path, home))


def is_possible(habitat: Habitat, place: str, home: str) -> bool:
    """Return whether a path can be a workspace.

    Args:
        habitat: The habitat.
        place: The path. One that begins with ~ is in a home.
        home: The home of USER, or what it probably is.
    """
    if _NOT_MOUNTABLE & {*place}:
        return False
    if place.startswith("~"):
        return "/" in place.rstrip("/")
    if place in _SHARED or any(within(place, folder) for folder in _PROGRAMS):
        return False
    if mountable_paths.flaw(place, [home] if home.strip("/") else []):
        return False
    mounts = [volume.dest for volume in habitat.volumes if volume.present]
    mounts += [kept.path for kept in habitat.entry.persist if kept.is_folder]
    return not any(within(place, in_home(mount, home)) for mount in mounts)


def outermost(places: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return which of some paths, each with the one that it leads to, are in none of the others."""
    chosen: list[tuple[str, str]] = []
    for path, resolved in sorted(places, key=lambda place: len(place[1])):
        if not any(within(resolved, other) for _, other in chosen):
            chosen.append((path, resolved))
    return chosen
