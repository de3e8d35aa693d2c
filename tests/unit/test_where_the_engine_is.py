"""Which engine is asked, and what is said where that leads to none."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from typing import TYPE_CHECKING

import pytest

from phases.core import package_api, socket_api
from phases.core.errors import EngineUnreachable
from phases.core.socket_api import SocketApi

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of docker's own config. No engine is chosen."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/config.json").write_text("{}")
    return tmp_path / "docker"


def context(config: Path, name: str, text: str) -> None:
    folder = config / "contexts/meta" / hashlib.sha256(name.encode()).hexdigest()
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(text)


def leading_to(name: str, host: str) -> str:
    return json.dumps({"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": False}}})


def refused() -> str:
    with pytest.raises(EngineUnreachable) as caught:
        package_api.connect()
    return str(caught.value)


@pytest.mark.parametrize("chosen_in", ["the environment", "docker's config"])
def test_a_context_that_is_chosen_is_where_the_engine_is(
    monkeypatch: pytest.MonkeyPatch, config: Path, chosen_in: str
) -> None:
    context(config, "far", leading_to("far", "tcp://127.0.0.1:1"))
    if chosen_in == "the environment":
        monkeypatch.setenv("DOCKER_CONTEXT", "far")
    else:
        (config / "config.json").write_text('{"currentContext": "far"}')
    assert refused().startswith("no Docker engine answers at tcp://127.0.0.1:1: start it ")


def test_a_context_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    shown = "docker context ls shows those that there are"
    monkeypatch.setenv("DOCKER_CONTEXT", "gone")
    assert refused() == f"there is no docker context gone: {shown}"
    monkeypatch.delenv("DOCKER_CONTEXT")
    (config / "config.json").write_text('{"currentContext": "lost"}')
    assert refused() == f"there is no docker context lost: {shown}"


@pytest.mark.parametrize("text", ["{", "{}", '{"Name": "odd", "Endpoints": {}}', "[]"])
def test_a_context_that_makes_no_sense_is_one_line(monkeypatch: pytest.MonkeyPatch, config: Path, text: str) -> None:
    context(config, "odd", text)
    monkeypatch.setenv("DOCKER_CONTEXT", "odd")
    told = refused()
    assert told.endswith(": docker context ls shows those that there are")
    assert "\n" not in told


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("tcp://127.0.0.1:1", "no Docker engine answers at tcp://127.0.0.1:1: start it "),
        ("tcp://nobody.invalid:1", "no Docker engine answers at tcp://nobody.invalid:1 ("),
        ("here", "here leads to no engine (Invalid bind address format"),
        ("tcp://[::", "tcp://[:: leads to no engine (Invalid IPv6 URL): see DOCKER_HOST "),
        ("tcp://127.0.0.1:99999", "tcp://127.0.0.1:99999 leads to no engine ("),
    ],
)
def test_an_address_that_leads_to_none_is_told(
    monkeypatch: pytest.MonkeyPatch, config: Path, host: str, told: str
) -> None:
    del config
    monkeypatch.setenv("DOCKER_HOST", host)
    assert refused().startswith(told)


def test_certificates_that_are_not_there_are_told(monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(config / "none"))
    told = refused()
    assert told.startswith("tcp://127.0.0.1:1 leads to no engine (")
    assert told.endswith("): see DOCKER_HOST and DOCKER_CERT_PATH, or your docker context")


@pytest.mark.parametrize("chosen_by", ["DOCKER_HOST", "DOCKER_CONTEXT"])
def test_one_that_is_behind_ssh_wants_a_tunnel(monkeypatch: pytest.MonkeyPatch, config: Path, chosen_by: str) -> None:
    far = "ssh://me@far.example.org"
    context(config, "far", leading_to("far", far))
    monkeypatch.setenv(chosen_by, far if chosen_by == "DOCKER_HOST" else "far")
    tunnel = f"ssh -NL /tmp/docker.sock:/var/run/docker.sock {far}"
    assert refused() == (
        f"no engine is asked by ssh, as that of {far} would be: {tunnel} "
        "makes it a socket of this machine, for DOCKER_HOST=unix:///tmp/docker.sock"
    )


@pytest.mark.parametrize("way", ["the socket", "the package"])
def test_a_socket_that_is_closed_to_one_is_told_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, config: Path, way: str
) -> None:
    del config
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/s")

    def closed(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(SocketApi, "send", closed)
    monkeypatch.setattr("socket.socket.connect", closed)
    with pytest.raises(EngineUnreachable) as caught:
        (socket_api if way == "the socket" else package_api).connect()
    assert str(caught.value) == (
        f"no Docker engine answers at unix://{tmp_path}/s (it is closed to you): "
        "be in the group that its socket belongs to, or set DOCKER_HOST"
    )
