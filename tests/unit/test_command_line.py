"""The words of a command line, as a person types them."""

from __future__ import annotations

import re
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from conftest import Project
from doit import cmd_run, doit_cmd
from doit.cmd_base import opt_depfile
from doit.cmdparse import CmdOption, CmdParse
from doit.doit_cmd import DoitMain
from doit.exceptions import InvalidCommand

from phases.core.engine import connect
from phases.ui import command_line
from phases.ui.commands import arguments, selection
from phases.ui.commands import help as help_command
from phases.ui.commands.printing import Printing
from phases.ui.verbs.registry import VERBS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from phases.ui.verbs.verb import Verb

#: The start of a run must see these words unchanged.
WITH_EQUALS_SIGN = [
    *([f"{verb.NAME}:x", f"--{option['long']}", "a=b"] for verb in VERBS for option in verb.OPTIONS),
    ["start:x", "--cmd", "FOO=bar make"],
    ["start:x", "--cmd=FOO=bar make"],
    ["start:x", "--cm", "=", "--new"],
    ["exec:x", "--", "env", "A=b", ""],
    ["exec:x", "A=b"],
    ["new", "x", "--repo", "https://example.org/?a=b", "--base", "a=b"],
    ["start:x", "FOO=bar"],
    ["FOO=bar", "start:x"],
    ["clean", "FOO=bar"],
    ["", "="],
]


@pytest.fixture(autouse=True)
def _loader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "prefetch_images", lambda: None)
    monkeypatch.setattr(DoitMain, "process_args", DoitMain.process_args)
    monkeypatch.setattr(doit_cmd.Help, "print_usage", doit_cmd.Help.print_usage)
    command_line.Loader()


@pytest.mark.parametrize("words", WITH_EQUALS_SIGN, ids=" ".join)
def test_word_with_equals_sign_is_no_variable_of_doit(words: list[str]) -> None:
    assert DoitMain().process_args(words) == words


class Folder(Project):
    """A project without an engine."""

    def __init__(self, root: Path, *names: str) -> None:
        super().__init__(root)
        for name in names:
            self.habitat(name, "base_image: debian\n")

    def refusal(self, *words: str) -> str:
        """The one line on stderr of a command that is refused before it does anything."""
        done = subprocess.run(
            [sys.executable, "-m", "doit", *words], cwd=self.root, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1), done
        return done.stderr.removeprefix("ERROR: ").rstrip("\n")


@pytest.mark.parametrize(
    "words",
    [
        ["FOO=bar"],
        ["FOO=bar", "plan:one"],
        ["plan:one", "FOO=bar"],
        ["clean", "FOO=bar"],
        ["forget", "FOO=bar"],
        ["list", "FOO=bar"],
        ["info", "FOO=bar"],
        ["run", "FOO=bar"],
    ],
    ids=" ".join,
)
def test_stray_variable_is_refused_with_its_place(tmp_path: Path, words: list[str]) -> None:
    error = Folder(tmp_path, "one").refusal(*words)
    assert error == "there is no task 'FOO=bar': a variable goes before doit, as in `NAME=VALUE doit …`"


def test_stray_variable_of_status_and_new_is_refused(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "one")
    assert folder.refusal("status", "FOO=bar") == "there is no habitat 'FOO=bar': known here: one"
    assert folder.refusal("new", "FOO=bar").startswith("'FOO=bar' can't name a habitat")


# Words in any order

NAMES = ["one", "two", "stop"]

