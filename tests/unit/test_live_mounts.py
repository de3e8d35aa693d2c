"""Folders of this machine in which a habitat works: the repository itself, its owner, and work trees of git."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from test_clone import commit, git, repository
from unit_helpers import DemoProject, FakeTerminal, load, make_user, write

from phases.core import events
from phases.core.config.mounts import live_mounts
from phases.core.errors import ConfigError
from phases.core.runtime import start as runtime_start

if TYPE_CHECKING:
    from pathlib import Path

AS_ROOT = pytest.mark.skipif(os.getuid() != 0, reason="only root may give files away")


def config(source: object, more: str = "", dest: str = "$WORKDIR") -> str:
    entry = f"{{source: {source}, dest: {dest}{more}}}"
    return f"base_image: base:1\nvolumes: [{entry}]\nentry: {{command: 'true'}}\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = repository(tmp_path / "project")
    commit(root, "two")
    return root


@pytest.mark.parametrize("folder", ["habitats", ".habitats"])
def test_source_that_is_a_dot_is_the_repository_around_the_config(project: Path, folder: str) -> None:
    write(project, f"{folder}/demo/config.yaml", config(".", ", readonly: true"))
    assert load(project).volumes[0].source == project
    write(project, f"{folder}/demo/config.yaml", config(".", ", gives_root_on_the_host: true"))
    habitat = load(project)
    assert (habitat.volumes[0].source, habitat.volumes[0].gives_root) == (project, True)


def test_source_that_is_a_dot_outside_a_repository_is_the_root_of_the_project(tmp_path: Path) -> None:
    assert load(tmp_path, config(".", ", readonly: true")).volumes[0].source == tmp_path


def test_writable_mount_of_the_project_needs_the_agreement(project: Path) -> None:
    """The habitat could write its own config, and hooks of git."""
    with pytest.raises(ConfigError, match="gives_root_on_the_host: true"):
        load(project, config("."))


@AS_ROOT
@pytest.mark.parametrize(
    ("owner", "uid", "mode", "key", "text"),
    [
        (1234, 1000, 0o755, "", "belongs to the number 1234 on this machine, and agent is 1000 in the habitat"),
        (1234, 1000, 0o755, "", "`uid: 1234` makes them one"),
        (0, 1000, 0o755, "", "give the folder to a user"),
        (1234, 0, 0o755, "", "what root writes there will be root's"),
        (1234, 1234, 0o755, "", ""),
        (1234, 1000, 0o777, "", ""),
        (1234, 1000, 0o755, ", readonly: true", ""),
    ],
)
def test_owner_that_user_is_not_is_warned_of(
    tmp_path: Path, owner: int, uid: int, mode: int, key: str, text: str
) -> None:
    data = tmp_path / "habitats/demo/data"
    data.mkdir(parents=True)
    os.chown(data, owner, owner)
    data.chmod(mode)
    warnings = live_mounts.warnings(load(tmp_path, config("data", key, "/data")), uid)
    assert bool(warnings) == bool(text)
    assert all(text in warning and "config.yaml:2: data" in warning for warning in warnings)
    assert live_mounts.warnings(load(tmp_path), uid, same_numbers=False) == []


@AS_ROOT
def test_owner_is_warned_of_once_for_each_container(tmp_path: Path) -> None:
    data = tmp_path / "habitats/demo/data"
    data.mkdir(parents=True)
    os.chown(data, 1234, 1234)
    demo = DemoProject(tmp_path, config("data", "", "/data"))
    demo.engine.on_execute = make_user
    demo.build()
    counts = []
    for _ in range(2):
        runtime_start.start(demo.run_anew(), "demo", FakeTerminal())
        seen = [event.text for event in demo.seen if isinstance(event, events.Notice) and event.warning]
        counts.append(sum("the number 1234" in text for text in seen))
    assert counts == [1, 0]


def test_work_tree_whose_repository_is_not_mounted_is_warned_of(project: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    git(project, "worktree", "add", "-q", str(tree))
    mount = f"{{source: {tree}, dest: /tree}}"
    (warning,) = live_mounts.warnings(load(tmp_path, f"base_image: b\nvolumes: [{mount}]\n"), os.getuid())
    assert f"{tree} is a work tree of the repository {project}/.git, which is not mounted" in warning
    elsewhere = f"{{source: {project}/.git, dest: /elsewhere}}"
    assert live_mounts.warnings(load(tmp_path, f"base_image: b\nvolumes: [{mount}, {elsewhere}]\n"), os.getuid())
    same = f"{{source: {project}/.git, dest: {project}/.git}}"
    assert live_mounts.warnings(load(tmp_path, f"base_image: b\nvolumes: [{mount}, {same}]\n"), os.getuid()) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage",
        b"gitdir: ",
        b"gitdir: \x00",
        b"gitdir: a\ngitdir: b",
        b"\xff\xfe",
        b"gitdir: inside",
        b"x" * 100_000,
    ],
)
def test_git_file_that_names_no_folder_outside_is_ignored(tmp_path: Path, content: bytes) -> None:
    data = tmp_path / "habitats/demo/data"
    data.mkdir(parents=True)
    (data / ".git").write_bytes(content)
    assert live_mounts.warnings(load(tmp_path, config("data", "", "/data")), os.getuid()) == []


def test_git_file_of_an_agent_is_shown_without_control_characters(tmp_path: Path) -> None:
    data = tmp_path / "habitats/demo/data"
    data.mkdir(parents=True)
    (data / ".git").write_bytes(b"gitdir: /x\x1b[2J/worktrees/y")
    (warning,) = live_mounts.warnings(load(tmp_path, config("data", "", "/data")), os.getuid())
    assert r"repository /x\x1b[2J," in warning
    (data / ".git").unlink()
    os.mkfifo(data / ".git")
    assert live_mounts.warnings(load(tmp_path), os.getuid()) == []
