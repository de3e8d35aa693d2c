"""What `docker build` leaves out of a context."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import dockerignore_cases
import pytest
from unit_helpers import DemoProject, load, write

from phases import p00_dockerfile
from phases.core.copied_files import dockerfile_context, layer_tree
from phases.core.errors import ConfigError, StepError
from phases.core.files import tree
from phases.core.files.dockerignore import dockerignore

if TYPE_CHECKING:
    from pathlib import Path

RECORDED: dict[str, list[str] | None] = json.loads(dockerignore_cases.RECORDED.read_text())


def paths(root: Path, dockerfile: str = "Dockerfile") -> list[str]:
    return [item.path for item in tree.walk(root, dockerignore(root, dockerfile)) if item.path]


def test_dockerignore_cases_are_recorded() -> None:
    assert tuple(RECORDED) == dockerignore_cases.CASES


@pytest.mark.guarantee("dockerignore-as-docker")
@pytest.mark.parametrize("patterns", dockerignore_cases.CASES, ids=repr)
def test_dockerignore_omits_same_files_as_docker(tmp_path: Path, patterns: str) -> None:
    dockerignore_cases.lay_out(tmp_path, patterns, "")
    expected = RECORDED[patterns]
    if expected is None:
        with pytest.raises(ConfigError, match=r"\.dockerignore:1: .* is not a pattern of docker build: fix or remove"):
            paths(tmp_path)
    else:
        assert sorted(paths(tmp_path)) == expected


@pytest.mark.parametrize(
    "pattern", ["a|b*", "*a|b", "a{2}*", "a^b*", "^a*", r"\d*", r"a\w", "[[:alpha:]]*", "!a|b*", "*|*", "**/x|y?"]
)
def test_dockerignore_pattern_that_docker_reads_as_regex_is_refused(tmp_path: Path, pattern: str) -> None:
    write(tmp_path, ".dockerignore", f"a\n\n{pattern}\n")
    with pytest.raises(ConfigError) as error:
        paths(tmp_path)
    assert str(error.value).startswith(f"{tmp_path}/.dockerignore:3: ")


@pytest.mark.parametrize("pattern", ["**a|b", "a{2}**", "[a|b]*", "[^a]*", r"\[a", r"a\|*", "{a,b}*", r"[\d]*"])
def test_dockerignore_pattern_without_regex_is_accepted(tmp_path: Path, pattern: str) -> None:
    write(tmp_path, ".dockerignore", f"{pattern}\n")
    paths(tmp_path)


@pytest.mark.parametrize(
    ("dockerfile", "left_out"),
    [
        ("Dockerfile", "b"),
        ("dev.Dockerfile", "a"),
        ("Dockerfile.rest", "b"),
        ("", "b"),
        ("other", "b"),
    ],
)
def test_dockerignore_beside_dockerfile_counts_in_place_of_general_one(
    tmp_path: Path, dockerfile: str, left_out: str
) -> None:
    for name in ("a", "b"):
        write(tmp_path, name)
    write(tmp_path, "dev.Dockerfile.dockerignore", "a\n")
    write(tmp_path, ".dockerignore", "b\n")
    assert {"a", "b"} - {*paths(tmp_path, dockerfile)} == {left_out}


@pytest.mark.parametrize("dockerfile", ["Dockerfile", "Dockerfile.rest", ""])
def test_dockerignore_of_dockerfile_counts_after_its_migration(tmp_path: Path, dockerfile: str) -> None:
    for name in ("a", "b"):
        write(tmp_path, name)
    write(tmp_path, "Dockerfile.dockerignore", "a\n")
    write(tmp_path, ".dockerignore", "b\n")
    assert {"a", "b"} - {*paths(tmp_path, dockerfile)} == {"a"}


def test_dockerignore_of_named_dockerfile_counts_in_context_and_files_phase(tmp_path: Path) -> None:
    for name in ("dev.Dockerfile", "a", "b"):
        write(tmp_path, f"habitats/demo/{name}")
    write(tmp_path, "habitats/demo/dev.Dockerfile.dockerignore", "a\n*.dockerignore\n")
    write(tmp_path, "habitats/demo/.dockerignore", "b\n")
    habitat = load(tmp_path, "dockerfile: dev.Dockerfile\n")
    assert [item.path for item in dockerfile_context(habitat).items] == ["", "b", "dev.Dockerfile"]
    assert [item.path for item in layer_tree(habitat, habitat.layer("local"))] == ["", "b"]
    before = p00_dockerfile.slice(habitat)
    write(tmp_path, "habitats/demo/dev.Dockerfile.dockerignore", "a\n*ockerignore\ndev.*\n")
    assert p00_dockerfile.slice(load(tmp_path, "dockerfile: dev.Dockerfile\n")) != before, "COPY finds one file less"


@pytest.mark.parametrize(
    ("patterns", "hidden"),
    [
        ("x", ()),
        ("dev.*", ("dev.Dockerfile",)),
        ("*", ("dev.Dockerfile", ".dockerignore")),
        (".dockerignore", (".dockerignore",)),
    ],
)
def test_dockerfile_and_dockerignore_named_by_pattern_are_not_copied(
    tmp_path: Path, patterns: str, hidden: tuple[str, ...]
) -> None:
    write(tmp_path, "habitats/demo/.dockerignore", f"{patterns}\n")
    demo = DemoProject(tmp_path, "dockerfile: dev.Dockerfile\nenv: [USER=root]\n")
    for name in ("dev.Dockerfile", ".dockerignore"):
        write(tmp_path, "habitats/demo/dev.Dockerfile", f"FROM base:1\nCOPY {name} /x\n")
        if name in hidden:
            with pytest.raises(StepError):
                demo.build("dockerfile")
        else:
            assert demo.build("dockerfile") == ["dockerfile"]
    assert not list((tmp_path / ".stamps/demo").glob("passing.*")), "the unpacked context is removed"