RUN = CmdParse([CmdOption(option) for option in (*cmd_run.Run.cmd_options, opt_depfile)])


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("start:one", "start:one"),
        ("start one", "start:one"),
        ("start: one", "start:one"),
        ("start one --detach", "start:one --detach"),
        ("start --detach one", "start:one --detach"),
        ("start --cmd two one --new", "start:one --cmd two --new"),
        ("start --cmd=stop one", "start:one --cmd=stop"),
        ("start one two --det", "start:one --det start:two --det"),
        ("plan one one", "plan:one"),
        ("plan * --all", "plan:one --all plan:two --all plan:stop --all"),
        ("plan t*", "plan:two"),
        ("stop -- one", "stop:one"),
        ("stop stop", "stop:stop"),
        ("stop one plan:two --all", "stop:one plan:two --all"),
        ("stop one plan two", "stop:one plan:two"),
        ("stop one start:two --cmd stop plan one", "stop:one start:two --cmd stop plan:one"),
        ("logs one --phase setup", "logs:one --phase setup"),
        ("exec one -- make -j", "exec:one -- make -j"),
        ("exec one make two -j", "exec:one make two -j"),
        ("exec:one stop one", "exec:one stop one"),
        ("exec one -- stop one", "exec:one -- stop one"),
        ("plan:one exec two start one", "plan:one exec:two start one"),
        ("setup:one final", "setup:one final"),
        ("setup one two", "setup:one setup:two"),
        ("setup t* final one", "setup:two final:one"),
        ("setup nosuch", "setup nosuch"),
        ("build:one stop two", "final:one stop:two"),
        ("start:one nosuch", "start:one nosuch"),
        ("stop one --bogus", "stop:one --bogus"),
        ("test:one --layer local", "test-layer:one --layer local"),
        ("test:one --layer=local setup:two", "test-layer:one --layer=local setup:two"),
        ("test one two --layer local", "test-layer:one --layer local test-layer:two --layer local"),
        ("test --layer local one plan:two", "test-layer:one --layer local plan:two"),
        ("test:one --lay local", "test-layer:one --lay local"),
        ("test:one test:two --layer local", "test:one test-layer:two --layer local"),
        ("test:one start:two --cmd x", "test:one start:two --cmd x"),
        ("test setup:one --layer local", "test setup:one --layer local"),
        ("test:one exec two -- x --layer local", "test:one exec:two -- x --layer local"),
    ],
)
def test_words_become_tasks(typed: str, expected: str) -> None:
    assert arguments.as_tasks(typed.split(), NAMES) == expected.split()


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb.NAME != "destroy"], ids=lambda verb: verb.NAME)
def test_verb_without_name_takes_only_habitat(verb: Verb) -> None:
    assert arguments.as_tasks([verb.NAME], ["one"]) == [f"{verb.NAME}:one"]
    options = [f"--{option['long']}" for option in verb.OPTIONS if option["type"] is bool]
    assert arguments.as_tasks([verb.NAME, *options], ["one"]) == [f"{verb.NAME}:one", *options]
    words = ["--", "ls"] if verb.WORDS else []
    assert arguments.as_tasks([verb.NAME, *words], ["one"]) == [f"{verb.NAME}:one", *words]


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.NAME)
def test_verb_takes_name_as_word_of_its_own_with_options_on_both_sides(verb: Verb) -> None:
    options = [f"--{option['long']}" for option in verb.OPTIONS if option["type"] is bool]
    assert arguments.as_tasks([verb.NAME, *options, "two"], NAMES) == [f"{verb.NAME}:two", *options]
    if not verb.WORDS:
        assert arguments.as_tasks([verb.NAME, "two", *options], NAMES) == [f"{verb.NAME}:two", *options]


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.NAME)
def test_verb_without_name_lists_habitats(verb: Verb) -> None:
    with pytest.raises(InvalidCommand, match=f"^{verb.NAME} needs a habitat, .* known here: one, stop, two$"):
        arguments.as_tasks([verb.NAME], NAMES)
    with pytest.raises(InvalidCommand, match="there is no habitat yet, `doit new NAME` creates one"):
        arguments.as_tasks([verb.NAME], [])


