"""The container that the steps of a phase work in.

It is made when a step first needs it, and started when one first runs something. Each call of the
engine's file API costs some fifty milliseconds, so what is put in is sent in one archive as late
as may be. What was read is remembered for the next phase, and beyond commands: to ask whether a file is
still of the edition that was read takes a millisecond.

A container costs a third of a second, so the next phase goes on in it where nobody could tell: it is
the snapshot, once that is committed, and little else. Every commit writes all that it holds beyond the
image it was made from; so what has become large is left for a new one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from msgspec.structs import asdict

from phases.core.build.container_reuse import ReusableContainer
from phases.core.build.pending_files import PendingFiles
from phases.core.cache import mounts as cache_mounts
from phases.core.cache.image_names import COMMENT, cleared_labels, snapshot_tag
from phases.core.container import root_environment, safe_paths, shell_errors
from phases.core.container.init_process import IDLE_FOR_PROBE, container_ended, replace_container
from phases.core.container.leftovers import LeftoverProbe
from phases.core.container.users import UserDatabase
from phases.core.engine.types import SYSTEM_PATH, Bind, Restrictions, Stat, Tmpfs
from phases.core.errors import EngineError, ShellError
from phases.core.model import SECRETS_FOLDER
from phases.core.secrets import store
from phases.registry import habitat_phases, last_snapshot, named

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from phases.core.build.context import PhaseContext
    from phases.core.engine.protocol import Engine
    from phases.core.engine.types import ImageConfig, VolumeMount
    from phases.core.model import Value

    #: Takes what a command prints, and whether that is of stderr.
    OnOutput = Callable[[bytes, bool], None]

# Bytes that are written again with each commit rather than a new container made: both take as long.
_LIGHT = 1_000_000

# Bytes of the environment that an image is committed with: a line of the changes takes no more, and a request not many.
_LONGEST = 60_000


class BuildEnvironment:
    """The environment of the image that a phase makes, and how far its container has it.

    Args:
        env: All variables of the image to be.

    Attributes:
        of_container: The variables that the container was made with. They are safe for root (see `root_environment`),
            where a commit can restore those of the image.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self.all = env
        safe = root_environment.for_container(env, SYSTEM_PATH)
        self.of_container: Mapping[str, str] = {
            **env,
            **{name: value for name, value in safe.items() if _can_be_said(env[name])},
        }

    @property
    def missing(self) -> dict[str, str]:
        """The variables that the container was not made with."""
        return self.other_than_made(self.all)

    def other_than_made(self, env: Mapping[str, str]) -> dict[str, str]:
        """Return the variables of `env` that the container was not made with."""
        return {name: value for name, value in env.items() if self.of_container.get(name) != value}

    def fits(self, other: Mapping[str, str]) -> bool:
        """Return whether the commit of a container that was made with `other` can set the variables that differ."""
        changed = [value for name, value in self.all.items() if other.get(name) != value]
        size = sum(len(value.encode(errors="replace")) for value in changed)
        return size < _LONGEST and all(map(_can_be_said, changed))


