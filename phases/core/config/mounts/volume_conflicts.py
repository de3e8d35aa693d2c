"""Compare volumes with everything else that the config puts into the habitat.

A build writes nothing through a volume: what lies on the host is in no image, and belongs to the person.
"""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING

from phases.core.config.mounts import read_paths
from phases.core.config.mounts.mountable_paths import OWN_FOLDER, in_home, overlap, within
from phases.core.copied_files import file_tree, layer_tree, subfolder_tree
from phases.core.entry_settings import ALLOWLIST
from phases.core.errors import ConfigError
from phases.core.model import SECRETS_FOLDER
from phases.core.problems import Problems

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from phases.core.files.tree import Item
    from phases.core.model import FileCopy, Habitat, Mount
    from phases.core.origin import Origin


# Folders of the kernel, at which a volume would hide what the container needs, and below which none can be mounted.
_KERNEL, _KERNEL_WITH_ALL_BELOW = ("/dev", "/sys"), "/proc"

#: Files that the engine mounts into each container.
ENGINE_FILES = ("/etc/hosts", "/etc/resolv.conf", "/etc/hostname")

# Folders in which the program mounts something into every habitat, or into every build.
_MOUNTED = (SECRETS_FOLDER, "/run/ssh-agent")


def check(habitat: Habitat) -> None:
    """Refuse what the build would write into a volume, what it would read from a writable one, and what lifts a limit.

    The build checks the paths that only the image decides: those below ~, and those behind links. Raises ConfigError.
    """
    problems = Problems()
    with problems:
        check_mount_points(habitat, {volume.dest: volume for volume in habitat.volumes})
    _check_written(habitat, problems)
    _check_engine_files(habitat, problems)
    _check_entry_files(habitat, problems)
    read_paths.check(habitat, problems)
    if habitat.entry.network == ALLOWLIST:
        from phases.core.config.entry import hosts  # imported late: many habitats have no allowlist

        hosts.check(habitat, problems)
    problems.raise_all()


def check_mount_points(habitat: Habitat, volumes: Mapping[str, Mount]) -> None:
    """Refuse a volume in which a mount point or WORKDIR is missing: the engine would create it on the host.

    Args:
        habitat: The habitat.
        volumes: Its volumes by their paths in the habitat: those of the config, or those that its image leads to.

    Raises:
        ConfigError: With the line of the volume, or of WORKDIR.

    """
    for place, volume in volumes.items():
        if reason := _reserved(habitat, place):
            shown = volume.dest if volume.dest == place else f"{volume.dest}, which is {place} in the image"
            problem = f"a volume can't be mounted at {shown}: {reason}"
            raise ConfigError(problem, where=volume.origin, remedy="write another folder")
    present = {place: volume for place, volume in volumes.items() if volume.present}
    for place, inner in present.items():
        _check_on_host(place, present, f"volumes: {inner.dest}", "dest", inner.origin)
    workdir = _normal(habitat.workdir)
    if workdir not in present:
        _check_on_host(workdir, present, f"WORKDIR: {workdir}", "path", habitat.env.origin("WORKDIR"))


def check_resolved_mount_points(habitat: Habitat, resolved: Mapping[str, str]) -> None:
    """Do as `check_mount_points` for the paths that an image leads to.

    Args:
        habitat: The habitat.
        resolved: The paths of its volumes in the config, each with the path that the image leads to.

    Raises:
        ConfigError: With the line of the volume.

    """
    places: dict[str, Mount] = {}
    for volume in habitat.volumes:
        place = resolved[volume.dest]
        if place in places:
            problem = f"another volume is mounted at {place} ({places[place].origin}), where {volume.dest} leads"
            raise ConfigError(problem, where=volume.origin, remedy="keep one of them")
        places[place] = volume
    check_mount_points(habitat, places)


def check_beside_volumes(habitat: Habitat, volumes: Mapping[str, str], problem: str, place: str, where: Origin) -> None:
    """Refuse to mount something else at or below a volume, or above one.

    Args:
        habitat: The habitat.
        volumes: The paths of the habitat's volumes in the config, with those without links.
        problem: The beginning of the error.
        place: The path without links of the other mount point.
        where: Its line.

    Raises:
        ConfigError: They overlap. It has both lines.

    """
    for dest, path in volumes.items():
        if overlap(path, place):
            volume = next(volume for volume in habitat.volumes if volume.dest == dest)
            at = f" is {place} in the image, and {dest} is a volume ({volume.origin})"
            raise ConfigError(problem + at, where=where, remedy="keep one of them, or write another path")


def _reserved(habitat: Habitat, place: str) -> str:
    """Return why no volume can be mounted at a path, "" if one can."""
    if place == "/":
        return "it is the whole image"
    if place in _KERNEL or within(place, _KERNEL_WITH_ALL_BELOW):
        return "it is the kernel's"
    persists_files = any(not kept.is_folder for kept in habitat.entry.persist)
    mounted = (*_MOUNTED, *([OWN_FOLDER] if persists_files else []))
    hidden = next((folder for folder in mounted if overlap(folder, place)), "")
    return f"{hidden} is the habitat's own" if hidden else ""


