"""The engine's API on a socket of this machine, without the docker package, and what is left to that."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from unit_helpers import answering

from phases.core import socket_api
from phases.core.docker_engine import DockerEngine
from phases.core.engine import Image
from phases.core.errors import EngineError, EngineUnreachable, NotFound
from phases.core.execs import received
from phases.core.socket_api import SocketApi

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROWS = [
    {"Id": "sha256:1", "RepoTags": ["habitat-x:final", "habitat-x:12-final"], "Labels": {"habitat.name": "x"}},
    {"Id": "sha256:2", "RepoTags": ["<none>:<none>"], "Labels": None},
    {"Id": "sha256:3", "RepoTags": None},
]
IMAGES = [
    Image("sha256:1", ("habitat-x:final", "habitat-x:12-final"), {"habitat.name": "x"}),
    Image("sha256:2", (), {}),
    Image("sha256:3", (), {}),
]


def http(body: bytes, status: str = "200 OK", length: int | None = None) -> bytes:
    told = "" if length is None else f"Content-Length: {length}\r\n"
    return f"HTTP/1.0 {status}\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\n{told}\r\n".encode() + body


LISTED = http(json.dumps(ROWS).encode())


@pytest.fixture(autouse=True)
def no_config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    monkeypatch.setattr(socket_api, "_asked", [])


def engine_at(place: Path) -> DockerEngine:
    return DockerEngine(SocketApi(str(place)))


def test_a_request_is_a_connection(tmp_path: Path) -> None:
    engine = engine_at(tmp_path / "s")
    with answering(tmp_path / "s", LISTED) as asked:
        assert engine.images() == IMAGES
    (request,) = asked
    assert request == b"GET /images/json HTTP/1.0\r\nHost: engine\r\n\r\n"


def test_what_a_name_holds_is_no_part_of_the_request(tmp_path: Path) -> None:
    engine = engine_at(tmp_path / "s")
    with answering(tmp_path / "s", b"HTTP/1.0 204 No Content\r\n\r\n") as asked:
        engine.start("a?b=c HTTP/1.0\r\nX: y")
    assert asked[0].startswith(b"POST /containers/a%3Fb%3Dc%20HTTP/1.0%0D%0AX:%20y/start HTTP/1.0\r\nHost: engine\r\n")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense",
        b"HTTP/1.0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n",
        http(b"{"),
        http(json.dumps(ROWS).encode(), length=5000),
        http(b"[" * (2 << 20)).replace(b"\r\n\r\n", b"\r\n"),
    ],
)
def test_an_answer_that_is_none_is_told_as_an_engine_that_is_gone(tmp_path: Path, answer: bytes) -> None:
    engine = engine_at(tmp_path / "s")
    with answering(tmp_path / "s", answer), pytest.raises(EngineUnreachable) as caught:
        engine.images()
    assert caught.value.message == "listing images: the engine stopped answering"


@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        (http(b'{"message": "no such thing."}\n', "404 Not Found"), NotFound, "no such thing"),
        (http(b"a proxy's own words", "502 Bad Gateway"), EngineError, "a proxy's own words"),
        (http(b"[]", "500 Oh"), EngineError, "[]"),
        (http(b"", "500 Oh"), EngineError, "the engine says 500"),
        (b"HTTP/1.0 503\r\n\r\n", EngineError, "the engine says 503"),
    ],
)
def test_a_refusal_is_told_with_its_reason(tmp_path: Path, answer: bytes, kind: type[EngineError], reason: str) -> None:
    engine = engine_at(tmp_path / "s")
    with answering(tmp_path / "s", answer), pytest.raises(kind) as caught:
        engine.images()
    assert caught.value.message == f"listing images: {reason}"


def test_an_engine_that_says_nothing_is_waited_for_so_long(tmp_path: Path) -> None:
    """And no longer, as far as its answer goes; a command may be silent as long as it likes."""
    there = threading.Event()
    engine = DockerEngine(SocketApi(str(tmp_path / "s"), patience=0.1))
    with answering(tmp_path / "s", LISTED, when=there):
        with pytest.raises(EngineUnreachable):
            engine.images()
        there.set()


def test_a_body_that_the_engine_does_not_read_to_its_end_is_refused_with_its_reason(tmp_path: Path) -> None:
    """More than fits into a socket, so that whoever sends it is still at it."""
    engine = engine_at(tmp_path / "s")
    said = b'{"message": "no"}'
    answer = http(said, "404 Not Found", len(said))
    with answering(tmp_path / "s", answer), pytest.raises(NotFound):
        engine.put("c", "/", io.BytesIO(bytes(50_000_000)))


def test_a_long_answer_is_read_whole(tmp_path: Path) -> None:
    rows = [{"Id": f"sha256:{number}"} for number in range(20_000)]
    body = json.dumps(rows).encode()
    engine = engine_at(tmp_path / "s")
    with answering(tmp_path / "s", http(body, length=len(body))):
        assert [image.id for image in engine.images()] == [row["Id"] for row in rows]


@pytest.mark.parametrize("cut", range(1, 30))
def test_what_a_command_prints_at_once_is_not_lost_behind_the_head_of_the_answer(tmp_path: Path, cut: int) -> None:
    """However the head is cut into pieces."""
    printed = b"\x01\x00\x00\x00\x00\x00\x00\x05first"
    head = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    with answering(tmp_path / "s", head[:-cut], head[-cut:] + printed) as asked:
        reply = SocketApi(str(tmp_path / "s")).send("POST", "/exec/0/start", b"{}", hands_over=True)
        assert reply.status == 101
        with closing(reply.line()) as line:
            assert received(line.socket) == printed
    assert b"\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n" in asked[0]


# Where the engine is


def place_asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sockets that are asked from now on, none of which anybody listens at."""
    asked: list[str] = []

    def send(api: SocketApi, *_: object) -> None:
        asked.append(api._path)
        raise OSError

    monkeypatch.setattr(SocketApi, "send", send)
    return asked