class BuildContainer:
    """The container that the steps of a phase work in. Call `park` or `remove` in any case.

    Args:
        work: The phase to be built.
        image: The image that the phase starts from.
        env: The variables that the image to be has beside those of `image`.
        agent: The mount of the host's SSH agent.
        caches: What is mounted beside the volumes.
    """

    def __init__(
        self,
        work: PhaseContext,
        image: ImageConfig,
        env: Mapping[str, str],
        agent: Bind | None = None,
        caches: Sequence[VolumeMount] = (),
    ) -> None:
        self._work = work
        self._agent = agent
        self._caches = caches
        self._given: tuple[str, tuple[Value, ...]] = ("", ())  # secrets, and the user who can read them
        self._engine: Engine = work.engine
        self._image = image
        self._env = BuildEnvironment({**image.env, **env})
        self._base_size = image.size
        self._id = ""
        self._running = self._ran = False  # ran: a command in it, to its end
        self._is = image.id  # the image that the container is, "" once it is none
        self._settled = True
        self._paused = False
        mounted = [*(bind.dest for bind in work.binds), *(cache.dest for cache in caches)]
        known = work.known_files.get(image.id, {})
        self._files = PendingFiles(work.engine, work.habitat, mounted, known, self._open)

    @property
    def _mounts(self) -> list[Bind | Tmpfs | VolumeMount]:
        mounts: list[Bind | Tmpfs | VolumeMount] = [*self._work.binds, *self._caches]
        if self._is_confided_in:
            mounts.append(Tmpfs(SECRETS_FOLDER))
        return [*mounts, self._agent] if self._agent else mounts

    @property
    def _is_confided_in(self) -> bool:
        """Return whether the container has secrets or the host's SSH agent."""
        return bool(self._work.secrets or self._agent)

    def _open(self) -> str:
        if not self._id:
            self._id = self._going_on() or self._work.maker.make(self._make)
        return self._id

    def _going_on(self) -> str:
        """Return the id of the container of the phase before, "" if this phase needs a new one."""
        found = self._work.parking.take()
        if not found:
            return ""
        if (
            found.image != self._image.id
            or self._image.size - found.base_size > _LIGHT
            or self._image.volumes
            or self._is_confided_in
            or list(found.mounts) != self._mounts
            or not self._env.fits(found.env)
        ):
            self._work.parking.spend(found.id)
            return ""
        self._running, self._env.of_container, self._base_size = found.running, found.env, found.base_size
        self._ran = found.running
        self._files.contents.of_editions |= found.of_editions
        self._files.folders = found.folders
        return found.id

    def _make(self) -> str:
        return replace_container(self._engine, self._work.container_name, self._create)

    def _create(self, name: str) -> str:
        self._check_binds()
        made = self._engine.create(
            self._image.id,
            name,
            IDLE_FOR_PROBE,
            env=self._env.of_container,
            labels=cleared_labels(self._image.labels),
            mounts=self._mounts,
            restrictions=self._confinement,
        )
        places = [mount.dest for mount in self._mounts]
        try:
            safe_paths.check_mounts(self._engine, made, places, last=True)
        except BaseException:
            self._engine.remove(made)
            raise
        return made

    @property
    def _confinement(self) -> Restrictions:
        build = self._work.habitat.build
        return Restrictions(privileges=build.new_privileges, **asdict(build.limits))

    def _check_binds(self) -> None:
        if self._work.binds:
            cache_mounts.check(self._work.habitat)

    def park(self) -> None:
        """Leave the container to the next phase if it is as good as a new one, else remove it."""
        if self._id and self._is and self._settled and not self._is_confided_in and not self._files.is_pending:
            self._remember()
            self._work.parking.put(
                ReusableContainer(
                    self._id,
                    self._is,
                    self._base_size,
                    self._env.of_container,
                    self._mounts,
                    self._running,
                    self._files.contents.of_editions,
                    self._files.folders,
                )
            )
        else:
            self.remove()

    @property
    def is_made(self) -> bool:
        """Return whether the container was created."""
        return bool(self._id)

    def remove(self) -> None:
        """Remove the container, at once if it has secrets."""
        self._files.discard()
        if self._id and self._is_confided_in:
            self._work.remover.remove(self._id)
        elif self._id:
            self._work.parking.spend(self._id)

    # Files

    def read(self, path: str) -> bytes:
        """Return the content of a file, b"" for none."""
        if self._files.needs_sending(path):
            self._flush()
        data = self._files.read(path)
        if not self._files.is_pending:
            self._remember()
        return data

    def stat(self, path: str) -> Stat | None:
        """Return what is at a path, None for nothing."""
        self._flush()
        return self._engine.stat(self._open(), path)

    def put(self, dest: str, kind: str, mode: int, owner: tuple[int, int], **content: Any) -> None:
        """Put something at `dest`, as PendingFiles.put does."""
        if self._files.is_below_a_link(dest):
            self._flush()
        self._hold_still()
        self._files.put(dest, kind, mode, owner, **content)

    def _hold_still(self) -> None:
        """Pause what a command has left running, so that it can't replace a path between the check and the write."""
        if self._running and not self._settled and not self._paused:
            self._engine.pause(self._id)
            self._paused = True
            self._files.folders.doubt()

    def _flush(self) -> None:
        """Send what was put."""
        if self._files.is_pending:
            self._is = ""
            self._files.send()
        if self._paused:
            self._engine.unpause(self._id)
            self._paused = False

    # Commands, and the end

    def execute(
        self,
        argv: Sequence[str],
        *,
        user: str,
        env: Mapping[str, str] | None = None,
        secret: tuple[Value, ...] = (),
        ends: bool = False,
        on_output: OnOutput = lambda *_: None,
        **how: Any,
    ) -> int:
        """Run a command as Engine.exec does. Afterwards only files whose edition is the same are known.

        Args:
            argv: The command.
            user: The user who runs it.
            env: Its environment beside the container's.
            secret: The secrets that `user`, and nobody else, can read.
            ends: Whether it is a script of the program, which leaves nothing running.
            on_output: Takes what it prints.
            **how: What else Engine.exec takes.

        Returns:
            The exit code.
        """
        self._flush()
        self._start()
        try:
            code = self._execute(argv, user, env, secret, on_output, ends=ends, **how)
        except EngineError as error:
            if not self._ran and (told := self._shell_trouble(error)):
                raise told from error
            raise
        self._ran = True
        return code

    def _execute(
        self,
        argv: Sequence[str],
        user: str,
        env: Mapping[str, str] | None,
        secret: tuple[Value, ...],
        on_output: OnOutput,
        *,
        ends: bool,
        **how: Any,
    ) -> int:
        if secret and self._given != (user, secret):
            store.deliver(self._engine, self._id, secret, user)
            self._given = (user, secret)
        how |= {"user": user, "env": {**self._env_of(user, is_own=ends), **(env or {})}}
        self._files.doubt()
        self._is = ""
        if ends or self._is_confided_in or not self._work.phase.SNAPSHOT:  # nothing goes on after it
            self._settled = self._settled and ends
            return self._engine.exec(self._id, argv, on_output=on_output, **how)
        self._settled = False
        watch = LeftoverProbe(on_output)
        try:
            return self._engine.exec(self._id, watch.argv(argv), on_output=watch.feed, **how)
        finally:
            self._settled = watch.end()

    def _env_of(self, user: str, *, is_own: bool) -> dict[str, str]:
        """Return the environment of a command beside the container's. is_own: it is a script of the program."""
        habitat = self._work.habitat
        if not root_environment.is_root_beside_user(habitat, user):
            return self._env.missing
        if is_own:
            return dict(root_environment.OWN)
        places = root_environment.user_writable_folders(habitat, UserDatabase(self.read).home(habitat.user))
        places += [cache.dest for cache in self._caches]
        return self._env.other_than_made(root_environment.for_root_command(self._env.all, places))

    def _start(self) -> None:
        """Start the container, unless it runs already as that of the phase before."""
        try:
            container = self._open()
            if not self._running:
                self._check_binds()
                self._engine.start(container)
                self._check_binds()
        except EngineError as error:
            if self._id and (told := self._shell_trouble(error)):
                raise told from error
            raise EngineError(
                f"the build container can't be started ({error.message})",
                remedy=error.remedy or "see that its image and volumes are whole",
            ) from error
        self._running = True

    def _shell_trouble(self, error: EngineError) -> ShellError | None:
        """Return what to raise if `error` means that the shell of the image can't run, else None."""
        work = self._work
        before = last_snapshot(habitat_phases(work.habitat), work.phase)
        # Up to setup no command of the habitat's own has run, which may have broken it.
        own = before and work.phase.ID > named("setup").ID
        image = (
            snapshot_tag(work.habitat.name, before)
            if own and before
            else shell_errors.describe_base_image(work.habitat)
        )
        return shell_errors.from_engine_error(self._engine, self._id, work.habitat, image, error)

    def ended_under(self, code: int) -> bool:
        """Return whether a command ended with `code` because the container did."""
        return container_ended(self._engine, self._id, code)

    def commit(self, changes: Sequence[str]) -> str:
        """Commit the container. Return the id of the image."""
        self._flush()
        container = self._open()
        env = [f"ENV {name}={instruction_word(value)}" for name, value in self._env.missing.items()]
        self._files.contents.confirm()
        # Nothing can write meanwhile where nothing runs.
        self._is = self._engine.commit(container, [*env, *changes], COMMENT, pause=not self._settled)
        self._remember()
        return self._is

    def _remember(self) -> None:
        """Record what is known of the files for the image that the container is equal to, if there is one."""
        if self._is:
            self._work.known_files[self._is] = self._files.of_image


def _can_be_said(value: str) -> bool:
    """Return whether a line of the changes that an image is committed with can hold a value."""
    return len(value) < _LONGEST and value.isprintable()


def instruction_word(value: str) -> str:
    """Quote a value for a Dockerfile instruction, which expands variables and strips spaces."""
    return '"' + re.sub(r'([\\$"])', r"\\\1", value) + '"'
