"""The engine that a run uses, and the error if there is none."""

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
from phases.core.engine import docker_config, fast_path
from phases.core.engine.docker_api.client import DockerEngine
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
    monkeypatch.setattr(engine_connect, "_prefetched", [])
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
    with pytest.raises(EngineUnreachable) as excinfo:
        engine_connect.connect()
    return str(excinfo.value)


@pytest.mark.parametrize("chosen_in", ["the environment", "docker's config"])
def test_connect_uses_docker_context_of_environment_or_config(
    monkeypatch: pytest.MonkeyPatch, config: Path, chosen_in: str
) -> None:
    context(config, "far", leading_to("far", "tcp://127.0.0.1:1"))
    if chosen_in == "the environment":
        monkeypatch.setenv("DOCKER_CONTEXT", "far")
    else:
        (config / "config.json").write_text('{"currentContext": "far"}')
    assert refused().startswith("no Docker engine answers at tcp://127.0.0.1:1: start it ")


@pytest.mark.parametrize("name", ['""', "null", '"default"'])
def test_connect_context_default_uses_default_socket(monkeypatch: pytest.MonkeyPatch, config: Path, name: str) -> None:
    (config / "config.json").write_text(f'{{"currentContext": {name}}}')
    asked: list[str] = []

    def connect(path: str) -> None:
        asked.append(path)
        raise FileNotFoundError

    monkeypatch.setattr(fast_path, "connect_unix", connect)
    assert refused().startswith("no Docker engine answers at unix:///var/run/docker.sock: ")
    assert asked == ["/var/run/docker.sock"]


