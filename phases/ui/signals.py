"""The signals that end a run."""

from __future__ import annotations

import signal

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def ending_signals() -> list[signal.Signals]:
    """Return the signals that end this run: none that it was started to ignore, as SIGHUP by nohup."""
    return [number for number in _NUMBERS if signal.getsignal(number) is not signal.SIG_IGN]