def _check_on_host(place: str, volumes: Mapping[str, Mount], subject: str, other: str, where: Origin) -> None:
    """Refuse a path below a volume whose source lacks it.

    Args:
        place: The path.
        volumes: The volumes by their paths.
        subject: What the path is, in the error.
        other: What to write another one of.
        where: The line that has the path.
    """
    above = [folder for folder in volumes if folder != place and within(place, folder)]
    if not above:
        return
    folder = max(above, key=len)
    outer, path = volumes[folder], posixpath.relpath(place, folder)
    if not os.path.lexists(outer.source / path):
        raise ConfigError(
            f"{subject} is in the volume {outer.dest} ({outer.origin}), and {outer.shown} has no {path}: "
            "the engine would create it on the host, as root",
            where=where,
            remedy=f"create {outer.shown.rstrip('/')}/{path}, or write another {other}",
        )


def _check_written(habitat: Habitat, problems: Problems) -> None:
    for volume in habitat.volumes:
        dest = _absolute(habitat, volume.dest, "")
        refused_paths: list[str] = []
        of_start = (row for copy in habitat.entry.files for row in _copied(habitat, copy, "entry.files", dest))
        for subject, path, origin in (*written_paths(habitat, dest), *of_start):
            if within(path, dest) and not any(within(path, above) for above in refused_paths):
                refused_paths.append(path)
                problem = f"{subject} would be written to the host, since {volume.dest} is a volume ({volume.origin})"
                problems.add(ConfigError(problem, where=origin, remedy="write another path for one of them"))


def _check_engine_files(habitat: Habitat, problems: Problems) -> None:
    """Refuse to copy something to a file that the engine mounts into each container: no image keeps that."""
    for file in ENGINE_FILES:
        for subject, path, origin in written_paths(habitat, file):
            if path == file:
                problem = f"{subject} would not be in the image: the engine mounts a file of its own at {file}"
                remedy = f"mount it there instead: `volumes: [SOURCE:{file}:ro]`"
                problems.add(ConfigError(problem, where=origin, remedy=remedy))


def _check_entry_files(habitat: Habitat, problems: Problems) -> None:
    for copy in habitat.entry.files:
        if reason := hidden_at_start(_absolute(habitat, copy.dest, copy.owner)):
            problem = f"entry.files: {copy.shown} can't be copied to {copy.dest}: {reason}"
            problems.add(ConfigError(problem, where=copy.origin, remedy="write another dest"))


def hidden_at_start(path: str) -> str:
    """Return why a running habitat doesn't see a file that its stopped container has at a path; "" if it does."""
    if kernel := next((folder for folder in (*_KERNEL, _KERNEL_WITH_ALL_BELOW) if within(path, folder)), ""):
        return f"{kernel} is the kernel's"
    if own := next((folder for folder in (*_MOUNTED, OWN_FOLDER) if within(path, folder)), ""):
        return f"{own} is the habitat's own"
    return f"the engine mounts a file of its own at {path}" if path in ENGINE_FILES else ""


def written_paths(habitat: Habitat, dest: str) -> Iterator[tuple[str, str, Origin]]:
    """Yield the paths that the build writes to, each with its subject in an error and its line.

    Args:
        habitat: The habitat.
        dest: The path of a volume. A copied folder that holds this path is listed in full.
    """
    for copy in habitat.files:
        yield from _copied(habitat, copy, "files", dest)
    for repo in habitat.repos:
        yield f"repos: {repo.path}", _absolute(habitat, repo.path, repo.owner), repo.origin
    for name, path in habitat.paths.items():
        yield f"{name}: {path}", _normal(path), habitat.env.origin(name)
    for layer in habitat.layers:
        if layer.role == "extends" and layer.dest:
            yield f"files of {layer.name}", _normal(layer.dest), habitat.env.origin(layer.dest_variable)
    for test in habitat.tests:
        yield f"tests: {test.shown}", _normal(test.dest), test.origin
    for path in ("/etc/habitat-release", "/etc/profile.d/habitat.sh"):
        yield f"the program's own {path}", path, habitat.base_origin
    yield from _written_by_layers(habitat, dest)


def _copied(habitat: Habitat, copy: FileCopy, key: str, dest: str) -> Iterator[tuple[str, str, Origin]]:
    place = _absolute(habitat, copy.dest, copy.owner)
    yield f"{key}: {copy.shown}", place, copy.origin
    if dest != place and within(dest, place) and os.path.lexists(copy.source / os.path.relpath(dest, place)):
        yield from ((f"{key}: {copy.shown}", path, copy.origin) for path in _paths(file_tree(habitat, copy), place))


def _written_by_layers(habitat: Habitat, dest: str) -> Iterator[tuple[str, str, Origin]]:
    for layer in habitat.layers:
        folder = _normal(layer.dest) if layer.dest else dest
        if dest != folder and within(dest, folder):
            origin = habitat.env.origin(layer.dest_variable)
            trees = [("", layer_tree(habitat, layer))]
            trees += [(f"/{name}", subfolder_tree(habitat, layer, name)) for name in ("tools", "tests")]
            for name, tree in trees:
                yield from ((f"{layer.shown}{name}", path, origin) for path in _paths(tree, folder + name))


def _absolute(habitat: Habitat, path: str, owner: str) -> str:
    """Return a path with root's home for ~, or with ~NAME for that of a user other than USER."""
    name = habitat.user_named(owner.partition(":")[0])
    return in_home(path, "/root" if name == "root" else "" if name == habitat.user else f"~{name}")


def _normal(path: str) -> str:
    """Return an absolute path in its shortest form. normpath keeps two slashes at the beginning, as POSIX allows."""
    return "/" + posixpath.normpath(path).lstrip("/")


def _paths(tree: Iterable[Item], dest: str) -> Iterator[str]:
    return (f"{dest.rstrip('/')}/{item.path}".rstrip("/") for item in tree)
