"""Standard output, which may be lost: the disk is full, the reader has gone, the descriptor is closed."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


# The descriptor of standard output, once `take_stdout` was called.
_taken: list[int] = []


def take_stdout() -> int:
    """Return a descriptor of standard output for JSON lines alone.

    Descriptor 1 leads to stderr from then on, so that all other output goes there, that of child processes too.
    """
    sys.stdout.flush()
    _taken.append(os.dup(1))
    os.dup2(2 if sys.__stderr__ else os.open(os.devnull, os.O_WRONLY), 1)
    # A new stream, since the old one may know things that are no longer true, such as that it is seekable.
    sys.stdout = open(1, "w", buffering=1, encoding=sys.stdout.encoding, closefd=False)  # noqa: SIM115
    return _taken[0]


def is_taken() -> bool:
    """Return whether standard output is for JSON lines alone, so that no command gets it."""
    return bool(_taken)


class OutputLost(KeyboardInterrupt):
    """The output can't be written.

    It ends a run as a signal does. So it is no Exception: no handler may take it for a failure of a task.
    Its text is the reason, "" if the reader has closed the pipe.
    """


@contextmanager
def guarded() -> Iterator[None]:
    """Turn the OSError of a write into OutputLost."""
    try:
        yield
    except OSError as error:
        raise OutputLost("" if error.errno == errno.EPIPE else error.strerror) from error


class GuardedStream:
    """A text stream that raises OutputLost for the first write that fails, and ignores all later ones."""

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
    """Run a command that prints to sys.stdout. Return its exit code, 1 if its output was lost."""
    if sys.stdout is None:
        return lost("it is closed")
    plain = sys.stdout
    sys.stdout = GuardedStream(plain)
    try:
        code = command()
        sys.stdout.flush()
    except OutputLost as error:
        return lost(str(error))
    finally:
        sys.stdout = plain
    return code


def lost(reason: str) -> int:
    """Print the reason why output was lost, "" for none. Return the exit code."""
    if reason:
        tell(f"ERROR: the output can't be written: {reason}")
    # Python flushes it again at exit, which would print another error.
    if sys.__stdout__:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 1


def tell(text: str) -> None:
    """Print a line on stderr. Does nothing if that is closed or full."""
    # If it was closed, another file may have its descriptor by now.
    if sys.__stderr__:
        with contextlib.suppress(OSError):
            os.write(2, f"{fitted(text, 2)}\n".encode())


def fitted(text: str, descriptor: int, indent: str = "") -> str:
    """Return a text wrapped to the width of a terminal; unchanged if the descriptor is none.

    Args:
        text: The text. Words longer than a line remain whole.
        descriptor: Where it is printed.
        indent: What every line but the first begins with.
    """
    try:
        width = os.get_terminal_size(descriptor).columns if os.isatty(descriptor) else 0
    except OSError:
        width = 0
    if width <= len(indent):  # a terminal without a size says 0
        return text
    import textwrap  # here: a run with nothing to do wraps nothing

    wrapper = textwrap.TextWrapper(
        width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, replace_whitespace=False
    )
    return "\n".join("\n".join(wrapper.wrap(line)) for line in text.split("\n"))