def test_connect_context_missing_is_error(monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    shown = "`docker context ls` lists the contexts"
    monkeypatch.setenv("DOCKER_CONTEXT", "gone")
    assert refused() == f"there is no docker context gone: {shown}"
    monkeypatch.delenv("DOCKER_CONTEXT")
    (config / "config.json").write_text('{"currentContext": "lost"}')
    assert refused() == f"there is no docker context lost: {shown}"


@pytest.mark.parametrize("text", ["{", "{}", '{"Name": "odd", "Endpoints": {}}', "[]"])
def test_connect_context_malformed_is_one_line_error(monkeypatch: pytest.MonkeyPatch, config: Path, text: str) -> None:
    context(config, "odd", text)
    monkeypatch.setenv("DOCKER_CONTEXT", "odd")
    message = refused()
    assert message.endswith(": `docker context ls` lists the contexts")
    assert "\n" not in message


@pytest.mark.guarantee("no-engine-is-reported")
@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("tcp://127.0.0.1:1", "no Docker engine answers at tcp://127.0.0.1:1: start it "),
        ("tcp://nobody.invalid:1", "no Docker engine answers at tcp://nobody.invalid:1 ("),
        ("here", "here leads to no engine (Invalid bind address format"),
        ("tcp://[::", "tcp://[:: leads to no engine (Invalid IPv6 URL): check DOCKER_HOST "),
        ("tcp://127.0.0.1:99999", "tcp://127.0.0.1:99999 leads to no engine ("),
        ("tcp://a..b:1", "tcp://a..b:1 leads to no engine ("),
    ],
)
def test_connect_unreachable_address_error_names_address(
    monkeypatch: pytest.MonkeyPatch, host: str, message: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    assert refused().startswith(message)


@pytest.mark.parametrize(
    ("asked_by", "there", "missing"),
    [
        ("DOCKER_TLS_VERIFY", [], "cert.pem, key.pem and ca.pem are"),
        ("DOCKER_TLS_VERIFY", ["key.pem"], "cert.pem and ca.pem are"),
        ("DOCKER_TLS_VERIFY", ["cert.pem", "key.pem"], "ca.pem is"),
        ("DOCKER_TLS", ["cert.pem"], "key.pem is"),
    ],
)
def test_connect_missing_certificates_are_named(
    monkeypatch: pytest.MonkeyPatch, config: Path, asked_by: str, there: list[str], missing: str
) -> None:
    for name in there:
        (config / name).touch()
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    monkeypatch.setenv(asked_by, "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(config))
    why = f"{missing} missing in {config}"
    remedy = "check DOCKER_HOST and DOCKER_CERT_PATH, or `docker context ls`"
    assert refused() == f"tcp://127.0.0.1:1 leads to no engine ({why}): {remedy}"


def test_connect_certificates_without_tls_verify_use_plain_tcp(monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    """As docker sees it; without the wish for one that is verified, anybody could be the engine."""
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(config / "none"))
    assert refused().startswith("no Docker engine answers at tcp://127.0.0.1:1: ")


@pytest.mark.parametrize("chosen_by", ["DOCKER_HOST", "DOCKER_CONTEXT"])
def test_connect_ssh_address_error_suggests_tunnel(
    monkeypatch: pytest.MonkeyPatch, config: Path, chosen_by: str
) -> None:
    far = "ssh://me@far.example.org"
    context(config, "far", leading_to("far", far))
    monkeypatch.setenv(chosen_by, far if chosen_by == "DOCKER_HOST" else "far")
    tunnel = f"ssh -NL /tmp/docker.sock:/var/run/docker.sock {far}"
    assert refused() == (
        f"engines behind ssh are not supported: {far}: run `{tunnel}` and set DOCKER_HOST=unix:///tmp/docker.sock"
    )


@pytest.mark.guarantee("no-engine-is-reported")
@pytest.mark.parametrize("module", [engine_connect, docker_config], ids=["by a glance", "by a context"])
def test_connect_socket_without_permission_is_distinct_error(
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

    monkeypatch.setattr(fast_path, "connect_unix", closed)
    remedy = "join the group that its socket belongs to, or set DOCKER_HOST"
    assert refused() == f"no Docker engine answers at {place} (permission denied): {remedy}"


# On a socket of this machine, without the docker package


def place_asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sockets that are asked from now on, none of which anybody listens at; and the docker package."""
    asked: list[str] = []

    def connect(path: str) -> None:
        asked.append(path)
        raise OSError

    def way() -> None:
        asked.append("the docker package")
        raise EngineUnreachable("left to it")

    monkeypatch.setattr(fast_path, "connect_unix", connect)
    monkeypatch.setattr(docker_config, "route", way)
    return asked


@pytest.mark.parametrize("host", ["tcp://127.0.0.1:1", "ssh://nobody@127.0.0.1", "npipe:////./pipe/docker", "x"])
def test_connect_other_schemes_use_docker_package(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    asked = place_asked(monkeypatch)
    engine_connect.prefetch_images()
    with pytest.raises(EngineUnreachable):
        engine_connect.connect()
    assert asked == ["the docker package"]


@pytest.mark.parametrize("told_by", ["the environment", "the config", "a config that can't be read"])
def test_connect_docker_context_uses_docker_package(
    monkeypatch: pytest.MonkeyPatch, config: Path, told_by: str
) -> None:
    asked = place_asked(monkeypatch)
    if told_by == "the environment":
        monkeypatch.setenv("DOCKER_CONTEXT", "colima")
    elif told_by == "the config":
        (config / "config.json").write_text('{"currentContext": "colima"}')
    else:
        monkeypatch.setenv("DOCKER_CONFIG", str(config / "config.json"))
    engine_connect.prefetch_images()
    with pytest.raises(EngineUnreachable):
        engine_connect.connect()
    assert asked == ["the docker package"]


def test_connect_without_settings_uses_default_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = place_asked(monkeypatch)
    engine_connect.prefetch_images()
    with pytest.raises(EngineUnreachable) as excinfo:
        engine_connect.connect()
    assert excinfo.value.message == "no Docker engine answers at the default socket"
    assert asked == ["/var/run/docker.sock"] * 2


# Asked ahead


def connected() -> DockerEngine:
    return DockerEngine(*engine_connect.connect())


def test_prefetched_image_list_is_used_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Once: who asks again hears what is true then."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/s")
    with answering(tmp_path / "s", LISTED) as asked:
        engine_connect.prefetch_images()
    assert len(asked) == 1
    engine = connected()
    assert engine.images() == IMAGES
    with pytest.raises(EngineUnreachable):
        engine.images()


def test_prefetched_image_list_malformed_is_requested_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/s")
    with answering(tmp_path / "s", b"nonsense"):
        engine_connect.prefetch_images()
    (tmp_path / "s").unlink()
    with answering(tmp_path / "s", http(b"OK")) as asked:
        engine = connected()
    assert asked[0].startswith(b"GET /_ping ")
    (tmp_path / "s").unlink()
    with answering(tmp_path / "s", LISTED):
        assert engine.images() == IMAGES


@pytest.mark.parametrize("answered", ["ahead", "refused ahead", "to a ping"])
def test_api_version_of_an_engine_that_answered_is_in_later_paths(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answered: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/s")
    newer = LISTED.replace(b"1.41", b"1.50")
    if answered != "to a ping":
        too_old = http(b'{"message": "client version 1.41 is too old"}', "400 Bad Request")
        with answering(tmp_path / "s", newer if answered == "ahead" else too_old) as asked:
            engine_connect.prefetch_images()
        assert asked[0].startswith(b"GET /v1.41/images/json ")
        (tmp_path / "s").unlink()
    if answered == "ahead":
        engine = connected()
        assert engine.images() == IMAGES
    else:
        with answering(tmp_path / "s", http(b"OK").replace(b"1.41", b"1.50")) as asked:
            engine = connected()
        assert asked[0].startswith(b"GET /_ping ")
        (tmp_path / "s").unlink()
    with answering(tmp_path / "s", newer) as asked:
        assert engine.images() == IMAGES
    assert asked[0].startswith(b"GET /v1.50/images/json ")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "no Docker engine answers at {place}"),
        (b"220 mail.example.org ESMTP\r\n", "no Docker engine answers at {place}"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", "{place} is not a Docker engine (it answered 'hello')"),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\nSpeak TLS.\r\n",
            "{place} is not a Docker engine (it answered 'Speak TLS.')",
        ),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n<html>" + b"x" * 9000, "{place} is not a Docker engine (it answered 502)"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "{place} is not a Docker engine (it answered 204)"),
        (b"HTTP/1.1 200 OK\r\n\r\n\x1b[31mred", "{place} is not a Docker engine (it answered 200)"),
    ],
)
def test_connect_to_other_server_is_error_quoting_its_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: bytes, message: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/s")
    with answering(tmp_path / "s", answer), pytest.raises(EngineUnreachable) as excinfo:
        connected()
    assert excinfo.value.message == message.format(place=f"unix://{tmp_path}/s")


def test_prefetch_without_engine_fails_at_connect(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody")
    engine_connect.prefetch_images()
    with pytest.raises(EngineUnreachable) as excinfo:
        connected()
    assert excinfo.value.message == f"no Docker engine answers at unix://{tmp_path}/nobody"


def test_connect_to_unix_socket_loads_no_docker_package(tmp_path: Path) -> None:
    script = (
        "import sys; from phases.core.engine import connect, select; "
        "connect.prefetch_images(); select.connect().images(); "
        "print([name for name in ('docker', 'requests', 'http') if name in sys.modules])"
    )
    with answering(tmp_path / "s", LISTED):
        env = {"DOCKER_HOST": f"unix://{tmp_path}/s", "PATH": "/usr/bin:/bin"}
        result = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False)
    assert result.stdout == "[]\n", result.stderr
