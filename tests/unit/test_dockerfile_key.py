"""The key `dockerfile`: which file phase 0 builds, if any."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from unit_helpers import Site, load, write

from phases.core.config import dockerfile
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
def test_the_key_says_which_file_is_built(folder: Path, text: str, built: str) -> None:
    habitat = load(folder.parents[1], text)
    assert habitat.dockerfile == built
    assert habitat.has_dockerfile is bool(built)
    assert dockerfile.lies_in(folder) is bool(built)
    assert ("dockerfile" in [phase.NAME for phase in habitat_phases(habitat)]) is bool(built)
    in_context = [item.source.name for item in habitat.context if item.path == "Dockerfile"]
    assert in_context == [built or "Dockerfile"] if built else True


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dockerfile: nowhere\n", "dockerfile: there is no file habitats/demo/nowhere: add it, or mend the name"),
        ("dockerfile: ../Dockerfile\n", "dockerfile: '../Dockerfile' is no file name: write the name of a file"),
        ("dockerfile: config.yaml\n", "dockerfile: 'config.yaml' is no file name: write the name of a file"),
        ("dockerfile: false\n", "there is no base_image and no Dockerfile: add"),
        ("dockerfile: [a]\n", "dockerfile: must be text, is a list: write one value"),
    ],
)
def test_what_is_no_file_is_refused_with_its_line(folder: Path, text: str, expected: str) -> None:
    with pytest.raises(HabitatError) as error:
        load(folder.parents[1], text)
    assert str(error.value).startswith(f"{FILE}: {expected}")


def test_it_is_a_habitats_own(folder: Path) -> None:
    write(folder.parents[1], "shared/config.yaml", "dockerfile: false\n")
    with pytest.raises(HabitatError, match=r"^shared/config.yaml:1: dockerfile: is a habitat's own: write it into"):
        load(folder.parents[1], "base_image: base:1\n")


def test_a_dockerfile_that_is_not_built_still_keeps_out_what_it_ignored(folder: Path) -> None:
    write(folder.parents[1], "habitats/demo/.dockerignore", "notes\n")
    write(folder.parents[1], "habitats/demo/notes")
    write(folder.parents[1], "habitats/demo/kept")
    habitat = load(folder.parents[1], "dockerfile: false\nbase_image: base:1\n")
    assert {item.path for item in habitat.layer_tree(habitat.layer("local"))} == {"", "kept", "Dockerfile.rest"}


def test_a_file_of_another_name_is_built_and_begins_the_habitat(tmp_path: Path) -> None:
    site = Site(tmp_path, "dockerfile: other\nenv: [USER=root]\n")
    write(tmp_path, "habitats/demo/other", "FROM base:1\n")
    assert site.build("base") == ["dockerfile", "base"]
    assert site.build("base") == []
    write(tmp_path, "habitats/demo/other", "FROM base:1\nENV A=1\n")
    assert site.build("base") == ["dockerfile", "base"]


@pytest.mark.parametrize(
    "line", ["dockerfile: F", '"dockerfile" : F', "? dockerfile\n: F", '"docker\\x66ile": F', "{dockerfile: F}"]
)
def test_key_in_any_spelling_makes_the_phase_and_the_task(tmp_path: Path, line: str) -> None:
    write(tmp_path, "habitats/demo/F", "FROM base:1\n")
    site = Site(tmp_path, f"{line}\n")
    assert site.project.habitat("demo").has_dockerfile
    assert site.project.phases("demo")[0].NAME == "dockerfile"