@pytest.mark.parametrize(
    ("typed", "error"),
    [
        ("destroy", "destroy needs a habitat, as in `doit destroy NAME`: known here: one"),
        ("destroy --yes", "destroy needs a habitat, as in `doit destroy NAME`: known here: one"),
        ("destroy * --yes", "'*' is a pattern, and destroy needs whole names: known here: one"),
        ("destroy --yes one o*", "'o*' is a pattern, and destroy needs whole names: known here: one"),
        ("logs setup", "there is no habitat 'setup': known here: one"),
        ("logs one setup", "there is no habitat 'setup': known here: one"),
        ("plan on", "there is no habitat 'on': known here: one"),
        ("plan x*", "there is no habitat 'x*': known here: one"),
        ("plan status", "there is no habitat 'status': known here: one"),
        ("stop plan:one", "stop needs a habitat, as in `doit stop NAME`: known here: one"),
        ("exec make", "there is no habitat 'make' (a command goes behind --): known here: one"),
        ("one start", "a habitat goes behind the verb: `doit start:one`"),
    ],
)
def test_verb_with_other_word_than_habitat_is_refused(typed: str, error: str) -> None:
    with pytest.raises(InvalidCommand) as refusal:
        arguments.as_tasks(typed.split(), ["one"])
    assert str(refusal.value) == error


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("start:one -r jsonl", "-r jsonl start:one"),
        ("start one --detach -n4", "-n4 start one --detach"),
        ("plan one --all -a", "-a plan one --all"),
        ("-n 4 start:one -v2", "-n 4 -v2 start:one"),
        ("start:one --cmd -n -s", "-s start:one --cmd -n"),
        ("exec:one ls -a", "exec:one ls -a"),
        ("exec one -- ls -a", "exec one -- ls -a"),
        ("stop one -- -a", "stop one -- -a"),
        ("start:one -o", "start:one -o"),
        ("final:one --db-file=x", "--db-file=x final:one"),
        ("stop one --bogus", "stop one --bogus"),
    ],
)
def test_options_of_doit_are_taken_from_behind_tasks(typed: str, expected: str) -> None:
    assert arguments.options_first(typed.split(), RUN) == expected.split()


class Command(Printing):
    """A command that keeps its options and names instead of doing anything."""

    name = "sample"
    cmd_options = (
        {"name": "flag", "long": "flag", "short": "g", "type": bool, "default": False},
        {"name": "text", "long": "text", "short": "t", "type": str, "default": ""},
    )

    def execute(self, params: Any, args: list[str]) -> int:
        self.given = (params["flag"], params["text"], args)
        return 0


@pytest.mark.parametrize(
    ("typed", "flag", "text", "names"),
    [
        ("x --flag", True, "", ["x"]),
        ("--flag x", True, "", ["x"]),
        ("x --text a=b y -g", True, "a=b", ["x", "y"]),
        ("x -t --flag y", False, "--flag", ["x", "y"]),
        ("x --te=-g", False, "-g", ["x"]),
        ("x -- --flag", False, "", ["x", "--flag"]),
        ("x --text=", False, "", ["x"]),
    ],
)
def test_command_takes_options_on_both_sides_of_names(typed: str, flag: bool, text: str, names: list[str]) -> None:
    command = Command(task_loader=command_line.Loader())
    assert command.parse_execute(typed.split()) == 0
    assert command.given == (flag, text, names)


def test_command_refuses_unknown_option_behind_name(tmp_path: Path) -> None:
    error = "option --jsn not recognized: did you mean --json? `doit help status` lists the options"
    assert Folder(tmp_path, "one").refusal("status", "one", "--jsn") == error


def test_error_lists_as_many_habitats_as_fit() -> None:
    assert arguments.known_names(["b", "a"]) == "known here: a, b"
    many = arguments.known_names(f"habitat-{number:03}" for number in range(200))
    assert many.startswith("known here: habitat-000, habitat-001, ")
    assert many.endswith("habitat-005, … (`doit list` shows all)")
    assert len(arguments.known_names(["x" * 200, "y" * 200])) < 150


# Suggestions

KNOWN = [SimpleNamespace(name=f"{kind}:{name}") for name in ("hello", "nc-py") for kind in selection.KINDS]


