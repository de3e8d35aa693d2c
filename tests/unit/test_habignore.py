"""Which files are left out of copied folders: the .habignore files, and what editors write."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from unit_helpers import DemoProject, load, write

from phases.core.copied_files import file_tree, layer_tree, subfolder_tree
from phases.core.errors import ConfigError
from phases.core.files.ignore import habignore_lines
from phases.core.report import plan
from phases.registry import habitat_phases

if TYPE_CHECKING:
    from pathlib import Path

    from phases.core.files.tree import Item

BASE = "base_image: base:1\nenv: [USER=root]\n"
EDITOR_FILES = (
    ".config.yaml.swp",
    ".x.swo",
    "4913",
    ".#config.yaml",
    "#config.yaml#",
    "config.yaml~",
    "x~",
    ".DS_Store",
    ".x.kate-swp",
    ".goutputstream-AB12",
    ".~lock.notes.odt#",
    "x___jb_tmp___",
    "Thumbs.db",
)
FOLDERS = (".idea/workspace.xml", ".vscode/settings.json", "__pycache__/x.pyc")
PLACES = ("habitats/demo", "habitats/demo/sub", "habitats/demo/tools", "habitats/demo/tests", "shared", "shared/tools")


def files(items: tuple[Item, ...]) -> list[str]:
    return [item.path for item in items if item.kind == "file"]


@pytest.mark.guarantee("editor-files-build-nothing")
def test_editor_files_beside_config_build_nothing(tmp_path: Path) -> None:
    for folder in PLACES:
        write(tmp_path, f"{folder}/kept")
    write(tmp_path, "habitats/demo/tests/t.sh")
    config = f"{BASE}files: [{{source: sub, dest: /sub}}]\ntests: [tests/t.sh]\n"

    def slices() -> dict[str, object]:
        habitat = load(tmp_path, config)
        return {phase.NAME: phase.slice(habitat) for phase in habitat_phases(habitat)}

    before = slices()
    for folder in PLACES:
        for name in (*EDITOR_FILES, *(FOLDERS if folder != "habitats/demo/sub" else ())):
            write(tmp_path, f"{folder}/{name}")
        (tmp_path / folder / ".#link").symlink_to("me@host.123")
    assert slices() == before


@pytest.mark.parametrize("name", ["~", "x.swp", "a4913", "4913x", "c#", "#c", ".#", "x.idea", "swp", "x~y", "idea"])
def test_file_with_name_like_that_of_editor_file_is_copied(tmp_path: Path, name: str) -> None:
    write(tmp_path, f"habitats/demo/{name}")
    habitat = load(tmp_path, BASE)
    assert files(layer_tree(habitat, habitat.layer("local"))) == ([name] if name != ".#" else [])


def test_editor_files_in_habignore_with_exclamation_mark_are_copied(tmp_path: Path) -> None:
    for name in ("x~", ".vscode/settings.json", ".idea/x"):
        write(tmp_path, f"habitats/demo/{name}")
    write(tmp_path, "habitats/demo/.habignore", "!*~\n!.vscode\n")
    habitat = load(tmp_path, BASE)
    assert files(layer_tree(habitat, habitat.layer("local"))) == [".vscode/settings.json", "x~"]


def test_tool_folders_in_folder_of_files_entry_are_copied(tmp_path: Path) -> None:
    for name in FOLDERS:
        write(tmp_path, f"conf/{name}")
    habitat = load(tmp_path, f"{BASE}files: [{{source: ../../conf, dest: /conf}}]\n")
    assert files(file_tree(habitat, habitat.files[0])) == sorted(FOLDERS)


def test_plan_names_changed_file_of_layer_and_files_entry_once(tmp_path: Path) -> None:
    for name in ("conf/f", "one.txt", "notes"):
        write(tmp_path, f"habitats/demo/{name}", "x")
    copies = "files: [{source: conf, dest: /conf}, {source: ./one.txt, dest: /one}]\n"
    demo = DemoProject(tmp_path, BASE + copies)
    demo.build()
    for name in ("conf/f", "one.txt", "notes"):
        write(tmp_path, f"habitats/demo/{name}", "y")
    rows = [row for rows in plan.plan(demo.run_anew(), "demo").reasons.values() for row in rows]
    assert rows == [f"habitats/demo/{name}: changed" for name in ("conf/f", "one.txt", "notes")]


def test_plan_names_changed_file_of_dockerfile_context_once(tmp_path: Path) -> None:
    write(tmp_path, "habitats/demo/Dockerfile", "FROM base:1\n")
    write(tmp_path, "habitats/demo/notes", "x")
    demo = DemoProject(tmp_path, "env: [USER=root]\n")
    demo.build()
    write(tmp_path, "habitats/demo/notes", "y")
    rows = [row for rows in plan.plan(demo.run_anew(), "demo").reasons.values() for row in rows]
    assert rows == ["habitats/demo/notes: changed"]


# .habignore


@pytest.mark.guarantee("habignore-like-gitignore")
def test_habignore_of_one_layer_leaves_other_layers_alone(tmp_path: Path) -> None:
    for layer in ("shared", "habitats/demo"):
        for name in ("a.md", "b.txt", "tools/c.md", "tools/d.txt"):
            write(tmp_path, f"{layer}/{name}")
    write(tmp_path, "shared/.habignore", "*.md\n")
    write(tmp_path, "habitats/demo/.habignore", "*.txt\n!a.md\n")
    habitat = load(tmp_path, BASE)
    shared, local = habitat.layer("shared"), habitat.layer("local")
    assert files(layer_tree(habitat, shared)) == ["b.txt"]
    assert files(layer_tree(habitat, local)) == ["a.md"]
    assert files(subfolder_tree(habitat, shared, "tools")) == ["d.txt"]
    assert files(subfolder_tree(habitat, local, "tools")) == ["c.md"]


@pytest.mark.guarantee("habignore-like-gitignore")
@pytest.mark.parametrize("source", ["conf", "../../conf"], ids=["in the habitat's folder", "elsewhere"])
@pytest.mark.parametrize(
    ("rules", "kept"),
    [
        ({"conf/.habignore": "secret\n"}, [".habignore", "deep/keep", "keep"]),
        ({"conf/.habignore": "/secret\n"}, [".habignore", "deep/keep", "deep/secret", "keep"]),
        ({"conf/deep/.habignore": "*\n"}, ["keep", "secret"]),
        ({"conf/deep/.habignore": "/secret\n"}, ["deep/.habignore", "deep/keep", "keep", "secret"]),
        (
            {"conf/.habignore": "secret\n", "conf/deep/.habignore": "!secret\n"},
            [".habignore", "deep/.habignore", "deep/keep", "deep/secret", "keep"],
        ),
        ({"conf/.habignore": "deep/\n", "conf/deep/.habignore": "!secret\n"}, [".habignore", "keep", "secret"]),
        ({"habitats/demo/.habignore": "secret\n"}, ["deep/keep", "keep"]),
        (
            {"habitats/demo/.habignore": "secret\n", "conf/.habignore": "!/secret\n"},
            [".habignore", "deep/keep", "keep", "secret"],
        ),
        ({"shared/.habignore": "secret\n"}, ["deep/keep", "deep/secret", "keep", "secret"]),
        (
            {"conf/.habignore": "!.env\n", "conf/.env": "A=1\n"},
            [".env", ".habignore", "deep/keep", "deep/secret", "keep", "secret"],
        ),
    ],
)
def test_habignore_in_folder_of_files_entry_counts_in_it(
    tmp_path: Path, source: str, rules: dict[str, str], kept: list[str]
) -> None:
    folder = "conf" if source.startswith("..") else "habitats/demo/conf"
    for name in ("keep", "secret", "deep/keep", "deep/secret"):
        write(tmp_path, f"{folder}/{name}")
    for path, text in rules.items():
        write(tmp_path, path if not path.startswith("conf") else path.replace("conf", folder, 1), text)
    habitat = load(tmp_path, f"{BASE}files: [{{source: {source}, dest: /conf}}]\n")
    assert files(file_tree(habitat, habitat.files[0])) == kept


def test_habignore_patterns_are_relative_to_their_folder(tmp_path: Path) -> None:
    for name in ("conf/x", "conf/y", "tools/x", "x", "y"):
        write(tmp_path, f"habitats/demo/{name}")
    write(tmp_path, "habitats/demo/.habignore", "/x\nconf/y\n")
    habitat = load(tmp_path, f"{BASE}files: [{{source: conf, dest: /conf}}]\n")
    assert files(layer_tree(habitat, habitat.layer("local"))) == ["conf/x", "y"]
    assert files(file_tree(habitat, habitat.files[0])) == ["x"]
    assert files(subfolder_tree(habitat, habitat.layer("local"), "tools")) == ["x"]


# Lines of a .habignore above a folder that `files:` names, and what is copied of it.
NAMED_FOLDER = {
    "/data/": ["a.md", "b.txt", "sub/a.md", "sub/data/c"],
    "data/": ["a.md", "b.txt", "sub/a.md"],
    "data": ["a.md", "b.txt", "sub/a.md"],
    "dat?": ["a.md", "b.txt", "sub/a.md"],
    "/dat*": ["a.md", "b.txt", "sub/a.md", "sub/data/c"],
    "/dat?/": ["a.md", "b.txt", "sub/a.md", "sub/data/c"],
    "/data/ !*.txt": ["a.md", "b.txt", "sub/a.md", "sub/data/c"],
    "/data/ data/**/a.md": ["b.txt", "sub/data/c"],
    "/data/ data/*/a.md": ["a.md", "b.txt", "sub/data/c"],
    "/data/ /data/*.md": ["b.txt", "sub/a.md", "sub/data/c"],
    "data/**": [],
    "data/*": [],
    "data/sub/**": ["a.md", "b.txt"],
    "/data/* !/data/sub !/data/sub/**": ["sub/a.md", "sub/data/c"],
    "!sub /data/s?b !/data/sub/**": ["a.md", "b.txt"],
    "data/* !data/sub": ["sub/a.md", "sub/data/c"],
    "* !*.txt": ["b.txt"],
    "*.md !/data/a.md": ["a.md", "b.txt", "sub/data/c"],
    "**/data": ["a.md", "b.txt", "sub/a.md"],
    "**/sub/": ["a.md", "b.txt"],
    "**/": ["a.md", "b.txt"],
    "/data/sub": ["a.md", "b.txt"],
    "/data/sub/ !/data/sub/a.md": ["a.md", "b.txt"],
    "sub/** !sub/a.md": ["a.md", "b.txt", "sub/a.md", "sub/data/c"],
}


@pytest.mark.parametrize(("lines", "copied"), NAMED_FOLDER.items())
@pytest.mark.parametrize("other_line", ["", "[x]yz"], ids=["plain", "with pathspec"])
def test_habignore_naming_folder_of_files_entry_leaves_its_content_in(
    tmp_path: Path, lines: str, copied: list[str], other_line: str
) -> None:
    for name in ("a.md", "b.txt", "sub/a.md", "sub/data/c"):
        write(tmp_path, f"habitats/demo/data/{name}")
    write(tmp_path, "habitats/demo/.habignore", "\n".join([other_line, *lines.split()]) + "\n")
    habitat = load(tmp_path, f"{BASE}files: [{{source: ./data, dest: /data}}]\n")
    assert files(file_tree(habitat, habitat.files[0])) == copied


def test_habignore_naming_folder_above_that_of_files_entry_leaves_its_content_in(tmp_path: Path) -> None:
    for name in ("x.md", "deep/y.txt"):
        write(tmp_path, f"habitats/demo/a/b/{name}")
    write(tmp_path, "habitats/demo/.habignore", "/a/\n!a/b/*.txt\n")
    write(tmp_path, "habitats/demo/a/.habignore", "/[b]\n")
    habitat = load(tmp_path, f"{BASE}files: [{{source: ./a/b, dest: /b}}]\n")
    assert files(file_tree(habitat, habitat.files[0])) == ["deep/y.txt", "x.md"]


def test_habignore_is_looked_for_only_in_folders_that_list_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a/x", "b/c/y", "b/.habignore"):
        write(tmp_path, f"habitats/demo/{name}")
    habitat = load(tmp_path, BASE)
    read: list[str] = []

    def lines(folder: Path) -> list[str]:
        read.append(folder.name)
        return habignore_lines(folder)

    monkeypatch.setattr("phases.core.files.habignore.habignore_lines", lines)
    layer_tree(habitat, habitat.layer("local"))
    assert read == ["demo", "b"]


def test_habignore_in_deep_folder_with_wrong_line_is_refused_with_it(tmp_path: Path) -> None:
    path = write(tmp_path, "habitats/demo/a/b/.habignore", "x\n!\n")
    habitat = load(tmp_path, BASE)
    with pytest.raises(ConfigError) as error:
        layer_tree(habitat, habitat.layer("local"))
    assert str(error.value).startswith(f"{path}:2: '!' is not a gitignore pattern")


def test_files_entries_of_two_layers_with_one_source_have_own_rules(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path, f"conf/{name}")
    write(tmp_path, "shared/.habignore", "a\n")
    write(tmp_path, "shared/config.yaml", "files: [{source: ../conf, dest: /one}]\n")
    habitat = load(tmp_path, f"{BASE}files: [{{source: ../../conf, dest: /two}}]\n")
    assert [files(file_tree(habitat, copy)) for copy in habitat.files] == [["b"], ["a", "b"]]


def test_habignore_plain_patterns_need_no_pathspec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pathspec", None)
    write(tmp_path, "habitats/demo/.habignore", "*.md\n/out\nbuild/\n.x*y\n?*.z\n")
    habitat = load(tmp_path, BASE)
    assert files(layer_tree(habitat, habitat.layer("local"))) == []
