"""Connects a command in a habitat with the person: by a terminal, by pipes, or by its output only."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from phases.core import events
from phases.core.container import timed_exec
from phases.core.errors import Conflict, EngineError, StartError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from phases.core.engine.protocol import Exec, Piped
    from phases.core.masking import Mask
    from phases.core.runtime.session.session import Runner, Session

#: Runs bash if the image has it, else sh.
SHELL = ("/bin/sh", "-c", "if command -v bash >/dev/null; then exec bash; fi; exec /bin/sh")

# Seconds that a killed command may take to end.
_KILL_TIMEOUT = 1.0


class Terminal(Protocol):
    """The person's terminal, or the pipes in its place."""

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""

    @property
    def interactive(self) -> bool:
        """Return whether there is a terminal to hand over."""

    def hand_over(self, process: Exec, mask: Mask) -> None:
        """Connect the terminal to the command until it ends. mask: hides secrets in the output."""

    @property
    def piped(self) -> bool:
        """Return whether standard input is a pipe or a file."""

    def connect(self, process: Piped, show: Callable[[bytes, bool], None]) -> None:
        """Pass standard input to the command and its output to `show`, until it ends."""

    def write(self, data: bytes, is_err: bool) -> None:
        """Write output of a command."""

    def shows(self, is_err: bool) -> bool:
        """Return whether an output is a terminal, on which people read, and not a pipe or a file."""


def run_captured(terminal: Terminal, *, is_data: bool) -> Runner:
    """Return a runner that passes on the output of the command, which gets no input.

    is_data: whether it is the command's alone. Else it is part of a transcript, which shows no secret.
    """

    def run(session: Session, argv: Sequence[str]) -> int:
        output = SessionOutput(terminal, session, is_data=is_data)
        code = session.project.engine.exec(
            session.container.id,
            argv,
            user=session.user,
            workdir=session.workdir,
            env=session.env,
            on_output=output.feed,
        )
        output.flush()
        return code

    return run


def run_in_tty(terminal: Terminal, wrap: Callable[[Exec], Exec] = lambda process: process) -> Runner:
    """Return a runner that hands the terminal over to the command. wrap: returns what takes part in that."""

    def run(session: Session, argv: Sequence[str]) -> int:
        env = {name: os.environ[name] for name in ("TERM", "COLORTERM") if name in os.environ} | session.env
        process = session.project.engine.exec_tty(
            session.container.id, argv, user=session.user, workdir=session.workdir, env=env, size=terminal.size
        )
        try:
            terminal.hand_over(wrap(process), session.mask(keep_width=True))
            return process.exit_code()
        finally:
            process.close()

    return run


def run_piped(terminal: Terminal) -> Runner:
    """Return a runner that connects the command with standard input, output and error."""

    def run(session: Session, argv: Sequence[str]) -> int:
        process = session.project.engine.exec_piped(
            session.container.id, argv, user=session.user, workdir=session.workdir, env=session.env
        )
        try:
            output = SessionOutput(terminal, session)
            terminal.connect(process, output.feed)
            output.flush()
            return process.exit_code()
        except Conflict as error:  # the command has not begun, but its input is consumed
            raise session.shell_error() or StartError(
                "the container was stopped before the command began",
                where=session.habitat.name,
                remedy="run the same command again",
            ) from error
        except BaseException:
            # Nobody reads its output any more, and the container may run longer than this session.
            _kill(session, process)
            raise
        finally:
            process.close()

    return run


def _kill(session: Session, process: Piped) -> None:
    process.send_signal("KILL")
    with suppress(EngineError):
        if timed_exec.wait_for_end(process, lambda *_: None, _KILL_TIMEOUT):
            process.exit_code()  # the engine has noticed the end, and doesn't count the command any more
            session.own_execs = 0


def run_shell(terminal: Terminal, name: str, remedy: str) -> Runner:
    """Return the runner for a shell, which reads commands.

    Args:
        terminal: Where the commands come from.
        name: The name of the habitat.
        remedy: What to do if there is nothing to read from.

    Raises:
        StartError: There is neither a terminal nor a pipe.
    """
    if terminal.interactive:
        return run_in_tty(terminal)
    if terminal.piped:
        return run_piped(terminal)
    raise StartError("a shell needs a terminal, or commands from a pipe", where=name, remedy=remedy)


class SessionOutput:
    """Passes on the output of a session's command, each stream by itself.

    Terminals, transcripts and events get it without secrets. A pipe or a file gets data byte for byte.
    """

    def __init__(self, terminal: Terminal, session: Session, *, is_data: bool = True) -> None:
        self._terminal = terminal
        self._session = session
        self._masks = {is_err: session.mask() for is_err in (False, True)}
        self._is_masked = {is_err: not is_data or terminal.shows(is_err) for is_err in (False, True)}

    def feed(self, data: bytes, is_err: bool) -> None:
        if not self._is_masked[is_err]:
            self._terminal.write(data, is_err)
        self._pass_on(self._masks[is_err].feed(data), is_err)

    def flush(self) -> None:
        for is_err, mask in self._masks.items():
            self._pass_on(mask.flush(), is_err)

    def _pass_on(self, masked: bytes, is_err: bool) -> None:
        if not masked:
            return
        if self._is_masked[is_err]:
            self._terminal.write(masked, is_err)
        self._session.project.bus.emit(events.CommandBytes(self._session.habitat.name, masked, is_err))
