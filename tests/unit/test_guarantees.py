"""docs/guarantees.md names tests that exist."""

from __future__ import annotations

import re

import pytest
from conftest import ROOT

TEXT = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
NAMED = [
    (file, name)
    for file, names in re.findall(r"`(test_\w+\.py)`: ((?:`test_\w+`(?:, | \(and )?)+)", TEXT)
    for name in re.findall(r"`(test_\w+)`", names)
]


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_guarantee_names_existing_test(file: str, name: str) -> None:
    (path,) = (ROOT / "tests").rglob(file)
    assert f"def {name}(" in path.read_text(encoding="utf-8")


def test_guarantees_parser_finds_every_test_name() -> None:
    assert len(NAMED) == len(re.findall(r"`test_\w+`", TEXT))
    assert len(NAMED) > 30
