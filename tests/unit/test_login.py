"""`habitat login`: the URL in one line, and a port for the browser to come back to."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest
from unit_helpers import FakeTerminal, built_demo, load

from phases.core.engine.types import Container
from phases.core.errors import StartError
from phases.core.runtime.person import callbacks, login
from phases.core.runtime.person.callbacks import CallbackPorts
from phases.core.runtime.person.login import LoginExec
from phases.core.runtime.person.login_urls import LoginUrls, callback_port
from phases.core.runtime.session.session import Session

if TYPE_CHECKING:
    from pathlib import Path

URL = "https://agent.example/oauth/authorize?code=true&redirect_uri=http%3A%2F%2Flocalhost%3A54545%2Fcallback&state=abc"


def found(output: bytes, columns: int = 80) -> list[tuple[str, int]]:
    return [tuple(one) for one in LoginUrls(columns).feed(output)]  # type: ignore[misc]


def wrapped(text: str, columns: int, end: str = "\r\n", indent: str = "") -> bytes:
    rows = [text[i : i + columns] for i in range(0, len(text), columns)]
    return (indent + f"{end}{indent}".join(rows) + end + end).encode()


@pytest.mark.parametrize(
    "output",
    [
        f"Open {URL} now\r\n".encode(),
        f"\x1b[2J\x1b[1;34m{URL}\x1b[0m\r\n\r\n".encode(),
        f"\x1b]8;;{URL}\x07{URL}\x1b]8;;\x07\n".encode(),
        wrapped(URL, 80),
        wrapped(URL, 76, indent="  "),
        wrapped(URL, 80, "\x1b[K\r\n"),
        wrapped(URL, 80, "\n"),
    ],
)
def test_url_is_found_whole_with_its_port(output: bytes) -> None:
    assert found(output) == [(URL, 54545)]


def test_url_that_arrives_in_pieces_is_found_once_and_complete() -> None:
    urls = LoginUrls(200)
    data = f"Go to {URL}\r\nPaste code here: ".encode()
    seen = [one.url for i in range(len(data)) for one in urls.feed(data[i : i + 1])]
    assert seen == [URL]
    assert urls.feed(data) == []


@pytest.mark.parametrize(
    "output",
    [
        b"see https://docs.example/manual for help\n",
        b"http://agent.example/oauth\n",
        f"https://agent.example/oauth?{'x' * 9000}\n".encode(),
        b"\x00" * 70_000,
        b"https://" * 20_000,
        b"no url \x1b]8;;\x1b\\ at all\n",
    ],
)
def test_output_without_a_url_of_a_login_has_none(output: bytes) -> None:
    assert found(output, 300) == []


@pytest.mark.parametrize(
    ("target", "port"),
    [
        ("http://localhost:1455/auth/callback", 1455),
        ("http://127.0.0.1:8085/", 8085),
        ("http://[::1]:9999/x", 9999),
        ("http://localhost/callback", 0),
        ("http://localhost:99999/", 0),
        ("http://evil.example:1455/", 0),
        ("http://localhost.evil.example:1455/", 0),
        ("http://localhost:1455@evil.example/", 0),
        ("https://localhost:1455/", 0),
        ("http://[::1/", 0),
        ("file:///etc/passwd", 0),
    ],
)
@pytest.mark.guarantee("login-port-is-for-the-browser-only")
def test_port_is_one_of_this_machine_only(target: str, port: int) -> None:
    assert callback_port(f"https://agent.example/auth?redirect_uri={target}") == port


class FakePorts:
    """Opens every port but 1."""

    def open(self, port: int) -> str:
        return "Address already in use" if port == 1 else ""


class FakeTty:
    """Prints something, then ends."""

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = [*chunks]

    def read(self) -> bytes | None:
        return self._chunks.pop(0) if self._chunks else None


def test_line_of_ours_has_the_url_as_a_link_and_says_where_the_browser_comes_back() -> None:
    text = f"{URL}\r\nwaiting".encode()
    process = LoginExec(FakeTty(text), LoginUrls(200), FakePorts())  # type: ignore[arg-type]
    shown = process.read()
    assert shown
    assert shown.startswith(text)
    assert f"\r\n⇒ open this in your browser: \x1b]8;;{URL}\x1b\\{URL}\x1b]8;;\x1b\\\r\n".encode() in shown
    assert "⇒ http://localhost:54545 of this machine leads into the habitat until the login ends\r\n".encode() in shown
    assert process.read() is None
    taken = LoginExec(FakeTty(text.replace(b"54545", b"1")), LoginUrls(200), FakePorts())  # type: ignore[arg-type]
    assert b"http://localhost:1 can not lead into the habitat: Address already in use" in (taken.read() or b"")


def test_login_without_command_or_terminal_is_one_line(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "entry: {command: 'true'}\n")
    with pytest.raises(StartError, match=r"demo: there is no entry.login: name the command: `doit login:demo --cmd"):
        login.login(demo.run_anew(), "demo", "", FakeTerminal())
    with pytest.raises(StartError, match="demo: a login needs a terminal"):
        login.login(demo.run_anew(), "demo", "agent login", FakeTerminal())
    assert demo.engine.container("habitat-demo") is None


def test_login_of_the_config_resolves_variables(tmp_path: Path) -> None:
    habitat = load(tmp_path, "base_image: b\nenv: [A=agent]\nentry: {login: '$A login $$X'}\n")
    assert habitat.entry.login == "agent login $X"


class Connection:
    """A `Piped` that is the program of connect.sh on this machine."""

    def __init__(self, argv: tuple[str, ...]) -> None:
        self._ours, theirs = socket.socketpair()
        self.process = subprocess.Popen(argv, stdin=theirs.fileno(), stdout=theirs.fileno())
        theirs.close()

    def fileno(self) -> int:
        return self._ours.fileno()

    def read(self) -> list[tuple[bytes, bool]] | None:
        data = self._ours.recv(65536)
        return [(data, False)] if data else None

    def write(self, data: bytes) -> int:
        return self._ours.send(data)

    def end_input(self) -> None:
        self._ours.shutdown(socket.SHUT_WR)

    def send_signal(self, _: str) -> None:
        self.process.kill()

    def exit_code(self) -> int:
        return self.process.wait(20)

    def close(self) -> None:
        self._ours.close()
        self.process.wait(20)


@pytest.fixture
def ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CallbackPorts:
    demo = built_demo(tmp_path, "entry: {command: 'true'}\n")

    engine = demo.engine
    monkeypatch.setattr(engine, "exec_piped", lambda _container, argv, **_: Connection(argv))
    project = demo.project

    return CallbackPorts(
        Session(project, project.habitat("demo"), Container("c", "c", "i", running=True), (), "a", "/")
    )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def ask(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 20) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := client.recv(4096):
            answer += chunk
        return answer


@pytest.mark.guarantee("login-port-is-for-the-browser-only")
def test_port_leads_a_get_request_to_the_server_and_nothing_else(
    ports: CallbackPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, inside = free_port(), free_port()
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", inside)) as server:

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    seen.append(client.recv(4096))
                    client.sendall(b"HTTP/1.1 200 OK\r\n\r\nlogged in")

        threading.Thread(target=serve, daemon=True).start()
        exchange = ports._exchange
        monkeypatch.setattr(ports, "_exchange", lambda client, data, _: exchange(client, data, inside))
        assert ports.open(port) == ""
        assert ports.open(port) == ""
        assert ask(port, b"GET /callback?code=1 HTTP/1.1\r\n\r\n").endswith(b"logged in")
        assert ask(port, b"POST / HTTP/1.1\r\n\r\n") == b""
        assert ask(port, b"\x00\x03binary") == b""
        assert seen == [b"GET /callback?code=1 HTTP/1.1\r\n\r\n"]
        ports.close()
        server.shutdown(socket.SHUT_RDWR)
    with pytest.raises(ConnectionRefusedError):
        ask(port, b"GET / HTTP/1.1\r\n\r\n")


@pytest.mark.guarantee("login-port-is-for-the-browser-only")
def test_ports_of_system_services_taken_ones_and_many_are_refused(ports: CallbackPorts) -> None:
    assert ports.open(80) == "it is no port for a login"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert ports.open(taken.getsockname()[1]) == os.strerror(98)
    for _ in range(callbacks._MOST_PORTS):
        assert ports.open(free_port()) == ""
    assert ports.open(free_port()) == "it is no port for a login"
    ports.close()
