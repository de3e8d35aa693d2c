"""The list `volumes:`: folders and files of the host, each with the place where the habitat finds it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from phases.core.config import host_paths, privileged_mounts
from phases.core.config.host_paths import MountTable
from phases.core.config.mount_rules import in_home, within
from phases.core.config.own_places import OwnPlaces
from phases.core.errors import ConfigError
from phases.core.model import SECRETS_FOLDER, Mount

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from phases.core.config import schema
    from phases.core.config.scope import Scope
    from phases.core.files.tree import Item
    from phases.core.model import Habitat
    from phases.core.origin import Origin


def volumes(scope: Scope, entries: Iterable[schema.VolumeKeys]) -> Iterator[Mount]:
    """Yield those of a config, as it is written: `admitted` looks at the host. Raises ConfigError."""
    at: dict[str, Origin] = {}
    for i, entry in enumerate(entries):
        source, shown, present = scope.outside(entry.source, "volumes", i, "source", must_exist=not entry.optional)
        mount = Mount(source, shown, _dest(scope, i, entry.dest), entry.readonly, present, scope.at("volumes", i))
        if mount.dest in at:
            problem = f"another volume is mounted at {mount.dest} ({at[mount.dest]})"
            raise ConfigError(problem, where=mount.origin, remedy="keep one of them")
        at[mount.dest] = mount.origin
        yield mount


def admitted(scope: Scope, habitat: Habitat, entries: Iterable[schema.VolumeKeys]) -> tuple[Mount, ...]:
    """Return the volumes of `habitat` with their sources resolved and pinned, once nothing speaks against any.

    entries: as they are written. Raises ConfigError.
    """
    if not any(volume.present for volume in habitat.volumes):
        return habitat.volumes
    door = _Door(scope, habitat)
    found = tuple(
        door.admitted(volume, scope.at("volumes", i, "source"), may_give_root=entry.gives_root_on_the_host)
        if volume.present
        else volume
        for i, (volume, entry) in enumerate(zip(habitat.volumes, entries, strict=True))
    )
    door.check_nested(found)
    return found


class _Door:
    """What a volume has to pass."""

    def __init__(self, scope: Scope, habitat: Habitat) -> None:
        self._table = MountTable()
        layers = [layer.folder for layer in habitat.layers]
        also = [habitat.folder / habitat.dockerfile] if habitat.has_dockerfile else []
        self._own = OwnPlaces(scope.root, layers, self._table, also)
        # Their own links are the person's: no habitat can write to what holds them.
        home = os.environ.get("HOME", "")
        trusted = [scope.root, *layers, *([Path(home)] if home.startswith("/") and home.strip("/") else [])]
        self._trusted = [Path.cwd() / folder for folder in trusted]

    def admitted(self, volume: Mount, where: Origin, *, may_give_root: bool) -> Mount:
        """Return the volume as it is to be mounted. where: the line of its source."""
        try:
            real = volume.source.resolve()
            root = privileged_mounts.given_by(real, self._own, self._table, readonly=volume.readonly)
            link = host_paths.suspect_link(Path.cwd() / volume.source, self._trusted, self._own.is_own)
        except (OSError, RuntimeError) as error:
            problem = f"volumes: {volume.shown} can't be looked at ({error})"
            raise ConfigError(problem, where=where, remedy="name a file or folder that you can read") from error
        if root and not may_give_root:
            raise ConfigError(
                f"volumes: {volume.shown} holds {root}: whoever has that can be root on this machine",
                where=where,
                remedy="mount less of it, or say `gives_root_on_the_host: true`",
            )
        if link:
            raise ConfigError(
                f"volumes: {volume.shown}: {link.path} is a link to {link.target}, and an agent can make one there",
                where=where,
                remedy=f"write the path without the link: {real}",
            )
        return replace(volume, source=real, gives_root=bool(root), pin=host_paths.pin(real))

    def check_nested(self, volumes: Iterable[Mount]) -> None:
        """Refuse what is in a folder that the same habitat can write to: it could put a link in its place."""
        present = [volume for volume in volumes if volume.present]
        for outer in (volume for volume in present if not volume.readonly):
            for inner in present:
                if _is_below(inner.source, outer.source, self._table):
                    raise ConfigError(
                        f"volumes: {inner.shown} is in {outer.shown} ({outer.origin}), where the habitat could put a "
                        "link in its place",
                        where=inner.origin,
                        remedy=f"keep one of them, or say `readonly: true` for {outer.shown}",
                    )


def _is_below(inner: Path, outer: Path, table: MountTable) -> bool:
    """Return whether `inner` is strictly below `outer`, by any of their paths."""
    above = table.spellings(outer)
    return any(path != folder and path.is_relative_to(folder) for path in table.spellings(inner) for folder in above)


def _dest(scope: Scope, i: int, text: str) -> str:
    where = scope.at("volumes", i, "dest")
    dest = scope.inside(text, "volumes", i, "dest")
    if dest.startswith("~"):
        # A mount needs its place before there is a user.
        raise ConfigError("a volume's dest can't begin with ~", where=where, remedy="write the whole path")
    if dest == "/":
        raise ConfigError("a volume can't take the place of /", where=where, remedy="write a folder")
    if within(dest, SECRETS_FOLDER):
        problem = f"a volume can't take the place of the secrets in {SECRETS_FOLDER}"
        raise ConfigError(problem, where=where, remedy="write another folder")
    return dest


# What else the config says of the same places


def check(habitat: Habitat) -> None:
    """Refuse what the build would write through a mount, and what it would read in a folder that a habitat writes to.

    What only the image knows, where ~ and links lead, the build refuses. Raises ConfigError.
    """
    for volume in habitat.volumes:
        for what, path, origin in _written(habitat, volume.dest):
            if within(path, volume.dest):
                raise ConfigError(
                    f"{what} would be written to the host, since {volume.dest} is a volume ({volume.origin})",
                    where=origin,
                    remedy="write another place for one of them",
                )
    writable = [volume for volume in habitat.volumes if volume.present and not volume.readonly]
    for what, source, origin in _read(habitat) if writable else ():
        passed = _passed(source)
        for volume in writable:
            if any(path != volume.source and path.is_relative_to(volume.source) for path in passed):
                raise ConfigError(
                    f"{what} is in the volume {volume.shown} ({volume.origin}), where the habitat could put a link to "
                    "any file of this machine in its place",
                    where=origin,
                    remedy="keep it elsewhere, or say `readonly: true` for the volume",
                )


def _written(habitat: Habitat, dest: str) -> Iterator[tuple[str, str, Origin]]:
    """What the build puts into the image, where, and which line says so. dest: of a volume."""

    def at(path: str, owner: str) -> str:
        is_roots = habitat.user_named(owner.partition(":")[0]) == "root"
        return in_home(path, "/root" if is_roots else "")

    for copy in habitat.files:
        place = at(copy.dest, copy.owner)
        yield f"files: {copy.shown}", place, copy.origin
        if dest != place and within(dest, place) and os.path.lexists(copy.source / os.path.relpath(dest, place)):
            yield from ((f"files: {copy.shown}", path, copy.origin) for path in _paths(habitat.tree(copy), place))
    for repo in habitat.repos:
        yield f"repos: {repo.path}", at(repo.path, repo.owner), repo.origin
    for name, path in habitat.paths.items():
        yield f"{name}: {path}", path.rstrip("/"), habitat.env.origin(name)
    for test in habitat.tests:
        yield f"tests: {test.shown}", test.dest, test.origin
    yield "the habitat's own /etc/habitat-release", "/etc/habitat-release", habitat.base_origin
    yield "the habitat's own /etc/profile.d/habitat.sh", "/etc/profile.d/habitat.sh", habitat.base_origin
    for layer in habitat.layers:
        if layer.dest and dest != layer.dest and within(dest, layer.dest):
            origin = habitat.env.origin(f"{layer.name.upper()}_PATH")
            trees = [("", habitat.layer_tree(layer))]
            trees += [(f"/{name}", habitat.subtree(layer, name)) for name in ("tools", "tests")]
            for name, tree in trees:
                yield from ((f"{layer.shown}{name}", path, origin) for path in _paths(tree, layer.dest + name))


def _passed(source: Path) -> set[Path]:
    try:
        return {met.path for met in host_paths.way(Path.cwd() / source)}
    except OSError:  # closed to this person, as it will be told where it is read
        return set()


def _paths(tree: Iterable[Item], dest: str) -> Iterator[str]:
    return (f"{dest.rstrip('/')}/{item.path}".rstrip("/") for item in tree)


def _read(habitat: Habitat) -> Iterator[tuple[str, Path, Origin]]:
    """What the program reads of the host on its own, so that a link there is followed."""
    yield from ((f"files: {copy.shown}", copy.source, copy.origin) for copy in habitat.files)
    yield from ((f"tests: {test.shown}", test.source, test.origin) for test in habitat.tests)
    yield from ((f"secret {one.name}", one.file, one.origin) for one in habitat.secrets if one.file)
    hosts = ((repo.known_hosts, repo.origin) for repo in habitat.repos if repo.known_hosts)
    yield from ((f"known_hosts: {path}", path, origin) for path, origin in hosts)
