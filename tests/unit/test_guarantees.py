"""docs/guarantees.md is what script/guarantees writes, and every promise in it has a test."""

from __future__ import annotations

import runpy

from conftest import ROOT

GUARANTEES = runpy.run_path(str(ROOT / "script" / "guarantees"))
PROMISES = GUARANTEES["promises"]()
MARKS = GUARANTEES["marks"]()


def test_promises_have_tests() -> None:
    untested = [promise for promise in PROMISES if promise not in MARKS]
    assert untested == [], 'mark a test of each with @pytest.mark.guarantee("ID")'


def test_guarantee_marks_name_existing_promises() -> None:
    assert {name: tests for name, tests in MARKS.items() if name not in PROMISES} == {}


def test_guarantees_document_is_what_script_writes() -> None:
    written = GUARANTEES["DOCUMENT"].read_text(encoding="utf-8")
    assert written == GUARANTEES["document"](), "run .venv/bin/python script/guarantees"
