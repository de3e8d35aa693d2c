"""Images: lists, pulls, builds and tags."""

from __future__ import annotations

import contextlib
import io
import json
from contextlib import closing
from typing import IO, TYPE_CHECKING, Any

from phases.core.engine.docker_api import responses
from phases.core.engine.docker_api.api import (
    IMAGES_PATH,
    LISTING_IMAGES,
    ApiClient,
    is_from_engine,
    parse_json,
    path,
    stopped_answering,
)
from phases.core.errors import Conflict, EngineError, EngineUnreachable, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from phases.core.engine.http import HttpClient
    from phases.core.engine.output import OnLine
    from phases.core.engine.protocol import OnPull
    from phases.core.engine.transport import Response
    from phases.core.engine.types import Image, ImageConfig, ImageSize, Layer
    from phases.core.files.tar import DockerfileArchive
    from phases.core.model import Value

_BUILDING = "building the Dockerfile"


class DockerImages(ApiClient):
    """The methods of the engine protocol that are about images.

    Args:
        http: Sends the requests.
        prefetched: The response to a request for the list of images that was sent in advance (`connect`).
    """

    def __init__(self, http: HttpClient, prefetched: Response | None = None) -> None:
        super().__init__(http)
        self._prefetched = prefetched

    def platform(self) -> str:
        version = self._request("asking for its platform", "GET", "/version")
        return f"{version['Os']}/{version['Arch']}"

    def images(self) -> list[Image]:
        prefetched, self._prefetched = self._prefetched, None
        if prefetched:
            # If the prefetched response is broken, a second request has an error to show.
            with closing(prefetched), contextlib.suppress(ConnectionError):
                try:
                    if is_from_engine(prefetched):
                        return responses.images(parse_json(prefetched))
                except TimeoutError as error:
                    raise stopped_answering(LISTING_IMAGES) from error
        return responses.images(self._request(LISTING_IMAGES, "GET", IMAGES_PATH))

    def stored(self) -> list[ImageSize]:
        return responses.image_sizes(self._request(LISTING_IMAGES, "GET", path(IMAGES_PATH, all=True)))

    def layers(self, image: str) -> list[Layer]:
        history = self._request(f"looking at image {image[:19]}", "GET", path("/images/{}/history", image))
        return responses.layers(history)

    def image_config(self, reference: str) -> ImageConfig | None:
        try:
            return responses.image_config(self._inspect_image(reference))
        except NotFound:
            return None

    def _inspect_image(self, image: str) -> Any:
        return self._request(f"looking at image {image}", "GET", path("/images/{}/json", image))

    def pull(self, reference: str, on_pull: OnPull) -> None:
        from phases.core.engine import docker_config

        action = f"pulling {reference}"
        repository, tag = docker_config.split_reference(reference)
        login = docker_config.pull_login(repository)
        url = path("/images/create", fromImage=repository, tag=tag)
        with _mentioning(login.problem):
            for row in self._progress(action, url, headers=login.headers):
                detail = row.get("progressDetail") or {}
                on_pull(row.get("id", ""), row.get("status", ""), detail.get("current") or 0, detail.get("total") or 0)

    def _progress(self, action: str, path: str, body: Any = None, **options: Any) -> Iterator[Any]:
        """Yield the progress messages of the engine. Raise EngineError for one that reports an error."""
        with self._open(action, "POST", path, body, **options) as response:
            for row in responses.json_rows(response.stream()):
                if "error" in row:
                    raise EngineError(f"{action}: {row['error'].strip()}")
                yield row
        self._request(action, "GET", "/_ping")  # the stream of an engine that stops looks like one that is complete

    def build(self, context: DockerfileArchive, tag: str, on_line: OnLine, secrets: Sequence[Value] = ()) -> str:
        from phases.core.engine.docker_api import buildkit_cli

        command = buildkit_cli.find()
        if secrets and not (command and command.buildkit):
            raise EngineError("a Dockerfile is given secrets by BuildKit, and there is no `docker` here that has it")
        if not command:
            return self._build(context, tag, on_line)
        self.untag(tag)  # so that an image with this tag is the one that is built now
        try:
            buildkit_cli.build(command, context, tag, on_line, secrets)
        except EngineError:
            self._request(_BUILDING, "GET", "/_ping")  # raises if the engine, and not the Dockerfile, is the problem
            raise
        if not (image := self.image_config(tag)):
            # `docker build` may report success after it lost its engine, and its builder may keep the image to itself.
            raise EngineError("docker build gave no image")
        return image.id

    def _build(self, context: DockerfileArchive, tag: str, on_line: OnLine) -> str:
        """Build without BuildKit, which the API can't use. Return the image's id.

        Without BuildKit the engine hides the Dockerfile from COPY if a .dockerignore in the context names it.
        """
        from phases.core.engine import docker_config

        image = ""
        build_args = json.dumps(self.proxies) if self.proxies else ""
        url = path("/build", t=tag, dockerfile=context.dockerfile, rm=True, forcerm=True, buildargs=build_args)
        login = docker_config.build_login()
        with _mentioning(login.problem):
            for row in self._progress(_BUILDING, url, context.tar, headers=login.headers):
                for line in row.get("stream", "").splitlines():
                    on_line(line)
                image = (row.get("aux") or {}).get("ID", image)
        if not image:
            raise EngineError(f"{_BUILDING}: the engine gave no image")
        return image

    def tag(self, image: str, reference: str) -> None:
        repository, _, tag = reference.rpartition(":")
        url = path("/images/{}/tag", image, repo=repository, tag=tag, force=True)
        self._request(f"tagging {reference}", "POST", url)

    def untag(self, reference: str) -> None:
        action, url = f"removing {reference}", path("/images/{}", reference)
        try:
            self._request(action, "DELETE", url)
        except NotFound:
            return
        except Conflict:
            # A container uses the image. The engine doesn't remove the last tag of such an image,
            # but the tag can move to an empty image, and be removed together with that.
            repository, _, tag = reference.rpartition(":")
            empty_image = path("/images/create", fromSrc="-", repo=repository, tag=tag)
            self._request(action, "POST", empty_image, _empty_tar())
            self._request(action, "DELETE", url)

    def remove_image(self, image: str) -> bool:
        try:
            # The engine would also remove an image that has one tag, and the tag with it.
            if self._inspect_image(image).get("RepoTags"):
                return False
            self._request(f"removing image {image[:19]}", "DELETE", path("/images/{}", image))
        except NotFound:
            return True
        except Conflict:
            return False
        return True


@contextlib.contextmanager
def _mentioning(problem: str) -> Iterator[None]:
    """Add the problem with docker's login, if there is one, to a refusal: the login may be the reason for it."""
    try:
        yield
    except EngineUnreachable:
        raise
    except EngineError as error:
        if problem:
            error.message += f"; {problem}"
        raise


def _empty_tar() -> IO[bytes]:
    """Return a tar without members: the blocks that end it."""
    return io.BytesIO(bytes(1024))
