"""The engine protocol over the API that Podman offers in Docker's words, as of Podman 4.3.

The program speaks to it as to Docker. Each method here mends one difference, so that callers see what Docker would do.
What has no counterpart in Docker's words is asked in Podman's own, below `_OWN`.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
from contextlib import closing, suppress
from typing import IO, TYPE_CHECKING, Any

from msgspec.structs import replace

from phases.core.engine import responses
from phases.core.engine.client import STAT, DockerEngine, Stream, place, stat_of, too_large
from phases.core.engine.http import gone, refusal
from phases.core.engine.mount_archives import by_mount
from phases.core.engine.protocol import LARGEST_FILE, Bind, Confided, PathInfo, Tmpfs, VolumeMount
from phases.core.engine.requests import path as request
from phases.core.errors import EngineError, NotFound, PortRefused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from phases.core.engine.http import Reply
    from phases.core.engine.protocol import Change, Container, Image, ImageSize, OnLine, Stat
    from phases.core.model import Value

# Podman's own API. Podman 5 answers this version as well.
_OWN = "/v4.0.0/libpod"

# What a tag begins with where Podman lists it, and Docker doesn't.
_REGISTRIES = ("localhost/", "docker.io/library/")

# What Podman answers with 500, and Docker with a status of its own.
_STATUSES = {
    404: re.compile("no such container|layer not known"),
    409: re.compile('container name ".*" is already in use|container state improper'),
}

# How Podman refuses a command of a user that the container doesn't have; in Docker such a command fails.
_NO_USER = re.compile("unable to find (user|group)")
_FAILED = ("/bin/sh", "-c", 'printf "%s\\n" "$1" >&2; exit 126', "sh")

# Sets variables, each to what is in a file but for newlines at its end, and then runs a command. $1, $2: the first of
# them; --: their end.
_CONFIDED = """
while [ "$1" != -- ]; do
    [ -r "$2" ] || exit 126
    export "$1=$(cat -- "$2")"
    shift 2
