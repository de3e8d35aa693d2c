"""What README.md and docs/config.md say is so."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from conftest import ROOT

from phases.core.config import loader, schema
from phases.registry import NAMES, PHASES
from phases.ui.verbs.registry import VERBS

if TYPE_CHECKING:
    from pathlib import Path

    from phases.ui.verbs.verb import Verb

README = (ROOT / "README.md").read_text(encoding="utf-8")
CONFIG = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")


def table(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading."""
    part = README.split(f"## {heading}\n", 1)[1]
    rows = [line for line in part.split("\n## ", 1)[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def sample() -> str:
    found = re.search(r"```yaml\n(.*?)```", CONFIG, re.DOTALL)
    assert found
    return found[1]


def test_the_recipe_for_what_is_private_is_a_config(tmp_path: Path) -> None:
    _, _, recipe = re.findall(r"```yaml\n(.*?)```", CONFIG, re.DOTALL)
    folder = tmp_path / "habitats" / "example"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"base_image: b\n{recipe}", encoding="utf-8")
    habitat = loader.load(tmp_path, "example", NAMES)
    assert [repo.token for repo in habitat.repos] == ["GITHUB"]
    assert [secret.name for secret in habitat.secrets_of("repos")] == ["GITHUB", "NPM_TOKEN"]
    assert habitat.setup[-1].script == "echo '//registry.npmjs.org/:_authToken=${NPM_TOKEN}' >~/.npmrc"


def test_the_recipe_for_apt_is_a_config(tmp_path: Path) -> None:
    _, recipe, _ = re.findall(r"```yaml\n(.*?)```", CONFIG, re.DOTALL)
    folder = tmp_path / "habitats" / "example"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"base_image: b\n{recipe}", encoding="utf-8")
    habitat = loader.load(tmp_path, "example", NAMES)
    assert [(cache.path, cache.locked) for cache in habitat.caches] == [
        ("/var/cache/apt", True),
        ("/var/lib/apt/lists", True),
    ]


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
    assert habitat.entry.ready
    assert (habitat.entry.ready.interval, habitat.entry.ready.timeout) == (2, 120)
    assert [port.written for port in habitat.entry.ports] == [
        "3000:3000",
        "8080:3000",
        "0.0.0.0:9000:9000",
        "53:53/udp",
    ]


@pytest.mark.parametrize("key", schema.Config.__struct_encode_fields__)
def test_the_config_reference_has_every_key(key: str) -> None:
    assert re.search(rf"^{key}:", sample(), re.MULTILINE)


def test_the_table_of_phases_is_the_registry() -> None:
    assert [row[:2] for row in table("The phases")] == [[str(phase.ID), phase.NAME] for phase in PHASES]


def test_what_runs_again_names_phases() -> None:
    named = {row[1].partition(",")[0] for row in table("What runs again")}
    assert named - {"none", "that phase", "none that has a valid snapshot"} == set(NAMES)


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.NAME)
def test_the_table_of_commands_has_each_verb_with_its_options(verb: Verb) -> None:
    rows = " ".join(" ".join(row) for row in table("Commands") if f"{verb.NAME}:NAME" in row[0])
    assert rows
    assert [option["long"] for option in verb.OPTIONS if f"--{option['long']}" not in rows] == []


def test_the_small_config_is_a_config(tmp_path: Path) -> None:
    (small,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    folder = tmp_path / "habitats" / "example"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(small, encoding="utf-8")
    habitat = loader.load(tmp_path, "example", NAMES)
    assert [repo.path for repo in habitat.repos] == ["/workspace/project"]
    assert [port.written for port in habitat.entry.ports] == ["3000:3000"]


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_links_to_is_there(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("title", re.findall(r'see "([^"]+)"', README + CONFIG))
def test_a_heading_that_is_referred_to_is_there(title: str) -> None:
    assert re.search(rf"^##+ {re.escape(title)}$", README + CONFIG, re.MULTILINE)
