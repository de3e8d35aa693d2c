"""docs/guarantees.md is what script/guarantees writes, and every promise in it has a test."""

from __future__ import annotations

import runpy

import pytest
from conftest import ROOT

GUARANTEES = runpy.run_path(str(ROOT / "script" / "guarantees"))
PROMISES = GUARANTEES["promises"]()
MARKS = GUARANTEES["marks"]()


@pytest.mark.parametrize("promise", PROMISES)
def test_promise_has_test(promise: str) -> None:
    assert promise in MARKS, f'mark a test with @pytest.mark.guarantee("{promise}")'


def test_marks_name_promises() -> None:
    assert {name: tests for name, tests in MARKS.items() if name not in PROMISES} == {}


def test_guarantees_document_is_what_script_writes() -> None:
    written = GUARANTEES["DOCUMENT"].read_text(encoding="utf-8")
    assert written == GUARANTEES["document"](), "run .venv/bin/python script/guarantees"