done
shift
exec "$@"
"""

# Between the comment of a commit and the id of the image that its container was made from.
_ON = " on sha256:"

# The folders that Podman itself writes to when it starts a container.
_STARTED = frozenset({"/etc", "/run"})


class Podman(DockerEngine):
    """The engine protocol, spoken to Podman."""

    def _refusal(self, what: str, status: int, reason: str) -> EngineError:
        return refused(what, status, reason)

    # Images

    def images(self) -> list[Image]:
        return [replace(image, tags=tuple(map(_plain, image.tags))) for image in super().images()]

    def stored(self) -> list[ImageSize]:
        return [replace(one, parent=_whole(one.parent)) for one in super().stored()]

    def _inspected(self, image: str) -> Any:
        """An image that is committed without a comment has that of the image below it, unless its own says on what."""
        found = super()._inspected(image)
        comment, _, below = (found.get("Comment") or "").rpartition(_ON)
        return found | {"Comment": comment if below == found.get("Parent") else ""}

    def untag(self, reference: str) -> None:
        """Podman would remove an image that others rest on with its last tag, and keep the tag of one in use."""
        try:
            found = self._inspected(reference)
        except NotFound:
            return
        tags = found.get("RepoTags") or ()
        ours = [tag for tag in tags if _plain(tag) == reference]
        for tag in ours:
            repository, _, name = tag.rpartition(":")
            where = request(f"{_OWN}/images/{{}}/untag", found["Id"], repo=repository, tag=name)
            self._ask(f"removing {reference}", "POST", where)
        if len(ours) == len(tags):
            self.remove_image(found["Id"])

    def remove_image(self, image: str) -> bool:
        """Podman would remove one that others rest on."""
        return not any(one.parent == image for one in self.stored()) and super().remove_image(image)

    def build(self, context: IO[bytes], tag: str, on_line: OnLine, secrets: Sequence[Value] = ()) -> str:
        """Podman has no BuildKit, and so no way for a secret into a build but in its context."""
        if secrets:
            raise EngineError("Podman's API gives no secrets to a Dockerfile: name other phases in their `phases:`")
        return _whole(self._build(context, tag, on_line))

    # Containers

    def _before_create(
        self, image: str, name: str, labels: Mapping[str, str], mounts: Sequence[Bind | Tmpfs | VolumeMount]
    ) -> None:
        for mount in mounts:
            # Podman would make a folder of root's there.
            if isinstance(mount, Bind) and self._api.carries_on and not os.path.lexists(mount.source):
                raise EngineError(f"creating container {name}: {mount.source} is not there")
        self._make_volumes(image, f"{name}-volumes", labels, [one for one in mounts if isinstance(one, VolumeMount)])

    def _make_volumes(self, image: str, name: str, labels: Mapping[str, str], mounts: Sequence[VolumeMount]) -> None:
        """Podman makes them without their labels, and fills a new one when it is first mounted, which is when a
        container starts, and whether or not it is to be filled. So a container that never runs mounts them first.

        Args:
            image: What they are filled from.
            name: Of that container, which one that was killed here may have left.
            labels: Of that container.
            mounts: The volumes, those that are there already among them.
        """
        new = [mount for mount in mounts if not self._has_volume(mount.volume)]
        if not new:
            return
        self.remove(name)
        # What is not to be filled is mounted where an image has nothing.
        first = [mount if mount.copies else replace(mount, dest=f"/.empty/{mount.volume}") for mount in new]
        try:
            for mount in new:
                body = {"Name": mount.volume, "Labels": dict(mount.labels)}
                self._ask(f"making volume {mount.volume}", "POST", "/volumes/create", body)
            filling = self.create(image, name, ("/bin/sh",), labels=labels, mounts=first)
            # They are filled before it is found out that an image has no shell.
            with suppress(EngineError):
                self._ask("filling volumes", "POST", request(f"{_OWN}/containers/{{}}/init", filling))
            self.remove(filling)
        except BaseException:
            self.remove(name)
            for mount in new:
                self.remove_volume(mount.volume)
            raise

    def _has_volume(self, name: str) -> bool:
        try:
            self._ask(f"looking at volume {name}", "GET", request("/volumes/{}", name))
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
        found = super().container(name)
        return _with_ports_of_now(found) if found else None

    def containers(self, *, label: str = "", name_prefix: str = "", volume: str = "") -> list[Container]:
        found = super().containers(label=label, name_prefix=name_prefix, volume=volume)
        return [_with_ports_of_now(container) for container in found]

    def commit(self, container: str, changes: Sequence[str], comment: str = "", *, pause: bool = True) -> str:
        """Podman takes what a change says as it stands, and doesn't take the container's command."""
        found = self._looked_at(container)
        given = [_literal(change) for change in changes]
        if not any(re.match(r"(ENTRYPOINT|CMD) (?!\[\s*\])", change) for change in given):
            given = [change for change in given if not change.startswith(("ENTRYPOINT ", "CMD "))]
            given += ["ENTRYPOINT []", f"CMD {json.dumps(found['Config'].get('Cmd') or [])}"]
        on = f"{comment}{_ON}{found['Image'].removeprefix('sha256:')}"
        return _whole(super().commit(container, given, on, pause=pause))

    def changes(self, container: str) -> list[Change]:
        found = super().changes(container)
        return [change for change in found if change.path not in _STARTED or _is_above(change.path, found)]

    # Commands

    def _exec(
        self,
        container: str,
        argv: Sequence[str],
        *,
        user: str = "",
        workdir: str = "",
        env: Mapping[str, str] | None = None,
        stdin: bool = False,
        tty: bool = False,
    ) -> str:
        """Podman writes the environment of each command to its database, and so it isn't told secrets."""
        given = env or {}
        if secret := {name: value.path for name, value in given.items() if isinstance(value, Confided)}:
            pairs = [part for pair in secret.items() for part in pair]
            argv = ("/bin/sh", "-c", _CONFIDED, "sh", *pairs, "--", *argv)
        told = {name: value for name, value in given.items() if name not in secret}
        return super()._exec(container, argv, user=user, workdir=workdir, env=told, stdin=stdin, tty=tty)

    def _begin(self, container: str, argv: Sequence[str], *, tty: bool = False, **how: Any) -> tuple[str, Reply]:
        """Podman refuses a command of a user who isn't there, where Docker's ends with 126."""
        try:
            return super()._begin(container, argv, tty=tty, **how)
        except EngineError as error:
            return super()._begin(container, (*_FAILED, _no_user(error)), tty=tty, stdin=how.get("stdin", False))

    def send_off(self, container: str, argv: Sequence[str], user: str) -> str:
        """Podman learns minutes later that a command has ended that nobody waited for."""
        exec_id = self._exec(container, argv, user=user, workdir="/")
        with closing(self._attached(exec_id)) as line, suppress(OSError):
            for _ in line.chunks():
                pass
        return exec_id

    # Files. Podman follows a link in the last place of a path, and takes the path for a pattern.

    def put_archive(self, container: str, folder: str, archive: IO[bytes]) -> None:
        """Podman would make a folder that is missing. In a container that doesn't run it would put below a mount what
        belongs into that.
        """
        found = self._looked_at(container)
        if folder != "/" and self._row(container, folder) is None:
            raise NotFound(f"copying into {folder}: there is no such folder")
        mounts = () if found["State"]["Status"] == "running" else found.get("Mounts") or ()
        with by_mount(archive, folder, [mount["Destination"] for mount in mounts]) as parts:
            for where, part in parts:
                super().put_archive(container, where, part)

    def read_file(self, container: str, path: str) -> bytes | None:
        return super().read_file(container, _pattern(path))

    def stat(self, container: str, path: str) -> Stat | None:
        row = self._row(container, path)
        return responses.stat(row) if row else None

    def path_info(self, container: str, path: str, *, content: bool = False) -> PathInfo | None:
        """The file API tells root as the owner of everything, so this takes seconds: Podman exports the container.

        Of a path in a mount, which no export has, the owner isn't known: -1, and a link's target is absolute.
        """
        row = self._row(container, path)
        if row is None:
            return None
        told = responses.stat(row)
        at = self._real(container, path)
        if at == "/":
            # It is in no export, either. Who owns it owns all programs there, root's among them.
            return PathInfo("dir", told.mode, 0, 0)
        if not self._is_mounted(container, at) and (found := self._exported(container, at, content=content)):
            return found
        if told.link or told.is_dir:
            return PathInfo("link" if told.link else "dir", told.mode, -1, -1, told.link)
        seen = super().path_info(container, _pattern(at), content=content)
        return replace(seen, uid=-1, gid=-1) if seen else None

    def _real(self, container: str, path: str) -> str:
        """The path without a link above its last place."""
        folder, name = posixpath.split(path.rstrip("/"))
        if folder in ("", "/"):
            return f"/{name}"
        folder = self._real(container, folder)
        row = self._row(container, folder)
        return posixpath.join((row and responses.stat(row).link) or folder, name)

    def _is_mounted(self, container: str, path: str) -> bool:
        """Whether what is at `path` isn't the container's own."""
        places = [mount["Destination"] for mount in self._looked_at(container).get("Mounts") or ()]
        return any(path == place or path.startswith(f"{place}/") for place in places)

    def _exported(self, container: str, path: str, *, content: bool) -> PathInfo | None:
        import tarfile

        what = f"looking at {path!a}"
        try:
            with (
                self._reply(what, "GET", request("/containers/{}/export", container)) as reply,
                tarfile.open(fileobj=Stream(reply.chunks()), mode="r|") as tar,
            ):
                member = next((one for one in tar if f"/{one.name.strip('/')}" == path), None)
                if member is None:
                    return None
                if member.islnk():  # a second name of a file, whose content stands at the first
                    member.type = tarfile.REGTYPE
                    data = self.read_file(container, path) if content else None
                elif content and member.isreg():
                    if member.size > LARGEST_FILE:
                        raise too_large(path)
                    file = tar.extractfile(member)
                    data = file.read() if file else None
                else:
                    data = None
                return responses.path_info(member, data or b"")
        except tarfile.TarError as error:
            raise gone(what) from error

    def _row(self, container: str, path: str) -> Any:
        """What the file API tells of a path, None where there is nothing. Of a link that leads nowhere, Podman tells in
        the head of an answer that says that there is nothing.
        """
        try:
            with closing(self._api.send("HEAD", place(container, _pattern(path)))) as reply:
                if STAT in reply.headers:
                    return stat_of(reply)
        except OSError as error:
            raise gone(f"looking at {path!a}") from error
        self.read_file(container, path)  # raises what HEAD has no words for, as that there is no such container
        return None


