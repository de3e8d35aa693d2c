"""Caches of builds: a named volume for each path of `caches:`.

A volume belongs to no habitat. All builds of an engine share it that have the same path, owner, platform and
distribution. Its content is in no image and in no hash. An image only has the empty folder, which is made before the
volume is mounted there: a folder that the engine makes would belong to root.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from phases.core.build.container.file_cache import FileCache
from phases.core.cache.image_labels import COMMENT, LABEL_NAME
from phases.core.config.mounts import caches as rules
from phases.core.config.mounts import volume_conflicts
from phases.core.container.init_process import IDLE, replace_container
from phases.core.container.mount_points import MountPoints
from phases.core.engine.types import VolumeMount
from phases.core.errors import ConfigError, Conflict, state_error
from phases.core.files import atomic, safe_open
from phases.core.files.tar import Archive

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from phases.core.build.context import PhaseContext
    from phases.core.engine.protocol import Engine
    from phases.core.engine.types import ImageConfig, Stat
    from phases.core.model import Cache

#: The label of a volume with its purpose.
LABEL_CACHES = "habitat.caches"

# The file, in the folder of a habitat's state, that lists the volumes that its builds have had.
_RECORD = "caches"

# Bytes of that file that are read: enough for thousands of volumes.
_MAX_BYTES = 1_000_000


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


def prepared(work: PhaseContext, image: ImageConfig) -> tuple[ImageConfig, tuple[CacheMount, ...]]:
    """Return the image to start the phase from, and the caches to mount.

    The image is `image` with a folder for each cache. If `image` lacks a folder, this is a new image without a tag. It
    is removed with the snapshot that is made from it.
    """
    reusable = work.pool.take()
    if reusable and reusable.image != image.id:
        work.pool.spend(reusable.id)
        reusable = None
    container = reusable.id if reusable else work.maker.make(lambda: _draft(work, image))
    changed = True
    try:
        content = _CachePaths(work, image, container, reusable.of_editions if reusable else {})
        _record(work.log.parent, (cache.volume for cache in content.caches))
        new_image = content.with_folders()
        changed = new_image is not image
    finally:
        if reusable and not changed:
            work.pool.put(reusable)
        else:
            work.pool.spend(container)
    return new_image, content.caches


def _draft(work: PhaseContext, image: ImageConfig) -> str:
    return replace_container(
        work.engine, work.draft_name, lambda name: work.engine.create(image.id, name, IDLE, env=image.env)
    )


class _CachePaths:
    """The files that an image has at the paths of caches, read in a container of that image.

    Args:
        work: The phase.
        image: The image.
        container: The id of the container.
        of_editions: What is known of the container's files (see `FileCache`).
    """

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
        self._points = MountPoints(
            self._read, self._stat, lambda path: info(container, path), work.habitat, image.env, paths
        )
        rules.check(work.habitat, self._points.home)
        self._volumes = self._points.volumes(work.habitat)
        distribution = _distribution(self._read("/etc/os-release"))
        self.caches = tuple(self._mounted(cache, distribution) for cache in work.caches)
        work.known_files[image.id] = self._contents.sure

    def _read(self, path: str) -> bytes:
        stat = self._stat(path)
        path = stat.link if stat and stat.link else path  # a link has no edition
        if path not in self._contents:
            self._contents.learn(path, self._engine.read_file(self._container, path) or b"")
        return self._contents[path]

    def _edition(self, path: str) -> str:
        stat = self._stat(path)
        return stat.edition if stat else ""

    def _stat(self, path: str) -> Stat | None:
        if path not in self._stats:
            self._stats[path] = self._engine.stat(self._container, path)
        return self._stats[path]

    def _mounted(self, cache: Cache, distribution: str) -> CacheMount:
        at = self._points.resolve(cache.path)
        problem = f"caches: {cache.path} can't be a cache: it"
        volume_conflicts.check_beside_volumes(self._work.habitat, self._volumes, problem, at, cache.origin)
        stat = self._stat(at)
        if stat and not stat.is_dir and not stat.link:
            raise ConfigError(
                f"caches: {cache.path} is a file in the image",
                where=cache.origin,
                remedy="name a folder, or another path",
            )
        uid, gid = self._points.owner_of(at)
        purpose = f"{cache.path} of {uid}:{gid}, {self._image.platform}, {distribution}"
        return CacheMount(cache.path, at, volume_name(cache.path, purpose), purpose, cache.locked)

    def with_folders(self) -> ImageConfig:
        """Return the image if it has the folders of all caches, else a new one that has them."""
        missing = self._points.missing(cache.at for cache in self.caches)
        if not missing:
            return self._image
        with Archive() as archive:
            for folder in missing:
                archive.add(folder, "dir", 0o755, self._points.owner_of(folder))
            self._engine.put_archive(self._container, "/", archive.finish())
        # The labels of a build container name no habitat. With this one, the image of a killed run is found.
        image_id = self._engine.commit(self._container, [f"LABEL {LABEL_NAME}={self._work.engine_name}"], COMMENT)
        self._work.known_files[image_id] = self._contents.sure
        return replace(self._image, id=image_id)


def volume_name(path: str, purpose: str) -> str:
    """Return the name of the volume for a purpose. It is readable, and no other purpose has it."""
    words = "-".join(re.findall(r"[a-z0-9]+", path.lower()))[:32].strip("-")
    digits = hashlib.sha256(purpose.encode()).hexdigest()[:8]
    return "-".join(filter(None, ("habitat-cache", words, digits)))


def _distribution(os_release: bytes) -> str:
    """Return a distribution such as `debian 12`. A rolling one has no version. os_release: the file of the image."""
    rows = (line.partition("=") for line in os_release.decode(errors="replace").splitlines())
    fields = {name: value.strip("\"' ") for name, _, value in rows}
    return " ".join(filter(None, (fields.get("ID"), fields.get("VERSION_ID")))) or "no distribution"


# The record of volumes, and their removal


def _record(folder: Path, volumes: Iterable[str]) -> None:
    """Record volumes before the engine creates them, so that `habitat clean` also finds those of a killed run."""
    _write(folder, {*recorded(folder), *volumes})


def is_record(path: Path) -> bool:
    """Return whether a file in a habitat's state folder is the record of its caches."""
    return path.name == _RECORD


