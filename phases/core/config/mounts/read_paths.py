"""The files of the host that the program reads: none may lie in a folder that the habitat can write to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from phases.core.config.mounts import host_paths
from phases.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phases.core.model import Habitat
    from phases.core.origin import Origin
    from phases.core.problems import Problems


def check(habitat: Habitat, problems: Problems) -> None:
    """Refuse to read what a habitat could replace. Collects errors."""
    writable = [volume for volume in habitat.volumes if volume.present and not volume.readonly]
    for subject, source, origin in _read_paths(habitat) if writable else ():
        way = _way(source)
        for volume in writable:
            if any(path != volume.source and path.is_relative_to(volume.source) for path in way):
                error = ConfigError(
                    f"{subject} is in the volume {volume.shown} ({volume.origin}), where the habitat could replace it "
                    "by a link to any file of this machine",
                    where=origin,
                    remedy="move it elsewhere, or add `readonly: true` to the volume",
                )
                problems.add(error)


def _read_paths(habitat: Habitat) -> Iterator[tuple[str, Path, Origin]]:
    """Yield the host paths that the program reads through links, each with its subject in an error and its line."""
    yield from ((f"files: {copy.shown}", copy.source, copy.origin) for copy in habitat.files)
    yield from ((f"entry.files: {copy.shown}", copy.source, copy.origin) for copy in habitat.entry.files)
    yield from ((f"tests: {test.shown}", test.source, test.origin) for test in habitat.tests)
    yield from ((f"secret {secret.name}", secret.file, secret.origin) for secret in habitat.secrets if secret.file)
    texts = ((entry.shown, entry.source, entry.origin) for entry in habitat.instructions if entry.source)
    yield from ((f"instructions: {shown}", path, origin) for shown, path, origin in texts)
    hosts = ((repo.known_hosts, repo.origin) for repo in habitat.repos if repo.known_hosts)
    yield from ((f"known_hosts: {path}", path, origin) for path, origin in hosts)


def _way(source: Path) -> set[Path]:
    try:
        return {entry.path for entry in host_paths.walk_path(Path.cwd() / source)}
    except OSError:  # not readable for this person; reading the source reports it
        return set()
