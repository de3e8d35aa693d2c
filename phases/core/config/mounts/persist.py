"""The key `entry.persist`: paths whose content outlives the container and its image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from phases.core.config.mounts import mountable_paths
from phases.core.config.mounts.mountable_paths import ErrorWords, in_home, overlap
from phases.core.entry_settings import Persisted
from phases.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from phases.core.config import schema
    from phases.core.config.scope import Scope
    from phases.core.model import Habitat


_WORDS = ErrorWords("entry.persist", "persist", "persists", "a file or folder")


def paths(scope: Scope, entries: Iterable[str | schema.PersistKeys]) -> tuple[Persisted, ...]:
    """Return the paths, normalized but for a slash at the end, which marks a folder. Collects errors."""
    key = ("entry", "persist")
    return mountable_paths.latest(scope.each(key, entries, lambda i, entry: _entry(scope, entry, *key, i)))


def _entry(scope: Scope, entry: str | schema.PersistKeys, *where: str | int) -> Persisted:
    if isinstance(entry, str):
        return _path(scope, entry, *where)
    persisted = _path(scope, entry.path, *where, "path")
    if entry.shared and not persisted.is_folder:
        # Programs replace files by renaming, and each habitat would then have its own.
        problem = f"entry.persist: {persisted.path} is a file, and only a folder can be shared"
        remedy = "name the folder that it is in, with a slash at the end"
        raise ConfigError(problem, where=scope.at(*where, "path"), remedy=remedy)
    return replace(persisted, origin=scope.at(*where), shared=entry.shared)


def _path(scope: Scope, text: str, *where: str | int) -> Persisted:
    path = scope.habitat_path(text, *where)
    is_folder = scope.names_folder(text, *where)
    return Persisted(path + "/" if is_folder and path != "/" else path, scope.at(*where))


def check(habitat: Habitat, home: str = "") -> None:
    """Refuse a path that would hide something else, or be hidden by it.

    Args:
        habitat: The habitat.
        home: The home of USER, "" while only the image knows it.

    Raises:
        ConfigError: With the line of the first such path.

    """
    built = mountable_paths.build_folders(habitat, home)

    def flaw_at(place: str) -> str:
        volumes = ((volume, in_home(volume.dest, home)) for volume in habitat.volumes)
        mounted = (f"{volume.dest} is a volume ({volume.origin})" for volume, dest in volumes if overlap(place, dest))
        return mountable_paths.flaw(place, built) or next(mounted, "")

    mountable_paths.check(habitat.entry.persist, home, flaw_at, _WORDS)
