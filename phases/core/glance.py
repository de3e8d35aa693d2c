"""What a run that builds nothing asks of the engine: which images it has, and about the container to be started.

Asked with plain requests on the engine's socket where it has one, since importing the docker package takes
longer than all else together. Whatever is unusual about the way to the engine, or about its answer, is left
to that package, and so is saying what is wrong.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from phases.core import answers

if TYPE_CHECKING:
    from phases.core.engine import Container, Image

_DEFAULT = "unix:///var/run/docker.sock"

# Seconds that the engine may take to answer.
_PATIENCE = 5


_IMAGES = "/images/json"


class _Ahead(threading.Thread):
    """A question that is asked while something else is done."""

    def __init__(self, path: str) -> None:
        super().__init__(daemon=True)
        self._path = path
        self._answer: tuple[int, bytes] = (0, b"")
        self.start()

    def run(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._answer = _ask("GET", self._path)

    def answer(self) -> tuple[int, bytes]:
        self.join()
        return self._answer


# The question for the images, from when it is asked until its answer is wanted.
_asked: list[_Ahead] = []


def ask_ahead() -> None:
    """Ask for the images, of which `images` tells the next time: the engine takes longer than that."""
    _asked[:] = [_Ahead(_IMAGES)]


def images() -> list[Image] | None:
    """The images of the engine that `docker` would speak to; None where this is no way to ask for them."""
    try:
        return answers.images(_content(_asked.pop().answer() if _asked else _ask("GET", _IMAGES)))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def container(name: str) -> Container | None:
    """A container by its name or id; None where there is none, or this is no way to ask."""
    try:
        return answers.container(_content(_ask("GET", f"/containers/{quote(name, safe='')}/json")))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def start(container: str) -> bool:
    """Start a container. Returns whether it runs now; where not, it may still be on its way to that."""
    try:
        status, _ = _ask("POST", f"/containers/{quote(container, safe='')}/start")
    except (OSError, ValueError):
        return False
    return status in (204, 304)  # 304: it ran already


def _content(answer: tuple[int, bytes]) -> Any:
    """Raises ValueError for anything but an answer that is one."""
    status, body = answer
    if status != 200:
        raise ValueError(status)
    return json.loads(body)


def _ask(method: str, path: str) -> tuple[int, bytes]:
    """Status and body. Raises OSError or ValueError where there is no such answer."""
    place = _socket_path()
    if not place:
        raise OSError("the engine is on no socket of this machine, as far as a glance tells")
    # Of HTTP/1.0, so that the answer comes whole, and ends with the connection.
    head, _, body = _answer(place, f"{method} {path} HTTP/1.0\r\nHost: engine\r\n\r\n".encode()).partition(b"\r\n\r\n")
    status = head.split(None, 2)[1:2]
    return int(status[0] if status else b""), body


def _socket_path() -> str:
    """Of the current engine, "" where it isn't on a socket of this machine as far as a glance tells."""
    host = os.environ.get("DOCKER_HOST") or ("" if _has_context() else _DEFAULT)
    return host.removeprefix("unix://") if host.startswith("unix:///") else ""


def _has_context() -> bool:
    """Whether a docker context may say where the engine is."""
    if os.environ.get("DOCKER_CONTEXT"):
        return True
    folder = os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker"
    try:
        return b"currentContext" in Path(folder, "config.json").read_bytes()
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _answer(path: str, request: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(_PATIENCE)
        line.connect(path)
        line.sendall(request)
        parts = []
        while part := line.recv(1 << 20):
            parts.append(part)
        return b"".join(parts)