@pytest.mark.parametrize("kind", [*selection.KINDS, *selection.COMMANDS, *selection._COMMAND_OF])
@pytest.mark.parametrize("name", ["", ":hello", ":helo", ":nosuch"])
@pytest.mark.parametrize("change", [lambda word: word[1:], lambda word: f"{word}s", str.upper, str])
def test_suggestion_is_harmless(kind: str, name: str, change: Callable[[str], str]) -> None:
    typed = change(kind) + name
    if typed in {task.name for task in KNOWN}:
        return
    with pytest.raises(InvalidCommand) as refusal:
        selection.check([typed], KNOWN)
    error = str(refusal.value)
    words = {"status", "list", "help", "info", "schema", "plan", "logs", "shell", "exec", "login", "debug", "changes"}
    words |= {"network"}
    named = re.findall(r"`doit (\S+?)[:`]", error)  # `doit start:NAME` is what was typed, without its habitat
    assert not set(named) - {*words, typed.removesuffix(":")}


@pytest.mark.guarantee("started-container-kept")
@pytest.mark.parametrize("typed", ["destroy:*", "destroy:h* --yes", "*:hello", "plan:hello *", "des*"])
def test_pattern_that_stands_for_destroy_is_refused(typed: str) -> None:
    with pytest.raises(InvalidCommand, match=r"^'.*' is a pattern, and destroy needs whole names: known here: hello"):
        selection.check_options(typed.split(), KNOWN)


@pytest.mark.parametrize("typed", ["plan:*", "st*", "*:nosuch", "exec:hello echo *", "start:hello --cmd *"])
def test_pattern_that_stands_for_other_tasks_is_taken(typed: str) -> None:
    selection.check_options(typed.split(), KNOWN)


@pytest.mark.parametrize(
    ("typed", "remedy"),
    [
        ("destroy:nosuch", "no habitat has this name; known here: hello, nc-py"),
        ("start:helo", "no habitat has this name; known here: hello, nc-py"),
        ("plan:helo", "did you mean `doit plan:hello`?"),
        ("lgos:helo", "did you mean `doit logs:hello`?"),
        ("stauts", "did you mean `doit status`?"),
        ("hello", "it is a habitat; a verb or a phase goes before it, as in `doit plan:hello`"),
        ("hello:stop", "it is a habitat; a verb or a phase goes before it, as in `doit plan:hello`"),
        ("status", "it is a command, which goes first: `doit status`"),
        ("rebuild:hello", "rebuild is a command, so a habitat is a word of its own: rebuild NAME"),
        ("strat", "`doit help start` explains start"),
        ("zzz", "`doit help` lists all commands"),
        ("ls", "here that is `doit list`"),
        ("ps:hello", "here that is `doit status`"),
        ("up", "here that is start: `doit help start` explains it"),
        ("rm:hello", "here that is destroy: `doit help destroy` explains it"),
        ("clean", "it is a command, which goes first"),
        ("stop", "name a habitat too, as in `doit stop:NAME`; known here: hello, nc-py"),
    ],
)
def test_unknown_task_has_remedy(typed: str, remedy: str) -> None:
    with pytest.raises(InvalidCommand) as refusal:
        selection.check([typed], KNOWN)
    assert str(refusal.value) == f"there is no task '{typed}': {remedy}"


@pytest.mark.parametrize("typed", ["exec:hello", "exec:hello --"])
def test_exec_without_command_is_refused_with_example(typed: str) -> None:
    with pytest.raises(InvalidCommand, match=r"^exec needs a command, as in `doit exec:hello -- make test`$"):
        selection.check_options(typed.split(), KNOWN)


def test_words_of_other_programs_name_commands_and_are_none() -> None:
    words = {*selection.COMMANDS, *selection.KINDS, "init"}
    assert {*selection._COMMAND_OF.values()} <= words
    assert not {*selection._COMMAND_OF} & (words - {"run"})


def test_commands_that_errors_know_are_those_of_help() -> None:
    shown = {name for names in (*help_command.GROUPS.values(), help_command.OF_DOIT) for name in names}
    assert shown - {"init"} == {*selection.COMMANDS, *(verb.NAME for verb in VERBS)}
