"""Locks on files, and who is at a habitat."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING

import pytest
from unit_helpers import DemoProject

from phases.core.errors import StateError
from phases.core.files import processes
from phases.core.files.processes import Process
from phases.core.runtime import clean as build_clean
from phases.core.runtime import stop as runtime_stop
from phases.core.runtime.exec import find_or_start
from phases.core.runtime.session.open import open_session
from phases.core.runtime.session.presence import Presence
from phases.registry import named

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def build(demo: DemoProject) -> None:
    demo.build("base")


def clean(demo: DemoProject) -> None:
    build_clean.clean_from(demo.run_anew(), "demo", named("base"))


def start(demo: DemoProject) -> None:
    with open_session(demo.run_anew(), "demo", find_or_start):
        pass


def stop(demo: DemoProject) -> None:
    runtime_stop.stop(demo.run_anew(), "demo")


@pytest.mark.guarantee("no-flock-is-reported")
@pytest.mark.parametrize(("act", "file"), [(build, "lock"), (clean, "lock"), (start, "starts"), (stop, "starts")])
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS])
def test_file_lock_unsupported_by_file_system_is_one_line_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: Callable[[DemoProject], None], file: str, number: int
) -> None:
    demo = DemoProject(tmp_path)
    demo.build("base" if act is build else "final")
    if act is build:
        (tmp_path / "habitats/demo/config.yaml").write_text("base_image: base:1\nenv: [A=2]\n")
        demo.engine.untag("habitat-demo:1-base")

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StateError) as excinfo:
        act(demo)
    assert str(excinfo.value) == (
        f".stamps/demo/{file}: can't be locked ({os.strerror(number)}): "
        "its file system has no locks (flock): move the project to one that has them, like a local disk"
    )
    assert demo.engine.volumes() == []


def test_presence_ignores_killed_process_with_reused_pid(tmp_path: Path) -> None:
    """One that was killed, whose number somebody else has by now; and one of another machine, which isn't here."""
    now = processes.current()
    gone, far = Process(now.machine, now.pid, "1"), Process("elsewhere", now.pid, now.began)
    here, watching = Presence(tmp_path), Presence(tmp_path)
    here.join("0123456789abcdef")
    path = tmp_path / "starts.0123456789ab"
    rows = [f"pid {process.pid} since 00:00:0{number} in {process}\n" for number, process in enumerate((gone, far))]
    path.write_text("".join(rows) + path.read_text())
    assert watching.pids("0123456789abcdef") == [now.pid]
    with watching.alone():
        actual = watching.sessions("0123456789abcdef")
    assert [row.rpartition(" ")[0] for row in actual] == [f"pid {now.pid} since"] * 2
    assert "pid 0 since 00:00:00" not in actual
    assert actual[0].endswith("00:00:01"), "whether that of another machine goes on can't be told"
