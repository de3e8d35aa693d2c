"""The key `dockerfile`: which file phase 0 builds, if any."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from unit_helpers import DemoProject, load, write

from phases.core.config import dockerfile
from phases.core.copied_files import dockerfile_context, layer_tree
from phases.core.errors import HabitatError
from phases.registry import habitat_phases

if TYPE_CHECKING:
    from pathlib import Path

FILE = "habitats/demo/config.yaml:1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "habitats/demo/Dockerfile", "FROM a\n")
    write(tmp_path, "habitats/demo/Dockerfile.rest", "FROM b\n")
    return tmp_path / "habitats" / "demo"


@pytest.mark.parametrize(
    ("text", "built"),
    [
        ("base_image: base:1\n", "Dockerfile"),
        ("dockerfile: Dockerfile\n", "Dockerfile"),
        ("dockerfile: Dockerfile.rest\n", "Dockerfile.rest"),
        ("{dockerfile: Dockerfile.rest}\n", "Dockerfile.rest"),
        ("dockerfile: false\nbase_image: base:1\n", ""),
        ("# dockerfile: false\nbase_image: base:1\n", "Dockerfile"),
    ],
)
def test_dockerfile_key_selects_file_to_build(folder: Path, text: str, built: str) -> None:
    habitat = load(folder.parents[1], text)
    assert habitat.dockerfile == built
    assert habitat.has_dockerfile is bool(built)
    assert dockerfile.exists_in(folder) is bool(built)
    assert ("dockerfile" in [phase.NAME for phase in habitat_phases(habitat)]) is bool(built)
    if built:
        context = dockerfile_context(habitat)
        assert (context.dockerfile.path, context.dockerfile.source.name) == (built, built)
        items = {item.path for item in context.items}
        assert "Dockerfile.rest" in items, "docker build copies it"
        # Beside a Dockerfile.rest, `doit migrate --remove` may remove the Dockerfile without another build.
        assert ("Dockerfile" in items) is (built == "Dockerfile")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dockerfile: nowhere\n", "dockerfile: there is no file habitats/demo/nowhere: add it, or fix the name"),
        ("dockerfile: ../Dockerfile\n", "dockerfile: '../Dockerfile' is not a file name: write the name of a file"),
        ("dockerfile: config.yaml\n", "dockerfile: 'config.yaml' is not a file name: write the name of a file"),
        ("dockerfile: false\n", "there is no base_image and no Dockerfile: add"),
        ("dockerfile: [a]\n", "dockerfile: must be text, is a list: write one value"),
    ],
)
def test_dockerfile_key_invalid_file_is_refused_with_line(folder: Path, text: str, expected: str) -> None:
    with pytest.raises(HabitatError) as error:
        load(folder.parents[1], text)
    assert str(error.value).startswith(f"{FILE}: {expected}")


def test_dockerfile_key_in_shared_config_is_refused(folder: Path) -> None:
    write(folder.parents[1], "shared/config.yaml", "dockerfile: false\n")
    with pytest.raises(
        HabitatError,
        match=r"^shared/config.yaml:1: dockerfile: is allowed only in a habitat's own config: write it into",
    ):
        load(folder.parents[1], "base_image: base:1\n")


def test_dockerfile_key_false_still_applies_dockerignore(folder: Path) -> None:
    write(folder.parents[1], "habitats/demo/.dockerignore", "notes\n")
    write(folder.parents[1], "habitats/demo/notes")
    write(folder.parents[1], "habitats/demo/kept")
    habitat = load(folder.parents[1], "dockerfile: false\nbase_image: base:1\n")
    assert {item.path for item in layer_tree(habitat, habitat.layer("local"))} == {
        "",
        "kept",
        "Dockerfile.rest",
    }


@pytest.mark.parametrize("text", ["dockerfile: other\n", "dockerfile: false\nbase_image: base:1\n"])
def test_dockerfile_key_makes_folder_named_dockerfile_harmless(tmp_path: Path, text: str) -> None:
    write(tmp_path, "habitats/demo/other", "FROM base:1\n")
    write(tmp_path, "habitats/demo/Dockerfile/x")
    assert load(tmp_path, text).has_dockerfile is ("other" in text)
    with pytest.raises(HabitatError, match=r"^habitats/demo/Dockerfile: is not a file: make it one"):
        load(tmp_path, "base_image: base:1\n")


def test_dockerfile_key_with_other_name_builds_dockerfile_phase(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path, "dockerfile: other\nenv: [USER=root]\n")
    write(tmp_path, "habitats/demo/other", "FROM base:1\n")
    assert demo.build("base") == ["dockerfile", "base"]
    assert demo.build("base") == []
    write(tmp_path, "habitats/demo/other", "FROM base:1\nENV A=1\n")
    assert demo.build("base") == ["dockerfile", "base"]


@pytest.mark.parametrize(
    "line", ["dockerfile: F", '"dockerfile" : F', "? dockerfile\n: F", '"docker\\x66ile": F', "{dockerfile: F}"]
)
def test_dockerfile_key_in_any_yaml_spelling_enables_phase(tmp_path: Path, line: str) -> None:
    write(tmp_path, "habitats/demo/F", "FROM base:1\n")
    demo = DemoProject(tmp_path, f"{line}\n")
    assert demo.project.habitat("demo").has_dockerfile
    assert demo.project.phases("demo")[0].NAME == "dockerfile"
