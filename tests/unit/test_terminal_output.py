"""What is too long for a terminal, and what is typed while live lines are up."""

from __future__ import annotations

import io
import os
import pty
import termios
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from test_reporter import ScriptedRun

from phases.core import events
from phases.core.errors import CommandFailed, HabitatError
from phases.core.origin import Origin
from phases.ui import output
from phases.ui.echo import restore_echo
from phases.ui.screen import Screen, is_plain
from phases.ui.styled import joined, styled, wrapped
from phases.ui.verbs import plan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COLUMNS = 60
# What rich is to take any stream for: a terminal that knows no colours.
WINDOW = {"COLUMNS": str(COLUMNS), "LINES": "25", "TERM": "dumb", "TTY_COMPATIBLE": "1", "TTY_INTERACTIVE": "1"}
WHERE = Origin("local", "habitats/hello/config.yaml", 12)
LONG = CommandFailed(
    "setup command 2 of 2 ended with exit code 2",
    exit_code=2,
    where=WHERE,
    remedy="fix it, then run the same command; log: .stamps/hello/7-setup.log; `doit debug:hello` opens a shell there",
)


@given(st.text("ab/ 漢", max_size=80), st.integers(8, 40), st.integers(0, 6))
def test_wrapped_text_keeps_words_whole_and_lines_within_width(text: str, width: int, indent: int) -> None:
    lines = [line.plain for line in wrapped(styled(text), width, indent)]
    assert " ".join(lines).split() == text.split()
    for line in lines:
        assert cell_len(line) <= width or len(line.split()) == 1


def on_a_terminal(root: Path, *habitats: str) -> ScriptedRun:
    """The transcript of a run that is shown in a window of COLUMNS."""
    script = ScriptedRun(root, *habitats)
    with patch.dict(os.environ, WINDOW):
        script.reporter.transcript.screen = Screen(script.out)
    return script


def test_long_failure_on_terminal_shows_remedies_on_own_lines(tmp_path: Path) -> None:
    script = on_a_terminal(tmp_path, "hello")
    script.fails("hello", "setup", LONG, started=False)
    assert script.transcript().splitlines() == [
        "❌ habitats/hello/config.yaml:12: setup command 2 of 2 ended",
        "   with exit code 2",
        "   → fix it, then run the same command",
        "   → log: .stamps/hello/7-setup.log",
        "   → `doit debug:hello` opens a shell there",
    ]


def test_short_failure_on_terminal_is_one_line(tmp_path: Path) -> None:
    script = on_a_terminal(tmp_path, "hello")
    script.fails("hello", "setup", HabitatError("it is broken", remedy="fix it"), started=False)
    assert script.transcript() == "❌ it is broken: fix it\n"


def test_failures_of_parallel_habitats_begin_each_line_with_name(tmp_path: Path) -> None:
    script = on_a_terminal(tmp_path, "a", "bb")
    script.fails("a", "setup", LONG, started=False)
    lines = script.transcript().split("\n\n")[0].splitlines()
    assert len(lines) > 4
    assert all(line.startswith("a  │ ") and cell_len(line) <= COLUMNS for line in lines)


def test_habitat_name_on_terminal_is_dim_and_message_is_not(tmp_path: Path) -> None:
    colours = {**WINDOW, "TERM": "xterm-256color"}
    with patch.dict(os.environ, colours):
        script = ScriptedRun(tmp_path, "a", "bb")
        script.reporter.transcript.screen = Screen(script.out)
    script.project.bus.emit(events.Notice("a", "a notice"))
    assert "\x1b[2ma  │ \x1b[0m• a notice" in script.out.getvalue()


