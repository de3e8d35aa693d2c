"""The one question of a run that has nothing to do: which images the engine has.

Asked with a plain request on the engine's socket where it has one, since importing the docker package
takes longer than all else together. Whatever is unusual about the way to the engine, or about its
answer, is left to that package, and so is saying what is wrong.
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from phases.core import answers

if TYPE_CHECKING:
    from phases.core.engine import Image

_DEFAULT = "unix:///var/run/docker.sock"

# Seconds that the engine may take to answer.
_PATIENCE = 5

# Of HTTP/1.0, so that the answer comes whole, and ends with the connection.
_REQUEST = b"GET /images/json HTTP/1.0\r\nHost: engine\r\n\r\n"


def images() -> list[Image] | None:
    """The images of the engine that `docker` would speak to; None where this is no way to ask for them."""
    path = _socket_path()
    if not path:
        return None
    try:
        head, _, body = _answer(path).partition(b"\r\n\r\n")
        if head.split(None, 2)[1:2] != [b"200"]:
            return None
        return answers.images(json.loads(body))
    except (OSError, ValueError, TypeError, KeyError):
        return None


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


def _answer(path: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(_PATIENCE)
        line.connect(path)
        line.sendall(_REQUEST)
        parts = []
        while part := line.recv(1 << 20):
            parts.append(part)
        return b"".join(parts)
