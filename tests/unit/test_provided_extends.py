"""Each extend that comes with the program loads, alone and with the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from unit_helpers import load

from phases.core.config.layers.extends import PACKAGE_FOLDER, names_in
from phases.registry import PHASES

if TYPE_CHECKING:
    from pathlib import Path

NAMES = names_in([(PACKAGE_FOLDER, "")])
AGENTS = ["claude", "codex", "gemini", "opencode"]
SERVICES = ["postgres", "redis"]
BASE = "base_image: debian:bookworm-slim\n"


def test_provided_extends_are_those_of_the_docs() -> None:
    docs = (PACKAGE_FOLDER.parents[1] / "docs/extends.md").read_text()
    assert sorted([*AGENTS, *SERVICES, "browser", "git", "node", "python", "services"]) == NAMES
    assert [name for name in NAMES if f"| `{name}` |" not in docs] == []


@pytest.mark.parametrize("name", NAMES)
def test_provided_extend_loads_and_has_slices_and_plans(tmp_path: Path, name: str) -> None:
    habitat = load(tmp_path, f"{BASE}extends: [{name}]\n")
    assert habitat.description
    assert habitat.layer(f"extends/{name}").shown == f"phases/extends/{name}"
    for phase in PHASES[1:]:
        phase.slice(habitat)
        phase.plan(habitat)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "services"])
def test_provided_extend_has_a_test_that_is_executable(tmp_path: Path, name: str) -> None:
    habitat = load(tmp_path, f"{BASE}extends: [{name}]\n")
    tests = [test.source for test in habitat.tests if test.layer.name == f"extends/{name}"]
    assert tests
    assert all(test.stat().st_mode & 0o111 for test in tests)


@pytest.mark.parametrize("name", AGENTS)
def test_agent_starts_by_its_name_and_persists_its_login_in_home(tmp_path: Path, name: str) -> None:
    habitat = load(tmp_path, f"{BASE}extends: [{name}]\n")
    assert habitat.entry.command.split()[0] == name
    assert [path for path in habitat.entry.persist if path.origin.layer == f"extends/{name}"]
    assert all(path.path.startswith("~/.") for path in habitat.entry.persist)


def test_all_provided_extends_load_together(tmp_path: Path) -> None:
    habitat = load(tmp_path, f"{BASE}extends: [{', '.join(reversed(NAMES))}]\n")
    assert {layer.name for layer in habitat.layers if layer.role == "extends"} == {f"extends/{name}" for name in NAMES}


def test_services_share_one_init_command(tmp_path: Path) -> None:
    one, both = (load(tmp_path, f"{BASE}extends: [{names}]\n") for names in ("redis", "postgres, redis"))
    assert both.entry.init_command == one.entry.init_command
    assert {copy.dest for copy in both.files} == {
        f"/etc/habitat/services/{name}{end}" for name in SERVICES for end in ("", ".ready")
    }
