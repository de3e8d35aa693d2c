"""Requests to the engine's API, and what is made of the answers."""

from __future__ import annotations

import base64
import io
import json
import select
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from unit_helpers import IMAGES, LISTED, ROWS, answering, http

from phases.core.engine.docker_api.client import DockerEngine
from phases.core.engine.http import HttpClient, negotiate
from phases.core.engine.transport import Route
from phases.core.errors import EngineError, EngineUnreachable, NotFound
from phases.core.files.tar import DockerfileArchive

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """docker's own, in which nobody is logged in anywhere."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    return tmp_path / "config.json"


def client_at(place: Path, timeout: float = 20) -> HttpClient:
    return HttpClient(Route("a test", str(place)), timeout)


def engine_at(place: Path) -> DockerEngine:
    return DockerEngine(client_at(place))


def test_api_request_is_one_http_1_0_connection(tmp_path: Path) -> None:
    engine = engine_at(tmp_path / "s")
    with answering(tmp_path / "s", LISTED) as asked:
        assert engine.images() == IMAGES
    (request,) = asked
    assert request == b"GET /v1.41/images/json HTTP/1.0\r\nHost: engine\r\n\r\n"


@pytest.mark.parametrize(
    ("newest", "version"),
    [
        ("1.40", "1.40"),
        ("1.41", "1.41"),
        ("1.51", "1.51"),
        ("1.52", "1.51"),
        ("2.0", "1.51"),
        ("", "1.41"),
        ("x", "1.41"),
    ],
)
def test_api_version_is_the_newest_that_both_sides_know(newest: str, version: str) -> None:
    assert negotiate(newest) == version


def test_api_request_escapes_special_characters_in_container_name(tmp_path: Path) -> None:
    engine = engine_at(tmp_path / "s")
    with answering(tmp_path / "s", b"HTTP/1.0 204 No Content\r\n\r\n") as asked:
        engine.start("a?b=c HTTP/1.0\r\nX: y")
    assert asked[0].startswith(
        b"POST /v1.41/containers/a%3Fb%3Dc%20HTTP/1.0%0D%0AX:%20y/start HTTP/1.1\r\nHost: engine\r\n"
    )


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense",
        b"HTTP/1.0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n",
        http(b"{"),
        http(json.dumps(ROWS).encode(), length=5000),
        http(b"[" * (2 << 20)).replace(b"\r\n\r\n", b"\r\n"),
    ],
)
def test_api_malformed_answer_raises_engine_unreachable(tmp_path: Path, answer: bytes) -> None:
    engine = engine_at(tmp_path / "s")
    with answering(tmp_path / "s", answer), pytest.raises(EngineUnreachable) as excinfo:
        engine.images()
    assert excinfo.value.message == "listing images: the engine stopped answering"


@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        (http(b'{"message": "no such thing."}\n', "404 Not Found"), NotFound, "no such thing"),
        (http(b"a proxy's own words", "502 Bad Gateway"), EngineError, "a proxy's own words"),
        (http(b"[]", "500 Oh"), EngineError, "[]"),
        (http(b"", "500 Oh"), EngineError, "the engine says 500"),
        (b"HTTP/1.0 503\r\n\r\n", EngineError, "the engine says 503"),
    ],
)
def test_api_error_answer_raises_error_with_engine_reason(
    tmp_path: Path, answer: bytes, kind: type[EngineError], reason: str
) -> None:
    engine = engine_at(tmp_path / "s")
    with answering(tmp_path / "s", answer), pytest.raises(kind) as excinfo:
        engine.images()
    assert excinfo.value.message == f"listing images: {reason}"


def test_api_silent_engine_raises_unreachable_after_timeout(tmp_path: Path) -> None:
    """And no longer, as far as its answer goes; a command may be silent as long as it likes."""
    there = threading.Event()
    engine = DockerEngine(client_at(tmp_path / "s", timeout=0.1))
    with answering(tmp_path / "s", LISTED, when=there):
        with pytest.raises(EngineUnreachable):
            engine.images()
        there.set()


def test_api_upload_refused_before_end_of_body_raises_refusal(tmp_path: Path) -> None:
    """More than fits into a socket, so that whoever sends it is still at it."""
    engine = engine_at(tmp_path / "s")
    output = b'{"message": "no"}'
    answer = http(output, "404 Not Found", len(output))
    with answering(tmp_path / "s", answer), pytest.raises(NotFound):
        engine.put_archive("c", "/", io.BytesIO(bytes(50_000_000)))


def test_api_long_answer_is_read_completely(tmp_path: Path) -> None:
    rows = [{"Id": f"sha256:{number}"} for number in range(20_000)]
    body = json.dumps(rows).encode()
    engine = engine_at(tmp_path / "s")
    with answering(tmp_path / "s", http(body, length=len(body))):
        assert [image.id for image in engine.images()] == [row["Id"] for row in rows]


@pytest.mark.guarantee("command-output-complete")
@pytest.mark.parametrize("cut", range(1, 30))
def test_api_upgraded_connection_keeps_output_sent_with_response_head(tmp_path: Path, cut: int) -> None:
    """However the head is cut into pieces."""
    printed = b"\x01\x00\x00\x00\x00\x00\x00\x05first"
    head = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    with (
        answering(tmp_path / "s", head[:-cut], head[-cut:] + printed) as asked,
        closing(client_at(tmp_path / "s").upgrade("/exec/0/start", b"{}", "running a command")) as response,
    ):
        assert response.status == 101
        stream = response.connection
        assert select.select([stream], [], [], 5)[0]
        assert stream.receive() == printed
        assert stream.receive() == b""
    assert {b"Connection: Upgrade", b"Upgrade: tcp"} <= {*asked[0].split(b"\r\n")}


@pytest.mark.parametrize(
    "message", [b"", b'{"status": "Pulling', b'{"status": "Pulling"}\r\n', b"nonsense\n", b"[}\r\n"]
)
def test_pull_answer_without_end_raises_engine_unreachable(tmp_path: Path, message: bytes) -> None:
    """It ends where the answer does, of which nothing tells whether it is whole."""
    engine = engine_at(tmp_path / "s")
    steps: list[str] = []
    with answering(tmp_path / "s", http(message)), pytest.raises(EngineUnreachable) as excinfo:
        engine.pull("base:1", lambda _layer, status, _done, _total: steps.append(status))
    assert excinfo.value.message == "pulling base:1: the engine stopped answering"
    assert steps == (["Pulling"] if message.endswith(b'"}\r\n') else [])


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_pull_answer_in_any_pieces_reports_progress_and_error(tmp_path: Path, cut: int) -> None:
    rows = b'{"status": "Pulling", "id": "abc", "progressDetail": {"current": 5, "total": 9}}\r\n'
    rows += b'{"error": "no room \xc3\xbc"}\r\n'
    engine = engine_at(tmp_path / "s")
    steps: list[tuple[object, ...]] = []
    with answering(tmp_path / "s", http(rows[:cut]), rows[cut:]), pytest.raises(EngineError) as excinfo:
        engine.pull("base:1", lambda *step: steps.append(step))
    assert (excinfo.value.message, steps) == ("pulling base:1: no room ü", [("abc", "Pulling", 5, 9)])


def test_pull_credentials_are_sent_only_to_their_registry(tmp_path: Path, config: Path) -> None:
    config.write_text(json.dumps({"auths": {"far.example.org": {"auth": base64.b64encode(b"ada:secret").decode()}}}))
    engine = engine_at(tmp_path / "s")
    for host, is_told in (("far.example.org", True), ("other.example.org", False)):
        with answering(tmp_path / "s", http(b"")) as asked, pytest.raises(EngineUnreachable):
            engine.pull(f"{host}/base@sha256:1", lambda *_: None)
        (tmp_path / "s").unlink()
        assert asked[0].startswith(
            f"POST /v1.41/images/create?fromImage={host}%2Fbase&tag=sha256%3A1 HTTP/1.1\r\n".encode()
        )
        assert (b"\r\nX-Registry-Auth: " in asked[0]) is is_told


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"credsStore": "of-nobody"}', "docker-credential-of-nobody"),
        ('{"credHelpers": {"far.example.org": "of-nobody"}}', "docker-credential-of-nobody"),
        ('{"credsStore": "odd"}', "docker's own config has no readable login: "),
        ('{"auths": {"far.example.org": {"auth": "!!!!"}}}', "docker's own config has no readable login: "),
        ('{"auths": "x"}', "docker's own config has no readable login: "),
        ("[]", "docker's own config has no readable login: "),
        ("{", ""),
    ],
)
def test_pull_without_usable_credentials_sends_none_and_error_names_cause(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    config: Path,
    text: str,
    why: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    config.write_text(text)
    helper = tmp_path / "docker-credential-odd"
    helper.write_text("#!/bin/sh\necho '<html>'\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    engine = engine_at(tmp_path / "s")
    refused = http(b'{"message": "no basic auth credentials"}', "500 Oh")
    with answering(tmp_path / "s", refused) as asked, pytest.raises(EngineError) as excinfo:
        engine.pull("far.example.org/base:1", lambda *_: None)
    assert b"X-Registry-Auth" not in asked[0]
    message = excinfo.value.message.removeprefix("pulling far.example.org/base:1: no basic auth credentials")
    assert why in message
    assert "\n" not in message
    (tmp_path / "s").unlink()
    monkeypatch.setattr("phases.core.engine.docker_api.buildkit_cli.find", lambda: None)
    with answering(tmp_path / "s", refused) as asked, pytest.raises(EngineError):
        engine.build(DockerfileArchive(io.BytesIO(b"")), "made:1", lambda _: None)
    assert b"X-Registry-Config" not in asked[0]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "head",
    ["HTTP/1.1 \xb2 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: abc\r\n\r\n{"],
)
def test_api_malformed_numbers_in_answer_raise_engine_unreachable(tmp_path: Path, head: str) -> None:
    with answering(tmp_path / "s", head.encode("latin-1")), pytest.raises(EngineUnreachable):
        engine_at(tmp_path / "s").container("x")


def test_api_exec_without_upgraded_connection_raises_error(tmp_path: Path) -> None:
    """As by a proxy, behind which a command would wait for its input for ever."""
    made = http(b'{"Id": "1"}')
    with answering(tmp_path / "s", made), answering(tmp_path / "t", b"HTTP/1.1 200 OK\r\n\r\n"):
        client = client_at(tmp_path / "s")
        exec_id = DockerEngine(client)._create_exec("c", ("true",))
        with pytest.raises(EngineError) as excinfo:
            engine_at(tmp_path / "t")._attach(exec_id)
    assert excinfo.value.message == "running a command: a proxy before the engine does not pass HTTP upgrades on"


@pytest.mark.parametrize("page", [b"<html>\n<title>502</title>", b"x" * 900])
def test_api_html_error_page_is_replaced_by_status_code(tmp_path: Path, page: bytes) -> None:
    with answering(tmp_path / "s", http(page, "502 Bad Gateway")), pytest.raises(EngineError) as excinfo:
        engine_at(tmp_path / "s").images()
    assert excinfo.value.message == "listing images: the engine says 502"


REFUSALS = [
    "unknown log opt 'max-size' for journald log driver",
    "unknown log opt 'max-file' for syslog log driver",
    "invalid logging option: max-file",
]


@pytest.mark.parametrize("message", REFUSALS)
def test_container_create_log_limit_refused_retries_without_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, message: str
) -> None:
    asked: list[dict[str, Any]] = []

    def create(_: object, what: str, body: dict[str, Any]) -> str:
        asked.append(body)
        if "LogConfig" in body["HostConfig"]:
            raise EngineError(f"creating container {what}: {message}")
        return "made"

    monkeypatch.setattr(DockerEngine, "_create", create)
    assert engine_at(tmp_path / "s").create("base:1", "one", ["true"], log_bytes=100) == "made"
    limited, free = asked
    assert limited["HostConfig"].pop("LogConfig") == {"Type": "", "Config": {"max-size": "50", "max-file": "2"}}
    assert limited == free


def test_container_create_refused_for_other_reason_is_not_retried(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []

    def create(_: object, what: str, body: object) -> str:
        asked.append(body)
        raise EngineError(f"creating container {what}: no such image")

    monkeypatch.setattr(DockerEngine, "_create", create)
    with pytest.raises(EngineError, match="no such image"):
        engine_at(tmp_path / "s").create("base:1", "one", ["true"], log_bytes=100)
    assert len(asked) == 1
