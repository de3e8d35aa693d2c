"""Trees of the host: what is copied, and what identifies it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from unit_helpers import load, write

from phases.core import copied_files
from phases.core.errors import ConfigError
from phases.core.files import tree
from phases.core.files.habignore import rules_of_tree
from phases.core.files.ignore import Ignore

if TYPE_CHECKING:
    from pathlib import Path

NOTHING = Ignore()


def paths(root: Path, ignore: Ignore = NOTHING) -> list[str]:
    """The files of a tree, not its folders."""
    return [item.path for item in tree.walk(root, ignore) if item.kind != "dir"]


def fill(root: Path, *names: str) -> Path:
    for name in names:
        write(root, name)
    return root


@pytest.mark.parametrize(
    ("mode", "kept"),
    [(0o600, 0o644), (0o664, 0o644), (0o644, 0o644), (0o700, 0o755), (0o775, 0o755), (0o444, 0o644), (0o4755, 0o755)],
)
def test_tree_file_modes_are_reduced_to_those_of_git(tmp_path: Path, mode: int, kept: int) -> None:
    file = write(tmp_path, "file", mode=mode)
    assert [item.mode for item in tree.walk(file, NOTHING)] == [kept]
    (tmp_path / "folder").mkdir(0o700)
    assert [item.mode for item in tree.walk(tmp_path / "folder", NOTHING)] == [0o755]


@pytest.mark.parametrize(
    "mode",
    [0o600, 0o400, 0o440, 0o444, 0o640, 0o644, 0o664, 0o700, 0o750, 0o755, 0o777, 0o2755, 0o4755, 0o6711, 0o1644],
)
def test_exact_tree_keeps_mode_and_time_and_identity_has_mode(tmp_path: Path, mode: int) -> None:
    (tmp_path / "ctx/folder").mkdir(parents=True)
    for path in (write(tmp_path, "ctx/file"), tmp_path / "ctx/folder"):
        os.utime(path, (1, 981_173_106))
        path.chmod(mode)
    (tmp_path / "ctx").chmod(0o700)
    root, *items = tree.walk(tmp_path / "ctx", NOTHING, exact=True)
    assert (root.mode, root.mtime, root.identity()) == (0o755, None, "dir"), "docker build copies neither"
    assert [(item.path, item.mode, item.mtime) for item in items] == [
        ("file", mode, 981_173_106),
        ("folder", mode, 981_173_106),
    ]
    counted = mode & ~0o020
    assert items[0].identity().split()[0] == f"{counted:o}"
    assert items[1].identity() == ("dir" if counted == 0o755 else f"dir {counted:o}")


@pytest.mark.parametrize(("one", "other"), [(0o644, 0o664), (0o755, 0o775), (0o600, 0o620), (0o2755, 0o2775)])
def test_exact_tree_identity_is_equal_with_umask_002_and_022(tmp_path: Path, one: int, other: int) -> None:
    file = write(tmp_path, "ctx/file", mode=one)
    before = tree.identity(tree.walk(tmp_path / "ctx", NOTHING, exact=True))
    file.chmod(other)
    os.utime(file, (5, 5))
    (tmp_path / "ctx").chmod(0o2775)
    assert tree.identity(tree.walk(tmp_path / "ctx", NOTHING, exact=True)) == before


def test_tree_lists_root_and_all_entries_by_name(tmp_path: Path) -> None:
    fill(tmp_path, "b/c", "b/a", "a", "B")
    assert [(item.path, item.kind) for item in tree.walk(tmp_path, NOTHING)] == [
        ("", "dir"),
        ("B", "file"),
        ("a", "file"),
        ("b", "dir"),
        ("b/a", "file"),
        ("b/c", "file"),
    ]


def test_tree_links_below_root_stay_links(tmp_path: Path) -> None:
    fill(tmp_path, "real/file")
    (tmp_path / "relative").symlink_to("real/file")
    (tmp_path / "dangling").symlink_to("/nowhere")
    (tmp_path / "folder").symlink_to("real")
    actual = {item.path: item.target for item in tree.walk(tmp_path, NOTHING) if item.kind == "link"}
    assert actual == {"relative": "real/file", "dangling": "/nowhere", "folder": "real"}


def test_tree_root_that_is_link_is_followed(tmp_path: Path) -> None:
    fill(tmp_path, "real/file")
    (tmp_path / "link").symlink_to("real")
    assert paths(tmp_path / "link") == ["file"]


def test_tree_special_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ConfigError) as excinfo:
        paths(tmp_path)
    assert str(excinfo.value) == (f"{tmp_path}/fifo: is neither a file, a folder nor a link: name it in .habignore")


def test_tree_special_file_in_habignore_is_omitted(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    write(tmp_path, ".habignore", "fifo\n")
    assert paths(tmp_path, rules_of_tree(tmp_path, tmp_path)) == [".habignore"]


FILES = ("a.pem", "id_key", ".env", ".git/config", "sub/b.pem", "sub/.env", "keep.txt", "sub/keep.txt", "key", "env")


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        ("", ["env", "keep.txt", "key", "sub/keep.txt"]),
        ("!*.pem\n", ["a.pem", "env", "keep.txt", "key", "sub/b.pem", "sub/keep.txt"]),
        ("!/.env\n", [".env", "env", "keep.txt", "key", "sub/keep.txt"]),
        ("keep.txt\n", ["env", "key"]),
        ("/keep.txt\n", ["env", "key", "sub/keep.txt"]),
        ("sub/\n", ["env", "keep.txt", "key"]),
        ("# key\n\nkey\n", ["env", "keep.txt", "sub/keep.txt"]),
        ("*\n!keep.txt\n", ["keep.txt"]),
    ],
)
def test_habignore_extends_default_secret_patterns(tmp_path: Path, lines: str, kept: list[str]) -> None:
    fill(tmp_path / "tree", *FILES)
    write(tmp_path, "rules/.habignore", lines)
    assert paths(tmp_path / "tree", rules_of_tree(tmp_path / "tree", tmp_path / "rules")) == kept


def test_habignore_not_utf8_is_error(tmp_path: Path) -> None:
    (tmp_path / ".habignore").write_bytes(b"\xff\n")
    with pytest.raises(ConfigError, match="can't be read as UTF-8 text"):
        rules_of_tree(tmp_path, tmp_path)


def identity(root: Path) -> dict[str, str]:
    return tree.identity(tree.walk(root, NOTHING))


def test_tree_identity_ignores_times_and_location(tmp_path: Path) -> None:
    for clone in ("one", "two/deeper"):
        write(tmp_path, f"{clone}/sub/file", "x", 0o600 if clone == "one" else 0o664)
        (tmp_path / clone / "link").symlink_to("sub/file")
    os.utime(tmp_path / "one/sub/file", (1, 1))
    assert identity(tmp_path / "one") == identity(tmp_path / "two/deeper")


def changed_content(root: Path) -> None:
    (root / "file").write_text("y")


def renamed(root: Path) -> None:
    (root / "file").rename(root / "other")


def made_executable(root: Path) -> None:
    (root / "file").chmod(0o755)


def pointed_elsewhere(root: Path) -> None:
    (root / "link").unlink()
    (root / "link").symlink_to("elsewhere")


def added_a_folder(root: Path) -> None:
    (root / "empty").mkdir()


def became_a_folder(root: Path) -> None:
    (root / "file").unlink()
    (root / "file").mkdir()


@pytest.mark.parametrize(
    "change", [changed_content, renamed, made_executable, pointed_elsewhere, added_a_folder, became_a_folder]
)
def test_tree_identity_changes_with_copied_content(tmp_path: Path, change: object) -> None:
    write(tmp_path, "file", "x")
    (tmp_path / "link").symlink_to("file")
    before = identity(tmp_path)
    assert callable(change)
    change(tmp_path)
    assert identity(tmp_path) != before


def test_layer_tree_omits_files_of_other_phases(tmp_path: Path) -> None:
    own = ("Dockerfile", "config.yaml", "tests/t", "tools/bin/t", ".habignore", ".dockerignore", "out", "key.pem")
    fill(tmp_path / "habitats/demo", *own, "sub/config.yaml", "sub/tests/t", "kept")
    write(tmp_path, "habitats/demo/.habignore", "out\n")
    write(tmp_path, "habitats/demo/.dockerignore", "private\n")
    write(tmp_path, "habitats/demo/private")
    habitat = load(tmp_path)
    copied = [item.path for item in copied_files.layer_tree(habitat, habitat.layers[-1]) if item.kind == "file"]
    assert copied == ["kept", "sub/config.yaml", "sub/tests/t"]


def test_files_entry_naming_ignored_file_copies_file(tmp_path: Path) -> None:
    write(tmp_path, "habitats/demo/key.pem")
    habitat = load(tmp_path, "base_image: debian\nfiles:\n  - {source: key.pem, dest: /k}\n")
    assert [item.kind for item in copied_files.file_tree(habitat, habitat.files[0])] == ["file"]
