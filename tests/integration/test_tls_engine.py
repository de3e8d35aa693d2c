"""An engine that could be another machine's: reached over TCP, with TLS, as DOCKER_HOST or a docker context says, and
lost on the way.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from conftest import RunningDoit, failed, fresh_name, left_containers, wait_until
from relay import Relay
from tls_engine import TlsEngine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Project

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def tls_engine(busybox: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsEngine]:
    with TlsEngine(tmp_path_factory.mktemp("project")) as tls_engine:
        tls_engine.import_image(busybox)
        yield tls_engine


@pytest.mark.guarantee("remote-engine-over-tls")
def test_tls_engine_builds_starts_and_execs_habitat(tls_engine: TlsEngine, project: Project, busybox: str) -> None:
    name = project.habitat(
        fresh_name(), f"base_image: {busybox}\nenv: [USER=root]\nsetup: {{root: [echo built >/made]}}\n"
    )
    started = project.doit(f"start:{name}", "--cmd", "cat /made; exit 3", env=tls_engine.env)
    assert started.code == 3
    assert "built" in started.out.splitlines()
    assert f"the command of {name} ended with exit code 3" in started
    assert tls_engine.docker("image", "ls", "--quiet", f"habitat-{name}:final")
    again = project.doit(f"final:{name}", env={**tls_engine.env, "REQUESTS_CA_BUNDLE": "/nowhere.pem"})
    assert (again.code, again.ran) == (0, [])
    big = bytes(range(256)) * 40_000  # more than is on its way at once, in either direction
    argv = (sys.executable, "-m", "doit", f"exec:{name}", "--", "cat")
    piped = subprocess.run(
        argv, cwd=project.root, env={**os.environ, **tls_engine.env}, input=big, capture_output=True, check=False
    )
    assert (piped.returncode, piped.stderr) == (0, b"")
    assert hashlib.sha256(piped.stdout).digest() == hashlib.sha256(big).digest()
    failed = project.doit(f"exec:{name}", "--", "sh", "-c", "echo out; echo err >&2; exit 7", env=tls_engine.env)
    assert (failed.code, sorted(failed.out.splitlines())) == (7, ["err", "out"])
    assert project.doit(f"destroy:{name}", "--yes", env=tls_engine.env).code == 0


@pytest.mark.guarantee("remote-engine-over-tls")
def test_tls_engine_is_reached_through_docker_context(
    tls_engine: TlsEngine, project: Project, busybox: str, tmp_path: Path
) -> None:
    config, name = tmp_path / "docker", hashlib.sha256(b"far").hexdigest()
    endpoint = {"Host": tls_engine.env["DOCKER_HOST"], "SkipTLSVerify": False}
    meta = config / "contexts/meta" / name / "meta.json"
    meta.parent.mkdir(parents=True)
    meta.write_text(json.dumps({"Name": "far", "Metadata": {}, "Endpoints": {"docker": endpoint}}))
    certificates = config / "contexts/tls" / name / "docker"
    certificates.mkdir(parents=True)
    for file in ("ca.pem", "cert.pem", "key.pem"):
        shutil.copy(f"{tls_engine.env['DOCKER_CERT_PATH']}/{file}", certificates)
    (config / "config.json").write_text("{}")
    habitat = project.habitat(fresh_name(), f"base_image: {busybox}\nenv: [USER=root]\n")
    chosen = {"DOCKER_CONFIG": str(config), "DOCKER_CONTEXT": "far"}
    built = project.doit(f"final:{habitat}", env=chosen)
    assert built.code == 0, built.out
    assert tls_engine.docker("image", "ls", "--quiet", f"habitat-{habitat}:final")
    make = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=other", "-keyout", "/dev/null")
    subprocess.run((*make, "-out", str(certificates / "ca.pem")), check=True, capture_output=True)
    refused = project.doit(f"final:{habitat}", env=chosen)
    assert refused.code != 0
    assert "certificate verify failed" in refused


@pytest.mark.guarantee("remote-engine-over-tls")
@pytest.mark.parametrize(("whose", "why"), [("theirs", "certificate verify failed"), ("ours", "bad certificate")])
def test_tls_certificate_not_trusted_is_error(
    tls_engine: TlsEngine, project: Project, tmp_path: Path, whose: str, why: str
) -> None:
    other = tmp_path / "other"
    shutil.copytree(tls_engine.env["DOCKER_CERT_PATH"], other)
    make = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=other")
    files = {"theirs": ("/dev/null", other / "ca.pem"), "ours": (other / "key.pem", other / "cert.pem")}[whose]
    subprocess.run((*make, "-keyout", str(files[0]), "-out", str(files[1])), check=True, capture_output=True)
    project.habitat("hello", "base_image: nothing:1\n")
    refused = project.doit("final:hello", env={**tls_engine.env, "DOCKER_CERT_PATH": str(other)})
    host = tls_engine.env["DOCKER_HOST"]
    assert refused.code != 0
    assert len(refused.out.splitlines()) == 1
    assert refused.out.startswith(f"❌ no Docker engine answers at {host} (")
    assert why in refused
    assert refused.out.endswith("): check DOCKER_HOST or `docker context ls`\n")


# A connection that is lost, while the engine goes on


@pytest.fixture
def relay() -> Iterator[Relay]:
    with Relay() as relay:
        yield relay


def lost(what: str) -> str:
    return f"{what}: the connection to the engine was lost: run the same command again"


@pytest.mark.guarantee("lost-connection-is-reported")
def test_engine_connection_lost_during_build_is_not_blamed_on_command(
    relay: Relay, project: Project, busybox: str, name: str
) -> None:
    project.habitat(name, f"base_image: {busybox}\nenv: [USER=root]\nsetup: {{root: [echo begun; sleep 60]}}\n")
    with RunningDoit(project, f"setup:{name}", env={"DOCKER_HOST": relay.host}) as running:
        log = project.root / f".stamps/{name}/7-setup.log"
        wait_until(lambda: log.exists() and "\nbegun\n" in log.read_text())
        relay.cut()
        result = running.end(30)
    assert result.code == 1
    assert lost("running a command") in result.out.splitlines()[-1]
    assert failed(name) == {}
    project.habitat(name, f"base_image: {busybox}\nenv: [USER=root]\nsetup: {{root: [echo begun]}}\n")
    again = project.doit(f"setup:{name}", env={"DOCKER_HOST": relay.host})
    assert (again.code, again.ran) == (0, ["setup"])
    assert left_containers(name) == []


@pytest.mark.guarantee("lost-connection-is-reported")
@pytest.mark.parametrize(
    ("words", "case"),
    [
        (("exec", "--", "sh", "-c", "echo begun; exec sleep 60"), "running a command"),
        (("logs", "--follow"), "reading the container's output"),
    ],
)
def test_engine_connection_lost_during_exec_or_logs_is_error(
    relay: Relay, project: Project, busybox: str, name: str, words: tuple[str, ...], case: str
) -> None:
    entry = "entry: {init_command: echo begun; exec sleep 600}\n"
    project.habitat(name, f"base_image: {busybox}\nenv: [USER=root]\n{entry}")
    assert project.doit(f"start:{name}", "--detach").code == 0
    verb, *rest = words
    with RunningDoit(project, f"{verb}:{name}", *rest, env={"DOCKER_HOST": relay.host}) as running:
        running.wait_for("begun")
        relay.cut()
        result = running.end(30)
    assert result.code == 1
    assert lost(case) in result.out.splitlines()[-1]
