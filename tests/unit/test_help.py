"""`doit help`, in a process of its own and without an engine."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import ROOT

from phases.ui.verbs.registry import NAMES


def doit(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "DOCKER_HOST": "unix:///nowhere/docker.sock"}
    command = [sys.executable, "-m", "doit", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("words", [("help",), ("--help",)])
def test_help_lists_verbs_and_commands_of_use(words: tuple[str, ...]) -> None:
    shown = doit(*words).stdout
    typed = [line.split()[1] for line in shown.splitlines() if line.startswith("  doit ") and line[7] != " "]
    assert [word for word in typed if ":" in word] == [*(f"{name}:NAME" for name in NAMES), "final:NAME", "PHASE:NAME"]
    commands = ["clean", "forget", "help", "ignore", "info", "list", "new", "run", "status", "tabcompletion"]
    assert [word for word in typed if ":" not in word] == commands


@pytest.mark.parametrize(
    ("name", "shown", "hidden"), [("status", "--json", "--db-file"), ("logs", "--follow", "--detach")]
)
def test_help_of_command_or_verb_shows_its_own_options(name: str, shown: str, hidden: str) -> None:
    text = doit("help", name).stdout
    assert shown in text
    assert hidden not in text
    assert "doit stop:NAME" not in text


@pytest.mark.parametrize(
    "words", [("start:hello", "--detach", "--cmd", "true"), ("-n2", "start:hello", "--cmd=x", "--detach")]
)
def test_start_options_that_contradict_each_other_are_refused_before_engine_is_asked(words: tuple[str, ...]) -> None:
    done = doit(*words)
    assert done.returncode == 1
    assert done.stderr == (
        "ERROR: hello: --detach runs no command, but --cmd gives one: "
        "use one of them, or --detach and then doit exec:hello -- COMMAND\n"
    )


def test_start_options_of_command_in_habitat_are_its_own() -> None:
    done = doit("exec:hello", "--", "doit", "start:hello", "--detach", "--cmd", "true")
    assert "--detach runs no command" not in done.stdout + done.stderr


def test_help_of_unknown_name_is_error() -> None:
    done = doit("help", "lgos:hello")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "ERROR: there is no task 'lgos:hello': did you mean 'logs:hello'?\n"


def test_help_of_verb_and_habitat_as_two_words_shows_verb() -> None:
    assert doit("help", "logs", "hello").stdout == doit("help", "logs").stdout
