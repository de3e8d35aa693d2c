"""The container of a phase, as its steps use it: files are read and put in, commands run, and it is committed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.build.container.engine_files import EngineFiles
from phases.core.build.container.exec import CommandExec
from phases.core.build.container.lifetime import ContainerLifetime
from phases.core.build.container.mounted_folders import MountedFolders
from phases.core.build.container.pending_files import PendingFiles
from phases.core.container import identity
from phases.core.container.memory_limit import KillCounter
from phases.core.container.users import UserDatabase

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phases.core.build.container.exec import PhaseCommand
    from phases.core.build.container.outbox import PendingEntry
    from phases.core.build.container.pool import ReusableContainer
    from phases.core.build.container.spec import ContainerSpec
    from phases.core.build.context import PhaseContext
    from phases.core.engine.types import Stat


class BuildContainer:
    """The container that the steps of a phase work in. Call `leave` or `remove` in any case.

    Args:
        work: The phase to be built.
        spec: The settings of the container.

    Attributes:
        engine_files: The files of it that the engine mounts.
        kill_counter: Counts the processes that are killed at its memory limit.
        memory_limit: The key of its memory limit, and the bytes, 0 for none.
    """

    def __init__(self, work: PhaseContext, spec: ContainerSpec) -> None:
        self._work = work
        self._spec = spec
        self.memory_limit = spec.memory_limit
        self._life = ContainerLifetime(work, self._spec, self._take_over)
        known = work.known_files.get(spec.image.id, {})
        mounted = MountedFolders(spec.mounted_folders, spec.planned_folders, lambda: self.users.home(work.habitat.user))
        self._files = PendingFiles(work.engine, mounted, known, self._life.open)
        self.engine_files = EngineFiles(self._files.edition)
        self.kill_counter = KillCounter(work.engine, *spec.memory_limit)
        self._commands = CommandExec(
            work, self._spec, self._life, self._files, self.engine_files, self.kill_counter, lambda: self.users
        )

    def _take_over(self, container: ReusableContainer) -> None:
        self._files.contents.of_editions |= container.of_editions
        self._files.folders = container.folders

    # Files

    def read(self, path: str) -> bytes:
        """Return the content of a file, b"" if there is none."""
        if self._files.outbox.needs_sending(path):
            self._flush()
        data = self._files.read(path)
        if not self._files.outbox.is_open:
            self._remember()
        return data

    @property
    def users(self) -> UserDatabase:
        """The users that the container has now."""
        habitat = self._work.habitat
        return UserDatabase(self.read, identity.homes(habitat, self._spec.env.all))

    def stat(self, path: str) -> Stat | None:
        """Return what is at a path, None for nothing."""
        self._flush()
        return self._work.engine.stat(self._life.open(), path)

    def put(self, dest: str, entry: PendingEntry) -> None:
        """Put something at `dest`, as PendingFiles.put does."""
        if self._files.outbox.is_below_a_link(dest):
            self._flush()
        # Else what a command has left running could replace a path between the check and the write.
        if self._life.pause():
            self._files.folders.doubt()
        self._files.put(dest, entry)

    def _flush(self) -> None:
        """Send what was put."""
        if self._files.outbox.is_open:
            self._life.change()
            self._files.send()
        self._life.unpause()

    def _remember(self) -> None:
        """Record what is known of the files for the image that the container is equal to, if there is one."""
        if self._life.image:
            self._work.known_files[self._life.image] = self._files.of_image

    # Commands

    def start(self) -> None:
        """Start the container, whose main process is a command of the config."""
        self._life.start()
        self._life.begin_command(leaves_nothing=False)

    def execute(self, command: PhaseCommand) -> int:
        """Run a command and return its exit code. Afterwards only files that it has not written are known."""
        self._flush()
        return self._commands.run(command)

    # The end

    def change_env(self, env: Mapping[str, str]) -> None:
        """Give the image that is committed other values of variables."""
        self._spec.env.all = {**self._spec.env.all, **env}

    @property
    def id(self) -> str:
        """The id of the container, "" if it was not created."""
        return self._life.id

    def commit(self, changes: Sequence[str]) -> str:
        """Commit the container. Return the id of the image."""
        self._flush()
        self._life.open()
        env = self._spec.env.changes()
        self._files.contents.confirm()
        image = self._life.commit([*env, *changes])
        self._remember()
        return image

    def leave(self) -> None:
        """Leave the container to the next phase if it is as good as a new one, else remove it."""
        if self._life.is_reusable and not self._files.outbox.is_open:
            self._remember()
            self._life.leave(self._files.contents.of_editions, self._files.folders)
        else:
            self.remove()

    def remove(self) -> None:
        """Remove the container, at once if it has secrets."""
        self._files.outbox.discard()
        self._life.remove()
