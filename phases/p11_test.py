"""Phase 11, test: run the habitat's tests as USER, in a container that is removed afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.copied_files import executable_script, subfolder_tree
from phases.core.files import tree as files_tree
from phases.entries import copies, file_in
from phases.protocol import ChangeDescription, Copy, Run, StartInit, secrets_slice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.core.files.tree import Item
    from phases.core.json_types import Json
    from phases.core.model import Habitat, TestScript
    from phases.core.origin import ConfigLayer
    from phases.protocol import SlicePath, Step

ID = 11
NAME = "test"
TITLE = "Running tests"
DESCRIPTION = "Run the habitat's tests"
SNAPSHOT = False


def _helpers(habitat: Habitat) -> list[tuple[ConfigLayer, tuple[Item, ...]]]:
    """Return tests/ of each layer that has a test to run, since a test may use other files there."""
    named = {test.layer.name for test in habitat.tests}
    return [
        (layer, tree)
        for layer in habitat.layers
        if layer.name in named and layer.dest and (tree := subfolder_tree(habitat, layer, "tests"))
    ]


def slice(habitat: Habitat) -> Json:
    return {
        "helpers": {layer.name: files_tree.identity(tree) for layer, tree in _helpers(habitat)},
        "tests": [
            {
                "content": executable_script(habitat, test).identity(),
                "script": test.dest,
                **({"init": True} if test.init else {}),
            }
            for test in habitat.tests
        ],
        **_init_slice(habitat),
        **secrets_slice(habitat, NAME),
    }


def _init_slice(habitat: Habitat) -> Json:
    """Return what a test sees of `entry`, empty if none runs beside the init command."""
    if not any(test.init for test in habitat.tests):
        return {}
    entry = habitat.entry
    return {"init": {"command": entry.init_command, "ready": entry.ready.command if entry.ready else ""}}


def describe_change(changed: SlicePath) -> ChangeDescription:
    match changed.key:
        case ("helpers", str(name), ""):
            # The folder is in the slice exactly if its layer has a test.
            return ChangeDescription(f"{changed.habitat.shown_layer(name)}/tests", "file", minor=True)
        case ("helpers", str(name), str(path)):
            place = f"tests/{path}"
            # A test is in the slice twice. Its entry in `tests` gives the reason, except for the executable bit.
            for test in changed.habitat.tests:
                if test.shown == place and test.layer.name == name:
                    return ChangeDescription(place, "file", minor=True, origin=test.origin)
            return file_in(changed.habitat.shown_layer(name), place)
        case ("tests", int(number), "content"):
            test = changed.habitat.tests[number]
            return ChangeDescription(test.shown, "file", origin=test.origin)
        case ("init", str(name)):
            ready = changed.habitat.entry.ready
            described = ChangeDescription("entry.ready", origin=ready.origin if ready else None)
            return described if name == "ready" else changed.value("entry", "init_command")
        case _:
            return changed.value(*changed.key[:2])


def plan(habitat: Habitat) -> list[Step]:
    alone = [test for test in habitat.tests if not test.init]
    beside_init = [test for test in habitat.tests if test.init]
    steps = _steps(habitat, alone)
    if beside_init:
        steps += [StartInit(beside_init[0].origin), *_steps(habitat, beside_init)]
    return steps


def _steps(habitat: Habitat, tests: Sequence[TestScript]) -> list[Step]:
    """Return the steps that run tests in one container."""
    if not tests:
        return []
    steps: list[Step] = [
        Copy(tuple(copies(tree, f"{layer.dest}/tests", habitat.user, tests[0].origin)))
        for layer, tree in _helpers(habitat)
    ]
    for test in tests:
        steps += [
            Copy(tuple(copies((executable_script(habitat, test),), test.dest, habitat.user, test.origin))),
            Run(habitat.user, 'exec "$1"', test.origin, f"test {test.shown}", args=(test.dest,), tests=test.shown),
        ]
    return steps
