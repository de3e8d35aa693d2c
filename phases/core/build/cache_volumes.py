"""What builds keep beside the image: a named volume for each path of `caches:`.

A volume belongs to no habitat. It is for a path, the number of whose it is, a platform and a distribution:
where all of these are the same, every build of the engine has the same one. What is in it is in no image,
and counts for no hash; all that an image has is the place, which is made before the volume is mounted there,
since one that an engine makes would be root's.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from phases.core.build.container.file_cache import FileCache
from phases.core.cache.image_names import COMMENT, LABEL_NAME
from phases.core.config import caches as rules
from phases.core.container.init_process import IDLE, replace_container
from phases.core.container.mount_points import MountPoints
from phases.core.engine.protocol import VolumeMount
from phases.core.errors import ConfigError, Conflict, state_error
from phases.core.files import atomic, safe_open
from phases.core.files.tar import Archive

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from phases.core.build.context import PhaseContext
    from phases.core.engine.protocol import Engine, ImageConfig, Stat
    from phases.core.model import Cache

#: On a volume what it is for.
LABEL_CACHES = "habitat.caches"

# Beside the slices of a habitat: the volumes that its builds have had.
_RECORD = "caches"

# Bytes of that which are looked at: thousands of volumes.
_LARGEST = 1_000_000


class CacheMount(Struct, frozen=True):
    """A cache of a build.

    Args:
        path: The path in the config.
        at: The folder of the container in which it is mounted.
        volume: The name of the volume.
        purpose: What identifies the volume: path, owner, platform and distribution.
        locked: Whether one build at a time uses it.
    """

    path: str
    at: str
    volume: str
    purpose: str
    locked: bool

    @property
    def mount(self) -> VolumeMount:
        return VolumeMount(self.volume, self.at, {LABEL_CACHES: self.purpose})


# Before a phase


def prepared(work: PhaseContext, image: ImageConfig) -> tuple[ImageConfig, tuple[CacheMount, ...]]:
    """Return the image that the phase starts from, and its caches.

    The image is `image` with a folder for each cache. If a folder was missing, it is a new image without a tag, which
    is removed with the image that is made from it.
    """
    parked = work.pool.take()
    if parked and parked.image != image.id:
        work.pool.spend(parked.id)
        parked = None
    container = parked.id if parked else work.maker.make(lambda: _draft(work, image))
    changed = True
    try:
        seen = _Image(work, image, container, parked.of_editions if parked else {})
        _record(work.log.parent, (cache.volume for cache in seen.caches))
        made = seen.with_places()
        changed = made is not image
    finally:
        if parked and not changed:
            work.pool.put(parked)
        else:
            work.pool.spend(container)
    return made, seen.caches


def _draft(work: PhaseContext, image: ImageConfig) -> str:
    return replace_container(
        work.engine, work.draft_name, lambda name: work.engine.create(image.id, name, IDLE, env=image.env)
    )


class _Image:
    """What the image has at the places, seen in a container that is it. of_editions: what is known of its files."""

    def __init__(
        self, work: PhaseContext, image: ImageConfig, container: str, of_editions: Mapping[str, tuple[str, bytes]]
    ) -> None:
        self._engine = work.engine
        self._work = work
        self._image = image
        self._container = container
        self._stats: dict[str, Stat | None] = {}
        self._contents = FileCache(work.known_files.get(image.id, {}), self._edition)
        self._contents.of_editions |= of_editions
        paths = [(cache.path, cache.origin) for cache in work.caches]
        info = work.engine.path_info
        self._points = MountPoints(self._read, self._stat, lambda path: info(container, path), work.habitat, paths)
        rules.check(work.habitat, self._points.home)
        distribution = _distribution(self._read("/etc/os-release"))
        self.caches = tuple(self._mounted(cache, distribution) for cache in work.caches)
        work.known_files[image.id] = self._contents.sure

    def _read(self, path: str) -> bytes:
        found = self._stat(path)
        path = found.link if found and found.link else path  # a link has no edition
        if path not in self._contents:
            self._contents.learn(path, self._engine.read_file(self._container, path) or b"")
        return self._contents[path]

    def _edition(self, path: str) -> str:
        found = self._stat(path)
        return found.edition if found else ""

    def _stat(self, path: str) -> Stat | None:
        if path not in self._stats:
            self._stats[path] = self._engine.stat(self._container, path)
        return self._stats[path]

    def _mounted(self, cache: Cache, distribution: str) -> CacheMount:
        at = self._points.resolve(cache.path)
        found = self._stat(at)
        if found and not found.is_dir and not found.link:
            raise ConfigError(
                f"caches: {cache.path} is a file in the image", where=cache.origin, remedy="name a folder, or another"
            )
        uid, gid = self._points.owner_of(at)
        purpose = f"{cache.path} of {uid}:{gid}, {self._image.platform}, {distribution}"
        return CacheMount(cache.path, at, volume_name(cache.path, purpose), purpose, cache.locked)

    def with_places(self) -> ImageConfig:
        missing = self._points.missing(cache.at for cache in self.caches)
        if not missing:
            return self._image
        with Archive() as archive:
            for folder in missing:
                archive.add(folder, "dir", 0o755, self._points.owner_of(folder))
            self._engine.put_archive(self._container, "/", archive.finish())
        # A build container's own labels name no habitat, and one that a killed run leaves is found by this.
        made = self._engine.commit(self._container, [f"LABEL {LABEL_NAME}={self._work.habitat.name}"], COMMENT)
        self._work.known_files[made] = self._contents.sure
        return replace(self._image, id=made)


def volume_name(path: str, purpose: str) -> str:
    """Readable, and no other purpose's."""
    words = "-".join(re.findall(r"[a-z0-9]+", path.lower()))[:32].strip("-")
    digits = hashlib.sha256(purpose.encode()).hexdigest()[:8]
    return "-".join(filter(None, ("habitat-cache", words, digits)))


def _distribution(os_release: bytes) -> str:
    """Like `debian 12`, of an image's os-release; rolling ones tell no version."""
    rows = (line.partition("=") for line in os_release.decode(errors="replace").splitlines())
    found = {name: value.strip("\"' ") for name, _, value in rows}
    return " ".join(filter(None, (found.get("ID"), found.get("VERSION_ID")))) or "no distribution"


# What is there


def _record(folder: Path, volumes: Iterable[str]) -> None:
    """Before they are made, so that `doit clean` finds those of a killed run, too."""
    known = recorded(folder)
    atomic.write_if_changed(folder / _RECORD, "".join(f"{name}\n" for name in sorted({*known, *volumes})).encode())


def recorded(folder: Path) -> set[str]:
    """Return the volumes that builds of a habitat have had. folder: the folder of the habitat's state."""
    path = folder / _RECORD
    try:
        return set((safe_open.read(path, _LARGEST) or b"").decode(errors="replace").split())
    except OSError as error:
        raise state_error(path, "read", error) from error


def unused(engine: Engine, volumes: Iterable[str]) -> list[str]:
    """Those of the volumes that are caches, and that no container has."""
    wanted = set(volumes)
    if not wanted:
        return []
    found = [volume.name for volume in engine.volumes(label=LABEL_CACHES) if volume.name in wanted]
    return [name for name in found if not engine.containers(volume=name)]


def prune(engine: Engine, volumes: Iterable[str]) -> int:
    """Remove the volumes that no container has. Return how many."""
    return sum(_removed(engine, name) for name in unused(engine, volumes))


def _removed(engine: Engine, volume: str) -> bool:
    try:
        engine.remove_volume(volume)
    except Conflict:  # a build has begun meanwhile
        return False
    return True
