"""The part of the engine protocol that is about images."""

from __future__ import annotations

import contextlib
import io
from contextlib import closing
from typing import IO, TYPE_CHECKING, Any

from phases.core.engine import requests, responses
from phases.core.engine.connect import is_engines
from phases.core.engine.http import gone
from phases.core.engine.request import Asking, told
from phases.core.engine.requests import path
from phases.core.errors import Conflict, EngineError, EngineUnreachable, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from phases.core.engine.http import Api, Reply
    from phases.core.engine.protocol import Image, ImageConfig, ImageSize, Layer, OnLine, OnPull
    from phases.core.model import Value


class DockerImageClient(Asking):
    """Those of a real engine. asked: the reply to `questions.IMAGES`, where that was asked ahead."""

    def __init__(self, api: Api, asked: Reply | None = None) -> None:
        super().__init__(api)
        self._asked = asked

    def images(self) -> list[Image]:
        asked, self._asked = self._asked, None
        if asked:
            # Whoever asks again is told what is wrong.
            with closing(asked), contextlib.suppress(ConnectionError):
                try:
                    if is_engines(asked):
                        return responses.images(told(asked))
                except TimeoutError as error:
                    raise gone(requests.LISTING) from error
        return responses.images(self._ask(requests.LISTING, "GET", requests.IMAGES))

    def stored(self) -> list[ImageSize]:
        return responses.stored(self._ask(requests.LISTING, "GET", path(requests.IMAGES, all=True)))

    def layers(self, image: str) -> list[Layer]:
        return responses.layers(self._ask(f"looking at image {image[:19]}", "GET", path("/images/{}/history", image)))

    def image_config(self, reference: str) -> ImageConfig | None:
        try:
            return responses.image_config(self._inspected(reference))
        except NotFound:
            return None

    def _inspected(self, image: str) -> Any:
        return self._ask(f"looking at image {image}", "GET", path("/images/{}/json", image))

    def pull(self, reference: str, on_pull: OnPull) -> None:
        from phases.core.engine import docker_config

        what = f"pulling {reference}"
        repository, tag = docker_config.parts(reference)
        login = docker_config.login_to_pull(repository)
        where = path("/images/create", fromImage=repository, tag=tag)
        with _told_of(login.trouble):
            for row in self._progress(what, where, headers=login.headers):
                detail = row.get("progressDetail") or {}
                on_pull(row.get("id", ""), row.get("status", ""), detail.get("current") or 0, detail.get("total") or 0)

    def _progress(self, what: str, where: str, body: Any = None, **how: Any) -> Iterator[Any]:
        """The rows in which the engine tells how it gets on. Raises EngineError for one that says that it doesn't."""
        with self._reply(what, "POST", where, body, **how) as reply:
            for row in responses.rows(reply.chunks()):
                if "error" in row:
                    raise EngineError(f"{what}: {row['error'].strip()}")
                yield row
        self._ask(what, "GET", "/_ping")  # what an engine says ends as if it were whole when the engine does

    def build(self, context: IO[bytes], tag: str, on_line: OnLine, secrets: Sequence[Value] = ()) -> str:
        from phases.core.engine import buildkit_cli

        command = buildkit_cli.find()
        if secrets and not (command and command.buildkit):
            raise EngineError("a Dockerfile is given secrets by BuildKit, and there is no `docker` here that has it")
        if not command:
            return self._build(context, tag, on_line)
        self.untag(tag)  # so that an image with this tag is the one that is built now
        try:
            buildkit_cli.build(command, context, tag, on_line, secrets)
        except EngineError:
            self._ask("building the Dockerfile", "GET", "/_ping")  # else it is not the Dockerfile that is to be mended
            raise
        if not (made := self.image_config(tag)):
            # A client that lost its engine may call that a success, and a builder of its own may keep what it made.
            raise EngineError("docker build gave no image")
        return made.id

    def _build(self, context: IO[bytes], tag: str, on_line: OnLine) -> str:
        """Without BuildKit, which the API doesn't know."""
        from phases.core.engine import docker_config

        image, what = "", "building the Dockerfile"
        where = path("/build", t=tag, rm=True, forcerm=True)
        login = docker_config.login_to_build()
        with _told_of(login.trouble):
            for row in self._progress(what, where, context, headers=login.headers):
                for line in row.get("stream", "").splitlines():
                    on_line(line)
                image = (row.get("aux") or {}).get("ID", image)
        if not image:
            raise EngineError(f"{what}: the engine gave no image")
        return image

    def tag(self, image: str, reference: str) -> None:
        repository, _, tag = reference.rpartition(":")
        where = path("/images/{}/tag", image, repo=repository, tag=tag, force=True)
        self._ask(f"tagging {reference}", "POST", where)

    def untag(self, reference: str) -> None:
        what, where = f"removing {reference}", path("/images/{}", reference)
        try:
            self._ask(what, "DELETE", where)
        except NotFound:
            return
        except Conflict:
            # A container uses the image. The engine can't take the last tag of such an image away,
            # but the tag can move to an empty image, and go with that.
            repository, _, tag = reference.rpartition(":")
            empty = path("/images/create", fromSrc="-", repo=repository, tag=tag)
            self._ask(what, "POST", empty, _empty_tar())
            self._ask(what, "DELETE", where)

    def remove_image(self, image: str) -> bool:
        try:
            # By its id the engine would remove an image with one tag as well, and with it the tag.
            if self._inspected(image).get("RepoTags"):
                return False
            self._ask(f"removing image {image[:19]}", "DELETE", path("/images/{}", image))
        except NotFound:
            return True
        except Conflict:
            return False
        return True


@contextlib.contextmanager
def _told_of(trouble: str) -> Iterator[None]:
    """What the engine refuses may be for want of a login, and why there was none is told with it."""
    try:
        yield
    except EngineUnreachable:
        raise
    except EngineError as error:
        if trouble:
            error.message += f"; {trouble}"
        raise


def _empty_tar() -> IO[bytes]:
    """Nothing but the blocks that end one."""
    return io.BytesIO(bytes(1024))
