"""A patch of what an agent wrote: on a terminal in the person's pager, with colours of ours and no others."""

from __future__ import annotations

import os
import subprocess
from typing import IO, TYPE_CHECKING, Self

from phases.core.errors import printable
from phases.ui.output import GuardedStream

if TYPE_CHECKING:
    from types import TracebackType

# What a line begins with, and its colour.
_COLOURS = (
    (("diff ", "index ", "--- ", "+++ ", "new file", "deleted file", "old mode", "new mode"), "1"),
    (("@@",), "36"),
    (("+",), "32"),
    (("-",), "31"),
)

# less quits if it all fits, and passes on colours.
_LESS = {"LESS": "FRX", "LESSSECURE": "1"}


class Pager:
    """The person's pager if standard output is a terminal, else standard output itself.

    Args:
        stream: Standard output.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._process: subprocess.Popen[str] | None = None
        self._is_terminal = stream.isatty()
        self._repository = ""

    def __enter__(self) -> Self:
        command = os.environ.get("GIT_PAGER") or os.environ.get("PAGER") or "less"
        if self._is_terminal and command != "cat" and os.environ.get("TERM") != "dumb":
            env = {**_LESS, **os.environ}
            self._process = subprocess.Popen(  # noqa: S602 (the person's own variable, which is a shell command)
                command, shell=True, stdin=subprocess.PIPE, text=True, errors="replace", env=env
            )
        return self

    def write(self, repository: str, lines: list[str]) -> None:
        """Write lines of a patch, with visible escapes for what a terminal acts on."""
        if repository != self._repository:
            heading = self._coloured(f"# {printable(repository)}", "1;34")
            lines, self._repository = ["", *lines] if self._repository else lines, repository
            self._write([heading, *map(self._line, lines)])
        else:
            self._write([*map(self._line, lines)])

    def _write(self, lines: list[str]) -> None:
        text = "".join(f"{line}\n" for line in lines)
        if self._process and self._process.stdin:
            self._process.stdin.write(text)
        else:
            GuardedStream(self._stream).write(text)

    def _line(self, line: str) -> str:
        safe = printable(line.expandtabs())
        colour = next((code for starts, code in _COLOURS if line.startswith(starts)), "")
        return self._coloured(safe, colour)

    def _coloured(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if colour and self._is_terminal else text

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not self._process:
            self._stream.flush()
            return False
        try:
            if self._process.stdin:
                self._process.stdin.close()
        except BrokenPipeError:
            pass
        self._process.wait()
        return isinstance(error, BrokenPipeError)  # the person has closed the pager
