"""What a command, or a main process, prints without end: it fills neither our disk nor the engine's."""

from __future__ import annotations

import json
import re
import socket
import tempfile
from typing import TYPE_CHECKING

import pytest
from conftest import ROOT, Project, docker
from private_engine import PrivateEngine

from phases.core.files import phase_log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.engine

# Both print for good: the one as many lines as it can, the other as many bytes. The lines need long to fill a log of
# the size that a person gets.
FLOODS = [("yes", 300_000), ("yes $(head -c 5000 /dev/zero | tr '\\\\0' x)", phase_log.HEAD)]

DODO_PY = (ROOT / "dodo.py").read_text()


@pytest.mark.guarantee("endless-output-bounded-log")
@pytest.mark.parametrize(("command", "head"), FLOODS, ids=["lines", "bytes"])
def test_setup_output_flood_leaves_log_with_head_and_tail(
    project: Project, name: str, busybox: str, command: str, head: int
) -> None:
    limits = f"from phases.core.files import phase_log\nphase_log.HEAD = phase_log.TAIL = {head}\n"
    project.write("dodo.py", limits + DODO_PY)
    config = f"base_image: {busybox}\nsetup: {{root: [{json.dumps(command)}]}}\ntimeouts: {{setup: 3s}}\n"
    project.habitat(name, config)
    result = project.doit(f"setup:{name}")
    assert "was stopped: setup took longer than 3s" in result
    log = project.root / ".stamps" / name / "7-setup.log"
    assert log.stat().st_size <= 3 * head
    before, output, after = re.split(
        b"\xe2\x94\x80\xe2\x94\x80 ([0-9,]+) bytes are left out here .*\n", log.read_bytes()
    )
    assert int(output.replace(b",", b"")) > 1_000_000
    assert before.startswith(b"$ setup command 1 of 1 (as root)\n")
    assert {line[:1] for line in before.splitlines()[1:] + after.splitlines()} <= {b"y", b"x"}
    shown = project.doit("logs:" + name, "--phase", "setup").out
    assert f"── {output.decode()} bytes are left out here ──" in shown


@pytest.mark.guarantee("endless-output-bounded-log")
def test_setup_output_of_20_mb_takes_seconds(project: Project, name: str, busybox: str) -> None:
    """Twenty megabytes of short lines took 35 seconds once, of which the command needs a part of one."""
    project.habitat(name, f"base_image: {busybox}\nsetup: {{root: ['yes | head -c 20000000']}}\n")
    result = project.doit(f"setup:{name}")
    match = re.search(r"setup \(([0-9.]+)s\)", result.out)
    assert match, result.out
    assert float(match[1]) < 12


@pytest.mark.guarantee("endless-output-bounded-engine-log")
def test_container_log_of_engine_is_limited(project: Project, name: str, busybox: str) -> None:
    project.habitat(name, f"base_image: {busybox}\nentry: {{command: 'true'}}\n")
    assert project.doit(f"start:{name}").code == 0
    kept = json.loads(docker("inspect", "--format", "{{json .HostConfig.LogConfig}}", f"habitat-{name}"))
    assert kept == {"Type": "json-file", "Config": {"max-size": "16000000", "max-file": "2"}}


@pytest.fixture
def syslog() -> Iterator[str]:
    """The address of a program that takes what is logged. A socket's path has an end."""
    with (
        tempfile.TemporaryDirectory(prefix="habtest-") as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as at,
    ):
        at.bind(f"{folder}/log")
        yield f"unixgram://{folder}/log"


@pytest.mark.guarantee("endless-output-bounded-engine-log")
def test_engine_without_log_limit_starts_habitat_without_limit(tmp_path: Path, busybox: str, syslog: str) -> None:
    with PrivateEngine(options=("--log-driver", "syslog", "--log-opt", f"syslog-address={syslog}")) as private:
        project = Project(tmp_path)
        docker("save", "--output", str(tmp_path / "image.tar"), busybox)
        docker("--host", private.host, "load", "--input", str(tmp_path / "image.tar"))
        config = f"base_image: {busybox}\nentry: {{command: echo it started, network: none}}\n"
        project.habitat("habtest-syslog", config)
        result = project.doit("start:habtest-syslog", env=private.env)
        assert result.code == 0, result.out
        assert "it started" in result
        argv = (
            "--host",
            private.host,
            "inspect",
            "--format",
            "{{.HostConfig.LogConfig.Type}}",
            "habitat-habtest-syslog",
        )
        assert docker(*argv) == "syslog"
