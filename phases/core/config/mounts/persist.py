"""The key `entry.persist`: paths whose content outlives the container and its image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.config.mounts import mountable_paths
from phases.core.config.mounts.mountable_paths import ErrorWords, in_home, overlap
from phases.core.entry_settings import Persisted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from phases.core.config.scope import Scope
    from phases.core.model import Habitat


_WORDS = ErrorWords("entry.persist", "persist", "persists", "a file or folder")


def paths(scope: Scope, texts: Iterable[str]) -> tuple[Persisted, ...]:
    """Return the paths, normalized but for a slash at the end, which marks a folder. Collects errors."""
    key = ("entry", "persist")
    return mountable_paths.latest(scope.each(key, texts, lambda i, text: _path(scope, text, *key, i)))


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
