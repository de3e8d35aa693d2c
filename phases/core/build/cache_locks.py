"""Locks of caches: only one build at a time uses a locked cache."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from phases.core.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from phases.core.build.cache_volumes import CacheMount
    from phases.core.engine.locks import EngineLocks
    from phases.core.engine.protocol import Engine
    from phases.core.engine.types import Container

# Seconds between two checks whether a container is still busy.
_PAUSE = 1.0


@contextmanager
def held(locks: EngineLocks, caches: Iterable[CacheMount], notify: Callable[[str], None]) -> Iterator[None]:
    """Hold the locks of caches, on this machine and on others that use the engine.

    Locks are taken in the order of the volumes' names, after the build lock, and given back before the next build
    lock is taken, so there is no deadlock.

    Args:
        locks: The locks of the run.
        caches: The caches.
        notify: Called with a line about what this waits for.

    Raises:
        Stopped: The run was told to stop.
    """
    with ExitStack() as stack:
        for cache in sorted(caches, key=lambda cache: cache.volume):
            lock = locks.lock(f"cache {cache.volume}", exclusive=cache.locked)
            stack.callback(lock.release)
            lock.acquire(partial(_report_wait, notify, cache))
            if cache.locked:
                _wait_for_leftover_commands(locks.engine, cache, notify, locks.maker.check)
        yield


def _report_wait(notify: Callable[[str], None], cache: CacheMount, holder: str) -> None:
    notify(f"waiting for another run that uses the cache {cache.path} ({holder})")


def _wait_for_leftover_commands(
    engine: Engine, cache: CacheMount, notify: Callable[[str], None], check: Callable[[], None]
) -> None:
    """Wait for commands of killed runs: they may still use the cache although the locks of their runs are gone."""
    reported = False
    while busy := next((one for one in engine.containers(volume=cache.volume) if _is_busy(engine, one)), None):
        if not reported:
            notify(
                f"waiting for container {busy.name} that uses the cache {cache.path}: docker rm -f {busy.name} ends it"
            )
            reported = True
        time.sleep(_PAUSE)
        check()


def _is_busy(engine: Engine, container: Container) -> bool:
    try:
        return container.running and engine.running_execs(container.id) > 0
    except NotFound:
        return False
