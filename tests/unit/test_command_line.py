"""The words of a command line, as a person types them."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from conftest import Project
from doit import doit_cmd
from doit.doit_cmd import DoitMain

from phases.core.engine import connect
from phases.ui import command_line
from phases.ui.verbs.registry import VERBS

if TYPE_CHECKING:
    from pathlib import Path

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