def refused(what: str, status: int, reason: str) -> EngineError:
    """What to raise where Podman has answered with `status` to `what` was asked of it."""
    known = (code for code, words in _STATUSES.items() if status == 500 and words.search(reason))
    return refusal(what, next(known, status), reason)


def _plain(tag: str) -> str:
    """As Docker lists a tag."""
    return next((tag.removeprefix(start) for start in _REGISTRIES if tag.startswith(start)), tag)


def _whole(image: str) -> str:
    """The id of an image as Docker tells it, "" for none."""
    return f"sha256:{image.removeprefix('sha256:')}" if image else ""


def _literal(change: str) -> str:
    """A Dockerfile's instruction as Podman reads it: it knows no variables and no escapes, only the quotes around the
    value of a name.
    """
    instruction, _, words = change.partition(" ")
    if instruction in ("LABEL", "ENV"):
        name, _, value = words.partition("=")
        return f'{instruction} {name}="{_unquoted(value)}"'
    if instruction == "WORKDIR":
        # It takes spaces at the end away, and then the dot.
        return f"WORKDIR {_unquoted(words)}/."
    return f"USER {_unquoted(words)}" if instruction == "USER" else change


def _unquoted(word: str) -> str:
    """What a builder reads."""
    if len(word) > 1 and word.startswith('"') and word.endswith('"'):
        return re.sub(r'\\([\\$"])', r"\1", word[1:-1])
    return re.sub(r"\\(.)", r"\1", word)


def _with_ports_of_now(container: Container) -> Container:
    """Podman tells also of those that are to be published once a container runs."""
    return container if container.running else replace(container, ports=())


def _is_above(folder: str, changes: Iterable[Change]) -> bool:
    return any(change.path.startswith(f"{folder}/") for change in changes)


def _no_user(error: EngineError) -> str:
    """What is said of a user who isn't there; raises any other error."""
    if not _NO_USER.search(error.message):
        raise error
    return error.message


def _pattern(path: str) -> str:
    """One that only this path matches. Raises EngineError for a star, which Podman takes in no path."""
    if "*" in path:
        raise EngineError(f"looking at {path!a}: Podman can't look at a path with a * in it", remedy="rename it")
    return re.sub(r"([\\\[\]?])", r"\\\1", path)
