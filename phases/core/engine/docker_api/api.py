"""Requests to the engine's API as JSON, with every failure as an EngineError."""

from __future__ import annotations

import json
from contextlib import closing, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from phases.core.engine.transport import JSON, TAR, Response
from phases.core.errors import Conflict, EngineError, EngineUnreachable, NotFound, full_disk_remedy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from phases.core.engine.http import HttpClient

R = TypeVar("R", bound=Response)

#: The list of images, which is the one request of a run that has nothing to do.
IMAGES_PATH = "/images/json"
LISTING_IMAGES = "listing images"

#: What to do about an image with more layers than the engine takes.
TOO_MANY_LAYERS = (
    "join its RUNs, or make one layer of it in a Dockerfile: `FROM scratch`, `COPY --from=IMAGE / /`, and its ENV"
)

# Characters of a reason that are shown to a person.
_LONGEST_REASON = 200


def do_nothing() -> None: ...


class ApiClient:
    """Sends requests, and turns failures into errors of ours."""

    #: moby's limit for the store of images.
    max_layers = 125

    def __init__(self, http: HttpClient) -> None:
        self.address = http.route.address
        self.timeout = http.timeout
        self._http = http

    @cached_property
    def proxies(self) -> Mapping[str, str]:
        """See `Engine`. Docker's config is read only if a command needs them."""
        from phases.core.engine.docker_api.proxies import proxies

        route = self._http.route
        return proxies([route.address, *([f"unix://{route.socket}"] if route.socket else [])])

    def _send(
        self,
        action: str,
        method: str,
        path: str,
        body: Any = None,
        *,
        on_sent: Callable[[], None] = do_nothing,
        **options: Any,
    ) -> Response:
        """Send a request and wait for the head of the response.

        Args:
            action: What the request does, for a person.
            method: The HTTP method.
            path: The path and query (see `path`).
            body: A tar is sent as it is, anything else as JSON.
            on_sent: As in `Engine.remove`.
            options: As in `HttpClient.send`.

        Returns:
            A successful response. The caller closes it.

        Raises:
            EngineError: The engine refuses the request, or doesn't answer.
        """
        is_tar = hasattr(body, "read")
        data = body if is_tar else b"" if body is None else json.dumps(body).encode()

        def send() -> Response:
            response = self._http.send(method, path, data, TAR if is_tar else JSON, action=action, **options)
            on_sent()
            return response

        return self._accepted(action, send)

    def _accepted(self, action: str, send: Callable[[], R]) -> R:
        """Call `send`, which sends a request. Return the response, or raise EngineError if the engine refuses."""
        try:
            response = send()
            try:
                if response.status < 400:
                    return response
                reason = _reason(response)
            except BaseException:
                response.close()
                raise
            response.close()
        except OSError as error:
            raise stopped_answering(action) from error
        raise self._refusal(action, response.status, reason)

    def _refusal(self, action: str, status: int, reason: str) -> EngineError:
        return refusal(action, status, reason)

    @contextmanager
    def _open(self, action: str, method: str, path: str, body: Any = None, **options: Any) -> Iterator[Response]:
        """Send a request, yield the response and close it. An OSError while it is read becomes an EngineError."""
        with closing(self._send(action, method, path, body, **options)) as response:
            try:
                yield response
            except OSError as error:
                raise stopped_answering(action) from error

    def _request(self, action: str, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """Send a request. Return the JSON of the response, None where it has none."""
        with self._open(action, method, path, body, **options) as response:
            return parse_json(response)


def path(template: str, name: str = "", /, **query: str | bytes | bool | int | None) -> str:
    """Return the path of a request with its query, quoted.

    Args:
        template: The path, with `{}` in place of `name`.
        name: An image, a container, an exec or a volume.
        query: Parameters. Those that are None, False or empty are left out.
    """
    # Only names of images have a colon and a slash.
    filled = template.format(quote(name, safe="/:"))
    parameters = [
        f"{key}={quote('1' if value is True else str(value) if isinstance(value, int) else value, safe='')}"
        for key, value in query.items()
        if value is not None and value is not False and value not in ("", b"")
    ]
    return f"{filled}?{'&'.join(parameters)}" if parameters else filled


def filters(**wanted: str) -> str | None:
    """Return the `filters` parameter of a list query, None where nothing is to be filtered."""
    given = {key: [value] for key, value in wanted.items() if value}
    return json.dumps(given) if given else None


def is_from_engine(response: Response) -> bool:
    """Return whether `response` is a successful one of an engine with Docker's API."""
    return response.status == 200 and "api-version" in response.headers


def parse_json(response: Response) -> Any:
    """Return the JSON of a response, None where it is of another type.

    Raises:
        OSError: The body is not the JSON that its type announces.
    """
    data = response.body()
    if not response.headers.get("content-type", "").startswith(JSON):
        return None
    try:
        return json.loads(data) if data else None
    except ValueError as error:
        raise ConnectionError("the answer is not the JSON that it announces") from error


def _reason(response: Response) -> str:
    """Return why the request was refused."""
    text = response.body().decode(errors="replace")
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        # A proxy answers in words of its own, perhaps with an HTML page.
        line = " ".join(text.split())
        is_readable = 0 < len(line) < _LONGEST_REASON and not line.startswith("<")
        return line if is_readable else f"the engine says {response.status}"


def refusal(action: str, status: int, reason: str) -> EngineError:
    """Return the error for a request that the engine refused with `status`."""
    kind = {404: NotFound, 409: Conflict}.get(status, EngineError)
    reason = reason.strip().rstrip(".")
    return kind(f"{action}: {reason}", remedy=full_disk_remedy(reason) or _layers_remedy(reason))


def _layers_remedy(reason: str) -> str:
    return f"its base image has too many layers: {TOO_MANY_LAYERS}" if "max depth exceeded" in reason else ""


def stopped_answering(action: str) -> EngineUnreachable:
    """Return the error for a request that the engine didn't answer, or not to the end."""
    return EngineUnreachable(
        f"{action}: the engine stopped answering", remedy="see that it runs, then run the same command again"
    )


def connection_lost(action: str) -> EngineUnreachable:
    """Return the error for a stream that ended although the engine still works on it."""
    return EngineUnreachable(f"{action}: the connection to the engine was lost", remedy="run the same command again")
