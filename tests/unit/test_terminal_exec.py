"""The shell that runs a command in a terminal, and the reports that it sends."""

from __future__ import annotations

import os
import pty
import select
import time
from typing import TYPE_CHECKING

import pytest

from phases.core.engine.exec import _RESUME, _SUSPEND_GROUP, RUN_IN_TERMINAL, SuspensionReader

if TYPE_CHECKING:
    from pathlib import Path

SHELLS = ["dash", "bash"]


class ShellInTerminal:
    """run_in_terminal.sh in a new terminal. shown: what was read of its output, without reports."""

    def __init__(self, shell: str, *argv: str) -> None:
        self._reader = SuspensionReader()
        self.shown = b""
        args = ("sh", "24", "80", self._reader.report, os.environ["PATH"], *argv)
        self._pid, self._terminal = pty.fork()
        if not self._pid:
            try:
                os.execvp(shell, (shell, "-c", RUN_IN_TERMINAL.text, *args))
            finally:
                os._exit(99)

    @property
    def shell_pid(self) -> int:
        return self._reader.pid

    @property
    def is_suspended(self) -> bool:
        return self._reader.is_suspended

    def read_until(self, text: bytes, *, suspended: bool = False) -> None:
        until = time.monotonic() + 10
        while text not in self.shown or (suspended and not self.is_suspended):
            assert time.monotonic() < until, self.shown
            if select.select([self._terminal], [], [], 0.1)[0]:
                self.shown += self._reader.feed(os.read(self._terminal, 65536))

    def type(self, data: bytes) -> None:
        os.write(self._terminal, data)

    def run(self, script: str) -> None:
        """Run a program of the engine's side."""
        self._reader.is_suspended = False
        os.spawnlp(os.P_WAIT, "sh", "sh", "-c", script, "sh", str(self.shell_pid))

    def end(self) -> int:
        """Return the exit code, as an engine does."""
        while select.select([self._terminal], [], [], 10)[0]:
            try:
                self.shown += self._reader.feed(os.read(self._terminal, 65536))
            except OSError:  # a terminal ends so
                break
        code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        os.close(self._terminal)
        return code if code >= 0 else 128 - code


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("argv", "typed", "shown", "code"),
    [
        (("sh", "-c", "stty size; exit 5"), b"", b"24 80\r\n", 5),
        (("sh", "-c", "exit 148"), b"", b"", 148),
        (("sh", "-c", "kill -9 $$"), b"", b"", 137),
        (("sh", "-c", "echo up; sleep 60"), b"\x03", b"up\r\n^C", 130),
        (("exit", "3"), b"", b"not found\r\n", 127),  # no builtin of the shell
        (("cat",), b"a line\r\x04", b"a line\r\na line\r\n", 0),
    ],
)
def test_command_in_terminal_has_size_keys_and_its_own_exit_code(
    shell: str, argv: tuple[str, ...], typed: bytes, shown: bytes, code: int
) -> None:
    command = ShellInTerminal(shell, *argv)
    if typed == b"\x03":
        command.read_until(b"up\r\n")
    command.type(typed)
    assert command.end() == code
    assert shown in command.shown


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("signal", "text"), [("KILL", "Killed"), ("SEGV", "Segmentation fault"), ("TERM", "Terminated")]
)
def test_killed_command_in_terminal_is_reported_without_a_line_of_the_program(
    shell: str, signal: str, text: str
) -> None:
    """Bash names the program, its line and what it ran, as if the program had failed."""
    command = ShellInTerminal(shell, "sh", "-c", f"ulimit -c 0; echo up; kill -{signal} $$")
    assert command.end() > 128
    assert command.shown.decode().split("\r\n") in (["up", text, ""], ["up", ""])


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("how", ["Ctrl-Z", "STOP", "alone below a shell"])
def test_suspended_command_is_reported_and_resumed_as_often_as_it_wants(shell: str, how: str) -> None:
    stop = {"Ctrl-Z": "sleep 1", "STOP": "kill -STOP 0"}.get(how, "sh -c 'kill -STOP $$; exit 0'; true")
    command = ShellInTerminal(shell, "sh", "-c", f"trap : TSTP; echo up; {stop}; echo again; {stop}; exit 7")
    if how == "Ctrl-Z":
        command = ShellInTerminal(shell, "sh", "-c", "echo up; read -r line; echo again; read -r line; exit 7")
    for text in (b"up\r\n", b"again\r\n"):
        command.read_until(text)
        if how == "Ctrl-Z":
            command.type(b"\x1a")
        elif how == "alone below a shell":
            time.sleep(0.2)
            command.run(_SUSPEND_GROUP.text)
        command.read_until(text, suspended=True)
        command.run(_RESUME.text)
        if how == "Ctrl-Z":
            command.type(b"\r")
    assert command.end() == 7
    assert b"habitat" not in command.shown


def test_reports_are_separated_from_output_in_any_chunks() -> None:
    for cut in range(60):
        reader = SuspensionReader()
        stream = b"a\x1b[1m" + f"\0{reader.report};s;123\0".encode() + b"b\0other;s;9\0c"
        shown = reader.feed(stream[:cut]) + reader.feed(stream[cut:]) + reader.end()
        assert shown.replace(b"\0", b"") == b"a\x1b[1mbother;s;9c"
        assert (reader.is_suspended, reader.pid) == (True, 123)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("given", "file", "chosen"),
    [
        ("xterm-nowhere", "", "xterm-256color"),
        ("x-kitty", "x/x-kitty", "x-kitty"),
        ("x-foot", "78/x-foot", "x-foot"),
        ("x/../../etc/passwd", "", "xterm-256color"),
    ],
)
def test_terminal_type_that_image_does_not_know_is_replaced(
    shell: str, given: str, file: str, chosen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", given)
    monkeypatch.setenv("TERMINFO", str(tmp_path))
    if file:
        (tmp_path / file).parent.mkdir()
        (tmp_path / file).write_bytes(b"")
    command = ShellInTerminal(shell, "sh", "-c", "echo $TERM")
    assert command.end() == 0
    assert command.shown.decode().split() == [chosen]
