"""Connections to the engine through the docker package: where they wait to be used again, how they are read."""

from __future__ import annotations

import json
import queue
import socket
from contextlib import closing
from typing import TYPE_CHECKING

import docker
import pytest
import urllib3.connectionpool
from unit_helpers import answering

from phases.core import package_api
from phases.core.connections import Connections
from phases.core.execs import received
from phases.core.package_api import PackageApi

if TYPE_CHECKING:
    from pathlib import Path


def test_the_last_that_was_put_back_is_the_first_to_be_used() -> None:
    connections = Connections(2)
    connections.put("a", block=False)
    connections.put("b", block=False)
    assert [connections.get(block=False), connections.get(block=False)] == ["b", "a"]


def test_too_many_and_too_few_are_told_as_a_pool_wants_it() -> None:
    connections = Connections(1)
    with pytest.raises(queue.Empty):
        connections.get(block=False)
    connections.put("a", block=False)
    with pytest.raises(queue.Full):
        connections.put("b", block=False)


def test_pools_have_them() -> None:
    """Their own has a lock that an interrupt can leave taken, and who cleans up then waits for ever."""
    assert package_api, "which sees to it"
    pool = urllib3.connectionpool.HTTPConnectionPool("localhost")
    assert isinstance(pool.pool, Connections)
    pool.close()


def package_at(place: Path) -> PackageApi:
    return PackageApi(docker.APIClient(base_url=f"unix://{place}", version="1.41"), "a test")


def test_what_a_command_prints_at_once_is_not_lost_behind_the_head_of_the_answer(tmp_path: Path) -> None:
    printed = b"\x01\x00\x00\x00\x00\x00\x00\x05first"
    head = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    with answering(tmp_path / "s", head + printed):
        reply = package_at(tmp_path / "s").send("POST", "/exec/0/start", b"{}", hands_over=True)
        with closing(reply.line()) as line:
            assert line.socket.recv(100) == printed


def test_a_long_answer_is_read_whole(tmp_path: Path) -> None:
    rows = [{"Id": f"sha256:{number}"} for number in range(20_000)]
    body = json.dumps(rows).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with answering(tmp_path / "s", head + body):
        assert json.loads(package_at(tmp_path / "s").send("GET", "/images/json").body()) == rows


def test_a_connection_that_is_reset_is_at_its_end_once_all_is_read() -> None:
    ours, engines = socket.socketpair()
    with ours:
        with engines:
            engines.sendall(b"the last words")
            ours.sendall(b"that nobody reads")
        assert received(ours) == b"the last words"
        assert received(ours) == b""