def recorded(folder: Path) -> set[str]:
    """Return the volumes that builds of a habitat have had. folder: the habitat's state folder."""
    path = folder / _RECORD
    try:
        return set((safe_open.read(path, _MAX_BYTES) or b"").decode(errors="replace").split())
    except OSError as error:
        raise state_error(path, "read", error) from error


def unused(engine: Engine, volumes: Iterable[str]) -> set[str]:
    """Return which of `volumes` are caches that no container uses."""
    return {name for name in _existing(engine, volumes) if not engine.containers(volume=name)}


def prune(engine: Engine, folder: Path) -> int:
    """Remove the recorded caches that no container uses. The record keeps those that stay.

    Args:
        engine: The engine.
        folder: The habitat's state folder. The caller has the habitat's build lock.

    Returns:
        How many volumes were removed.
    """
    volumes = _existing(engine, recorded(folder))
    removed = {name for name in unused(engine, volumes) if _removed(engine, name)}
    _write(folder, volumes - removed)
    return len(removed)


def _existing(engine: Engine, volumes: Iterable[str]) -> set[str]:
    wanted = set(volumes)
    return {volume.name for volume in engine.volumes(label=LABEL_CACHES)} & wanted if wanted else set()


def _write(folder: Path, volumes: Iterable[str]) -> None:
    path = folder / _RECORD
    if content := "".join(f"{name}\n" for name in sorted(volumes)):
        atomic.write_if_changed(path, content.encode())
        return
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise state_error(path, "removed", error) from error


def _removed(engine: Engine, volume: str) -> bool:
    try:
        engine.remove_volume(volume)
    except Conflict:  # a build has begun meanwhile
        return False
    return True
