"""How a command in a habitat meets the person: with a terminal, with pipes, or with its output alone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol, TypeAlias

from phases.core import events
from phases.core.errors import Conflict, StartError
from phases.core.masking import Mask

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from phases.core.engine.protocol import Exec, Piped
    from phases.core.runtime.session import Session

#: The shell that a person would rather have.
SHELL = ("/bin/sh", "-c", "if command -v bash >/dev/null; then exec bash; fi; exec /bin/sh")


class Terminal(Protocol):
    """Where the person is."""

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""

    @property
    def interactive(self) -> bool:
        """Return whether there is a terminal to hand over."""

    def hand_over(self, process: Exec, mask: Mask) -> None:
        """Connect the terminal to the command until it ends. mask: for what is shown."""

    @property
    def piped(self) -> bool:
        """Return whether somebody has put something else in the place of the keyboard."""

    def connect(self, process: Piped, show: Callable[[bytes, bool], None]) -> None:
        """Pass on what is put in to the command, and what it prints to `show`, until it ends."""

    def write(self, data: bytes, is_err: bool) -> None:
        """Pass on what a command printed."""


#: Runs a command of a visit to its end, and returns its exit code.
Runner: TypeAlias = "Callable[[Session, Sequence[str]], int]"


def run_captured(terminal: Terminal) -> Runner:
    """Passes on what the command prints; it gets no input."""

    def run(visit: Session, argv: Sequence[str]) -> int:
        show = Masked(terminal, visit)
        code = visit.project.engine.exec(
            visit.container.id, argv, user=visit.user, workdir=visit.workdir, env=visit.env, on_output=show.feed
        )
        show.flush()
        return code

    return run


def run_in_tty(terminal: Terminal) -> Runner:
    """Hands the terminal over to the command."""

    def run(visit: Session, argv: Sequence[str]) -> int:
        env = {name: os.environ[name] for name in ("TERM", "COLORTERM") if name in os.environ} | visit.env
        process = visit.project.engine.exec_tty(
            visit.container.id, argv, user=visit.user, workdir=visit.workdir, env=env, size=terminal.size
        )
        try:
            terminal.hand_over(process, Mask((value.data for value in visit.secrets), keep_width=True))
            return process.exit_code()
        finally:
            process.close()

    return run


def run_piped(terminal: Terminal) -> Runner:
    """Connects the command with standard input, output and error."""

    def run(visit: Session, argv: Sequence[str]) -> int:
        process = visit.project.engine.exec_piped(
            visit.container.id, argv, user=visit.user, workdir=visit.workdir, env=visit.env
        )
        try:
            show = Masked(terminal, visit)
            terminal.connect(process, show.feed)
            show.flush()
            return process.exit_code()
        except Conflict as error:  # it has not begun, but its input is read
            raise visit.broken_shell() or StartError(
                "the container was stopped before the command began",
                where=visit.habitat.name,
                remedy="run the same again",
            ) from error
        except BaseException:
            # Nobody listens to it any more, and the container may go on without this visit.
            process.send_signal("KILL")
            raise
        finally:
            process.close()

    return run


def run_shell(terminal: Terminal, name: str, otherwise: str) -> Runner:
    """For a shell, which reads what it is to do. Raises StartError where there is nothing to read,
    with what to do `otherwise`.
    """
    if terminal.interactive:
        return run_in_tty(terminal)
    if terminal.piped:
        return run_piped(terminal)
    raise StartError("a shell needs a terminal, or commands from a pipe", where=name, remedy=otherwise)


class Masked:
    """Passes output on, to a terminal and to who listens, without the secrets in it, each of its two
    streams for itself.
    """

    def __init__(self, terminal: Terminal, visit: Session) -> None:
        self._terminal = terminal
        self._visit = visit
        self._masks = {is_err: Mask(value.data for value in visit.secrets) for is_err in (False, True)}

    def feed(self, data: bytes, is_err: bool) -> None:
        self._show(self._masks[is_err].feed(data), is_err)

    def flush(self) -> None:
        for is_err, mask in self._masks.items():
            self._show(mask.flush(), is_err)

    def _show(self, data: bytes, is_err: bool) -> None:
        if data:
            self._terminal.write(data, is_err)
            self._visit.project.bus.emit(events.CommandOutput(self._visit.habitat.name, data, is_err))
