"""Imports go from higher packages to lower ones, and nothing is loaded or asked before it is needed."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PHASES = ROOT / "phases"
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PHASES.rglob("*.py"))
}


# What every other package may import.
BASICS = (
    "origin json_types command_form url_credentials layout errors problems port masking files variables hooks"
    " agent_text entry_settings model copied_files git_credentials"
)

#: Package to the packages that it may import. A package is a folder or a module of phases/core/; `phases` is the
#: modules of phases/ itself, `ui` all of phases/ui/ and the tasks that doit gets from it, phases/dodo.py.
MAY_IMPORT = {
    "json_types": "",
    "origin": "json_types",
    "command_form": "",
    "url_credentials": "",
    "layout": "",
    "errors": "origin json_types url_credentials layout",
    "problems": "origin errors",
    "port": "origin errors",
    "masking": "",
    "files": "origin json_types url_credentials errors layout",
    "variables": "origin json_types errors problems",
    "hooks": "origin",
    "agent_text": "origin",
    "entry_settings": "origin",
    "model": "origin json_types errors port files variables hooks agent_text entry_settings",
    "copied_files": "origin errors files variables hooks model",
    "git_credentials": "origin model",
    "phases": BASICS,
    "config": BASICS,
    "events": f"{BASICS} phases",
    "engine": BASICS,
    "container": f"{BASICS} phases engine",
    "secrets": f"{BASICS} phases engine container",
    "cache": f"{BASICS} phases config events engine",
    "scaffold": f"{BASICS} config",
    "trust": f"{BASICS} events",
    "project": f"{BASICS} phases config events engine secrets cache trust",
    "network": f"{BASICS} phases config events engine container cache project",
    "build": f"{BASICS} phases config events engine container secrets cache project",
    "work": f"{BASICS} phases config events engine container cache project",
    "runtime": f"{BASICS} phases config events engine container secrets cache project network build work",
    "commits": f"{BASICS} phases config events engine container cache project build work runtime",
    "migrate": f"{BASICS} phases config events engine container cache project build",
    "eject": f"{BASICS} phases config container secrets project build",
    "report": f"{BASICS} phases events engine cache project network build work runtime",
    "ui": f"{BASICS} phases events engine cache scaffold project network build work runtime commits migrate eject"
    " report",
}

MOST_MODULES = 16
MOST_METHODS = 15
MOST_MODULE_LINES = 260
MOST_FUNCTION_LINES = 45

#: What is larger, and the size that it may have: the modules of a folder, the methods of a class, the lines of a module
#: or of a function. An entry may go down or away, but not up, and a new one needs a reason.
LARGER = {
    # One folder shows all phases, the tasks that are made of them, and what they share.
    "phases": 18,
    "phases/core/engine/docker_api/containers.py DockerContainers": 16,
    "phases/core/engine/docker_api/execs.py DockerExecs": 16,
    "phases/core/engine/locks.py": 342,
    "phases/core/engine/locks.py EngineLock": 17,
    # All that the program asks of an engine is in one place, most of it documentation.
    "phases/core/engine/protocol.py": 307,
    "phases/core/engine/protocol.py Engine": 35,
    "phases/core/model.py": 311,
}


def package(module: str) -> str:
    """Return the package of a module, as MAY_IMPORT calls it."""
    _, *parts = module.split(".")
    if parts == ["dodo"]:
        return "ui"
    if not parts or parts[0] not in ("core", "ui"):
        return "phases"
    return parts[1] if parts[0] == "core" and len(parts) > 1 else parts[0]


def imported(node: ast.AST) -> set[str]:
    """Return the modules that an import statement names; none for another node."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "a relative import"
        names = {f"{node.module}.{alias.name}" for alias in node.names}
        return {name if name in MODULES else str(node.module) for name in names}
    return set()


@cache
def parsed(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text())


@cache
def all_imports(module: str) -> set[str]:
    """Return what a module imports anywhere in it, also for type checkers alone."""
    return set().union(*map(imported, ast.walk(parsed(module))))


@cache
def imports(module: str) -> set[str]:
    """Return what a module imports when it runs, anywhere in it, but not for type checkers alone."""
    names: set[str] = set()
    todo: list[ast.AST] = [parsed(module)]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            todo += node.orelse
            continue
        names |= imported(node)
        todo += ast.iter_child_nodes(node)
    return names


def ours(module: str) -> set[str]:
    return {name for name in imports(module) if name in MODULES and name != "phases"}


PHASE_MODULES = [name for name in MODULES if name.startswith(("phases.p0", "phases.p1"))]


def test_modules_found_by_these_tests_include_all_phases() -> None:
    assert len(PHASE_MODULES) == 13
    assert {"phases.core.build.executor", "phases.ui.tasks", "phases.registry"} <= set(MODULES)


def test_packages_import_only_what_the_table_allows() -> None:
    arrows: dict[tuple[str, str], list[str]] = {}
    for module in MODULES:
        for name in all_imports(module) & set(MODULES) - {"phases", "phases.core"}:
            if package(name) != package(module):
                arrows.setdefault((package(module), package(name)), []).append(f"{module} imports {name}")
    assert [arrows[arrow] for arrow in arrows if arrow[1] not in MAY_IMPORT[arrow[0]].split()] == []


def test_table_of_packages_has_no_cycle() -> None:
    order = TopologicalSorter({package: allowed.split() for package, allowed in MAY_IMPORT.items()})
    assert set(order.static_order()) == set(MAY_IMPORT)


def larger_than(most: int, sizes: dict[str, int]) -> dict[str, int]:
    """Return the sizes above a limit, and above what LARGER allows."""
    return {name: size for name, size in sizes.items() if size > LARGER.get(name, most)}


def definitions(*kinds: type[ast.AST]) -> Iterator[tuple[str, Any]]:
    """Yield the classes or functions of all modules, each with its name in LARGER."""
    for path in MODULES.values():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, kinds):
                yield f"{path.relative_to(ROOT)} {node.name}", node  # type: ignore[attr-defined]


def test_folders_have_few_modules() -> None:
    paths = [path.relative_to(ROOT) for path in MODULES.values() if path.name != "__init__.py"]
    assert larger_than(MOST_MODULES, Counter(str(path.parent) for path in paths)) == {}


def test_modules_can_be_read_in_one_sitting() -> None:
    sizes = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in MODULES.values()}
    assert larger_than(MOST_MODULE_LINES, sizes) == {}


def test_classes_have_few_methods() -> None:
    sizes = {
        name: sum(isinstance(member, ast.FunctionDef) for member in node.body)
        for name, node in definitions(ast.ClassDef)
    }
    assert larger_than(MOST_METHODS, sizes) == {}


def test_functions_fit_a_screen() -> None:
    sizes = {name: node.end_lineno - node.lineno + 1 for name, node in definitions(ast.FunctionDef)}
    assert larger_than(MOST_FUNCTION_LINES, sizes) == {}


@pytest.mark.parametrize("module", ["phases.protocol", *PHASE_MODULES])
def test_phase_imports_no_other_phase(module: str) -> None:
    assert not ours(module) & {"phases.registry", *PHASE_MODULES}


@pytest.mark.parametrize("module", PHASE_MODULES)
def test_phase_module_imports_no_process_or_file_modules(module: str) -> None:
    assert not imports(module) & {"subprocess", "docker", "os", "shutil", "socket"}


def test_core_imports_neither_rich_nor_doit() -> None:
    core = [module for module in MODULES if module.startswith("phases.core")]
    assert [module for module in core for name in imports(module) if name.startswith(("rich", "doit"))] == []


def test_docker_package_is_imported_only_by_its_adapter() -> None:
    users = [name for name in MODULES if any(used.split(".")[0] == "docker" for used in imports(name))]
    assert users == ["phases.core.engine.docker_config", "phases.core.engine.docker_py"]


def test_engine_client_is_imported_only_where_engines_are_selected() -> None:
    assert [name for name in MODULES if "phases.core.engine.select" in imports(name)] == ["phases.ui.tasks"]
    users = [name for name in MODULES if "phases.core.engine.docker_api.client" in imports(name)]
    assert users == ["phases.core.engine.podman_api.client", "phases.core.engine.select"]
    users = [name for name in MODULES if "phases.core.engine.docker_config" in imports(name)]
    assert users == ["phases.core.engine.connect", "phases.core.engine.docker_api.images"]


def test_module_imports_have_no_cycle_for_type_checkers_either() -> None:
    """static_order raises an error that names the cycle."""
    graph: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        packages = {str(node.module) for node in nodes}  # `from package import module` imports both
        graph[name] = (all_imports(name) | packages) & set(MODULES) - {name, "phases"}
    assert set(TopologicalSorter(graph).static_order()) == set(MODULES)


def run(code: str) -> str:
    environment = {"PATH": "/usr/bin:/bin", "DOCKER_HOST": "unix:///nowhere/docker.sock"}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_core_imports_load_neither_docker_nor_rich() -> None:
    code = """
import sys, importlib
for name in {names}:
    importlib.import_module(name)
print([name for name in ("docker", "requests", "rich", "doit") if name in sys.modules])
"""
    names = [
        name for name in MODULES if name.startswith("phases.core") and not name.endswith(("docker_config", "docker_py"))
    ]
    assert run(code.format(names=[*names, "phases.registry"])) == "[]"


def test_every_module_imports_without_engine() -> None:
    code = f"import importlib\nfor name in {list(MODULES)}: importlib.import_module(name)\nprint('loaded')"
    assert run(code) == "loaded"


def test_task_creation_loads_no_docker_or_rich_and_contacts_no_engine() -> None:
    code = """
import sys
import dodo
from phases.ui.tasks import current_project
names = [task["basename"] for task in dodo.task_habitats()]
assert "start:hello" in names
unwanted = {"docker", "requests", "rich", "phases.core.report.plan"}
print(sorted(unwanted & set(sys.modules)), current_project().connection.is_open)
"""
    assert run(code) == "[] False"


def test_project_has_dodo_py_that_only_opens_its_folder() -> None:
    assert len((ROOT / "dodo.py").read_text().splitlines()) < 10


def strings(module: str) -> Iterator[tuple[int, str]]:
    """Yield the texts of a module that are no docstrings, each with its line."""
    statements = {id(node.value) for node in ast.walk(parsed(module)) if isinstance(node, ast.Expr)}
    for node in ast.walk(parsed(module)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in statements:
            yield node.lineno, node.value


#: The beginnings of texts about doit itself: its help, and the files that `habitat init --doit` writes for it.
ABOUT_DOIT = (
    "run tasks, as `doit TASK` does",
    "As in every project of doit",
    "A line of doit -r jsonl, schema version ",
    "created dodo.py and doit.cfg: `doit start:",
    "if doit has an environment of its own",
    "write dodo.py and doit.cfg too, so that doit works here",
    '"""Gives doit the tasks of the habitats in this folder.',
)


def test_messages_name_commands_in_the_form_of_the_program() -> None:
    """`phases.core.command_form` writes `doit stop:api` or `habitat stop api`, as the person typed it."""
    texts = [(module, line, text) for module in MODULES for line, text in strings(module)]
    named = [row for row in texts if re.search(r"(?<!-)\bdoit ([\w-]|$)", row[2])]
    assert [row for row in named if not row[2].startswith(ABOUT_DOIT)] == []


def test_commands_in_messages_are_between_backticks() -> None:
    """A command is what a person types, so it is between backticks, as in docs; values are as they are."""
    bare = re.compile(r"(?<!`)(?<!&& )\{command_form\.(?:command|verb|phase)\(")
    assert {name: found for name, path in MODULES.items() if (found := bare.findall(path.read_text()))} == {}


def test_class_names_occur_once() -> None:
    places: dict[str, list[str]] = {}
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(module)
    assert {name: modules for name, modules in places.items() if len(modules) > 1} == {}


def test_every_package_is_installed() -> None:
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in PHASES.rglob("__init__.py")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(project["tool"]["setuptools"]["packages"]) == folders
