"""The program `habitat`, in processes of its own and without an engine."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ROOT, Project

from phases.core import command_form
from phases.core.cache.stamps import Stamps
from phases.registry import NAMES
from phases.ui import plugins, tasks, typed_paths
from phases.ui.commands.new import New
from phases.ui.commands.words import command_first
from phases.ui.verbs.verb import SessionFailed

if TYPE_CHECKING:
    from pathlib import Path

NOWHERE = {"DOCKER_HOST": "unix:///nowhere/docker.sock", "PYTHONPATH": str(ROOT)}


def habitat(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "phases.ui.habitat", *words]
    env = {**os.environ, **NOWHERE}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


class Folder:
    """A project that has habitats and no dodo.py."""

    def __init__(self, root: Path, *names: str) -> None:
        self.root = root
        for name in names:
            self.write(f"habitats/{name}/config.yaml", "base_image: debian\n")

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def refusal(self, *words: str) -> str:
        """Return the one line of a command that is refused before it does anything."""
        done = habitat(self.root, *words)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1), done
        return done.stderr.removeprefix("ERROR: ").rstrip("\n")


def test_table_of_plugins_equals_pyproject() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["doit"]
    sections = {name.upper(): entries for name, entries in settings.pop("plugins").items()}
    assert {"GLOBAL": settings, **sections} == plugins.SETTINGS


@pytest.mark.parametrize("word", ["--version", "-V", "-v", "version"])
def test_version_is_that_of_this_program(tmp_path: Path, word: str) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert habitat(tmp_path, word).stdout == f"habitats {version}\n"


def test_habitat_without_project_says_how_to_begin(tmp_path: Path) -> None:
    done = habitat(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "  habitat init " in done.stdout
    assert habitat(tmp_path, "help", "start").stdout.startswith("habitat start ")
    assert Folder(tmp_path).refusal("start").startswith("no project here: ")


def test_habitat_in_removed_folder_says_how_to_begin(tmp_path: Path) -> None:
    script = f"rmdir ../gone; exec {sys.executable} -m phases.ui.habitat"
    (tmp_path / "gone").mkdir()
    env = {**os.environ, **NOWHERE}
    done = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path / "gone", env=env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "  habitat init " in done.stdout


@pytest.mark.parametrize("program", ["habitat", "doit"])
def test_program_alone_shows_state_and_builds_nothing(tmp_path: Path, program: str) -> None:
    project = Project(tmp_path)
    project.habitat("one", "base_image: debian\n")
    module = {"habitat": "phases.ui.habitat"}.get(program, program)
    done = project.run(sys.executable, "-m", module, env={**NOWHERE, "COLUMNS": "200"})
    assert "one " in done.out
    start = "habitat start one" if program == "habitat" else "doit start:one"
    shown = [line.split("  ")[0] for line in done.out.splitlines()]
    assert shown[-4:-1] == [start, f"{program} build", f"{program} help"]
    assert "no Docker engine" in done.out.splitlines()[-1]
    assert not list((tmp_path / ".stamps").iterdir())


def test_options_without_task_build_nothing(tmp_path: Path) -> None:
    error = Folder(tmp_path, "one").refusal("-n", "4")
    assert error == "nothing to do is named: `habitat build` builds every habitat, `habitat build NAME` one"


def test_project_is_the_nearest_folder_with_habitats(tmp_path: Path) -> None:
    Folder(tmp_path, "outer")
    inner = Folder(tmp_path / "inner", "nearest")
    (inner.root / "src" / "deep").mkdir(parents=True)
    assert "known here: nearest" in habitat(inner.root / "src" / "deep", "plan", "nosuch").stderr
    assert "known here: outer" in habitat(tmp_path, "plan", "nosuch").stderr


def test_settings_of_doit_in_a_persons_project_are_not_read(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "one")
    folder.write("pyproject.toml", "[tool.doit]\nloader = 'nosuch'\n")
    folder.write("doit.cfg", "[GLOBAL]\nbackend = nosuch\n")
    folder.write("dodo.py", "raise SystemExit('read')\n")
    done = habitat(tmp_path, "list")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-3].split() == ["one"]


def test_verb_without_name_takes_habitat_named_like_the_folder(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "web", "api", "web")
    folder.write("habitats/web/config.yaml", "base_imgae: debian\n")
    assert "habitats/web/config.yaml:1: " in habitat(folder.root, "plan").stdout
    assert "habitats/web/config.yaml:1: " in habitat(folder.root, "rebuild").stdout
    assert folder.refusal("destroy").startswith("destroy needs a habitat, as in `habitat destroy NAME`")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("plan nosuch", "there is no habitat 'nosuch': known here: one, two"),
        ("build nosuch", "there is no habitat 'nosuch': known here: one, two"),
        ("build one --to setpu", "--to: there is no phase 'setpu': did you mean 'setup'?"),
        ("rebuild", "rebuild needs a habitat, as in `habitat rebuild NAME`: known here: one, two"),
        ("rebuild one --from tools --to env", "--from tools is behind --to env: name an earlier phase"),
        ("rebuild one --to dockerfile", "there is no task 'dockerfile:one': one has no such phase"),
        ("clean --from setup", "clean needs a habitat, as in `habitat clean NAME`: known here: one, two"),
        ("forget one --from setpu", "--from: there is no phase 'setpu': did you mean 'setup'?"),
        ("stauts", "there is no command 'stauts': did you mean `habitat status`?"),
        ("ls", "there is no command 'ls': here that is `habitat list`"),
        ("run one", "there is no command 'run': here that is start: `habitat help start` explains it"),
        ("exec one", "exec needs a command, as in `habitat exec one -- make test`"),
        ("strat", "there is no command 'strat': `habitat help start` explains start"),
        ("dumpdb", "there is no command 'dumpdb': `habitat help` lists all commands"),
        (
            "start one --detahc",
            "option --detahc not recognized: did you mean --detach? `habitat help start` lists the options",
        ),
        ("--hlep", "option --hlep not recognized: did you mean --help? `habitat help` lists all commands"),
        ("build --from x", "option --from not recognized: `habitat help build` lists the options"),
        ("stop one --froce", "option --froce not recognized: `habitat help stop` lists the options"),
        ("tabcompletion --shell fish", "--shell: there is no completion for 'fish': known here: bash, zsh"),
        ("info start:one", "info takes one phase of a habitat, as in `habitat info setup:api`"),
        ("new", f"new needs a name: `habitat new {New.doc_usage}`"),
        ("FOO=bar", "there is no command 'FOO=bar': a variable goes before habitat, as in `NAME=VALUE habitat …`"),
    ],
)
def test_mistyped_words_are_refused_with_what_was_meant(tmp_path: Path, words: str, error: str) -> None:
    assert Folder(tmp_path, "one", "two").refusal(*words.split()) == error


def forgotten(root: Path, name: str) -> list[str]:
    """Return the phases of a habitat that the next build runs whatever the labels say."""
    stamps = Stamps(root, print)
    return [phase for phase in NAMES if stamps.is_forgotten(f"{phase}:{name}")]


@pytest.mark.parametrize(
    ("words", "phases"),
    [
        ("rebuild one", NAMES[1:]),
        ("rebuild one --from tools", NAMES[9:]),
        ("rebuild one --from tools --to verify", NAMES[9:]),
        ("rebuild one --to dockerfile", ()),
        ("forget one", NAMES[1:]),
        ("forget setup:one", NAMES[7:8]),
        ("forget --from tools one", NAMES[9:]),
    ],
)
def test_rebuild_and_forget_mark_phases_of_the_named_habitat(
    tmp_path: Path, words: str, phases: tuple[str, ...]
) -> None:
    folder = Folder(tmp_path, "one", "two")
    habitat(folder.root, *words.split())
    assert forgotten(folder.root, "one") == list(phases)
    assert forgotten(folder.root, "two") == []


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("--detach start one", "start --detach one"),
        ("--cmd stop start one", "start --cmd stop one"),
        ("-n 4 build", "build -n 4"),
        ("--to setup build one", "build --to setup one"),
        ("-r jsonl start:one", "start:one -r jsonl"),
        ("-n 4 setup:one", "-n 4 setup:one"),
        ("--json status", "status --json"),
        ("exec one ls -h", "exec one ls -h"),
        ("-r jsonl exec:one -- cat -", "-r jsonl exec:one -- cat -"),
        ("-r jsonl -o x exec one -- ls -a", "-r jsonl -o x exec one -- ls -a"),
        ("exec:one ls -h", "exec:one ls -h"),
        ("exec one -- ls --help", "exec one -- ls --help"),
        ("exec one -h", "help exec"),
        ("start one -h", "help start"),
        ("nosuch -h", "help"),
    ],
)
def test_command_goes_first(typed: str, expected: str) -> None:
    assert command_first(typed.split()) == expected.split()


@pytest.mark.parametrize(
    ("program", "forms"),
    [
        ("doit", ["doit clean api", "doit stop:api --force", "doit setup:api", "doit final:api"]),
        (
            "habitat",
            ["habitat clean api", "habitat stop api --force", "habitat build api --to setup", "habitat build api"],
        ),
    ],
)
def test_command_has_the_form_of_the_program(monkeypatch: pytest.MonkeyPatch, program: str, forms: list[str]) -> None:
    monkeypatch.setattr(command_form, "_program", [program])
    assert forms == [
        command_form.command("clean", "api"),
        command_form.verb("stop", "api", "--force"),
        command_form.phase("setup", "api"),
        command_form.phase("final", "api"),
    ]


@pytest.mark.parametrize("reporter", [(), ("-r", "jsonl")])
def test_output_file_is_in_the_folder_of_the_person(tmp_path: Path, reporter: tuple[str, ...]) -> None:
    folder = Folder(tmp_path, "one")
    (tmp_path / "src").mkdir()
    habitat(folder.root / "src", "build", *reporter, "-o", "out.txt")
    assert "no Docker engine answers" in (tmp_path / "src" / "out.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("typed", "path"),
    [("out", "PROJECT/src/out"), ("../out", "PROJECT/out"), ("/out", "/out"), ("~/out", "~/out"), ("", "")],
)
def test_typed_path_is_relative_to_the_folder_of_the_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, path: str
) -> None:
    monkeypatch.setattr(typed_paths, "_folder", [tmp_path / "src"])
    assert typed_paths.typed_path(typed, tmp_path) == path.replace("PROJECT", str(tmp_path))
    monkeypatch.setattr(typed_paths, "_folder", [tmp_path])
    assert typed_paths.typed_path(typed, tmp_path) == typed


def test_failed_command_of_a_start_gives_the_run_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_exit_codes", [])

    def run(*_: object) -> int:
        raise SessionFailed("the command of one ended with exit code 7", 7, remedy="its container is kept")

    verb: Any = SimpleNamespace(BUILDS=False, run=run)
    project: Any = None
    tasks.run_verb(project, "one", verb)
    assert tasks.exit_code() == 7
