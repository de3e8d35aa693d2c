"""The results of a test that prints TAP."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import phases
from phases.core.build.commands.test_results import TestResults

EJECTED = Path(phases.__file__).parent / "core/eject/scripts/tap"

PASSING = [
    ("1..2\nok 1 - a\nok 2 - b", "2 of 2 passed"),
    ("ok 1 - a\nok 2 - b\n1..2", "2 of 2 passed"),
    ("TAP version 13\n1..1\nok 1\n  ---\n  message: not ok 1\n  ...", "1 of 1 passed"),
    ("TAP version 14\n1..1\n    not ok 1 - inner\n    1..1\nok 1 - outer", "1 of 1 passed"),
    ("1..3\nok 1\nnot ok 2 - b # TODO later\nok 3 # SKIP no net", "2 of 3 passed, 1 skipped, 1 to do"),
    ("1..2\nnot ok 1 - b # skip slow\nok 2 # todo works already", "1 of 2 passed, 1 skipped, 1 to do"),
    ("1..0 # SKIP no database", "0 of 0 passed"),
    ("1..2\nok 2\nok 1", "2 of 2 passed"),
    ("ok\nok - b\n1..2", "2 of 2 passed"),
    ("1..1\n# not ok 1\nok 1\nnot okay\nall not ok", "1 of 1 passed"),
    ("1..1\r\nok 1\r", "1 of 1 passed"),
]

FAILING = [
    ("1..2\nok 1 - a\nnot ok 2 - it works", "1 of 2 failed: 2 it works"),
    ("1..1\nnot ok", "1 of 1 failed: 1"),
    ("not ok 1\n1..1", "1 of 1 failed: 1 "),
    ("1..1\nnot ok 1 - a # TODOLIST", "1 of 1 failed: 1 a"),
    ("1..7\n" + "not ok\n" * 7, "7 of 7 failed: 1, 2, 3, 4, 5 and 2 more"),
    ("1..3\nok 1\nok 2", "3 tests were planned, 2 ran"),
    ("1..1\nok 1\nok 2", "1 tests were planned, 2 ran"),
    ("1..2\nok 1\nok 1", "the numbers of its results are not 1 to 2"),
    ("1..2\nok 1\nok 3", "the numbers of its results are not 1 to 2"),
    ("1..999999999999\nok", "999999999999 tests were planned, 1 ran"),
    ("TAP version 13\n1..3", "3 tests were planned, 0 ran"),
    ("TAP version 13\nnot ok 1", "1 of 1 failed: 1 "),
    ("1..0\nok 1", "0 tests were planned, 1 ran"),
    ("1..1\nok 1\n1..1", "it has several plans"),
    ("TAP version 13\nok 1", "it ended without a plan, such as 1..4"),
    ("1..2\nok 1\nBail out! no disk\nok 2", "it bailed out: no disk"),
    ("Bail out!", "it bailed out"),
]

NO_TAP = [
    *("", "okay\nfine", "it is not ok", "1..x", "  not ok 1", "TAP version 12\n", "1. ok"),
    "not ok yet, retrying\nfine",
    "ok",
    "not ok 1 - a\nok 2 - b",
    "1..3",
    "1..3\n4..6",
    "1..3\n1..4",
    "ok  \tpkg\t0.003s\nok  \tpkg/b\t0.01s",
    "1..3 of many\nnot ok",
]


def results(text: str) -> TestResults:
    read = TestResults("x.sh")
    for line in text.splitlines():
        read.feed([line])
    return read


@pytest.mark.parametrize(
    ("text", "counts"),
    PASSING,
)
def test_tap_that_is_ok_gives_counts(text: str, counts: str) -> None:
    read = results(text)
    assert (read.is_tap, read.flaw, read.counts) == (True, "", f"x.sh: {counts}")


@pytest.mark.guarantee("tap-failure-fails-build")
@pytest.mark.parametrize(
    ("text", "flaw"),
    FAILING,
)
def test_tap_that_is_not_ok_says_why(text: str, flaw: str) -> None:
    assert results(text).flaw == flaw.strip()


@pytest.mark.parametrize("text", NO_TAP)
def test_output_that_is_not_tap_has_no_results(text: str) -> None:
    read = results(text)
    assert (read.is_tap, read.flaw) == (False, "")


GOOD = [case[0] for case in PASSING] + NO_TAP


@pytest.mark.guarantee("tap-failure-fails-build")
@pytest.mark.parametrize(("text", "flaw"), [*FAILING, *((text, None) for text in GOOD)])
def test_ejected_script_judges_output_as_build_does(tmp_path: Path, text: str, flaw: str | None) -> None:
    output = tmp_path / "output"
    output.write_bytes(text.encode())
    result = subprocess.run(("/bin/sh", EJECTED, output), capture_output=True, text=True, check=False)
    expected = (0, "") if flaw is None else (1, f"the test failed: {flaw.strip()}\n")
    assert (result.returncode, result.stderr) == expected


@pytest.mark.parametrize("text", [case[0] for case in [*PASSING, *FAILING]])
def test_tap_without_its_package_is_noted_and_not_judged(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tap.parser", None)
    read = results(text)
    assert (read.is_tap, read.lacks_parser, read.flaw) == (True, True, "")


def test_output_that_is_no_tap_without_its_package_is_not_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tap.parser", None)
    assert not results("ok  pkg 0.003s").is_tap
