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

import posixpath
import re
from typing import TYPE_CHECKING, Any

from msgspec.structs import asdict

from phases.core.build.container_reuse import ReusableContainer
from phases.core.build.file_cache import FileCache, FolderCache
from phases.core.cache import mounts as cache_mounts
from phases.core.cache.image_index import COMMENT, snapshot_tag, withheld
from phases.core.container import root_environment, safe_paths, shell_errors
from phases.core.container.init_process import IDLE_FOR_PROBE, container_ended, replace_container
from phases.core.container.leftovers import LeftoverProbe
from phases.core.container.safe_paths import SafePaths
from phases.core.container.users import UserDatabase
from phases.core.engine.protocol import Bind, Restrictions, Stat, Tmpfs
from phases.core.errors import EngineError, ShellError, StepError
from phases.core.files.tar import Archive
from phases.core.secrets import store
from phases.protocol import SECRETS_FOLDER
from phases.registry import habitat_phases, last_snapshot, named

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from phases.core.build.context import PhaseContext
    from phases.core.engine.protocol import Engine, ImageConfig, VolumeMount
    from phases.core.secrets.store import Value

    #: Takes what a command prints, and whether that is of stderr.
    OnOutput = Callable[[bytes, bool], None]

# Bytes that are written again with each commit rather than a new container made: both take as long.
_LIGHT = 1_000_000

# Bytes of the environment that an image is committed with: a line of the changes takes no more, and a request not many.
_LONGEST = 60_000


class BuildContainer:
    """image: what the phase starts from; env: what the image to be has beside its environment; agent: the
    host's SSH agent; caches: what is mounted beside the volumes. Call `park` or `remove` in any case.
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
        self._env = {**image.env, **env}
        self._made_env: Mapping[str, str] = self._env | self._safe_for_root
        self._base_size = image.size
        self._id = ""
        self._running = self._ran = False  # ran: a command in it, to its end
        self._is = image.id  # the image that the container is, "" once it is none
        self._settled = True
        self._paused = False
        self._outbox: Archive | None = None
        self._links: set[str] = set()  # links in the outbox: only the engine knows what is below them
        self._copied: set[str] = set()  # files in the outbox of which only the archive knows the content
        self._folders = FolderCache()
        known = work.known_files.get(image.id, {})
        self._contents = FileCache(
            {path: data for path, data in known.items() if not self._mounted(path)}, self._edition
        )

    @property
    def _mounts(self) -> list[Bind | Tmpfs | VolumeMount]:
        mounts: list[Bind | Tmpfs | VolumeMount] = [*self._work.binds, *self._caches]
        if self._is_confided_in:
            mounts.append(Tmpfs(SECRETS_FOLDER))
        return [*mounts, self._agent] if self._agent else mounts

    @property
    def _is_confided_in(self) -> bool:
        """Whether secrets, or the host's agent, are in it."""
        return bool(self._work.secrets or self._agent)

    def _open(self) -> str:
        if not self._id:
            self._id = self._going_on() or self._work.maker.make(self._make)
        return self._id

    def _going_on(self) -> str:
        """The id of the container of the phase before, "" where this one needs its own."""
        found = self._work.parking.take()
        if not found:
            return ""
        changed = [value for name, value in self._env.items() if found.env.get(name) != value]
        if (
            found.image != self._image.id
            or self._image.size - found.base_size > _LIGHT
            or self._image.volumes
            or self._is_confided_in
            or list(found.mounts) != self._mounts
            or sum(len(value.encode(errors="replace")) for value in changed) >= _LONGEST
            or not all(map(_can_be_said, changed))
        ):
            self._work.parking.spend(found.id)
            return ""
        self._running, self._made_env, self._base_size = found.running, found.env, found.base_size
        self._ran = found.running
        self._contents.of_editions |= found.of_editions
        self._folders = found.folders
        return found.id

    def _make(self) -> str:
        return replace_container(self._engine, self._work.container_name, self._create)

    def _create(self, name: str) -> str:
        self._check_binds()
        made = self._engine.create(
            self._image.id,
            name,
            IDLE_FOR_PROBE,
            env=self._made_env,
            labels=withheld(self._image.labels),
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

    @property
    def _safe_for_root(self) -> dict[str, str]:
        """Return the variables whose value differs from the image's, and that a commit can restore."""
        found = root_environment.for_container(self._env, root_environment.SYSTEM_PATH)
        return {name: value for name, value in found.items() if _can_be_said(self._env[name])}

    def _check_binds(self) -> None:
        if self._work.binds:
            cache_mounts.check(self._work.habitat)

    def park(self) -> None:
        """Leave it to the next phase, if that could not tell it from a new one."""
        if self._id and self._is and self._settled and not self._is_confided_in and not self._outbox:
            self._remember()
            self._work.parking.put(
                ReusableContainer(
                    self._id,
                    self._is,
                    self._base_size,
                    self._made_env,
                    self._mounts,
                    self._running,
                    self._contents.of_editions,
                    self._folders,
                )
            )
        else:
            self.remove()

    @property
    def is_made(self) -> bool:
        return bool(self._id)

    def remove(self) -> None:
        if self._outbox:
            self._outbox.close()
        if self._id and self._is_confided_in:
            self._work.remover.remove(self._id)
        elif self._id:
            self._work.parking.spend(self._id)

    # Files

    def read(self, path: str) -> bytes:
        """The content of a file, b"" where there is none."""
        if path in self._copied or self._is_below_a_link(path):
            self._flush()
        if path not in self._contents.sure:
            self._open()  # that of the phase before may know more
        if path not in self._contents:
            self._contents.learn(path, self._engine.read_file(self._open(), path) or b"")
            if self._is:
                self._remember()
        return self._contents[path]

    def _edition(self, path: str) -> str:
        found = self._engine.stat(self._open(), path)
        return found.edition if found else ""

    def stat(self, path: str) -> Stat | None:
        self._flush()
        return self._engine.stat(self._open(), path)

    def put(  # noqa: PLR0913 (as Archive.add has them)
        self,
        dest: str,
        kind: str,
        mode: int,
        owner: tuple[int, int],
        source: Path | None = None,
        content: bytes = b"",
        target: str = "",
        *,
        adopt: bool = False,
        sha256: str = "",
    ) -> None:
        """Put something at `dest`, with the folders above it that are missing; they belong to `owner`.

        A folder that is there keeps its mode, and its owner unless `adopt`. sha256: of what `source` is to hold. Raises
        StepError where `dest` is on a mount, or is reached through a link that USER can have made.
        """
        if self._is_below_a_link(dest):
            self._flush()
        self._hold_still()
        dest = self._paths.resolve(dest, last=kind == "dir")
        self._refuse_mounted(dest)
        outbox = self._outbox = self._outbox or Archive()
        for path in self._missing_above(dest):
            outbox.add(path, "dir", 0o755, owner)
            self._folders.made[path] = 0o755
        if kind == "dir":
            there = self._before(dest)
            if there and there.is_dir and not adopt:
                return
            if there and there.is_dir:
                mode = there.mode
            else:
                self._folders.made[dest] = mode
        else:
            self._folders.others.add(dest)
        if kind == "link":
            self._links.add(dest)
        outbox.add(dest, kind, mode, owner, source, content, target, sha256)
        if kind == "file" and source is None:
            self._contents.learn(dest, content)
        else:
            self._contents.drop(dest)
            self._copied.add(dest)

    @property
    def _paths(self) -> SafePaths:
        info = self._engine.path_info
        return SafePaths(self._before, lambda path: info(self._open(), path), self._folders.there)

    def _hold_still(self) -> None:
        """Pause what a command has left running, so that it can't replace a path between the check and the write."""
        if self._running and not self._settled and not self._paused:
            self._engine.pause(self._id)
            self._paused = True
            self._folders.doubt()

    def _refuse_mounted(self, path: str) -> None:
        if place := self._mount_of(path):
            volume = next((v for v in self._work.habitat.volumes if v.dest == place), None)
            what = f"the volume {place} ({volume.origin})" if volume else f"the cache {place}"
            raise StepError(
                f"{path} is in {what}: a build writes nothing into a mount",
                remedy="write another dest, or remove the volume",
            )

    def _is_below_a_link(self, path: str) -> bool:
        return any(path == link or path.startswith(f"{link}/") for link in self._links)

    def _before(self, path: str) -> Stat | None:
        """What is at `path`, the folders in the outbox included."""
        container = self._open()  # that of the phase before may know more
        if path in self._folders.made:
            return Stat(is_dir=True, mode=self._folders.made[path])
        return None if self._folders.is_empty_at(path) else self._engine.stat(container, path)

    def _missing_above(self, dest: str) -> list[str]:
        """The folders above `dest` that are nowhere yet, the highest first."""
        missing: list[str] = []
        parent = posixpath.dirname(dest)
        self._open()
        while parent != "/" and parent not in self._folders.there:
            if self._before(parent):
                self._folders.there.add(parent)
                break
            missing.append(parent)
            parent = posixpath.dirname(parent)
        return missing[::-1]

    def _flush(self) -> None:
        """Send what was put."""
        if self._outbox:
            with self._outbox as outbox:
                self._outbox = None
                self._links.clear()
                self._copied.clear()
                self._is = ""
                self._engine.put_archive(self._open(), "/", outbox.finish())
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
        """As Engine.execute; `user`, and nobody else, can read what is `secret`; what `ends` leaves nothing running.
        What was known of the files is true of their editions alone from then on.
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
        self._folders.doubt()
        self._contents.doubt()
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

    @property
    def _later_env(self) -> dict[str, str]:
        """What of the environment the container was not made with."""
        return self._other_than_made(self._env)

    def _other_than_made(self, env: Mapping[str, str]) -> dict[str, str]:
        return {name: value for name, value in env.items() if self._made_env.get(name) != value}

    def _env_of(self, user: str, *, is_own: bool) -> dict[str, str]:
        """Return the environment of a command beside the container's. is_own: it is a script of the program."""
        habitat = self._work.habitat
        if not root_environment.is_root_beside_user(habitat, user):
            return self._later_env
        if is_own:
            return dict(root_environment.OWN)
        places = root_environment.user_writable_folders(habitat, UserDatabase(self.read).home(habitat.user))
        places += [cache.dest for cache in self._caches]
        return self._other_than_made(root_environment.for_root_command(self._env, places))

    def _start(self) -> None:
        """Unless it runs, as that of the phase before may."""
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
        """What to raise where the shell that the container idles in can't run."""
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
        """Whether a command ended with `code` because the container did."""
        return container_ended(self._engine, self._id, code)

    def commit(self, changes: Sequence[str]) -> str:
        """The id of the image that it becomes."""
        self._flush()
        container = self._open()
        env = [f"ENV {name}={instruction_word(value)}" for name, value in self._later_env.items()]
        self._contents.confirm()
        # Nothing can write meanwhile where nothing runs.
        self._is = self._engine.commit(container, [*env, *changes], COMMENT, pause=not self._settled)
        self._remember()
        return self._is

    def _remember(self) -> None:
        """What is known of the files is so of the image that the container is."""
        known = {path: data for path, data in self._contents.sure.items() if not self._mounted(path)}
        self._work.known_files[self._is] = known

    def _mount_of(self, path: str) -> str:
        """Where what `path` is in was mounted, "" where it is the image's."""
        mounted = (*(bind.dest for bind in self._work.binds), *(cache.dest for cache in self._caches))
        return next((dest for dest in mounted if path == dest or path.startswith(f"{dest}/")), "")

    def _mounted(self, path: str) -> bool:
        """Whether what is at `path` is a volume's, and not the image's."""
        return bool(self._mount_of(path))


def _can_be_said(value: str) -> bool:
    """Whether a line of the changes that an image is committed with can hold a value."""
    return len(value) < _LONGEST and value.isprintable()


def instruction_word(value: str) -> str:
    """A value for a Dockerfile instruction, which knows variables and quotes as a shell does, and takes
    spaces away at both ends.
    """
    return '"' + re.sub(r'([\\$"])', r"\\\1", value) + '"'
