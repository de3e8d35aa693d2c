"""Warns of folders of this machine in which USER can't work, or that give more than is meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core import events
from phases.core.config.mounts.uid import uid_warning
from phases.core.errors import HabitatError
from phases.core.runtime.session.image_users import users_of_image

if TYPE_CHECKING:
    from phases.core.engine.types import Container
    from phases.core.model import Habitat
    from phases.core.project import Project

# What is in the address of an engine that gives users other numbers: a rootless one, and one in a virtual machine.
_MAPPING = ("/run/user/", "desktop", "colima", "/.docker/", "orbstack", "tcp://")


def warn(project: Project, habitat: Habitat, container: Container) -> None:
    """Emit the warnings about the volumes of a new container."""
    if not any(volume.present for volume in habitat.volumes):
        return
    from phases.core.config.mounts import live_mounts  # imported late: only for a new container with volumes

    try:
        uid = users_of_image(project, habitat, container).account(habitat.user, habitat.name).uid
    except HabitatError:  # the start says so
        return
    maps = any(word in project.engine.address for word in _MAPPING)
    for text in live_mounts.warnings(habitat, uid, same_numbers=not maps):
        project.bus.emit(events.Notice(habitat.name, text, warning=True))


def warn_of_config(project: Project, habitat: Habitat) -> None:
    """Emit the warnings about the volumes and the uid of a config, before each session."""
    if text := uid_warning(habitat):
        project.bus.emit(events.Notice(habitat.name, text, warning=True))
    for volume in habitat.volumes:
        if volume.gives_root:
            text = f"{volume.shown} gives every process in {habitat.name} root access to this machine"
            project.bus.emit(events.Notice(habitat.name, text, warning=True))
