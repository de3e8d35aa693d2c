"""A connection with TLS, used as a plain one."""

from __future__ import annotations

import hashlib
import select
import socket
import ssl
import subprocess
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from conftest import wait_until

from phases.core.engine import tls
from phases.core.engine.http import receive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# More than is on its way at once.
BIG = bytes(range(256)) * 40_000


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of localhost, with its key."""
    folder = tmp_path_factory.mktemp("tls")
    files = ("-keyout", str(folder / "key"), "-out", str(folder / "certificate"))
    names = ("-subj", "/CN=tests", "-addext", "subjectAltName=DNS:localhost")
    argv = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names, *files)
    subprocess.run(argv, check=True, capture_output=True)
    path = folder / "both"
    path.write_text((folder / "key").read_text() + (folder / "certificate").read_text())
    return path


@contextmanager
def serving(
    certificate: Path, serve: Callable[[ssl.SSLSocket], object], host: str = "localhost"
) -> Iterator[socket.socket]:
    """A connection to somebody who does that. Nothing of it is left."""
    before = threading.active_count()
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(certificate)

    def run(line: socket.socket) -> None:
        with suppress(OSError), theirs.wrap_socket(line, server_side=True) as safe:
            serve(safe)

    with socket.create_server(("127.0.0.1", 0)) as server:
        line = socket.create_connection(server.getsockname(), 20)
        threading.Thread(target=run, args=(server.accept()[0],)).start()
    try:
        with ExitStack() as opened:
            opened.callback(line.close)
            ours = tls.bridge(line, ssl.create_default_context(cafile=str(certificate)), host)
            opened.pop_all()  # the line is the bridge's from now on
            with ours:
                ours.settimeout(20)
                yield ours
    finally:
        wait_until(lambda: threading.active_count() == before, seconds=20)


def to_its_end(line: socket.socket) -> bytes:
    output = b""
    while piece := receive(line):
        output += piece
    return output


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_tls_half_closed_connection_can_still_be_read(certificate: Path) -> None:
    def serve(line: ssl.SSLSocket) -> None:
        line.sendall(b"told " + digest(to_its_end(line)).encode())

    with serving(certificate, serve) as ours:
        ours.sendall(BIG)
        ours.shutdown(socket.SHUT_WR)
        assert to_its_end(ours) == b"told " + digest(BIG).encode()


def test_tls_large_data_in_both_directions_arrives(certificate: Path) -> None:
    def echo(line: ssl.SSLSocket) -> None:
        while piece := line.recv(65536):
            line.sendall(piece)

    with serving(certificate, echo) as ours:

        def ask() -> None:
            ours.sendall(BIG)
            ours.shutdown(socket.SHUT_WR)

        asking = threading.Thread(target=ask)
        asking.start()
        output = to_its_end(ours)
        asking.join()
        assert digest(output) == digest(BIG)


def test_tls_connection_supports_peek_and_select(certificate: Path) -> None:
    with serving(certificate, lambda line: line.sendall(b"hello")) as ours:
        assert select.select([ours], [], [], 20)[0] == [ours]
        assert ours.recv(2, socket.MSG_PEEK) == b"he"
        assert to_its_end(ours) == b"hello"


def test_tls_slow_reader_gets_all_data_without_busy_waiting(certificate: Path) -> None:
    with serving(certificate, lambda line: line.sendall(BIG)) as ours:
        time.sleep(0.2)
        began = time.process_time()
        time.sleep(0.5)
        assert time.process_time() - began < 0.2
        assert digest(to_its_end(ours)) == digest(BIG)


@pytest.mark.parametrize("sends", [b"", BIG], ids=["says nothing", "says much"])
def test_tls_close_ends_both_sides(certificate: Path, sends: bytes) -> None:
    """`serving` waits for the end of both."""

    def serve(line: ssl.SSLSocket) -> None:
        line.sendall(sends)
        to_its_end(line)

    with serving(certificate, serve) as ours:
        ours.sendall(b"hello")


def test_tls_wrong_host_name_is_refused(certificate: Path) -> None:
    with (
        pytest.raises(ssl.SSLCertVerificationError, match=r"example\.org"),
        serving(certificate, lambda line: line.recv(1), "example.org"),
    ):
        pass


def test_tls_peer_closing_at_once_is_error(certificate: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        line = socket.create_connection(server.getsockname(), 20)
        server.accept()[0].close()
        with line, pytest.raises(OSError):
            tls.bridge(line, ssl.create_default_context(cafile=str(certificate)), "localhost")
