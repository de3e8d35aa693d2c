"""The key `volumes`: folders and files of the host that are mounted into the habitat."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from phases.core.config.mounts import host_paths, privileged_mounts
from phases.core.config.mounts.host_paths import MountTable
from phases.core.config.mounts.mountable_paths import in_home, within
from phases.core.config.mounts.own_places import OwnPlaces
from phases.core.copied_files import file_tree, layer_tree, subfolder_tree
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
    """Yield the volumes as the config has them; `checked_on_host` then looks at their sources. Raises ConfigError."""
    earlier: dict[str, Origin] = {}
    for i, entry in enumerate(entries):
        source, shown, exists = scope.host_path(entry.source, "volumes", i, "source", must_exist=not entry.optional)
        mount = Mount(source, shown, _dest(scope, i, entry.dest), entry.readonly, exists, scope.at("volumes", i))
        if mount.dest in earlier:
            problem = f"another volume is mounted at {mount.dest} ({earlier[mount.dest]})"
            raise ConfigError(problem, where=mount.origin, remedy="keep one of them")
        earlier[mount.dest] = mount.origin
        yield mount


def _dest(scope: Scope, i: int, text: str) -> str:
    where = scope.at("volumes", i, "dest")
    dest = scope.habitat_path(text, "volumes", i, "dest")
    if dest.startswith("~"):
        # The container is created before USER has a home.
        raise ConfigError("a volume's dest can't begin with ~", where=where, remedy="write an absolute path")
    if dest == "/":
        raise ConfigError("a volume can't be mounted at /", where=where, remedy="write a folder")
    if within(dest, SECRETS_FOLDER):
        problem = f"a volume can't be mounted at {SECRETS_FOLDER}, where the secrets are"
        raise ConfigError(problem, where=where, remedy="write another folder")
    return dest


def checked_on_host(scope: Scope, habitat: Habitat, entries: Iterable[schema.VolumeKeys]) -> tuple[Mount, ...]:
    """Check the sources of a habitat's volumes on this host.

    Args:
        scope: The config.
        habitat: The habitat.
        entries: Its volumes as the config has them.

    Returns:
        The volumes, with the paths of their sources resolved, and device and inode noted.

    Raises:
        ConfigError: A source isn't allowed, or an agent could replace it.

    """
    if not any(volume.present for volume in habitat.volumes):
        return habitat.volumes
    check = _SourceCheck(scope, habitat)
    checked = tuple(
        check.resolved(volume, scope.at("volumes", i, "source"), may_give_root=entry.gives_root_on_the_host)
        if volume.present
        else volume
        for i, (volume, entry) in enumerate(zip(habitat.volumes, entries, strict=True))
    )
    check.check_nested(checked)
    return checked


class _SourceCheck:
    """The rules for sources of volumes, for one habitat on this host."""

    def __init__(self, scope: Scope, habitat: Habitat) -> None:
        self._table = MountTable()
        layers = [layer.folder for layer in habitat.layers]
        dockerfiles = [habitat.folder / habitat.dockerfile] if habitat.has_dockerfile else []
        self._own = OwnPlaces(scope.root, layers, self._table, dockerfiles)
        # Links on the way to these are the person's: no habitat can write to the folders above them.
        home = os.environ.get("HOME", "")
        trusted = [scope.root, *layers, *([Path(home)] if home.startswith("/") and home.strip("/") else [])]
        self._trusted = [Path.cwd() / folder for folder in trusted]

    def resolved(self, volume: Mount, where: Origin, *, may_give_root: bool) -> Mount:
        """Return a volume with its source resolved.

        Raises ConfigError with `where`, the line of the source, if the source can't be read, gives root on the host, or
        is reached by a link that an agent could have made.
        """
        try:
            real = volume.source.resolve()
            root = privileged_mounts.privilege(real, self._own, self._table, readonly=volume.readonly)
            link = host_paths.untrusted_link(Path.cwd() / volume.source, self._trusted, self._own.is_own)
        except (OSError, RuntimeError) as error:
            problem = f"volumes: {volume.shown} can't be read ({error})"
            raise ConfigError(problem, where=where, remedy="name a file or folder that you can read") from error
        if root and not may_give_root:
            raise ConfigError(
                f"volumes: {volume.shown} holds {root}: that gives root on this machine",
                where=where,
                remedy="mount less of it, or add `gives_root_on_the_host: true`",
            )
        if link:
            raise ConfigError(
                f"volumes: {volume.shown}: {link.path} is a link to {link.target}, which an agent could have put there",
                where=where,
                remedy=f"if you made it, write the path without it: {real}; if not, remove it",
            )
        return replace(volume, source=real, gives_root=bool(root), pin=host_paths.pin(real))

    def check_nested(self, volumes: Iterable[Mount]) -> None:
        """Refuse a source inside a writable one: the habitat could replace it by a link. Raises ConfigError."""
        present = [volume for volume in volumes if volume.present]
        for outer in (volume for volume in present if not volume.readonly):
            for inner in present:
                if _is_below(inner.source, outer.source, self._table):
                    raise ConfigError(
                        f"volumes: {inner.shown} is in {outer.shown} ({outer.origin}), where the habitat could replace "
                        "it by a link",
                        where=inner.origin,
                        remedy=f"keep one of them, or add `readonly: true` to {outer.shown}",
                    )


def _is_below(inner: Path, outer: Path, table: MountTable) -> bool:
    """Return whether `inner` is strictly below `outer`, by any of their paths."""
    above = table.all_paths(outer)
    return any(path != folder and path.is_relative_to(folder) for path in table.all_paths(inner) for folder in above)


# Volumes and the other sections of the config


def check(habitat: Habitat) -> None:
    """Refuse what the build would write into a volume, and what it would read from a writable one.

    The build checks the paths that only the image decides: those below ~, and those behind links. Raises ConfigError.
    """
    for volume in habitat.volumes:
        for subject, path, origin in _written_paths(habitat, volume.dest):
            if within(path, volume.dest):
                raise ConfigError(
                    f"{subject} would be written to the host, since {volume.dest} is a volume ({volume.origin})",
                    where=origin,
                    remedy="write another path for one of them",
                )
    writable = [volume for volume in habitat.volumes if volume.present and not volume.readonly]
    for subject, source, origin in _read_paths(habitat) if writable else ():
        way = _way(source)
        for volume in writable:
            if any(path != volume.source and path.is_relative_to(volume.source) for path in way):
                raise ConfigError(
                    f"{subject} is in the volume {volume.shown} ({volume.origin}), where the habitat could replace it "
                    "by a link to any file of this machine",
                    where=origin,
                    remedy="move it elsewhere, or add `readonly: true` to the volume",
                )


def _written_paths(habitat: Habitat, dest: str) -> Iterator[tuple[str, str, Origin]]:
    """Yield the paths that the build writes to, each with its subject in an error and its line.

    Args:
        habitat: The habitat.
        dest: The path of a volume. A copied folder that holds this path is listed in full.
    """

    def absolute(path: str, owner: str) -> str:
        is_root = habitat.user_named(owner.partition(":")[0]) == "root"
        return in_home(path, "/root" if is_root else "")

    for copy in habitat.files:
        place = absolute(copy.dest, copy.owner)
        yield f"files: {copy.shown}", place, copy.origin
        if dest != place and within(dest, place) and os.path.lexists(copy.source / os.path.relpath(dest, place)):
            yield from ((f"files: {copy.shown}", path, copy.origin) for path in _paths(file_tree(habitat, copy), place))
    for repo in habitat.repos:
        yield f"repos: {repo.path}", absolute(repo.path, repo.owner), repo.origin
    for name, path in habitat.paths.items():
        yield f"{name}: {path}", path.rstrip("/"), habitat.env.origin(name)
    for test in habitat.tests:
        yield f"tests: {test.shown}", test.dest, test.origin
    for path in ("/etc/habitat-release", "/etc/profile.d/habitat.sh"):
        yield f"the program's own {path}", path, habitat.base_origin
    yield from _written_by_layers(habitat, dest)


def _written_by_layers(habitat: Habitat, dest: str) -> Iterator[tuple[str, str, Origin]]:
    for layer in habitat.layers:
        if layer.dest and dest != layer.dest and within(dest, layer.dest):
            origin = habitat.env.origin(f"{layer.name.upper()}_PATH")
            trees = [("", layer_tree(habitat, layer))]
            trees += [(f"/{name}", subfolder_tree(habitat, layer, name)) for name in ("tools", "tests")]
            for name, tree in trees:
                yield from ((f"{layer.shown}{name}", path, origin) for path in _paths(tree, layer.dest + name))


def _paths(tree: Iterable[Item], dest: str) -> Iterator[str]:
    return (f"{dest.rstrip('/')}/{item.path}".rstrip("/") for item in tree)


def _read_paths(habitat: Habitat) -> Iterator[tuple[str, Path, Origin]]:
    """Yield the host paths that the program reads through links, each with its subject in an error and its line."""
    yield from ((f"files: {copy.shown}", copy.source, copy.origin) for copy in habitat.files)
    yield from ((f"tests: {test.shown}", test.source, test.origin) for test in habitat.tests)
    yield from ((f"secret {secret.name}", secret.file, secret.origin) for secret in habitat.secrets if secret.file)
    hosts = ((repo.known_hosts, repo.origin) for repo in habitat.repos if repo.known_hosts)
    yield from ((f"known_hosts: {path}", path, origin) for path, origin in hosts)


def _way(source: Path) -> set[Path]:
    try:
        return {entry.path for entry in host_paths.walk_path(Path.cwd() / source)}
    except OSError:  # not readable for this person; reading the source reports it
        return set()
