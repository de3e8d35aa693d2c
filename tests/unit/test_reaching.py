"""Which engine is asked, and what is said where that leads to none."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from unit_helpers import IMAGES, LISTED, answering, http

from phases.core.engine import connect as engine_connect
from phases.core.engine import docker_config
from phases.core.engine.client import DockerEngine
from phases.core.errors import EngineUnreachable

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType


@pytest.fixture(autouse=True)
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of docker's own config. No engine is chosen."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setattr(engine_connect, "_asked", [])
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
        engine_connect.connect()
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


@pytest.mark.parametrize("name", ['""', "null", '"default"'])
def test_a_context_without_a_name_is_the_default(monkeypatch: pytest.MonkeyPatch, config: Path, name: str) -> None:
    (config / "config.json").write_text(f'{{"currentContext": {name}}}')
    asked: list[str] = []

    def connect(path: str, _: float) -> None:
        asked.append(path)
        raise FileNotFoundError

    monkeypatch.setattr(docker_config, "dial", connect)
    assert refused().startswith("no Docker engine answers at unix:///var/run/docker.sock: ")
    assert asked == ["/var/run/docker.sock"]


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
        ("tcp://a..b:1", "tcp://a..b:1 leads to no engine ("),
    ],
)
def test_an_address_that_leads_to_none_is_told(monkeypatch: pytest.MonkeyPatch, host: str, told: str) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    assert refused().startswith(told)


def test_certificates_that_are_not_there_are_told(monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(config / "none"))
    why = f"cert.pem and key.pem are not both in {config / 'none'}"
    remedy = "see DOCKER_HOST and DOCKER_CERT_PATH, or your docker context"
    assert refused() == f"tcp://127.0.0.1:1 leads to no engine ({why}): {remedy}"


def test_certificates_alone_want_no_tls(monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    """As docker sees it; without the wish for one that is verified, anybody could be the engine."""
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(config / "none"))
    assert refused().startswith("no Docker engine answers at tcp://127.0.0.1:1: ")


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


@pytest.mark.parametrize("module", [engine_connect, docker_config], ids=["by a glance", "by a context"])
def test_a_socket_that_is_closed_to_one_is_told_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, config: Path, module: ModuleType
) -> None:
    place = f"unix://{tmp_path}/s"
    if module is engine_connect:
        monkeypatch.setenv("DOCKER_HOST", place)
    else:
        context(config, "here", leading_to("here", place))
        monkeypatch.setenv("DOCKER_CONTEXT", "here")

    def closed(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(module, "dial", closed)
    remedy = "be in the group that its socket belongs to, or set DOCKER_HOST"
    assert refused() == f"no Docker engine answers at {place} (it is closed to you): {remedy}"


# On a socket of this machine, without the docker package


def place_asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sockets that are asked from now on, none of which anybody listens at; and the docker package."""
    asked: list[str] = []

    def connect(path: str, _: float) -> None:
        asked.append(path)
        raise OSError

    def way() -> None:
        asked.append("the docker package")
        raise EngineUnreachable("left to it")

    monkeypatch.setattr(engine_connect, "dial", connect)
    monkeypatch.setattr(docker_config, "way", way)
    return asked


@pytest.mark.parametrize("host", ["tcp://127.0.0.1:1", "ssh://nobody@127.0.0.1", "npipe:////./pipe/docker", "x"])
def test_another_way_to_the_engine_is_left_to_the_docker_package(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    asked = place_asked(monkeypatch)
    engine_connect.ask_ahead()
    with pytest.raises(EngineUnreachable):
        engine_connect.connect()
    assert asked == ["the docker package"]


@pytest.mark.parametrize("told_by", ["the environment", "the config", "a config that can't be read"])
def test_so_is_a_docker_context(monkeypatch: pytest.MonkeyPatch, config: Path, told_by: str) -> None:
    asked = place_asked(monkeypatch)
    if told_by == "the environment":
        monkeypatch.setenv("DOCKER_CONTEXT", "colima")
    elif told_by == "the config":
        (config / "config.json").write_text('{"currentContext": "colima"}')
    else:
        monkeypatch.setenv("DOCKER_CONFIG", str(config / "config.json"))
    engine_connect.ask_ahead()
    with pytest.raises(EngineUnreachable):
        engine_connect.connect()
    assert asked == ["the docker package"]


def test_without_any_of_it_the_default_socket_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = place_asked(monkeypatch)
    engine_connect.ask_ahead()
    with pytest.raises(EngineUnreachable) as caught:
        engine_connect.connect()
    assert caught.value.message == "no Docker engine answers at the default socket"
    assert asked == ["/var/run/docker.sock"] * 2


# Asked ahead


def connected() -> DockerEngine:
    return DockerEngine(*engine_connect.connect())


def test_the_images_may_be_asked_for_ahead(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Once: who asks again hears what is true then."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/s")
    with answering(tmp_path / "s", LISTED) as asked:
        engine_connect.ask_ahead()
    assert len(asked) == 1
    engine = connected()
    assert engine.images() == IMAGES
    with pytest.raises(EngineUnreachable):
        engine.images()


def test_an_answer_ahead_that_is_none_is_asked_for_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/s")
    with answering(tmp_path / "s", b"nonsense"):
        engine_connect.ask_ahead()
    (tmp_path / "s").unlink()
    with answering(tmp_path / "s", http(b"OK")) as asked:
        engine = connected()
    assert asked[0].startswith(b"GET /_ping ")
    (tmp_path / "s").unlink()
    with answering(tmp_path / "s", LISTED):
        assert engine.images() == IMAGES


@pytest.mark.parametrize(
    ("answer", "who"),
    [
        (b"", ""),
        (b"220 mail.example.org ESMTP\r\n", ""),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", ", but somebody who says 'hello'"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\nSpeak TLS.\r\n", ", but somebody who says 'Speak TLS.'"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n<html>" + b"x" * 9000, ", but somebody who says 502"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", ", but somebody who says 204"),
        (b"HTTP/1.1 200 OK\r\n\r\n\x1b[31mred", ", but somebody who says 200"),
    ],
)
def test_who_answers_as_no_engine_does_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: bytes, who: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/s")
    with answering(tmp_path / "s", answer), pytest.raises(EngineUnreachable) as caught:
        connected()
    assert caught.value.message == f"no Docker engine answers at unix://{tmp_path}/s{who}"


def test_where_nobody_answers_ahead_whoever_connects_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody")
    engine_connect.ask_ahead()
    with pytest.raises(EngineUnreachable) as caught:
        connected()
    assert caught.value.message == f"no Docker engine answers at unix://{tmp_path}/nobody"


def test_none_of_it_loads_the_docker_package(tmp_path: Path) -> None:
    script = (
        "import sys; from phases.core.engine import connect, select; "
        "connect.ask_ahead(); select.connect().images(); "
        "print([name for name in ('docker', 'requests', 'http') if name in sys.modules])"
    )
    with answering(tmp_path / "s", LISTED):
        env = {"DOCKER_HOST": f"unix://{tmp_path}/s", "PATH": "/usr/bin:/bin"}
        done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr
