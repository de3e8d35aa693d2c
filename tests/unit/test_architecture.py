"""Imports go one way, and nothing is loaded or asked before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PHASES = ROOT / "phases"
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PHASES.rglob("*.py"))
}


def imports(module: str) -> set[str]:
    """What a module imports when it runs, wherever in it; names for type checkers apart."""
    found: set[str] = set()
    todo: list[ast.AST] = [ast.parse(MODULES[module].read_text())]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            todo += node.orelse
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else str(node.module) for name in whole}
        todo += ast.iter_child_nodes(node)
    return found


def ours(module: str) -> set[str]:
    return {name for name in imports(module) if name in MODULES and name != "phases"}


PHASE_MODULES = [name for name in MODULES if name.startswith(("phases.p0", "phases.p1"))]


def test_there_are_modules_to_look_at() -> None:
    assert len(PHASE_MODULES) == 13
    assert {"phases.core.build.executor", "phases.ui.tasks", "phases.registry"} <= set(MODULES)


@pytest.mark.parametrize("module", PHASE_MODULES)
def test_a_phase_knows_no_engine_no_build_and_no_other_phase(module: str) -> None:
    allowed = {
        "phases.protocol",
        "phases.core.model",
        "phases.core.files.tree",
        "phases.core.cache.slices",
        "phases.core.errors",
    }
    assert ours(module) <= allowed


@pytest.mark.parametrize("module", PHASE_MODULES)
def test_a_phase_runs_nothing_itself(module: str) -> None:
    assert not imports(module) & {"subprocess", "docker", "os", "shutil", "socket"}


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("phases.core")])
def test_the_core_knows_no_user_interface(module: str) -> None:
    assert not [name for name in imports(module) if name.startswith(("phases.ui", "rich", "doit"))]


def test_only_the_adapter_imports_docker() -> None:
    users = [name for name in MODULES if any(used.split(".")[0] == "docker" for used in imports(name))]
    assert users == ["phases.core.engine.docker_config"]


def test_only_the_composition_imports_the_adapter() -> None:
    assert [name for name in MODULES if "phases.core.engine.select" in imports(name)] == ["phases.ui.tasks"]
    users = [name for name in MODULES if "phases.core.engine.client" in imports(name)]
    assert users == ["phases.core.engine.select", "phases.core.engine.podman"]
    users = [name for name in MODULES if "phases.core.engine.docker_config" in imports(name)]
    assert users == ["phases.core.engine.image_client", "phases.core.engine.connect"]


def test_the_protocol_knows_no_phase() -> None:
    assert not ours("phases.protocol") & {"phases.registry", *PHASE_MODULES}


def test_no_two_modules_import_each_other() -> None:
    """Each module is reached from itself by no way."""
    reached = {name: ours(name) for name in MODULES}
    for _ in MODULES:
        reached = {name: known.union(*(reached[other] for other in known)) for name, known in reached.items()}
    assert [name for name, known in reached.items() if name in known] == []


def run(code: str) -> str:
    environment = {"PATH": "/usr/bin:/bin", "DOCKER_HOST": "unix:///nowhere/docker.sock"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_core_loads_neither_docker_nor_rich() -> None:
    code = """
import sys, importlib
for name in {names}:
    importlib.import_module(name)
print([name for name in ("docker", "requests", "rich", "doit") if name in sys.modules])
"""
    names = [name for name in MODULES if name.startswith("phases.core") and not name.endswith("docker_package")]
    assert run(code.format(names=[*names, "phases.registry"])) == "[]"


def test_every_module_loads_without_an_engine() -> None:
    code = f"import importlib\nfor name in {list(MODULES)}: importlib.import_module(name)\nprint('loaded')"
    assert run(code) == "loaded"


def test_making_all_tasks_asks_nothing_and_loads_neither_docker_nor_rich() -> None:
    code = """
import sys
import dodo
names = [task["basename"] for task in dodo.task_habitats()]
assert "start:hello" in names
unwanted = {"docker", "requests", "rich", "phases.core.report.plan"}
print(sorted(unwanted & set(sys.modules)), "engine" in vars(dodo.PROJECT))
"""
    assert run(code) == "[] False"


def test_dodo_is_short() -> None:
    assert len((ROOT / "dodo.py").read_text().splitlines()) < 65
