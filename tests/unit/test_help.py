"""`doit help` and `habitat help`, in a process of its own and without an engine."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from conftest import ROOT

from phases.core import command_form
from phases.ui import plugins
from phases.ui.habitat.program import HabitatMain
from phases.ui.verbs.registry import NAMES, VERBS


def run(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "DOCKER_HOST": "unix:///nowhere/docker.sock"}
    command = [sys.executable, "-m", {"habitat": "phases.ui.habitat"}.get(program, program), *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def doit(*words: str) -> subprocess.CompletedProcess[str]:
    return run("doit", *words)


def examples(text: str) -> list[str]:
    """Return the command of each row of a help screen."""
    return [
        re.split("  +", line.strip())[0] for line in text.splitlines() if line.startswith(("  doit ", "  habitat "))
    ]


@pytest.fixture(scope="module")
def screens() -> dict[str, str]:
    return {program: run(program, "help").stdout for program in ("doit", "habitat")}


def test_help_shows_an_example_of_every_command_in_the_form_of_its_program(screens: dict[str, str]) -> None:
    names = [*NAMES, *plugins.COMMANDS, "ignore"]
    words = {name: next(verb.EXAMPLE[0] for verb in VERBS if name == verb.NAME) for name in NAMES}
    typed = [example.split()[1] for example in examples(screens["doit"])]
    assert sorted(typed) == sorted(f"{words[name]}:api" if name in words else name for name in names)
    typed = [example.split()[1] for example in examples(screens["habitat"])]
    assert sorted(typed) == sorted(words.get(name, name) for name in names if name not in ("ignore", "run"))


@pytest.mark.parametrize("program", ["doit", "habitat"])
def test_help_has_a_line_of_at_most_80_columns_for_each_command(screens: dict[str, str], program: str) -> None:
    lines = screens[program].splitlines()
    assert max(map(len, lines)) <= 80
    assert len([line for line in lines if line.startswith("  ")]) == len(examples(screens[program]))


@pytest.mark.parametrize("name", [*NAMES, *plugins.COMMANDS])
def test_help_of_a_command_fits_80_columns_and_has_an_example(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_form, "_program", ["habitat"])
    assert HabitatMain().run(["help", name]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("habitat ")
    assert "\nExample: habitat " in shown
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(
    "words", ["start --help", "start -h", "start api --detach --help", "-h start", "help start api", "start:api -h"]
)
def test_help_is_shown_for_its_options_anywhere(
    words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_form, "_program", ["habitat"])
    assert HabitatMain().run(words.split()) == 0
    assert capsys.readouterr().out.startswith("habitat start [NAME …] [--detach]")


@pytest.mark.parametrize("words", [("--help",), ("-h",)])
def test_help_option_alone_shows_all_commands(screens: dict[str, str], words: tuple[str, ...]) -> None:
    assert run("habitat", *words).stdout == screens["habitat"]
    assert doit(*words).stdout == screens["doit"]


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
        "use one of them, or --detach and then `doit exec:hello -- COMMAND`\n"
    )


def test_start_options_of_command_in_habitat_are_its_own() -> None:
    done = doit("exec:hello", "--", "doit", "start:hello", "--detach", "--cmd", "true")
    assert "--detach runs no command" not in done.stdout + done.stderr


def test_help_of_unknown_name_is_error() -> None:
    done = doit("help", "lgos:hello")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "ERROR: there is no task 'lgos:hello': did you mean `doit logs:hello`?\n"


def test_help_of_verb_and_habitat_as_two_words_shows_verb() -> None:
    assert doit("help", "logs", "hello").stdout == doit("help", "logs").stdout


@pytest.mark.parametrize("name", ["list", "forget", "clean", "info"])
def test_help_of_a_command_that_doit_has_too_uses_no_words_of_doit(name: str) -> None:
    text = run("habitat", "help", name).stdout
    assert text.startswith(f"habitat {name} ")
    assert not re.search(r"sub-tasks|dodo|dependencies|[Dd]efault:|default tasks|executed", text)
