"""The author of commits in a habitat: that of the person's git, unless something else says one."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from unit_helpers import DemoProject, FakeTerminal, built_demo, write

from phases.core.files import git_identity
from phases.core.runtime import exec as runtime_exec
from phases.core.runtime import start as runtime_start
from phases.registry import PHASES

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = "entry: {command: 'true'}\n"
ADA = "[user]\n\tname = Ada Lovelace\n\temail = ada@example.org\n"
NAMES = {"GIT_AUTHOR_NAME": "Ada Lovelace", "GIT_COMMITTER_NAME": "Ada Lovelace"}
EMAILS = {"GIT_AUTHOR_EMAIL": "ada@example.org", "GIT_COMMITTER_EMAIL": "ada@example.org"}


@pytest.fixture
def gitconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The person's own git config."""
    path = write(tmp_path, "home/gitconfig", ADA)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(path))
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def author(demo: DemoProject) -> dict[str, str]:
    runtime_start.start(demo.run_anew(), "demo", FakeTerminal())
    return {name: value for name, value in demo.engine.commands[-1].env.items() if name in NAMES | EMAILS}


@pytest.mark.guarantee("commits-of-habitats-have-the-persons-name")
def test_author_is_that_of_git_on_the_host_and_in_no_build(root: Path, gitconfig: Path) -> None:
    demo = built_demo(root, CONFIG)
    slices = {phase.NAME: phase.slice(demo.project.habitat("demo")) for phase in PHASES[2:]}
    assert author(demo) == NAMES | EMAILS
    runtime_exec.execute(demo.run_anew(), "demo", ("git", "commit"), FakeTerminal(piped=True))
    assert (NAMES | EMAILS).items() <= demo.engine.commands[-1].env.items()
    before = demo.container()
    assert not NAMES.keys() & demo.engine._containers[before.id].env.keys()
    gitconfig.write_text(ADA.replace("Ada Lovelace", "Grace Hopper"))
    assert demo.build() == []
    assert author(demo)["GIT_AUTHOR_NAME"] == "Grace Hopper"
    assert demo.container().id == before.id
    assert {phase.NAME: phase.slice(demo.project.habitat("demo")) for phase in PHASES[2:]} == slices


def test_author_of_the_projects_repository_comes_first(root: Path, gitconfig: Path) -> None:
    subprocess.run(["git", "-C", root, "init", "-q"], check=True)
    subprocess.run(["git", "-C", root, "config", "user.email", "ada@work.example"], check=True)
    found = author(built_demo(root, CONFIG))
    assert found == NAMES | dict.fromkeys(EMAILS, "ada@work.example")


def test_author_of_env_entry_env_and_base_image_is_kept(root: Path, gitconfig: Path) -> None:
    config = "env: [GIT_AUTHOR_NAME=Bot]\nentry: {env: [GIT_COMMITTER_EMAIL=bot@example.org], command: 'true'}\n"
    demo = built_demo(root, config)
    found = author(demo)
    assert found["GIT_COMMITTER_EMAIL"] == "bot@example.org"
    assert found["GIT_AUTHOR_NAME"] == "Bot"
    assert (found["GIT_COMMITTER_NAME"], found["GIT_AUTHOR_EMAIL"]) == ("Ada Lovelace", "ada@example.org")


@pytest.mark.parametrize("place", ["/etc/gitconfig", "/home/agent/.gitconfig"])
def test_author_of_git_config_in_the_image_is_kept(root: Path, gitconfig: Path, place: str) -> None:
    demo = built_demo(root, CONFIG)
    image = demo.project.assess("demo").final
    assert image
    demo.engine.files(image).write(place, '[core]\n name = x\n[User] name=Bot\n[user "x"]\n email = no\n')
    assert author(demo) == EMAILS
    assert author(demo) == EMAILS  # as it is known from then on


@pytest.mark.parametrize("value", ["A <b>", "two\\nlines", "bell\x07", "\u202eabc", "x" * 501, "\\t"])
def test_author_that_git_cannot_write_is_left_out_with_a_warning(root: Path, gitconfig: Path, value: str) -> None:
    gitconfig.write_text(f'[user]\n\tname = "{value}"\n\temail = ada@example.org\n')
    demo = built_demo(root, CONFIG)
    assert author(demo) == EMAILS
    assert [text for text in demo.notices() if "the user.name of your git" in text]


def test_author_without_git_is_none(root: Path, gitconfig: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo = built_demo(root, CONFIG)
    monkeypatch.setenv("PATH", "/nonexistent")
    assert git_identity.read(root) == {}
    assert author(demo) == {}


def test_author_of_another_repository_that_a_variable_names_does_not_count(
    root: Path, gitconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    subprocess.run(["git", "init", "-q", other], check=True)
    subprocess.run(["git", "-C", other, "config", "user.name", "Other"], check=True)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert git_identity.read(root)["name"] == "Ada Lovelace"
