"""What is asked without the docker package, and what is left to it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from fake_engine import FakeEngine
from unit_helpers import answering

from phases.core import glance
from phases.core.build_container import IDLE
from phases.core.engine import Image
from phases.core.errors import EngineUnreachable
from phases.core.late_engine import late

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [
    {"Id": "sha256:1", "RepoTags": ["habitat-x:final", "habitat-x:12-final"], "Labels": {"habitat.name": "x"}},
    {"Id": "sha256:2", "RepoTags": ["<none>:<none>"], "Labels": None},
    {"Id": "sha256:3", "RepoTags": None},
]
IMAGES = [
    Image("sha256:1", ("habitat-x:final", "habitat-x:12-final"), {"habitat.name": "x"}),
    Image("sha256:2", (), {}),
    Image("sha256:3", (), {}),
]


def http(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.0 {status}\r\nContent-Type: application/json\r\n\r\n".encode() + body


@pytest.fixture(autouse=True)
def no_config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)


def test_the_images_are_asked_for_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/s")
    with answering(tmp_path / "s", http(json.dumps(ROWS).encode())) as asked:
        assert glance.images() == IMAGES
    (request,) = asked
    assert request.startswith(b"GET /images/json HTTP/1.0\r\n")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense",
        http(b"{"),
        http(b"[]", "500 Internal Server Error"),
        http(b'{"message": "no such thing"}'),
        http(b"null"),
        http(b'[{"RepoTags": []}]'),
        http(json.dumps(ROWS).encode())[:-5],
    ],
)
def test_an_answer_that_is_not_the_expected_one_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: bytes
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/s")
    with answering(tmp_path / "s", answer):
        assert glance.images() is None


def test_where_nobody_answers_there_is_no_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody")
    assert glance.images() is None


@pytest.mark.parametrize("host", ["tcp://127.0.0.1:1", "ssh://nobody@127.0.0.1", "npipe:////./pipe/docker", "x"])
def test_another_way_to_the_engine_is_left_to_the_docker_package(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    monkeypatch.setattr(glance, "_answer", lambda path, _: pytest.fail(f"asked at {path}"))
    assert glance.images() is None


@pytest.mark.parametrize("told_by", ["the environment", "the config", "a config that can't be read"])
def test_so_is_a_docker_context(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, told_by: str) -> None:
    monkeypatch.delenv("DOCKER_HOST")
    monkeypatch.setattr(glance, "_answer", lambda path, _: pytest.fail(f"asked at {path}"))
    folder = tmp_path / "config"
    if told_by == "the environment":
        monkeypatch.setenv("DOCKER_CONTEXT", "colima")
    elif told_by == "the config":
        folder.mkdir()
        (folder / "config.json").write_text('{"currentContext": "colima"}')
    else:
        folder.write_text("a file where the folder should be")
    assert glance.images() is None


def test_without_any_of_it_the_default_socket_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST")
    asked: list[str] = []

    def answer(path: str, _: bytes) -> bytes:
        asked.append(path)
        return http(json.dumps(ROWS).encode())

    monkeypatch.setattr(glance, "_answer", answer)
    assert glance.images() == IMAGES
    assert asked == ["/var/run/docker.sock"]


# The engine that is connected to when it has to be


def connecting(made: list[FakeEngine]) -> FakeEngine:
    made.append(FakeEngine())
    made[-1].add_image("busybox:1")
    return made[-1]


def test_what_a_plain_request_can_do_connects_to_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/s")
    made: list[FakeEngine] = []
    engine = late(lambda: connecting(made))
    with answering(tmp_path / "s", http(json.dumps(ROWS).encode())):
        assert engine.images() == IMAGES
    assert made == []


def test_all_else_is_asked_of_one_connection(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody")
    made: list[FakeEngine] = []
    engine = late(lambda: connecting(made))
    container = engine.create("busybox:1", "one", IDLE)
    engine.start(container)
    found = engine.container("one")
    assert found
    assert found.running
    assert engine.images()[0].tags == ("busybox:1",)
    assert engine.container("nobody") is None
    assert len(made) == 1


def test_a_start_that_a_plain_request_did_is_not_done_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And the connection is there for what follows."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/s")
    made: list[FakeEngine] = []
    engine = late(lambda: connecting(made))
    with answering(tmp_path / "s", b"HTTP/1.0 204 No Content\r\n\r\n") as asked:
        engine.start("one")  # which the fake would refuse: it has none of that name
    assert asked[0].startswith(b"POST /containers/one/start HTTP/1.0\r\n")
    assert engine.container("one") is None
    assert len(made) == 1


def test_where_no_engine_answers_whoever_asks_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody")

    def refuse() -> FakeEngine:
        raise EngineUnreachable("no engine")

    engine = late(refuse)
    for ask in (engine.images, lambda: engine.container("one"), lambda: engine.start("one"), lambda: engine.address):
        with pytest.raises(EngineUnreachable):
            ask()


def test_the_images_may_be_asked_for_ahead(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Once: who asks again hears what is true then."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/s")
    with answering(tmp_path / "s", http(json.dumps(ROWS).encode())) as asked:
        glance.ask_ahead()
    assert len(asked) == 1
    assert glance.images() == IMAGES
    assert glance.images() is None, "nobody answers any more"


def test_where_nobody_answers_ahead_there_is_no_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody")
    glance.ask_ahead()
    assert glance.images() is None
