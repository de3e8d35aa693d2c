"""The terminal's echo, which would tear live lines: what a person types meanwhile isn't shown."""

from __future__ import annotations

import atexit
import os
import termios
from contextlib import suppress

_ERASE_LINE_AND_SHOW_CURSOR = b"\r\x1b[2K\x1b[?25h"

# The attributes of the terminal on standard input before; a process has one.
_before: list[list[object]] = []


def echo_off() -> None:
    """Stop to show what is typed. Whoever reads the terminal next still gets it."""
    if _before or not _is_foreground():
        return
    attributes = termios.tcgetattr(0)
    _before.append([*attributes])
    atexit.register(restore_echo)
    attributes[3] &= ~termios.ECHO
    termios.tcsetattr(0, termios.TCSANOW, attributes)


def restore_echo() -> None:
    """Give the terminal the attributes from before `echo_off`."""
    if _before:
        attributes = _before.pop()
        atexit.unregister(restore_echo)
        if _is_foreground():
            termios.tcsetattr(0, termios.TCSANOW, attributes)  # type: ignore[arg-type] # what tcgetattr returned


def abandon_live_lines() -> None:
    """Leave a usable terminal where the process ends at once and no Screen is closed."""
    if _before:
        restore_echo()
        with suppress(OSError):
            os.write(1, _ERASE_LINE_AND_SHOW_CURSOR)


def _is_foreground() -> bool:
    """Return whether the terminal is ours. The kernel stops a background process that changes it."""
    try:
        return os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False
