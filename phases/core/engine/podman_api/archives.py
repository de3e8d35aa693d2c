"""Files in a Podman container. Podman follows a link at the end of a path, and treats the path as a pattern."""

from __future__ import annotations

import posixpath
import re
import tarfile
from contextlib import closing
from typing import IO, TYPE_CHECKING, Any

from msgspec.structs import replace

from phases.core.engine.docker_api import responses
from phases.core.engine.docker_api.api import path as request_path
from phases.core.engine.docker_api.api import stopped_answering
from phases.core.engine.docker_api.archives import (
    STAT_HEADER,
    ChunkStream,
    DockerArchives,
    archive_path,
    stat_row,
    too_large,
)
from phases.core.engine.docker_api.containers import DockerContainers
from phases.core.engine.podman_api.mount_archives import split_by_mount
from phases.core.engine.types import LARGEST_FILE, PathInfo
from phases.core.errors import EngineError, NotFound

if TYPE_CHECKING:
    from phases.core.engine.types import Stat


class PodmanArchives(DockerContainers, DockerArchives):
    """The methods of the engine protocol that read and write files in a container, where Podman differs."""

    def put_archive(self, container: str, folder: str, archive: IO[bytes]) -> None:
        """Unpack a tar. Podman would create a missing folder, and unpack below the mounts of a stopped container."""
        row = self._inspect_container(container)
        if folder != "/" and self._stat_row(container, folder) is None:
            raise NotFound(f"copying into {folder}: there is no such folder")
        mounts = () if row["State"]["Status"] == "running" else row.get("Mounts") or ()
        with split_by_mount(archive, folder, [mount["Destination"] for mount in mounts]) as parts:
            for destination, part in parts:
                super().put_archive(container, destination, part)

    def read_file(self, container: str, path: str) -> bytes | None:
        return super().read_file(container, _escape_pattern(path))

    def stat(self, container: str, path: str) -> Stat | None:
        row = self._stat_row(container, path)
        return responses.stat(row) if row else None

    def path_info(self, container: str, path: str, *, content: bool = False) -> PathInfo | None:
        """Describe a path with its owner.

        Podman's archive API says that root owns everything, so the container is exported, which takes seconds. An
        export has nothing of a mount: for a path in one the owner is -1, and the target of a link is absolute.
        """
        row = self._stat_row(container, path)
        if row is None:
            return None
        stat = responses.stat(row)
        real = self._real_path(container, path)
        if real == "/":
            # The root folder is in no export either. Its owner controls all programs there, so it counts as root's.
            return PathInfo("dir", stat.mode, 0, 0)
        if not self._is_mounted(container, real) and (info := self._exported_info(container, real, content=content)):
            return info
        if stat.link or stat.is_dir:
            return PathInfo("link" if stat.link else "dir", stat.mode, -1, -1, stat.link)
        ownerless = super().path_info(container, _escape_pattern(real), content=content)
        return replace(ownerless, uid=-1, gid=-1) if ownerless else None

    def _real_path(self, container: str, path: str) -> str:
        """Return the path with all links resolved but one at its end."""
        folder, name = posixpath.split(path.rstrip("/"))
        if folder in ("", "/"):
            return f"/{name}"
        folder = self._real_path(container, folder)
        row = self._stat_row(container, folder)
        return posixpath.join((row and responses.stat(row).link) or folder, name)

    def _is_mounted(self, container: str, path: str) -> bool:
        """Return whether `path` is in a mount."""
        mounts = [mount["Destination"] for mount in self._inspect_container(container).get("Mounts") or ()]
        return any(path == mount or path.startswith(f"{mount}/") for mount in mounts)

    def _exported_info(self, container: str, path: str, *, content: bool) -> PathInfo | None:
        """Describe a path by its entry in an export of the container, None where the export has none."""
        action = f"looking at {path!a}"
        url = request_path("/containers/{}/export", container)
        try:
            with (
                self._open(action, "GET", url) as response,
                tarfile.open(fileobj=ChunkStream(response.stream()), mode="r|") as tar,
            ):
                member = next((one for one in tar if f"/{one.name.strip('/')}" == path), None)
                if member is None:
                    return None
                data = self._member_content(tar, member, container, path) if content else None
                if member.islnk():  # a hard link to a file that stands elsewhere in the export
                    member.type = tarfile.REGTYPE
                return responses.path_info(member, data or b"")
        except tarfile.TarError as error:
            raise stopped_answering(action) from error

    def _member_content(self, tar: tarfile.TarFile, member: tarfile.TarInfo, container: str, path: str) -> bytes | None:
        if member.islnk():
            return self.read_file(container, path)
        if not member.isreg():
            return None
        if member.size > LARGEST_FILE:
            raise too_large(path)
        file = tar.extractfile(member)
        return file.read() if file else None

    def _stat_row(self, container: str, path: str) -> Any:
        """Return how the archive API describes a path, None where there is nothing.

        Podman describes a link that leads nowhere in the head of an answer with the status 404.
        """
        try:
            with closing(self._http.send("HEAD", archive_path(container, _escape_pattern(path)))) as response:
                if STAT_HEADER in response.headers:
                    return stat_row(response)
        except OSError as error:
            raise stopped_answering(f"looking at {path!a}") from error
        self.read_file(container, path)  # raises errors that an answer to HEAD has no words for: no such container
        return None


def _escape_pattern(path: str) -> str:
    """Return a pattern that matches only this path.

    Raises:
        EngineError: The path has a star, which Podman takes in no path.
    """
    if "*" in path:
        raise EngineError(f"looking at {path!a}: Podman can't look at a path with a * in it", remedy="rename it")
    return re.sub(r"([\\\[\]?])", r"\\\1", path)
