"""Containers in Podman."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec.structs import replace

from phases.core.engine.docker_api.api import path
from phases.core.engine.docker_api.containers import DockerContainers
from phases.core.engine.docker_api.volumes import DockerVolumes
from phases.core.engine.podman_api.images import LIBPOD_VERSION, ON_IMAGE, image_id
from phases.core.engine.types import Bind, PortRefused, Tmpfs, VolumeMount
from phases.core.errors import EngineError, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from phases.core.engine.types import Change, Container

# The folders that Podman itself writes to when it starts a container.
_CHANGED_BY_START = frozenset({"/etc", "/run"})


class PodmanContainers(DockerContainers, DockerVolumes):
    """The methods of the engine protocol that are about whole containers, where Podman differs."""

    def _prepare_create(
        self, image: str, name: str, labels: Mapping[str, str], mounts: Sequence[Bind | Tmpfs | VolumeMount]
    ) -> None:
        for mount in mounts:
            # Podman would create a folder of root's there. With TLS the engine may have other files than this machine.
            local = not self._http.route.tls
            if isinstance(mount, Bind) and local and not os.path.lexists(mount.source):
                raise EngineError(f"creating container {name}: {mount.source} is not there")
        volumes = [mount for mount in mounts if isinstance(mount, VolumeMount)]
        self._create_missing_volumes(image, f"{name}-volumes", labels, volumes)

    def _create_missing_volumes(
        self, image: str, name: str, labels: Mapping[str, str], mounts: Sequence[VolumeMount]
    ) -> None:
        """Create the volumes that don't exist yet, and fill them with what the image has in their place.

        Podman creates volumes without their labels. It fills a new one when that is first mounted, which is when a
        container starts, and whether or not it is to be filled. So a container that never runs mounts them first.

        Args:
            image: The image whose files the volumes get.
            name: The name of that container. A run that was killed here may have left one.
            labels: The labels of that container.
            mounts: The volumes, including those that exist.
        """
        missing = [mount for mount in mounts if not self._has_volume(mount.volume)]
        if not missing:
            return
        self.remove(name)
        # A volume that is not to be filled is mounted where no image has a file.
        filling = [mount if mount.copies else replace(mount, dest=f"/.empty/{mount.volume}") for mount in missing]
        try:
            for mount in missing:
                body = {"Name": mount.volume, "Labels": dict(mount.labels)}
                self._request(f"making volume {mount.volume}", "POST", "/volumes/create", body)
            container = self.create(image, name, ("/bin/sh",), labels=labels, mounts=filling)
            # Podman fills them before it notices that an image has no shell.
            with suppress(EngineError):
                url = path("/containers/{}/init", container)
                self._request("filling volumes", "POST", url, version=LIBPOD_VERSION)
            self.remove(container)
        except BaseException:
            self.remove(name)
            for mount in missing:
                self.remove_volume(mount.volume)
            raise

    def _has_volume(self, name: str) -> bool:
        try:
            self._request(f"looking at volume {name}", "GET", path("/volumes/{}", name))
        except NotFound:
            return False
        return True

    def start(self, container: str) -> None:
        try:
            super().start(container)
        except PortRefused as error:
            reason = "port is already allocated" if error.taken else error.message
            raise PortRefused(reason, error.port, taken=error.taken) from error

    def container(self, name: str) -> Container | None:
        container = super().container(name)
        # Podman reports limits of its own, and changes none.
        return replace(_with_published_ports(container), limits=None) if container else None

    def containers(self, *, label: str = "", name_prefix: str = "", volume: str = "") -> list[Container]:
        containers = super().containers(label=label, name_prefix=name_prefix, volume=volume)
        return [_with_published_ports(container) for container in containers]

    def commit(self, container: str, changes: Sequence[str], comment: str = "", *, pause: bool = True) -> str:
        """Commit a container. Podman takes the words of a change as they are, and drops the container's command."""
        row = self._inspect_container(container)
        literal = [_podman_change(change) for change in changes]
        if not any(re.match(r"(ENTRYPOINT|CMD) (?!\[\s*\])", change) for change in literal):
            literal = [change for change in literal if not change.startswith(("ENTRYPOINT ", "CMD "))]
            literal += ["ENTRYPOINT []", f"CMD {json.dumps(row['Config'].get('Cmd') or [])}"]
        marked = f"{comment}{ON_IMAGE}{row['Image'].removeprefix('sha256:')}"
        return image_id(super().commit(container, literal, marked, pause=pause))

    def changes(self, container: str) -> list[Change]:
        changes = super().changes(container)
        return [
            change for change in changes if change.path not in _CHANGED_BY_START or _has_below(change.path, changes)
        ]


def _podman_change(change: str) -> str:
    """Return a Dockerfile instruction as Podman reads it.

    Podman knows no variables and no escapes, only quotes around the value of a name.
    """
    instruction, _, words = change.partition(" ")
    if instruction in ("LABEL", "ENV"):
        name, _, value = words.partition("=")
        return f'{instruction} {name}="{_unquote(value)}"'
    if instruction == "WORKDIR":
        # Podman strips spaces at the end, and cleans the dot away later.
        return f"WORKDIR {_unquote(words)}/."
    return f"USER {_unquote(words)}" if instruction == "USER" else change


def _unquote(word: str) -> str:
    """Return the value that a builder reads in a quoted word."""
    if len(word) > 1 and word.startswith('"') and word.endswith('"'):
        return re.sub(r'\\([\\$"])', r"\1", word[1:-1])
    return re.sub(r"\\(.)", r"\1", word)


def _with_published_ports(container: Container) -> Container:
    """Drop the ports of a container that doesn't run: Podman also lists those that it will publish."""
    return container if container.running else replace(container, ports=())


def _has_below(folder: str, changes: Iterable[Change]) -> bool:
    return any(change.path.startswith(f"{folder}/") for change in changes)
