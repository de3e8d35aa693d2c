"""The variables by which programs in a habitat use its gate."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest
from unit_helpers import load

from phases.core.container import gate_variables, root_environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BYTES = bytes(range(256)) * 300


def proxy(answer: bytes, after: Callable[[socket.socket], None]) -> tuple[int, list[bytes]]:
    """A proxy for one connection. Returns its port, and what it gets before the empty line."""
    listening = socket.create_server(("127.0.0.1", 0))
    got: list[bytes] = []

    def serve() -> None:
        with listening, listening.accept()[0] as connection:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += connection.recv(1)
            got.append(head)
            connection.sendall(answer)
            after(connection)

    threading.Thread(target=serve, daemon=True).start()
    return listening.getsockname()[1], got


def connect(port: int, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    argv = ("bash", "-c", gate_variables.variables()["HABITAT_CONNECT"], "connect", "git.test", "22", str(port))
    return subprocess.run(argv, input=stdin, capture_output=True, check=False, timeout=20)


def test_bytes_go_both_ways_through_the_proxy() -> None:
    def echo(connection: socket.socket) -> None:
        connection.sendall(BYTES)
        received = b""
        while len(received) < len(BYTES):
            received += connection.recv(65536)
        connection.sendall(b"all" if received == BYTES else b"not all")

    port, got = proxy(b"HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n", echo)
    argv = ("bash", "-c", gate_variables.variables()["HABITAT_CONNECT"], "connect", "git.test", "22", str(port))
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(BYTES)
        process.stdin.flush()
        assert process.stdout.read(len(BYTES) + 3) == BYTES + b"all"
        process.stdin.close()
        assert process.wait(20) in (0, 143)
    assert got == [b"CONNECT git.test:22 HTTP/1.1\r\nHost: git.test:22\r\n\r\n"]


def test_refusal_is_told_in_one_line() -> None:
    port, _ = proxy(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\npage", lambda _: None)
    done = connect(port)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"git.test:22 is not allowed: the gate answers 403\n"


def test_git_hands_host_and_port_to_the_connection(tmp_path: Path) -> None:
    words = shlex.split(gate_variables.variables()["GIT_SSH_COMMAND"])
    assert words[:2] == ["ssh", "-o"]
    command = words[2].removeprefix("ProxyCommand=").replace("%h", "git.test").replace("%p", "22")
    env = {"PATH": os.environ["PATH"], "HABITAT_CONNECT": f'echo "$@" >{tmp_path}/words'}
    subprocess.run(("/bin/sh", "-c", f"exec {command}"), env=env, check=True)
    assert (tmp_path / "words").read_text() == f"git.test 22 {gate_variables.PORT}\n"


@pytest.mark.parametrize("network", ["bridge", "none"])
def test_habitat_without_allowlist_has_no_such_variable(tmp_path: Path, network: str) -> None:
    habitat = load(tmp_path, f"base_image: base:1\nentry: {{network: {network}}}\n")
    engine = type("Engine", (), {"proxies": {}})()
    assert root_environment.proxies_of_running(engine, habitat) == {}


def test_config_decides_what_it_sets_itself(tmp_path: Path) -> None:
    text = "base_image: base:1\nentry: {network: {allow: []}}\nenv: [NO_PROXY=mine, GIT_SSH_COMMAND=ssh -v]\n"
    variables = root_environment.proxies_of_running(type("Engine", (), {"proxies": {"x": "y"}})(), load(tmp_path, text))
    assert not {"NO_PROXY", "GIT_SSH_COMMAND", "x"} & variables.keys()
    assert variables["no_proxy"] == "localhost,127.0.0.1,::1"