def test_error_lines_joined_equal_its_one_line_text() -> None:
    problem, *remedies = LONG.lines()
    assert f"{problem}: {'; '.join(remedies)}" == str(LONG)
    assert HabitatError("it is broken").lines() == ["it is broken"]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A terminal, as the one that doit is in the foreground of."""
    master, slave = pty.openpty()
    tcgetattr, tcsetattr = termios.tcgetattr, termios.tcsetattr
    monkeypatch.setattr(termios, "tcgetattr", lambda _: tcgetattr(slave))
    monkeypatch.setattr(termios, "tcsetattr", lambda _, when, attributes: tcsetattr(slave, when, attributes))
    monkeypatch.setattr(os, "isatty", lambda _: True)
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((COLUMNS, 24)))
    monkeypatch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp())
    yield slave
    restore_echo()
    os.close(slave)
    os.close(master)


def test_live_line_disables_echo_and_restores_terminal_at_end(terminal: int, tmp_path: Path) -> None:
    before: list[Any] = termios.tcgetattr(terminal)
    screen = on_a_terminal(tmp_path, "hello").reporter.transcript.screen
    screen.begin("hello", "hello: running setup commands")
    assert not termios.tcgetattr(terminal)[3] & termios.ECHO
    screen.begin("other", "other: running setup commands")
    screen.end("hello")
    assert not termios.tcgetattr(terminal)[3] & termios.ECHO
    screen.end("other")
    assert termios.tcgetattr(terminal) == before


def test_live_line_in_background_process_leaves_terminal_unchanged(
    terminal: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp() + 1)
    before: list[Any] = termios.tcgetattr(terminal)
    screen = on_a_terminal(tmp_path, "hello").reporter.transcript.screen
    screen.begin("hello", "hello: running setup commands")
    assert termios.tcgetattr(terminal) == before
    screen.close()
    assert termios.tcgetattr(terminal) == before


@pytest.mark.parametrize("why", [{}, {"final": [events.Reason("entry.command: changed")]}])
@pytest.mark.parametrize("width", [48, 60, 100])
def test_plan_on_terminal_breaks_line_about_container_between_words(
    why: dict[str, list[events.Reason]], width: int
) -> None:
    console = Console(file=io.StringIO(), width=width, record=True, soft_wrap=True)
    answer = events.Plan("web", why, {}, is_new=False, replaced="its image is out of date")
    console.print(plan._shown(answer, everything=False, wrap=True))
    lines = [line.rstrip() for line in console.export_text().splitlines()]
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    end = "the old one is kept under another name if it has changes"
    assert text.endswith(f"⇒ the next start replaces the container, since its image is out of date; {end}")


@pytest.mark.usefixtures("terminal")
def test_stderr_line_on_terminal_breaks_between_words() -> None:
    text = f"\nERROR: /{'path/' * 20}config.yaml: is broken in a way that takes some words to be told: fix it"
    lines = output.fitted(text, 2, "  ").split("\n")
    assert lines[0] == ""
    assert f"/{'path/' * 20}config.yaml:" in [line.strip() for line in lines]
    assert " ".join(lines).split() == text.split()


def test_stderr_line_in_pipe_is_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "isatty", lambda _: False)
    assert output.fitted("word " * 100, 2) == "word " * 100


# What a pipe gets without rich is what rich would write


@given(st.lists(st.tuples(st.text(max_size=20), st.sampled_from(["", "bold red"])), max_size=4), st.text(max_size=20))
def test_plain_output_in_pipe_equals_output_of_rich(parts: list[tuple[str, str]], prefix: str) -> None:
    written = []
    for asked in ({}, {"FORCE_COLOR": ""}):  # which is rich's to understand: there is no terminal
        out = io.StringIO()
        with patch.dict(os.environ, asked):
            screen = Screen(out)
        screen.line(joined(*parts))
        screen.message(styled(prefix, "dim"), joined(*parts), 2)
        screen.plain(prefix, "green")
        written.append(out.getvalue())
    assert written[0] == written[1]


@pytest.mark.parametrize("force", [None, "", "1"])
@pytest.mark.parametrize("compatible", [None, "0", "1"])
@pytest.mark.parametrize("interactive", [None, "0", "1"])
def test_plain_output_is_used_only_where_rich_finds_no_terminal(
    force: str | None, compatible: str | None, interactive: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"FORCE_COLOR": force, "TTY_COMPATIBLE": compatible, "TTY_INTERACTIVE": interactive}
    for name, value in asked.items():
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    for stream in (io.StringIO(), TerminalStream()):
        console = Console(file=stream)
        assert not is_plain(stream) or (console.is_terminal, console.is_interactive, console.color_system) == (
            False,
            False,
            None,
        )
    assert is_plain(io.StringIO()) or any(value is not None for value in asked.values())


class TerminalStream(io.StringIO):
    def isatty(self) -> bool:
        return True
