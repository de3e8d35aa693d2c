"""Signals that end a run, and those that a run was started to ignore."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from phases.ui import terminal
from phases.ui.commands import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phases.core.engine.protocol import Piped


@pytest.fixture(params=[signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def ignored(request: pytest.FixtureRequest) -> Iterator[signal.Signals]:
    """A signal that this process ignores, as below nohup, or in the background of a script."""
    before = signal.signal(request.param, signal.SIG_IGN)
    yield request.param
    signal.signal(request.param, before)


def test_ignored_signal_ends_no_run(ignored: signal.Signals) -> None:
    with run._signals():
        os.kill(os.getpid(), ignored)
        run._end_at_once_from_now()
        os.kill(os.getpid(), ignored)
        assert signal.getsignal(ignored) is signal.SIG_IGN


def test_ignored_signal_is_not_passed_on_to_command(ignored: signal.Signals) -> None:
    class Command:
        def send_signal(self, name: str) -> None:
            raise AssertionError(name)

    process: Piped = Command()  # type: ignore[assignment]
    with terminal._passing_signals(process):
        os.kill(os.getpid(), ignored)
        assert signal.getsignal(ignored) is signal.SIG_IGN
