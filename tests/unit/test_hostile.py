"""Whatever is written into a config, or lies in its folders, is taken literally or refused in one line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hostile import CASES, PLACES, Case, make_on_host, note, scripts
from unit_helpers import load, write

from phases.core import slices
from phases.core.errors import ConfigError
from phases.registry import PHASES

if TYPE_CHECKING:
    from pathlib import Path

    from phases.core.model import Habitat

LINE = re.compile(r"(habitats/demo|shared|phases/system)/config\.yaml(:\d+(:\d+)?)?: .+: .+")


def told(error: ConfigError) -> str:
    """What a person reads, which is one line that does nothing to a terminal."""
    said = str(error)
    assert LINE.fullmatch(said), said
    assert said.isprintable()
    assert len(said) < 2500
    assert error.remedy
    return said


@pytest.fixture(scope="module")
def plain_scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The scripts of each place's plan where nothing is odd."""
    found = {}
    for place in PLACES:
        root = tmp_path_factory.mktemp("plain")
        write(root, "habitats/demo/note")
        taken = next((case for case in CASES if case.place is place and case.taken), None)
        assert taken, place.name
        make_on_host(root / "habitats/demo", taken.value)
        found[place.name] = scripts(load(root, taken.config()))
    return found


def loaded(root: Path, case: Case) -> Habitat:
    write(root, "habitats/demo/note")
    if case.place.on_host:
        make_on_host(root / "habitats/demo", case.value)
    return load(root, case.config())


@pytest.mark.parametrize("case", [case for case in CASES if case.taken], ids=str)
def test_a_value_that_is_taken_is_data_of_the_plan(
    tmp_path: Path, case: Case, plain_scripts: dict[str, list[str]]
) -> None:
    habitat = loaded(tmp_path, case)
    assert str(case.place.arrives(habitat)) == str(case.place.meant(case.value))
    if not case.place.script:
        assert set(scripts(habitat)) <= set(plain_scripts[case.place.name])
    for phase in PHASES[1:]:
        assert slices.canonical(phase.slice(habitat)).decode()
    note(case.place.name, "literal")


@pytest.mark.parametrize("case", [case for case in CASES if not case.taken], ids=str)
def test_a_value_that_is_not_taken_is_refused_in_one_line(tmp_path: Path, case: Case) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, case)
    assert re.search(r"config\.yaml:\d+", told(caught.value))
    note(case.place.name, "refused")