def ways() -> list[Callable[[], object]]:
    return [socket_api.ask_ahead, lambda: socket_api.socket_path() and socket_api.connect()]


@pytest.mark.parametrize("host", ["tcp://127.0.0.1:1", "ssh://nobody@127.0.0.1", "npipe:////./pipe/docker", "x"])
def test_another_way_to_the_engine_is_left_to_the_docker_package(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    asked = place_asked(monkeypatch)
    for way in ways():
        way()
    assert asked == []


@pytest.mark.parametrize("told_by", ["the environment", "the config", "a config that can't be read"])
def test_so_is_a_docker_context(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, told_by: str) -> None:
    monkeypatch.delenv("DOCKER_HOST")
    asked = place_asked(monkeypatch)
    folder = tmp_path / "config"
    if told_by == "the environment":
        monkeypatch.setenv("DOCKER_CONTEXT", "colima")
    elif told_by == "the config":
        folder.mkdir()
        (folder / "config.json").write_text('{"currentContext": "colima"}')
    else:
        folder.write_text("a file where the folder should be")
    for way in ways():
        way()
    assert asked == []


def test_without_any_of_it_the_default_socket_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST")
    asked = place_asked(monkeypatch)
    socket_api.ask_ahead()
    with pytest.raises(EngineUnreachable) as caught:
        socket_api.connect()
    assert caught.value.message == "no Docker engine answers at the default socket"
    assert asked == ["/var/run/docker.sock"] * 2


# Asked ahead


def connected() -> DockerEngine:
    return DockerEngine(*socket_api.connect())


def test_the_images_may_be_asked_for_ahead(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Once: who asks again hears what is true then."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/s")
    with answering(tmp_path / "s", LISTED) as asked:
        socket_api.ask_ahead()
    assert len(asked) == 1
    engine = connected()
    assert engine.images() == IMAGES
    with pytest.raises(EngineUnreachable):
        engine.images()


def test_an_answer_ahead_that_is_none_is_asked_for_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/s")
    with answering(tmp_path / "s", b"nonsense"):
        socket_api.ask_ahead()
    (tmp_path / "s").unlink()
    with answering(tmp_path / "s", http(b"OK")) as asked:
        engine = connected()
    assert asked[0].startswith(b"GET /_ping ")
    (tmp_path / "s").unlink()
    with answering(tmp_path / "s", LISTED):
        assert engine.images() == IMAGES


@pytest.mark.parametrize("answer", [b"", b"220 mail.example.org ESMTP\r\n", b"HTTP/1.1 200 OK\r\n\r\nhello"])
def test_who_answers_as_no_engine_does_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: bytes) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/s")
    with answering(tmp_path / "s", answer), pytest.raises(EngineUnreachable) as caught:
        connected()
    assert caught.value.message == f"no Docker engine answers at unix://{tmp_path}/s"


def test_where_nobody_answers_ahead_whoever_connects_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody")
    socket_api.ask_ahead()
    with pytest.raises(EngineUnreachable) as caught:
        connected()
    assert caught.value.message == f"no Docker engine answers at unix://{tmp_path}/nobody"


def test_none_of_it_loads_the_docker_package(tmp_path: Path) -> None:
    script = (
        "import sys; from phases.core import docker_engine, socket_api; "
        "socket_api.ask_ahead(); docker_engine.connect().images(); "
        "print([name for name in ('docker', 'requests', 'http') if name in sys.modules])"
    )
    with answering(tmp_path / "s", LISTED):
        env = {"DOCKER_HOST": f"unix://{tmp_path}/s", "PATH": "/usr/bin:/bin"}
        done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr
