"""The key `caches`: folders that builds keep on volumes, outside the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.config.mounts import mountable_paths
from phases.core.config.mounts.mountable_paths import ErrorWords, in_home, overlap, within
from phases.core.config.schema.sections import SHARINGS
from phases.core.model import Cache

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from phases.core.config import schema
    from phases.core.config.scope import Scope
    from phases.core.model import Habitat
    from phases.core.origin import Origin


_WORDS = ErrorWords("caches", "be a cache", "is a cache", "a folder")


def caches(scope: Scope, entries: Iterable[str | schema.CacheKeys]) -> tuple[Cache, ...]:
    """Return the caches of a config. Collects errors."""
    return mountable_paths.latest(scope.each(("caches",), entries, lambda i, entry: _cache(scope, entry, "caches", i)))


def _cache(scope: Scope, entry: str | schema.CacheKeys, *where: str | int) -> Cache:
    if isinstance(entry, str):
        return Cache(scope.habitat_path(entry, *where), scope.at(*where))
    sharing, path = scope.problems.all(
        lambda: _sharing(scope, entry, *where), lambda: scope.habitat_path(entry.path, *where, "path")
    )
    return Cache(path, scope.at(*where, "path"), locked=sharing == "locked")


def _sharing(scope: Scope, entry: schema.CacheKeys, *where: str | int) -> str:
    sharing = entry.sharing or SHARINGS[0]
    if sharing not in SHARINGS:
        rule, remedy = " or ".join(SHARINGS), "write locked if one build at a time may use the cache"
        raise scope.wrong_value(repr(sharing), rule, remedy, *where, "sharing")
    return sharing


def check(habitat: Habitat, home: str = "") -> None:
    """Refuse a cache that would hide files of the image, or that another mount would hide.

    Args:
        habitat: The habitat.
        home: The home of USER, "" while only the image knows it.

    Raises:
        ConfigError: With the line of the first such cache.

    """
    built = mountable_paths.build_folders(habitat, home)

    def flaw_at(place: str) -> str:
        return flaw(place, built) or next((f"{use} ({at})" for use, at in _other_uses(habitat, place, home)), "")

    mountable_paths.check(habitat.caches, home, flaw_at, _WORDS)


def flaw(place: str, built: Iterable[str]) -> str:
    """Return why `place` can't be a cache, as the end of a sentence; "" if it can.

    Args:
        place: A path in the habitat.
        built: The folders that the build puts files into.
    """
    return mountable_paths.flaw(place, built) or ("/run is the container's" if within(place, "/run") else "")


def _other_uses(habitat: Habitat, place: str, home: str) -> Iterator[tuple[str, Origin]]:
    """Yield what else the config puts at a place, and its line. Paths in another user's home are not compared."""
    yield from ((f"{v.dest} is a volume", v.origin) for v in habitat.volumes if overlap(place, in_home(v.dest, home)))
    persisted = [(kept.path, "persists", kept.origin, "") for kept in habitat.entry.persist]
    copied = [(copy.dest, "is copied", copy.origin, copy.owner) for copy in habitat.files]
    cloned = [(repo.path, "is cloned", repo.origin, repo.owner) for repo in habitat.repos]
    for path, use, origin, owner in (*persisted, *copied, *cloned):
        is_users = habitat.user_named(owner.partition(":")[0]) == habitat.user
        if within(in_home(path, home), place) and (is_users or not path.startswith("~")):
            yield f"{path} {use}", origin
