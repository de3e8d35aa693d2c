"""`instructions:` of all layers reach the files in which agents read them, and change nothing else there."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from unit_helpers import DemoProject, bring_up, load, make_user, write

from phases.core.errors import ConfigError, HabitatError
from phases.core.runtime.session import instructions
from phases.core.runtime.session.open import open_session
from phases.registry import PHASES

if TYPE_CHECKING:
    from pathlib import Path

    from fake_engine import Command

BASE = "base_image: base:1\n"
FILES = "entry: {instruction_files: [~/.agent/AGENTS.md]}\n"
BEGIN, END = instructions._BEGIN, instructions._END


def refused(root: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(root, f"{BASE}{text}\n")
    return str(caught.value)


@pytest.mark.guarantee("instructions-assembled")
def test_instructions_of_all_layers_are_assembled_in_order(tmp_path: Path) -> None:
    write(tmp_path, "shared/extends/a/config.yaml", "instructions: From the extend, $HOME and all.\n")
    write(tmp_path, "shared/config.yaml", "instructions: {file: team.md}\n")
    write(tmp_path, "shared/team.md", "# Team\n\nFrom the team.\n\n")
    habitat = load(tmp_path, f"{BASE}extends: [a]\ninstructions:\n  - First.\n  - |\n    Second,\n    third.\n")
    assert instructions.assembled(habitat) == (
        f"{BEGIN}\nFrom the extend, $HOME and all.\n\n# Team\n\nFrom the team.\n\nFirst.\n\nSecond,\nthird.\n{END}\n"
    )


def test_no_instructions_are_an_empty_text(tmp_path: Path) -> None:
    assert instructions.assembled(load(tmp_path, f"{BASE}instructions: ['', ' ']\n")) == ""
    assert instructions.assembled(load(tmp_path, BASE)) == ""


def test_instructions_are_in_no_slice(tmp_path: Path) -> None:
    before = load(tmp_path, BASE)
    after = load(tmp_path, f"{BASE}instructions: Some.\n{FILES}")
    assert [phase.slice(after) for phase in PHASES[1:]] == [phase.slice(before) for phase in PHASES[1:]]


@pytest.mark.parametrize("folder", ["habitats/demo", "shared"])
def test_instructions_file_in_layer_is_in_no_slice(tmp_path: Path, folder: str) -> None:
    write(tmp_path, f"{folder}/other", "copied")
    before = load(tmp_path, BASE)
    slices = [phase.slice(before) for phase in PHASES[1:]]
    write(tmp_path, f"{folder}/agents.md", "Some.")
    source = "agents.md" if folder == "habitats/demo" else f"{folder}/agents.md"
    after = load(tmp_path, f"{BASE}instructions: {{file: {source}}}\n")
    assert [phase.slice(after) for phase in PHASES[1:]] == slices


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("instructions: {file: gone.md}", ":2: instructions: there is neither habitats/demo/gone.md nor gone.md"),
        ("instructions: [{file: .}]", ":2: instructions: . is not a file"),
        ("instructions: {text: x}", ":2: instructions[0]: unknown key 'text': known here: file"),
        ("instructions: [[x]]", ":2: instructions[0]: must be "),
        (
            "entry: {instruction_files: [/etc/x]}",
            ":2: entry.instruction_files[0]: must be a file in USER's home, is /etc",
        ),
        ("entry: {instruction_files: [AGENTS.md]}", ":2: entry.instruction_files[0]: must be a file in USER's home"),
        ("entry: {instruction_files: [~/.agent/]}", ":2: entry.instruction_files[0]: must be a file in USER's home"),
        ("entry: {instruction_files: ['~']}", ":2: entry.instruction_files[0]: must be a file in USER's home"),
        (f"{FILES}volumes: [./data:~/.agent]", ":3: ~/.agent is a volume, and entry.instruction_files has ~/.agent/"),
        (f"{FILES}repos: [{{url: 'https://x/y', path: ~/.agent}}]", ":3: ~/.agent is a repository, and entry.instruc"),
    ],
)
def test_wrong_instructions_are_refused_with_line(tmp_path: Path, text: str, expected: str) -> None:
    write(tmp_path, "habitats/demo/data/x")
    error = refused(tmp_path, text)
    assert f"habitats/demo/config.yaml{expected}" in error


def test_same_instruction_file_of_two_layers_counts_once(tmp_path: Path) -> None:
    write(tmp_path, "shared/config.yaml", FILES)
    assert load(tmp_path, BASE + FILES).entry.instruction_files == ("~/.agent/AGENTS.md",)


def demo(root: Path, text: str) -> tuple[DemoProject, list[Command]]:
    """Return a built project, and the commands that write instructions."""
    project = DemoProject(root, BASE + text)
    written: list[Command] = []

    def execute(command: Command) -> tuple[int, str]:
        if command.script == instructions._WRITE.text:
            written.append(command)
        return make_user(command) or (0, "")

    project.engine.on_execute = execute
    project.build()
    return project, written


def start(project: DemoProject) -> None:
    with open_session(project.run_anew(), "demo", bring_up):
        pass


def test_start_writes_instructions_as_user_and_without_a_build(tmp_path: Path) -> None:
    project, written = demo(tmp_path, f"instructions: One.\n{FILES}")
    start(project)
    write(tmp_path, "habitats/demo/config.yaml", f"{BASE}instructions: Two.\n{FILES}")
    assert project.build() == []
    start(project)
    assert [command.user for command in written] == ["agent", "agent"]
    assert [command.stdin.decode() for command in written] == [f"{BEGIN}\n{n}.\n{END}\n" for n in ("One", "Two")]
    assert [command.args[3:] for command in written] == [("", "/home/agent/.agent/AGENTS.md")] * 2


def test_start_without_instruction_files_runs_nothing_more(tmp_path: Path) -> None:
    project, written = demo(tmp_path, "instructions: One.\n")
    start(project)
    assert written == []


def test_start_that_cannot_write_instructions_is_an_error_with_line(tmp_path: Path) -> None:
    project, _ = demo(tmp_path, f"instructions: One.\n{FILES}")
    script = instructions._WRITE.text
    project.engine.on_execute = lambda command: (1, "no space") if command.script == script else (0, "")
    with pytest.raises(HabitatError, match=r"config.yaml:2: instructions: can't be written \(no space\)"):
        start(project)


def test_instructions_below_volume_are_not_written_with_a_notice(tmp_path: Path) -> None:
    write(tmp_path, "habitats/demo/data/x")
    project, written = demo(tmp_path, f"instructions: One.\nvolumes: [./data:/home/agent/.agent]\n{FILES}")
    start(project)
    assert [command.args[3:] for command in written] == [()]
    assert any("not written to /home/agent/.agent/AGENTS.md" in notice for notice in project.notices())


# The script, run here


def run(text: str, *files: Path) -> str:
    data = text.encode()
    argv = ["/bin/sh", "-e", "-c", "--", instructions._WRITE.text, "sh", str(len(data)), BEGIN, END]
    argv += [word for file in files for word in ("", str(file))]
    result = subprocess.run(argv, input=data, capture_output=True, check=True)
    assert result.stderr == b""
    return result.stdout.decode()


def block(text: str) -> str:
    return f"{BEGIN}\n{text}\n{END}\n"


@pytest.mark.guarantee("instructions-keep-own-text")
@pytest.mark.parametrize("own", ["", "mine\n", "no newline", "\n\n", "a\n\n\n", "`$(x)` \\n %s * \x01\n"])
def test_instructions_keep_text_of_agent_or_person(tmp_path: Path, own: str) -> None:
    file = tmp_path / "a b" / "AGENTS.md"
    write(tmp_path, "a b/x")
    file.write_text(own)
    run(block("One $HOME `x` \\n"), file)
    assert file.read_text() == block("One $HOME `x` \\n") + own
    before = file.stat()
    run(block("One $HOME `x` \\n"), file)
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    run(block("Two\n\n"), file)
    assert file.read_text() == block("Two\n\n") + own
    run("", file)
    assert file.read_text() == own


def test_instructions_stay_at_their_place_in_file(tmp_path: Path) -> None:
    file = tmp_path / "AGENTS.md"
    file.write_text(f"above\n{block('One')}below\n")
    run(block("Two"), file)
    assert file.read_text() == f"above\n{block('Two')}below\n"


def test_instructions_without_end_line_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "AGENTS.md"
    file.write_text(f"{BEGIN}\nmine\n")
    run(block("Two"), file)
    assert file.read_text() == f"{block('Two')}{BEGIN}\nmine\n"


def test_no_instructions_create_no_file(tmp_path: Path) -> None:
    run("", tmp_path / "x/AGENTS.md")
    assert not (tmp_path / "x").exists()


def test_instructions_go_into_several_files_and_new_folders(tmp_path: Path) -> None:
    files = [tmp_path / "x/y/AGENTS.md", tmp_path / "z/CLAUDE.md"]
    assert run(block("One"), *files) == ""
    assert [file.read_text() for file in files] == [block("One")] * 2


def test_instructions_are_never_written_into_a_repository(tmp_path: Path) -> None:
    (tmp_path / "dotfiles/.git").mkdir(parents=True)
    output = run(block("One"), tmp_path / "dotfiles/agent/AGENTS.md", tmp_path / "other/AGENTS.md")
    place = tmp_path / "dotfiles"
    assert output == f"instructions: not written to {place}/agent/AGENTS.md, since {place} is a git repository\n"
    assert not (tmp_path / "dotfiles/agent").exists()
    assert (tmp_path / "other/AGENTS.md").exists()
