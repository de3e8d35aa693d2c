"""Volumes that all habitats of a person share (`shared: true` in `entry.persist`), such as for one login of an agent.

They belong to no project and no habitat. Several people on one engine each have their own.
"""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

from phases.core import events
from phases.core.config.mounts import mountable_paths
from phases.core.container import root_environment
from phases.core.container.init_process import IDLE, replace_container
from phases.core.engine.confinement.restrictions import NO_NETWORK, Restrictions
from phases.core.engine.types import VolumeMount
from phases.core.errors import StartError
from phases.core.files.shell_program import ShellProgram
from phases.core.runtime.own_containers import own_container
from phases.core.runtime.persistence.volumes import LABEL_PERSIST, persistence_of, volume_name

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from phases.core.engine.types import Volume
    from phases.core.model import Habitat
    from phases.core.project import Project
    from phases.core.runtime.persistence.volumes import PersistentPath

#: The label of a shared volume: whose it is.
LABEL_SHARED = "habitat.shared"

_TAKE_OVER = ShellProgram(__file__, "take_over.sh")

# A file in a shared volume that doesn't have all yet of what a habitat kept before.
_PARTLY = ".habitat-is-taking-over"

# The folder of the earlier volume in the container that copies.
_EARLIER = f"{mountable_paths.OWN_FOLDER}/earlier"


def person() -> str:
    """Return the name and the number of the person, who is not root with sudo."""
    sudo = os.environ.get("SUDO_UID", "") if os.geteuid() == 0 else ""
    uid = int(sudo) if sudo.isdecimal() else os.geteuid()
    try:
        return f"{pwd.getpwuid(uid).pw_name}-{uid}"
    except KeyError:
        return str(uid)


def volumes(project: Project) -> list[Volume]:
    """List the shared volumes of the person."""
    return project.engine.volumes(label=f"{LABEL_SHARED}={person()}")


def is_used(habitat: Habitat) -> bool:
    """Return whether a habitat shares a path."""
    return any(one.shared for one in habitat.entry.persist)


def of_habitat(project: Project, habitat: Habitat) -> list[Volume]:
    """List the shared volumes of the person for paths that a habitat shares."""
    paths = {one.path for one in habitat.entry.persist if one.shared}
    return [volume for volume in volumes(project) if volume.labels.get(LABEL_PERSIST) in paths] if paths else []


class SharedPaths:
    """The shared paths of a new container.

    Args:
        project: The project.
        habitat: The habitat.
        entries: Its persistent paths.
        own: The names of the habitat's own volumes.
    """

    def __init__(
        self, project: Project, habitat: Habitat, entries: Sequence[PersistentPath], own: Collection[str]
    ) -> None:
        self._project = project
        self._habitat = habitat
        self._entries = [entry for entry in entries if entry.shared]
        self._unshared = {entry.path for entry in entries if not entry.shared}
        self._own = own
        self._existing = {volume.name for volume in volumes(project)} if self._entries else set()

    def mount(self, entry: PersistentPath) -> VolumeMount:
        """Return the mount of a path. A new volume gets what the habitat kept before, else what the image has."""
        labels = {LABEL_SHARED: person(), LABEL_PERSIST: entry.path}
        is_new = entry.volume not in self._existing
        return VolumeMount(entry.volume, entry.mount_point, labels, copies=is_new and not self._earlier(entry))

    def take_over(self, image: str, container: str) -> None:
        """Copy what the habitat kept for itself into new volumes, and say what became of it. Raises StartError.

        Args:
            image: The id of the image of the habitat.
            container: The id of the new container, which has the volumes.
        """
        for entry in self._entries:
            if not (earlier := self._earlier(entry)):
                continue
            partly = self._project.engine.stat(container, f"{entry.mount_point}/{_PARTLY}") is not None
            if entry.volume in self._existing and not partly:
                text = f"{entry.path} is shared with your other habitats; what this one kept is unused, in {earlier}"
            else:
                self._copy(image, entry, earlier)
                text = f"{entry.path} is shared with your other habitats now, with what this one kept there"
            self._project.bus.emit(events.Notice(self._habitat.name, text))
        before = own_container(self._project, self._habitat.name)
        for entry in persistence_of(before).entries if before else ():
            if entry.shared and entry.path in self._unshared:
                text = f"{entry.path} is shared no longer: this habitat has its own, and {entry.volume} stays"
                self._project.bus.emit(events.Notice(self._habitat.name, text))

    def _earlier(self, entry: PersistentPath) -> str:
        """Return the name of the habitat's own volume for a path, "" if there is none."""
        name = volume_name(self._project.names.of(self._habitat.name), entry.path)
        return name if name in self._own else ""

    def _copy(self, image: str, entry: PersistentPath, earlier: str) -> None:
        engine = self._project.engine
        name = f"{self._project.temporary_containers.prefix('start', self._habitat.name)}share"
        config = engine.image_config(image)
        env = root_environment.for_container(config.env if config else {})
        mounts = [
            VolumeMount(earlier, _EARLIER, copies=False),
            VolumeMount(entry.volume, entry.mount_point, copies=False),
        ]
        restrictions = Restrictions(privileges=False, network=NO_NETWORK)
        helper = replace_container(
            engine,
            name,
            lambda name: engine.create(image, name, IDLE, env=env, mounts=mounts, restrictions=restrictions),
        )
        try:
            engine.start(helper)
            code, output = root_environment.run(engine, helper, _TAKE_OVER.text, _EARLIER, entry.mount_point, _PARTLY)
        finally:
            engine.remove(helper)
        if code:
            problem = f"{entry.path} could not be copied into the volume {entry.volume} ({output})"
            remedy = "check that the image has cp, or leave `shared: true` out"
            raise StartError(problem, where=self._habitat.name, remedy=remedy)
