"""What is typed while live lines are up: were it echoed, they would be torn, and their last frame stay."""

from __future__ import annotations

import atexit
import os
import termios
from contextlib import suppress

_ERASE_LINE_AND_SHOW_CURSOR = b"\r\x1b[2K\x1b[?25h"

# What the terminal on standard input was like; a process has one.
_before: list[list[object]] = []


def off() -> None:
    """What is typed isn't shown from here on; whoever reads next gets it, as ever."""
    if _before or not _is_ours():
        return
    attributes = termios.tcgetattr(0)
    _before.append([*attributes])
    atexit.register(back)
    attributes[3] &= ~termios.ECHO
    termios.tcsetattr(0, termios.TCSANOW, attributes)


def back() -> None:
    """The terminal as it was."""
    if _before:
        attributes = _before.pop()
        atexit.unregister(back)
        if _is_ours():
            termios.tcsetattr(0, termios.TCSANOW, attributes)  # type: ignore[arg-type] # what tcgetattr gave


def abandon() -> None:
    """As `back`, where nobody takes the live lines away any more."""
    if _before:
        back()
        with suppress(OSError):
            os.write(1, _ERASE_LINE_AND_SHOW_CURSOR)


def _is_ours() -> bool:
    """Not of a run in the background, which would be stopped for asking."""
    try:
        return os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False
