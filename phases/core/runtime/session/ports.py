"""Reports the published ports of a session, and warns of servers that they don't lead to.

A server that listens on 127.0.0.1 in the container can't be reached: connections are reset.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from phases.core import events
from phases.core.container import listeners
from phases.core.errors import HabitatError
from phases.core.runtime.new_container import is_gated

if TYPE_CHECKING:
    from phases.core.runtime.session.session import Session

# Seconds before each look. Most servers listen after a few seconds, and some compile for a minute first.
_PAUSES = (3.0, 7.0, 20.0, 60.0)

# Seconds that a look which has begun may take when the session ends.
_END_TIMEOUT = 2.0


def report(session: Session) -> None:
    """Name the URL of each published port."""
    for port in session.ports:
        text = f"port {port.inside}: {port.url}" + (", also from other machines" if port.is_open else "")
        session.project.bus.emit(events.Notice(session.habitat.name, text))
    warn_of_unreachable(session)


def warn_of_unreachable(session: Session) -> None:
    """Name each published port whose server listens on 127.0.0.1 in the container."""
    _warn(session, _unreachable(session))


def _unreachable(session: Session) -> set[tuple[str, int]]:
    if is_gated(session.container):
        return set()  # the gate reaches servers on 127.0.0.1
    published = {(port.protocol, port.inside) for port in session.ports}
    return published & listeners.only_on_loopback(session.project.engine, session.container.id) if published else set()


def _warn(session: Session, ports: set[tuple[str, int]]) -> None:
    """Name each of some unreachable ports, once a session."""
    for protocol, inside in sorted(ports - session.named_ports):
        text = (
            f"port {inside}/{protocol}: its server listens on 127.0.0.1, where no published port leads: "
            "let it listen on 0.0.0.0"
        )
        session.project.bus.emit(events.Notice(session.habitat.name, text, warning=True))
    session.named_ports |= ports


class PortWatch:
    """Looks while a command runs that may be the server itself: nothing listens there when it begins.

    Args:
        session: The session.
        at_once: Whether to warn while the command runs. In a terminal the command may use the whole screen, so that the
            warning follows its end.
    """

    def __init__(self, session: Session, *, at_once: bool) -> None:
        self._session = session
        self._at_once = at_once
        self._unreachable: set[tuple[str, int]] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join(_END_TIMEOUT)
        if self._thread.is_alive():
            self._session.own_execs += 1  # it ends with the container
        _warn(self._session, self._unreachable)

    def _watch(self) -> None:
        for pause in _PAUSES:
            if self._ended.wait(pause):
                return
            with suppress(HabitatError):  # the command's own end says what is wrong
                self._unreachable |= _unreachable(self._session)
            if self._at_once:
                _warn(self._session, self._unreachable)
