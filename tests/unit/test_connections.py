"""Where connections to the engine wait to be used again."""

from __future__ import annotations

import queue

import pytest
import urllib3.connectionpool

from phases.core import docker_engine
from phases.core.connections import Connections


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
    assert docker_engine, "which sees to it"
    pool = urllib3.connectionpool.HTTPConnectionPool("localhost")
    assert isinstance(pool.pool, Connections)
    pool.close()
