"""`habitat init`: a repository becomes a project by one folder."""

from __future__ import annotations

import configparser
import subprocess
import sys
from pathlib import Path

import pytest
from test_clone import git, repository

from phases.core import layout
from phases.core.config import loader
from phases.core.errors import ConfigError
from phases.core.scaffold import init
from phases.registry import NAMES
from phases.ui import plugins

ROOT = Path(__file__).resolve().parents[2]


def habitat(folder: Path, *words: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "phases.ui.habitat", *words],
        cwd=folder, env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": "/nonexistent"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return repository(tmp_path / "My App")


def test_init_adds_one_folder_with_the_repository_as_workdir(repo: Path) -> None:
    (repo / "sub").mkdir()
    printed = habitat(repo / "sub", "init")
    assert printed == (
        "created .habitats/my-app/config.yaml: edit it, its comments explain each section\n"
        "then `habitat start my-app` builds and starts it\n"
    )
    assert sorted(path.name for path in repo.iterdir()) == [".git", ".habitats", "one", "sub"]
    config = repo / ".habitats/my-app/config.yaml"
    schema = config.read_text().splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    assert (config.parent / schema).resolve() == ROOT / "phases/config.schema.json"
    habitat_ = loader.load(repo, "my-app", NAMES)
    (clone,) = habitat_.repos
    assert (clone.local, clone.path, habitat_.workdir) == (repo, "/workspace/my-app", "/workspace/my-app")
    assert habitat_.description == "my-app on debian:bookworm-slim"
    state = layout.state_folder(repo)
    (state / "x").touch()
    status = ["git", "-C", str(repo), "status", "--porcelain", "--untracked-files=all"]
    left = subprocess.run(status, check=True, capture_output=True, text=True).stdout
    assert left.split() == ["??", ".habitats/.gitignore", "??", ".habitats/my-app/config.yaml"]


def test_init_with_extends_writes_them_for_the_repository(repo: Path) -> None:
    habitat(repo, "init", "--extends", "claude,python")
    habitat_ = loader.load(repo, "my-app", NAMES)
    assert habitat_.entry.command.startswith("claude")
    assert habitat_.description == "my-app, claude, python on debian:bookworm-slim"
    assert [clone.local for clone in habitat_.repos] == [repo]
    printed = habitat(repo, "init", "--doit", "--extends", "node", code=3)
    assert "is a project already" in printed


def test_init_with_unknown_extend_names_the_nearest_and_writes_nothing(repo: Path) -> None:
    assert "--extends: there is no extend 'cluade': did you mean 'claude'?" in habitat(
        repo, "init", "--extends=cluade", code=3
    )
    assert not (repo / ".habitats").exists()


def test_init_says_that_repository_has_no_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    assert f"the repository {tmp_path} has no commit" in habitat(tmp_path, "init")


def test_init_outside_a_repository_makes_habitat_without_one(tmp_path: Path) -> None:
    printed = habitat(tmp_path, "init", "api", "--base", "alpine:3")
    assert f"{tmp_path} is no git repository, so the habitat has no clone: `repos:` can name one\n" in printed
    habitat_ = loader.load(tmp_path, "api", NAMES)
    assert (habitat_.repos, habitat_.base_image) == ((), "alpine:3")


@pytest.mark.parametrize("name", ["shared", "A", "a b", ".x", "a/b"])
def test_init_with_name_that_no_habitat_can_have_writes_nothing(tmp_path: Path, name: str) -> None:
    assert "can't name a habitat" in habitat(tmp_path, "init", name, code=3)
    assert list(tmp_path.iterdir()) == []


def test_init_in_project_names_the_command_that_adds_a_habitat(repo: Path) -> None:
    habitat(repo, "init")
    printed = habitat(repo, "init", "other", code=3)
    assert "is a project already: it has .habitats/: `habitat new NAME` adds a habitat" in printed


def test_init_of_home_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="holds more than one project"):
        init.root_for(tmp_path)


@pytest.mark.parametrize(
    ("folder", "name"), [("My.App", "my-app"), ("shared", "main"), ("___", "main"), ("Ünï", "n"), ("x--y", "x-y")]
)
def test_habitat_is_named_like_the_folder_as_far_as_it_can_be(tmp_path: Path, folder: str, name: str) -> None:
    assert init.name_for(tmp_path / folder) == name


def test_init_with_doit_writes_files_by_which_doit_has_the_tasks(repo: Path) -> None:
    habitat(repo, "init", "--doit")
    listed = subprocess.run(
        [sys.executable, "-m", "doit", "list"],
        cwd=repo, env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": "/nonexistent"},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "my-app" in listed
    config = configparser.ConfigParser()
    config.read(repo / "doit.cfg")
    assert {section: dict(config[section]) for section in config.sections()} == plugins.SETTINGS
    assert "works in" in habitat(repo, "init", "--doit")


def test_init_with_doit_keeps_a_dodo_of_the_person_and_writes_nothing(repo: Path) -> None:
    (repo / "dodo.py").write_text("mine")
    assert "dodo.py: exists already" in habitat(repo, "init", "--doit", code=3)
    assert (repo / "dodo.py").read_text() == "mine"
    assert not (repo / ".habitats").exists()


def test_dodo_of_this_project_is_that_of_init() -> None:
    assert init._DODO.split('"""')[2] == (ROOT / "dodo.py").read_text().split('"""')[2]


def test_schema_is_printed_outside_of_any_project(tmp_path: Path) -> None:
    for words, name in ((("schema",), "config"), (("schema", "--personal"), "personal")):
        file = ROOT / "phases" / f"{name}.schema.json"
        assert habitat(tmp_path, *words) == file.read_text(encoding="utf-8")
        assert habitat(tmp_path, *words, "--path") == f"{file}\n"
    assert "schema takes no name: `habitat schema [--personal] [--path]`" in habitat(tmp_path, "schema", "api", code=3)
