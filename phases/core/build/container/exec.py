"""Runs commands in a build container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from phases.core.cache.image_labels import snapshot_tag
from phases.core.container import defaults, identity, root_environment, shell_errors
from phases.core.container.side_effects import SideEffectProbe
from phases.core.errors import Conflict, EngineError
from phases.core.secrets import delivery
from phases.registry import habitat_phases, last_snapshot, named

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from phases.core.build.container.engine_files import EngineFiles
    from phases.core.build.container.lifetime import ContainerLifetime
    from phases.core.build.container.pending_files import PendingFiles
    from phases.core.build.container.spec import ContainerSpec
    from phases.core.build.context import PhaseContext
    from phases.core.container.memory_limit import KillCounter
    from phases.core.container.users import UserDatabase
    from phases.core.errors import ShellError
    from phases.core.model import Value

    #: Called with each piece of a command's output, and whether it is from stderr.
    OnOutput = Callable[[bytes, bool], None]

# The exit codes of a command that a shell, the engine, or the kernel (255) could not start.
_NOT_STARTED = (126, 127, 255)


class PhaseCommand(Struct, frozen=True):
    """A command of a phase.

    Attributes:
        argv: The command.
        user: The user who runs it.
        workdir: The folder in which it runs.
        env: Its environment beside the container's.
        secrets: The secrets that `user`, and nobody else, can read.
        is_own: Whether it is a script of the program, which leaves nothing running.
        timeout: The seconds that it may take, None for no limit.
        on_output: Called with its output.
    """

    argv: Sequence[str]
    user: str
    workdir: str
    env: Mapping[str, str]
    secrets: tuple[Value, ...]
    is_own: bool
    timeout: float | None
    on_output: OnOutput


class CommandExec:
    """Runs the commands of one phase in its container.

    Args:
        work: The phase.
        spec: What the container is created with.
        life: The state of the container.
        files: What is known of its files.
        engine_files: The files of it that the engine mounts.
        kill_counter: Counts the processes that are killed at its memory limit.
        users: Returns the users that the container has now.
    """

    def __init__(
        self,
        work: PhaseContext,
        spec: ContainerSpec,
        life: ContainerLifetime,
        files: PendingFiles,
        engine_files: EngineFiles,
        kill_counter: KillCounter,
        users: Callable[[], UserDatabase],
    ) -> None:
        self._work = work
        self._spec = spec
        self._life = life
        self._files = files
        self._engine_files = engine_files
        self._kill_counter = kill_counter
        self._users = users
        self._delivered: tuple[str, tuple[Value, ...]] = ("", ())  # the secrets, and the user who can read them

    def run(self, command: PhaseCommand) -> int:
        """Start the container unless it runs, run a command in it, and return its exit code."""
        is_first = self._start()
        self._kill_counter.begin(self._life.id, is_new=is_first)
        try:
            code = self._run(command)
        except EngineError as error:
            if is_first and (shell_error := self._shell_error(error)):
                raise shell_error from error
            raise
        if is_first and code in _NOT_STARTED:
            # The main process may be about to end for the same reason.
            conflict = Conflict(f"the first command ended with {code}")
            if shell_error := self._shell_error(conflict):
                raise shell_error from conflict
        return code

    def _start(self) -> bool:
        """Start the container unless it runs. Return whether it was started now."""
        try:
            return self._life.start()
        except EngineError as error:
            if self._life.id and (shell_error := self._shell_error(error)):
                raise shell_error from error
            raise EngineError(
                f"the build container can't be started ({error.message})",
                remedy=error.remedy or "see that its image and volumes are whole",
            ) from error

    def _run(self, command: PhaseCommand) -> int:
        life, secrets = self._life, (command.user, command.secrets)
        if command.secrets and self._delivered != secrets:
            delivery.deliver(self._work.engine, life.id, command.secrets, command.user, self._work.habitat)
            self._delivered = secrets
        proxies = root_environment.proxies(self._work.engine, self._work.habitat)  # as docker run, not for the image
        env = {**self._env(command), **proxies, **command.env}
        self._files.doubt()
        if not command.is_own and self._work.phase.SNAPSHOT:
            self._engine_files.begin(self._spec.mounted_folders)
        life.begin_command(leaves_nothing=command.is_own)
        is_last_use = self._spec.has_secrets or not self._work.phase.SNAPSHOT  # no phase continues in the container
        if command.is_own or is_last_use:
            return self._exec(command.argv, command.on_output, command, env)
        probe = SideEffectProbe(command.on_output)
        try:
            return self._exec(probe.argv(command.argv), probe.feed, command, env)
        finally:
            life.end_command(left_nothing=probe.end())

    def _exec(self, argv: Sequence[str], on_output: OnOutput, command: PhaseCommand, env: Mapping[str, str]) -> int:
        return self._work.engine.exec(
            self._life.id,
            argv,
            on_output=on_output,
            user=command.user,
            workdir=command.workdir,
            env=env,
            timeout=command.timeout,
        )

    def _env(self, command: PhaseCommand) -> dict[str, str]:
        """Return the variables that a command needs beside those of the container and its own."""
        habitat, env, users = self._work.habitat, self._spec.env, self._users()
        if command.is_own and root_environment.is_root_beside_user(habitat, command.user):
            return dict(root_environment.OWN)
        whole = env.all
        if root_environment.is_root_beside_user(habitat, command.user):
            folders = root_environment.user_writable_folders(habitat, users.home(habitat.user))
            folders += [cache.dest for cache in self._spec.caches]
            whole = root_environment.for_root_command(env.all, folders)
        values = {**whole, **identity.variables(habitat, users, command.user, env.all), **defaults.locale(env.all)}
        return env.differing(root_environment.with_local_bin(values, habitat, command.user))

    def _shell_error(self, error: EngineError) -> ShellError | None:
        """Return what to raise if `error` means that the shell of the image can't run, else None."""
        work = self._work
        before = last_snapshot(habitat_phases(work.habitat), work.phase)
        # No command of the habitat has run before setup. So up to setup only the base image can have broken the shell.
        if before and work.phase.ID > named("setup").ID:
            image = snapshot_tag(work.engine_name, before)
        else:
            image = shell_errors.describe_base_image(work.habitat)
        return shell_errors.from_engine_error(work.engine, self._life.id, work.habitat, image, error)
