"""Requests through docker-py over a Unix socket, TCP and TLS."""

from __future__ import annotations

import hashlib
import json
import select
import socket
import ssl
import subprocess
import threading
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from unit_helpers import LISTED, http

from phases.core.engine.docker_api.client import DockerEngine
from phases.core.engine.http import HttpClient
from phases.core.engine.transport import Route
from phases.core.errors import EngineUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from phases.core.engine.connections import Stream

# More than the buffers of two sockets hold.
BIG = bytes(range(256)) * 40_000

UPGRADED = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of localhost, with its key."""
    folder = tmp_path_factory.mktemp("tls")
    files = ("-keyout", str(folder / "key"), "-out", str(folder / "certificate"))
    names = ("-subj", "/CN=tests", "-addext", "subjectAltName=DNS:localhost")
    argv = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names, *files)
    subprocess.run(argv, check=True, capture_output=True)
    path = folder / "both"
    path.write_text((folder / "key").read_text() + (folder / "certificate").read_text())
    return path


@contextmanager
def serving(kind: str, certificate: Path, serve: Callable[[socket.socket, bytes], object]) -> Iterator[Route]:
    """Serve one connection: `serve` gets it and the head of the request. Yield the route to the server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    path = str(certificate.with_name("socket"))
    server = socket.socket(socket.AF_UNIX) if kind == "unix" else socket.socket()
    server.bind(path if kind == "unix" else ("127.0.0.1", 0))
    server.listen()
    server.settimeout(20)

    def run() -> None:
        with suppress(OSError):
            connection = server.accept()[0]
            with context.wrap_socket(connection, server_side=True) if kind == "tls" else connection as connection:
                head = b""
                while not head.endswith(b"\r\n\r\n{}" if b"Content-Length" in head else b"\r\n\r\n"):
                    head += connection.recv(65536)
                serve(connection, head)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        if kind == "unix":
            yield Route("a test", path)
        elif kind == "tcp":
            yield Route("a test", url=f"http://127.0.0.1:{server.getsockname()[1]}")
        else:
            trusted = ssl.create_default_context(cafile=str(certificate))
            yield Route("a test", url=f"https://localhost:{server.getsockname()[1]}", tls=trusted)
    finally:
        thread.join(20)
        server.close()
        certificate.with_name("socket").unlink(missing_ok=True)
        assert not thread.is_alive()


@contextmanager
def upgraded(route: Route) -> Iterator[Stream]:
    with closing(HttpClient(route).upgrade("/exec/0/start", b"{}", "running a command")) as response:
        assert response.status == 101
        yield response.connection


