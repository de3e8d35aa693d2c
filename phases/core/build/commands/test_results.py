"""Read the output of a test in the form of TAP, the Test Anything Protocol (testanything.org).

A test that prints no TAP is judged by its exit code alone. The output is TAP if it has a version, `Bail out!`, or a
plan and results: other programs print lines that begin with `ok`, such as `go test`. Results of subtests are indented,
and summed up in a result of the test itself.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

# The lines of TAP. The parser would take `okay` for a result, too.
_TAP = re.compile(
    r"(?P<version>TAP version 1[34]\s*$)|(?P<plan>1\.\.[0-9]+)\s*(?:#|$)|(?P<result>(?:not )?ok(?:\s|$))"
    r"|(?P<bail>Bail out!)"
)

# Failed tests that an error names.
_NAMED = 5


class TestResults:
    """The results of one test script.

    Args:
        title: What a person calls the test.

    Attributes:
        lacks_parser: Whether the package that reads TAP is not installed, and there was something to read.
    """

    __test__ = False  # no class of tests, though its name begins with that word

    def __init__(self, title: str) -> None:
        self._title = title
        self._parser: Any = None
        self.lacks_parser = False
        self._kinds: set[str] = set()  # of the lines of TAP, as _TAP names them
        self._plans: list[int] = []
        self._ran = 0
        self._numbers: set[int] = set()
        self._failed: list[str] = []
        self._skipped = 0
        self._todo = 0
        self._bail: str | None = None

    def feed(self, lines: Iterable[str]) -> None:
        """Take lines of the test's standard output."""
        for line in lines:
            if self._bail is None and (match := _TAP.match(line)):
                self._kinds.add("empty plan" if match["plan"] == "1..0" else match.lastgroup or "")
                if parser := self._load_parser():
                    self._take(parser.parse_line(line.rstrip()))

    def _load_parser(self) -> Any:
        """Return the parser, None if its package is missing, as in an installation that was not bootstrapped since."""
        if self._parser is None and not self.lacks_parser:
            try:
                from tap.parser import Parser  # here: most tests print no TAP
            except ImportError:
                self.lacks_parser = True
            else:
                self._parser = Parser()
        return self._parser

    def _take(self, line: Any) -> None:
        match line.category:
            case "plan":
                self._plans.append(line.expected_tests)
            case "bail":
                self._bail = line.reason
            case "test":
                self._count(line)

    def _count(self, result: Any) -> None:
        self._ran += 1
        number = result.number or self._ran
        self._numbers.add(number)
        self._skipped += result.skip
        self._todo += result.todo
        if not result.ok and not result.skip and not result.todo:
            name = result.description.removeprefix("- ").strip()
            self._failed.append(f"{number} {name}".strip())

    @property
    def is_tap(self) -> bool:
        return bool(self._kinds & {"version", "bail", "empty plan"}) or {"plan", "result"} <= self._kinds

    @property
    def counts(self) -> str:
        """The counts, such as "tests/x.sh: 3 of 4 passed, 1 skipped"."""
        passed = self._ran - len(self._failed) - self._skipped
        parts = [f"{passed} of {self._plans[0] if len(self._plans) == 1 else self._ran} passed"]
        parts += [f"{count} {word}" for count, word in ((self._skipped, "skipped"), (self._todo, "to do")) if count]
        return f"{self._title}: {', '.join(parts)}"

    @property
    def flaw(self) -> str:
        """Why the test failed, "" if it did not, or if its output is no TAP or can't be read."""
        if not self.is_tap or self.lacks_parser:
            return ""
        if self._bail is not None:
            return f"it bailed out{f': {self._bail}' if self._bail else ''}"
        if self._failed:
            more = f" and {len(self._failed) - _NAMED} more" if len(self._failed) > _NAMED else ""
            return f"{len(self._failed)} of {self._ran} failed: {', '.join(self._failed[:_NAMED])}{more}"
        if len(self._plans) != 1:
            return "it has several plans" if self._plans else self._lacks_plan
        return self._breaks_plan(self._plans[0])

    @property
    def _lacks_plan(self) -> str:
        return "it ended without a plan, such as 1..4" if "version" in self._kinds else ""

    def _breaks_plan(self, planned: int) -> str:
        if self._ran != planned:
            return f"{planned} tests were planned, {self._ran} ran"
        if planned and (len(self._numbers) != planned or max(self._numbers) != planned):
            return f"the numbers of its results are not 1 to {planned}"
        return ""
