"""The engine, connected to as late as may be.

A run with nothing to do asks it one thing, and a start of what is built three; plain requests do for
those (`core.glance`). For all else there is the docker package, which takes longer to load than either.
A container takes longer still to start, so that is when it is loaded.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, cast

from phases.core import glance
from phases.core.errors import EngineUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from phases.core.engine import Container, Engine, Image, ImageConfig


def late(connect: Callable[[], Engine]) -> Engine:
    """The engine that `connect` returns. Whatever is asked of it raises EngineUnreachable where none answers."""
    return cast("Engine", _LateEngine(connect))


class _LateEngine:
    """Asks plainly until it is connected, and whatever a plain request couldn't do."""

    def __init__(self, connect: Callable[[], Engine]) -> None:
        self._connect = connect
        self._engine: Engine | None = None
        self._lock = threading.Lock()

    def _connected(self) -> Engine:
        with self._lock:
            if self._engine is None:
                self._engine = self._connect()
            return self._engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connected(), name)

    def images(self) -> list[Image]:
        found = None if self._engine else glance.images()
        return self._connected().images() if found is None else found

    def image_config(self, reference: str) -> ImageConfig | None:
        """Here, so that who keeps the method for later doesn't connect."""
        return self._connected().image_config(reference)

    def container(self, name: str) -> Container | None:
        found = None if self._engine else glance.container(name)
        return self._connected().container(name) if found is None else found

    def start(self, container: str) -> None:
        if self._engine is None:
            threading.Thread(target=self._prepare, daemon=True).start()
            if glance.start(container):
                return
        self._connected().start(container)

    def _prepare(self) -> None:
        # Whoever needs it next is told.
        with contextlib.suppress(EngineUnreachable):
            self._connected()
