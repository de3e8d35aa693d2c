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

#: The most modules of the program that a cached run loads, and a start of a container that exists. A module takes
#: 0.2 to 0.5 ms. If a change needs one more, import another one late. `python -X importtime -m doit final:NAME` shows
#: all of them.
MOST_MODULES = {"final": 160, "start": 215}


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


def modules(project: Project, *words: str, env: dict[str, str] | None = None) -> set[str]:
    """Return the modules that a run loads in which all phases are up to date."""
    result = project.run(sys.executable, "-X", "importtime", "-m", "doit", *words, env=env)
    assert result.code == 0, result.out
    assert " ready in" in result.out
    return set(re.findall(r"^import time:.*\| *(\S+)$", result.out, re.MULTILINE))


def own(loaded: set[str]) -> list[str]:
    return sorted(module for module in loaded if module.split(".")[0] == "phases")


def test_cached_run_makes_one_engine_request_and_loads_few_modules(
    project: Project, engine: DockerEngine, busybox: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    name = project.habitat(fresh_name(), f"base_image: {busybox}\nenv: [USER=root]\n")
    project.write(f"habitats/{name}/copied.txt", "x")
    try:
        assert project.doit(f"final:{name}").code == 0
        place = tmp_path_factory.mktemp("s") / "s"
        with overheard(place) as asked:
            env = {"DOCKER_HOST": f"unix://{place}", "DOCKER_CONFIG": os.devnull}
            loaded = modules(project, f"final:{name}", env=env)
        assert asked == [b"GET /v1.41/images/json HTTP/1.0"]
        assert "phases.core.engine.connect" in loaded, "the list of modules is one"
        assert loaded & HEAVY == set()
        assert len(own(loaded)) <= MOST_MODULES["final"], own(loaded)

        assert project.doit(f"start:{name}", "--cmd", "true").code == 0, "it creates the container"
        loaded = modules(project, f"start:{name}", "--cmd", "true")
        assert "phases.core.runtime.session.open" in loaded
        assert len(own(loaded)) <= MOST_MODULES["start"], own(loaded)
    finally:
        clear(engine, name)
