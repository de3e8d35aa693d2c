"""The list `caches:`: folders that builds keep on volumes, beside the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.config import mount_rules, schema
from phases.core.config.mount_rules import Words, in_home, overlap, within
from phases.core.errors import ConfigError
from phases.core.model import SHARINGS, Cache

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from phases.core.config.scope import Scope
    from phases.core.model import Habitat
    from phases.core.origin import Origin


_WORDS = Words("caches", "be a cache", "is a cache", "a folder")


def caches(scope: Scope, entries: Iterable[str | schema.Cache]) -> Iterator[Cache]:
    for i, entry in enumerate(entries):
        where: tuple[str | int, ...] = ("caches", i)
        if isinstance(entry, str):
            yield Cache(scope.inside(entry, *where), scope.at(*where))
            continue
        sharing = entry.sharing or SHARINGS[0]
        if sharing not in SHARINGS:
            remedy = f"write {' or '.join(SHARINGS)}"
            raise ConfigError(f"caches: sharing is {sharing!r}", where=scope.at(*where, "sharing"), remedy=remedy)
        yield Cache(scope.inside(entry.path, *where, "path"), scope.at(*where, "path"), locked=sharing == "locked")


def check(habitat: Habitat, home: str = "") -> None:
    """Refuse what would keep something out of the image that belongs there, or be hidden itself. home: of USER,
    "" while only the image knows it. Raises ConfigError with the line of the first such path.
    """
    built = mount_rules.built_in(habitat, home)

    def why(place: str) -> str:
        return flaw(place, built) or next((f"{what} ({at})" for what, at in _met(habitat, place, home)), "")

    mount_rules.check(habitat.caches, home, why, _WORDS)


def flaw(place: str, built: Iterable[str]) -> str:
    """Why nothing can be kept at a place, as the end of a sentence; "" where it can. built: the folders that the
    build puts files into.
    """
    return mount_rules.flaw(place, built) or ("/run is the container's" if within(place, "/run") else "")


def _met(habitat: Habitat, place: str, home: str) -> Iterator[tuple[str, Origin]]:
    """What else the config puts at a place, and says where. What is in somebody else's home is nobody's here."""
    yield from ((f"{v.dest} is a volume", v.origin) for v in habitat.volumes if overlap(place, v.dest))
    persisted = [(kept.path, "persists", kept.origin, "") for kept in habitat.entry.persist]
    copied = [(copy.dest, "is copied", copy.origin, copy.owner) for copy in habitat.files]
    cloned = [(repo.path, "is cloned", repo.origin, repo.owner) for repo in habitat.repos]
    for path, what, origin, owner in (*persisted, *copied, *cloned):
        is_users = habitat.user_named(owner.partition(":")[0]) == habitat.user
        if within(in_home(path, home), place) and (is_users or not path.startswith("~")):
            yield f"{path} {what}", origin
