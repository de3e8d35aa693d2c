"""The key `volumes`: folders and files of the host that are mounted into the habitat."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from phases.core.config import schema
from phases.core.config.mounts import host_paths, privileged_mounts
from phases.core.config.mounts.host_paths import MountTable
from phases.core.config.mounts.mountable_paths import within
from phases.core.config.mounts.own_places import OwnPlaces
from phases.core.errors import ConfigError
from phases.core.model import SECRETS_FOLDER, Mount
from phases.core.problems import Problems

if TYPE_CHECKING:
    from collections.abc import Iterable

    from phases.core.config.scope import HostPath, Scope
    from phases.core.model import Habitat
    from phases.core.origin import Origin


# The options of the short form.
_OPTIONS = ("ro", "rw")


class ShortForm(NamedTuple):
    """The parts of a volume that is written as `docker run --volume` takes it: SOURCE:DEST[:OPTION,…]."""

    source: str
    dest: str
    options: tuple[str, ...] = ()


def split_short_form(text: str) -> ShortForm | None:
    """Return the parts of a volume in the short form, None for a text without SOURCE and DEST."""
    source, _, rest = text.partition(":")
    dest, colon, options = rest.partition(":")
    if not source or not dest:
        return None
    return ShortForm(source, dest, tuple(options.split(",")) if colon else ())


def entries(scope: Scope, rows: Iterable[str | schema.VolumeKeys]) -> tuple[schema.VolumeKeys, ...]:
    """Return the entries of `volumes:`, those of the short form SOURCE:DEST[:ro] too. Raises ConfigError."""
    return tuple(_entry(scope, i, row) for i, row in enumerate(rows))


def _entry(scope: Scope, i: int, row: str | schema.VolumeKeys) -> schema.VolumeKeys:
    return _long_form(row, scope.at("volumes", i)) if isinstance(row, str) else row


def _long_form(text: str, where: Origin) -> schema.VolumeKeys:
    """Return an entry of the short form. Raises ConfigError."""
    parts = split_short_form(text)
    if parts is None:
        remedy = "write SOURCE:DEST or SOURCE:DEST:ro; for data that only the habitat has, use entry.persist"
        raise ConfigError(f"volumes: {text!r} is not SOURCE:DEST", where=where, remedy=remedy)
    source, dest, options = parts
    if unknown := [option for option in options if option not in _OPTIONS]:
        raise ConfigError(
            f"volumes: {text!r} has the option {unknown[0]!r}",
            where=where,
            remedy=f"write {', '.join(_OPTIONS)} or none; a path with a colon needs the form {{source: …, dest: …}}",
        )
    if len(set(options)) > 1:
        raise ConfigError(f"volumes: {text!r} has several options", where=where, remedy="keep one of them")
    return schema.VolumeKeys(source=source, dest=dest, readonly="ro" in options)


def volumes(scope: Scope, rows: Iterable[str | schema.VolumeKeys]) -> tuple[Mount, ...]:
    """Return the volumes as the config has them; `checked_on_host` then looks at their sources. Collects errors."""
    earlier: dict[str, Origin] = {}
    return scope.each(("volumes",), rows, lambda i, row: _volume(scope, i, _entry(scope, i, row), earlier))


def _volume(scope: Scope, i: int, entry: schema.VolumeKeys, earlier: dict[str, Origin]) -> Mount:
    (source, shown, exists), dest = scope.problems.all(
        lambda: _source(scope, i, entry),
        lambda: _dest(scope, i, entry.dest),
    )
    mount = Mount(source, shown, dest, entry.readonly, exists, scope.at("volumes", i))
    if mount.dest in earlier:
        problem = f"another volume is mounted at {mount.dest} ({earlier[mount.dest]})"
        raise ConfigError(problem, where=mount.origin, remedy="keep one of them")
    earlier[mount.dest] = mount.origin
    return mount


def _source(scope: Scope, i: int, entry: schema.VolumeKeys) -> HostPath:
    """Return the source. `.` is the repository around the config, as in `repos:`, else the project's root."""
    found = scope.host_path(entry.source, "volumes", i, "source", must_exist=not entry.optional)
    if found.shown.rstrip("/") != ".":
        return found
    from phases.core.files import git_bundle  # imported late: most habitats mount no repository

    return found._replace(path=git_bundle.top_of(found.path) or scope.root)


def _dest(scope: Scope, i: int, text: str) -> str:
    where = scope.at("volumes", i, "dest")
    dest = scope.habitat_path(text, "volumes", i, "dest")
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
    checked: list[Mount] = []
    for i, (volume, entry) in enumerate(zip(habitat.volumes, entries, strict=True)):
        with scope.problems:
            where = scope.at("volumes", i, "source")
            may_give_root = entry.gives_root_on_the_host
            checked.append(check.resolved(volume, where, may_give_root=may_give_root) if volume.present else volume)
    check.check_nested(checked)
    return tuple(checked)


class _SourceCheck:
    """The rules for sources of volumes, for one habitat on this host."""

    def __init__(self, scope: Scope, habitat: Habitat) -> None:
        self._table = MountTable()
        layers = [layer.folder for layer in scope.layers]
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
            root = self._privilege(real, readonly=volume.readonly)
            is_safe_readonly = root and not self._privilege(real, readonly=True)
            link = host_paths.untrusted_link(Path.cwd() / volume.source, self._trusted, self._own.is_own)
        except (OSError, RuntimeError) as error:
            problem = f"volumes: {volume.shown} can't be read ({error})"
            raise ConfigError(problem, where=where, remedy="name a file or folder that you can read") from error
        if root and not may_give_root:
            others = "mount less of it, or add `gives_root_on_the_host: true`"
            raise ConfigError(
                f"volumes: {volume.shown} holds {root}: that gives root on this machine",
                where=where,
                remedy=f"add `readonly: true`, {others}" if is_safe_readonly else others,
            )
        if link:
            raise ConfigError(
                f"volumes: {volume.shown}: {link.path} is a link to {link.target}, which an agent could have put there",
                where=where,
                remedy=f"if you made it, write the path without it: {real}; if not, remove it",
            )
        return replace(volume, source=real, gives_root=bool(root), pin=host_paths.pin(real))

    def _privilege(self, source: Path, *, readonly: bool) -> str:
        return privileged_mounts.privilege(source, self._own, self._table, readonly=readonly)

    def check_nested(self, volumes: Iterable[Mount]) -> None:
        """Refuse a source inside a writable one: the habitat could replace it by a link. Raises ConfigError."""
        problems = Problems()
        present = [volume for volume in volumes if volume.present]
        for outer in (volume for volume in present if not volume.readonly):
            for inner in present:
                if _is_below(inner.source, outer.source, self._table):
                    error = ConfigError(
                        f"volumes: {inner.shown} is in {outer.shown} ({outer.origin}), where the habitat could replace "
                        "it by a link",
                        where=inner.origin,
                        remedy=f"keep one of them, or add `readonly: true` to {outer.shown}",
                    )
                    problems.add(error)
        problems.raise_all()


def _is_below(inner: Path, outer: Path, table: MountTable) -> bool:
    """Return whether `inner` is strictly below `outer`, by any of their paths."""
    above = table.all_paths(outer)
    return any(path != folder and path.is_relative_to(folder) for path in table.all_paths(inner) for folder in above)
