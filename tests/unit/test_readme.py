"""What README.md says is so."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from conftest import ROOT

from phases.core.config import loader, schema
from phases.registry import NAMES, PHASES

if TYPE_CHECKING:
    from pathlib import Path

README = (ROOT / "README.md").read_text(encoding="utf-8")


def table(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading."""
    part = README.split(f"## {heading}\n", 1)[1]
    rows = [line for line in part.split("\n## ", 1)[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def sample() -> str:
    found = re.search(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert found
    return found[1]


def test_the_recipe_for_what_is_private_is_a_config(tmp_path: Path) -> None:
    _, recipe = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    folder = tmp_path / "habitats" / "example"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"base_image: b\n{recipe}", encoding="utf-8")
    habitat = loader.load(tmp_path, "example", NAMES)
    assert [repo.token for repo in habitat.repos] == ["GITHUB"]
    assert [secret.name for secret in habitat.secrets_of("repos")] == ["GITHUB", "NPM_TOKEN"]
    assert habitat.setup[-1].script == "echo '//registry.npmjs.org/:_authToken=${NPM_TOKEN}' >~/.npmrc"


def test_the_config_reference_is_a_config(tmp_path: Path) -> None:
    folder = tmp_path / "habitats" / "example"
    (folder / "tests").mkdir(parents=True)
    (folder / "config.yaml").write_text(sample(), encoding="utf-8")
    for name in ("gitconfig", "tests/builds.sh"):
        (folder / name).write_text("")
    habitat = loader.load(tmp_path, "example", NAMES)
    assert (habitat.user, habitat.workdir, habitat.timeouts) == ("dev", "/workspace", {"setup": 1800})
    assert habitat.env.values["PRICE"] == "$$5"
    assert [(copy.dest, copy.mode) for copy in habitat.files] == [("~/.gitconfig", "0600")]


@pytest.mark.parametrize("key", schema.Config.__struct_encode_fields__)
def test_the_config_reference_has_every_key(key: str) -> None:
    assert re.search(rf"^{key}:", sample(), re.MULTILINE)


def test_the_table_of_phases_is_the_registry() -> None:
    assert [row[:2] for row in table("The phases")] == [[str(phase.ID), phase.NAME] for phase in PHASES]


def test_what_runs_again_names_phases() -> None:
    named = {row[1].partition(",")[0] for row in table("What runs again")}
    assert named - {"none", "that phase", "none that has a valid snapshot"} == set(NAMES)
