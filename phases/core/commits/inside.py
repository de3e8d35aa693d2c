"""A repository in a container, and a running container to reach the repositories of a habitat in."""

from __future__ import annotations

import io
from contextlib import ExitStack, contextmanager
from typing import IO, TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from phases.core import command_form, events
from phases.core.commits.host_git import TransferError
from phases.core.container.main_process import restrictions
from phases.core.engine.confinement.restrictions import NO_NETWORK
from phases.core.engine.types import Image, VolumeMount
from phases.core.errors import Conflict
from phases.core.files.processes import Process, current
from phases.core.runtime.own_containers import own_container
from phases.core.runtime.persistence.volumes import persistence_of, workspaces_of
from phases.core.runtime.temporary import temporary_container
from phases.core.work import git

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from phases.core.engine.protocol import Engine
    from phases.core.engine.types import Container
    from phases.core.model import Habitat
    from phases.core.project import Project

# The exit code of a command that was killed.
_KILLED = 137

# The label of the image of a stopped container. Its value is the process that made it.
_LABEL_COPY = "habitat.copy"


class ContainerRepository(Struct, frozen=True):
    """A repository in a running container (see `outgoing.Inside`).

    Attributes:
        engine: The engine.
        container: The id of the container.
        user: The owner of the repository.
        path: Its path.
    """

    engine: Engine
    container: str
    user: str
    path: str

    def run(
        self,
        program: str,
        args: Sequence[str],
        stdin: bytes | IO[bytes],
        on_output: Callable[[bytes, bool], None],
        seconds: float,
    ) -> int:
        """Run a shell program after the functions of git.sh (see `outgoing.Inside`)."""
        source = io.BytesIO(stdin) if isinstance(stdin, bytes) else stdin
        command = git.script_argv(program, args)
        try:
            code = git.stream(
                self.engine, self.container, command, self.user, on_output, source=source, seconds=seconds
            )
        except Conflict as error:
            raise TransferError("its container was stopped meanwhile", remedy="run the same command again") from error
        if code is None:
            raise TransferError(
                f"git in the habitat took longer than {seconds:g}s for {self.path}", remedy="--timeout gives it more"
            )
        if code == _KILLED:
            raise TransferError(f"git in the habitat was killed at {self.path}", remedy="run the same command again")
        return code


@contextmanager
def running_container(project: Project, habitat: Habitat) -> Iterator[Container]:
    """Yield a running container with the files of the habitat: its own, else a copy of it without a network.

    A container that is stopped is not started, since its init command would run, and whatever else a start does. The
    copy has the same volumes. If they don't have all the work, it is made of an image of the container.

    Raises:
        HabitatError: The habitat has no container, or the engine refuses.
    """
    container = own_container(project, habitat.name)
    if container is None:
        raise TransferError(
            "it has no container, and so no commits",
            where=habitat.name,
            remedy=f"`{command_form.verb('start', habitat.name)}` creates it",
        )
    if container.running:
        yield container
        return
    places = {entry.volume: entry.mount_point for entry in persistence_of(container).entries}
    places |= {entry.volume: entry.resolved for entry in workspaces_of(container).entries}
    mounts = [VolumeMount(volume, place, copies=False) for volume, place in places.items()]
    confined = replace(restrictions(habitat), network=NO_NETWORK)
    with ExitStack() as steps:
        on_volumes = {*places.values(), *(entry.path for entry in workspaces_of(container).entries)}
        image = container.image if _are_on(habitat, on_volumes) else steps.enter_context(_image(project, container))
        copy = temporary_container(project, habitat, Image(image, (), {}), "commits", mounts, confined)
        running = steps.enter_context(copy)
        project.engine.start(running.id)
        project.bus.emit(events.Notice(habitat.name, "its container is stopped: looking at a copy of it"))
        yield running


def _are_on(habitat: Habitat, volumes: set[str]) -> bool:
    """Return whether WORKDIR and all repositories of a habitat are on volumes at these paths."""
    paths = (habitat.workdir, *(repo.path for repo in habitat.repos))
    return all(any(f"{path}/".startswith(f"{volume}/") for volume in volumes) for path in paths)


@contextmanager
def _image(project: Project, container: Container) -> Iterator[str]:
    """Commit a stopped container, and remove the image afterwards; also those that killed runs left."""
    engine = project.engine
    label = f"LABEL {_LABEL_COPY}={current()}"
    committed = project.maker.make(lambda: engine.commit(container.id, [label], pause=False))
    try:
        yield committed
    finally:
        engine.remove_image(committed)
        for image in project.image_index.all():  # by now the containers of killed runs are gone, too
            process = Process.named(image.labels.get(_LABEL_COPY, ""))
            if process and process.is_near and not process.runs and not image.tags:
                engine.remove_image(image.id)
