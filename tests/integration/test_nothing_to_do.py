"""A run with nothing to do asks the engine one thing, and loads what that takes. Counted, since seconds lie."""

from __future__ import annotations

import os
import re
import socket
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from conftest import clear, fresh_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Project

    from phases.core.engine.docker_api.client import DockerEngine

pytestmark = pytest.mark.engine

#: What no-one needs who only compares hashes with labels.
HEAVY = {"docker", "requests", "urllib3", "pathspec", "ruamel", "difflib", "tarfile", "socketserver", "ssl"}
# Of a person's terminal, or of who finds out why something is to be built.
HEAVY |= {"rich", "concurrent.futures", "phases.core.report.plan", "phases.core.report.changes"}
HEAVY |= {
    "phases.core.build.executor",
    "phases.core.runtime.session.session",
    "phases.core.engine.docker_config",
    "phases.core.migrate",
}


@contextmanager
def overheard(place: Path) -> Iterator[list[bytes]]:
    """The engine behind a socket at `place`, and what is asked of it there: the first line of each connection."""
    asked: list[bytes] = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(place))
    listener.listen()

    def serve() -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=pass_on, args=(line,), daemon=True).start()

    def pass_on(line: socket.socket) -> None:
        with line, socket.socket(socket.AF_UNIX) as engine:
            engine.connect("/var/run/docker.sock")
            request = line.recv(65536)
            asked.append(request.split(b"\r\n")[0])
            engine.sendall(request)
            while data := engine.recv(65536):
                line.sendall(data)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield asked
    finally:
        listener.close()


def test_cached_run_makes_one_engine_request_and_loads_no_heavy_module(
    project: Project, engine: DockerEngine, busybox: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    name = project.habitat(fresh_name(), f"base_image: {busybox}\nenv: [USER=root]\n")
    project.write(f"habitats/{name}/copied.txt", "x")
    try:
        assert project.doit(f"final:{name}").code == 0
        place = tmp_path_factory.mktemp("s") / "s"
        with overheard(place) as asked:
            argv = (sys.executable, "-X", "importtime", "-m", "doit", f"final:{name}")
            result = project.run(*argv, env={"DOCKER_HOST": f"unix://{place}", "DOCKER_CONFIG": os.devnull})
        assert result.code == 0, result.out
        assert f"{name} ready in" in result.out
        assert asked == [b"GET /v1.41/images/json HTTP/1.0"]
        loaded = set(re.findall(r"^import time:.*\| *(\S+)$", result.out, re.MULTILINE))
        assert "phases.core.engine.connect" in loaded, "the list of modules is one"
        assert loaded & HEAVY == set()
    finally:
        clear(engine, name)
