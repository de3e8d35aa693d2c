"""Shell programs in .sh files beside the modules that run them.

Environment digests include the text of those that a build runs: a change there keeps a habitat from sharing the
snapshots that other habitats built before.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path


class ShellProgram:
    """A shell program, read when it is first needed.

    Its file begins with a comment, which ends at the first blank line and isn't part of the program.

    Args:
        module: The `__file__` of the module that runs it.
        name: Its file, relative to the folder of the module.
        functions: A program with functions that it calls, which comes before it.
    """

    def __init__(self, module: str, name: str, functions: ShellProgram | None = None) -> None:
        self._path = Path(module).parent / name
        self._functions = functions

    @cached_property
    def text(self) -> str:
        comment, program = self._path.read_text(encoding="utf-8").split("\n\n", 1)
        assert all(line.startswith("#") for line in comment.splitlines()), self._path
        return f"{self._functions.text if self._functions else ''}\n{program}"