def received(connection: socket.socket) -> bytes:
    """Return what arrives up to the end."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def output(stream: Stream) -> bytes:
    """Return what arrives up to the end."""
    return b"".join(iter(stream.receive, b""))


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode()


every_route = pytest.mark.parametrize("kind", ["unix", "tcp", "tls"])


@every_route
def test_stream_gives_output_that_arrived_with_the_head(kind: str, certificate: Path) -> None:
    with (
        serving(kind, certificate, lambda line, _: line.sendall(UPGRADED + b"first")) as route,
        upgraded(route) as stream,
    ):
        assert select.select([stream], [], [], 20)[0] == [stream]
        assert stream.receive() == b"first"
        assert output(stream) == b""


@every_route
def test_stream_whose_input_has_ended_can_still_be_read(kind: str, certificate: Path) -> None:
    def serve(line: socket.socket, _: bytes) -> None:
        line.sendall(UPGRADED)
        line.sendall(b"received " + digest(received(line)))

    with serving(kind, certificate, serve) as route, upgraded(route) as stream:
        stream.send(BIG)
        stream.end_input()
        assert output(stream) == b"received " + digest(BIG)


@every_route
def test_stream_in_both_directions_at_once_loses_nothing(kind: str, certificate: Path) -> None:
    def echo(line: socket.socket, _: bytes) -> None:
        line.sendall(UPGRADED)
        while data := line.recv(65536):
            line.sendall(data)

    with serving(kind, certificate, echo) as route, upgraded(route) as stream:
        unsent, result, is_over = memoryview(BIG), b"", False
        while not is_over:
            readable, writable, _ = select.select([stream], [stream] if unsent else [], [], 20)
            if writable:
                unsent = unsent[stream.send_some(bytes(unsent[:100_000])) :]
                if not unsent:
                    stream.end_input()
            if readable:
                data = stream.receive()
                result, is_over = result + data, not data
    assert digest(result) == digest(BIG)


@every_route
def test_stream_closed_early_ends_the_other_side(kind: str, certificate: Path) -> None:
    """`serving` waits for that."""

    def serve(line: socket.socket, _: bytes) -> None:
        line.sendall(UPGRADED + b"first")
        received(line)

    with serving(kind, certificate, serve) as route, upgraded(route):
        pass


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_stream_reset_by_engine_gives_received_bytes_then_end(kind: str, certificate: Path) -> None:
    def serve(line: socket.socket, _: bytes) -> None:
        line.sendall(UPGRADED + b"the last words")
        line.recv(1)  # and leaves the rest, so that the kernel resets the connection

    with serving(kind, certificate, serve) as route, upgraded(route) as stream:
        stream.send(b"that nobody reads")
        assert output(stream) == b"the last words"


def test_tls_certificate_of_other_host_is_refused(certificate: Path) -> None:
    with serving("tls", certificate, lambda line, _: line.sendall(LISTED)) as route:
        other = route._replace(url=route.url.replace("localhost", "127.0.0.1"))
        with pytest.raises(ssl.SSLCertVerificationError, match=r"127\.0\.0\.1"):
            HttpClient(other).send("GET", "/images/json")


@pytest.mark.parametrize("kind", ["tcp", "tls"])
def test_server_that_closes_at_once_is_unreachable_engine(kind: str, certificate: Path) -> None:
    with serving(kind, certificate, lambda line, _: line.close()) as route, pytest.raises(EngineUnreachable):
        DockerEngine(HttpClient(route)).images()


@pytest.mark.parametrize("kind", ["tcp", "tls"])
def test_request_path_begins_with_base_path_and_api_version(kind: str, certificate: Path) -> None:
    heads: list[bytes] = []

    def serve(line: socket.socket, head: bytes) -> None:
        heads.append(head)
        line.sendall(LISTED)

    with serving(kind, certificate, serve) as route:
        DockerEngine(HttpClient(route._replace(url=f"{route.url}/docker"))).images()
    host = route.url.partition("://")[2].encode()
    assert heads[0].startswith(b"GET /docker/v1.41/images/json HTTP/1.1\r\nHost: " + host + b"\r\n")


@every_route
@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTP_PROXY", "ALL_PROXY", "https_proxy"])
def test_request_ignores_settings_for_other_servers(
    monkeypatch: pytest.MonkeyPatch, kind: str, certificate: Path, name: str
) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:1" if name.lower().endswith("proxy") else "/nowhere")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with serving(kind, certificate, lambda line, _: line.sendall(http(b"[]"))) as route:
        assert DockerEngine(HttpClient(route)).containers() == []


@pytest.mark.parametrize(
    "config", ["[]", '{"auths": {"a": []}}', '{"proxies": []}', '{"auths": {"a": {"auth": "!"}}}', "{"]
)
def test_request_needs_no_valid_docker_config(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, certificate: Path, config: str
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text(config)
    with serving("unix", certificate, lambda line, _: line.sendall(http(b"[]"))) as route:
        assert DockerEngine(HttpClient(route)).containers() == []


def test_request_after_interrupted_one_is_answered(certificate: Path) -> None:
    class Interrupt(KeyboardInterrupt):
        pass

    def interrupt() -> None:
        raise Interrupt

    def serve(line: socket.socket, _: bytes) -> None:
        assert line.recv(1) == b""

    with serving("unix", certificate, serve) as route:
        client = HttpClient(route, timeout=0.6)
        client.timeout.remaining = lambda *_: interrupt()  # type: ignore[method-assign, assignment]
        with pytest.raises(Interrupt):
            client.send("GET", "/containers/json")
    with (
        serving("unix", certificate, lambda line, _: line.sendall(http(b"[]"))),
        closing(client.send("GET", "/containers/json")) as response,
    ):
        assert json.loads(response.body()) == []
