"""Standard output, which may be gone: a full disk, a reader that has enough, a closed descriptor."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


# What was standard output, where that is a program's.
_taken: list[int] = []


def take_stdout() -> int:
    """A descriptor of standard output, which is for a program from here on: what is printed all the same,
    by us or by what we start, goes to stderr.
    """
    sys.stdout.flush()
    _taken.append(os.dup(1))
    os.dup2(2 if sys.__stderr__ else os.open(os.devnull, os.O_WRONLY), 1)
    # A new one, since what Python knows of the old, as that one can seek in it, may be true of it no more.
    sys.stdout = open(1, "w", buffering=1, encoding=sys.stdout.encoding, closefd=False)  # noqa: SIM115
    return _taken[0]


def is_taken() -> bool:
    """Return whether standard output is a program's, so that no command gets it."""
    return bool(_taken)


class OutputLost(KeyboardInterrupt):
    """What is printed reaches nobody. It ends a run as a signal does, so nothing may take it for a
    failure of whatever was being done. Its text is for a person, "" when the reader has enough.
    """


@contextmanager
def guarded() -> Iterator[None]:
    """Around everything that prints."""
    try:
        yield
    except OSError as error:
        raise OutputLost("" if error.errno == errno.EPIPE else error.strerror) from error


class Output:
    """A text stream that raises OutputLost, once."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._lost = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        return self._do(lambda: self._stream.write(text)) or 0

    def flush(self) -> None:
        self._do(self._stream.flush)

    def _do(self, act: Callable[[], Any]) -> Any:
        if self._lost:
            return None
        try:
            with guarded():
                return act()
        except OutputLost:
            self._lost = True
            raise


def printing(command: Callable[[], int]) -> int:
    """Run a command that prints to sys.stdout. Returns its exit code, 1 when its output was lost."""
    if sys.stdout is None:
        return lost("it is closed")
    plain = sys.stdout
    sys.stdout = Output(plain)
    try:
        code = command()
        sys.stdout.flush()
    except OutputLost as error:
        return lost(str(error))
    finally:
        sys.stdout = plain
    return code


def lost(why: str) -> int:
    """The exit code when output was lost, and a line that says why; a reader that has enough knows."""
    if why:
        tell(f"ERROR: the output can't be written: {why}")
    # Python would try once more at the end, and complain.
    if sys.__stdout__:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 1


def tell(text: str) -> None:
    """A line on stderr, whatever has become of that."""
    # Where it is closed, its number may be any other file's.
    if sys.__stderr__:
        with contextlib.suppress(OSError):
            os.write(2, f"{fitted(text, 2)}\n".encode())


def fitted(text: str, descriptor: int, indent: str = "") -> str:
    """On a terminal in lines of its width, those after the first indented; no word is torn. Else as it is."""
    try:
        width = os.get_terminal_size(descriptor).columns if os.isatty(descriptor) else 0
    except OSError:
        width = 0
    if width <= len(indent):  # a terminal without a size says 0
        return text
    import textwrap  # here, as a run that has nothing to do is mostly imports

    wrapper = textwrap.TextWrapper(
        width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, replace_whitespace=False
    )
    return "\n".join("\n".join(wrapper.wrap(line)) for line in text.split("\n"))
