"""`habitat test NAME --layer LAYER`: run the tests of one layer. Writes no image, and no stamp of phase test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.core.build.builder import Builder
    from phases.core.project import Project

NAME = "test-layer"
DESCRIPTION = "Run its tests, or those of one layer"
EXAMPLE = ("test", "--layer", "shared")
BUILDS = "verify"
HARMLESS = False
OPTIONS: tuple[dict[str, Any], ...] = (
    {
        "name": "layer",
        "long": "layer",
        "type": str,
        "default": "",
        "metavar": "LAYER",
        "help": "only those of system, extends/NAME, shared or local",
    },
)
WORDS = False
PIPES = False

#: The phase whose task with `--layer` means this verb.
PHASE = "test"

#: The layers of every habitat, each with its folder.
LAYERS = {"system": "phases/system/", "shared": "shared/", "local": "habitats/NAME/"}


def check(name: str, layer: str) -> None:
    """Raise HabitatError if no habitat has such a layer."""
    if not layer.startswith("extends/"):
        _check(name, layer, tuple(LAYERS))


def _check(name: str, layer: str, layers: Sequence[str]) -> None:
    from phases.core.errors import HabitatError, did_you_mean

    if layer not in layers:
        remedy = did_you_mean(layer, layers, in_order=True) if layer else "add --layer system, shared or local"
        raise HabitatError(f"there is no layer '{layer}'" if layer else "no layer is given", where=name, remedy=remedy)


def run(project: Project, name: str, *, builder: Builder, layer: str = "") -> None:
    from phases.core import events
    from phases.core.errors import HabitatError

    habitat = project.habitat(name)
    layers = [one.name for one in habitat.layers]
    _check(name, layer, layers)
    tests = tuple(test for test in habitat.tests if test.layer.name == layer)
    if not tests:
        with_tests = [one for one in layers if any(test.layer.name == one for test in habitat.tests)]
        remedy = f"these layers have some: {', '.join(with_tests)}" if with_tests else "list scripts in tests:"
        raise HabitatError(f"layer {layer} has no tests", where=name, remedy=remedy)
    builder.run_tests(name, tests)
    count = f"{len(tests)} test{'s' if len(tests) > 1 else ''}"
    project.bus.emit(events.Notice(name, f"{count} of layer {layer} passed; phase {PHASE} is not recorded as done"))
