"""Tokens for git in a running habitat: for their hosts, and renewed by this program alone."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from unit_helpers import FakeTerminal, built_demo, load

from phases.core import git_credentials
from phases.core.masking import Mask
from phases.core.runtime import start as runtime_start
from phases.core.runtime.person import git_tokens, token_requests
from phases.core.runtime.person.token_requests import TokenRequests

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REPOS = """\
base_image: base:1
entry: {command: 'true'}
secrets:
  - {name: RUN, command: echo token-of-now, phases: [repos], start: true}
  - {name: BUILD, command: echo token-of-build, phases: [repos]}
repos:
  - {url: https://one.example/a, path: a, token: RUN}
  - {url: https://ada@two.example:8443/b, path: b, token: BUILD}
"""


def filled(parameters: str, url: str, folder: Path) -> str:
    """What git finds for a URL with some parameters."""
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), git_credentials.PARAMETERS: parameters}
    done = subprocess.run(
        ["git", "-c", "credential.interactive=false", "credential", "fill"],
        input=f"url={url}\n", env=env | {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "/bin/false"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout


@pytest.mark.guarantee("run-time-token-for-its-host-only")
def test_token_with_start_is_for_its_host_in_a_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    habitat = load(tmp_path, REPOS)
    secrets = tmp_path / "run"
    secrets.mkdir()
    (secrets / "RUN").write_text("token-of-now\n")
    monkeypatch.setattr(git_credentials, "SECRETS_FOLDER", str(secrets))
    parameters = git_credentials.of_session(habitat, lambda _: "", "'user.name=Bot'")[git_credentials.PARAMETERS]
    assert parameters.startswith("'user.name=Bot' ")
    assert "BUILD" not in parameters
    assert "password=token-of-now\n" in filled(parameters, "https://one.example/a", tmp_path)
    assert "username=x-access-token\n" in filled(parameters, "https://one.example/other", tmp_path)
    for url in ("https://two.example:8443/b", "https://one.example.evil/a", "http://one.example/a", "https://example/"):
        assert "password" not in filled(parameters, url, tmp_path)


def test_session_without_such_a_token_gets_no_parameters(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "entry: {command: 'true'}\n")
    runtime_start.start(demo.run_anew(), "demo", FakeTerminal())
    assert git_credentials.PARAMETERS not in demo.engine.commands[-1].env
    habitat = load(tmp_path, REPOS.replace(", start: true", ""))
    assert git_credentials.of_session(habitat, lambda _: "") == {}


@pytest.mark.guarantee("habitat-cannot-choose-what-is-renewed")
@pytest.mark.parametrize(
    "data",
    [
        b"OTHER get\n", b"get\n", b"RUN get; rm -rf /\n", b"RUN  get\n", b" RUN get\n", b"RUN get\r\n", b"RUN\0 get\n",
        b"RUN GET\n", b"../RUN get\n", b"\xff\xfe get\n", b"x" * 500_000 + b"RUN get\n", b"RUN get", b"\n" * 9000,
    ],
)  # fmt: skip
def test_request_for_anything_else_is_ignored(data: bytes) -> None:
    requests = TokenRequests(["RUN"])
    assert requests.feed(data) == []
    assert len(requests._partial) <= token_requests._LONGEST


def test_request_in_pieces_counts_once_in_a_piece() -> None:
    requests = TokenRequests(["RUN", "TWO"])
    assert requests.feed(b"RUN g") == []
    assert requests.feed(b"et\nTWO get\nRUN get\nRUN get\n") == ["RUN", "TWO"]
    assert requests.feed(b"x" * 300 + b"\nRUN get\n") == ["RUN"]


@pytest.mark.guarantee("habitat-cannot-choose-what-is-renewed")
def test_token_is_renewed_every_three_seconds_or_if_refused_and_twenty_times_a_minute() -> None:
    now = 0.0
    requests = TokenRequests(["RUN"], lambda: now)
    assert requests.is_due("RUN")
    now = 2.9
    assert not requests.is_due("RUN")
    now = 3.0
    assert requests.is_due("RUN")
    due = 0
    for _ in range(100):
        requests.feed(b"RUN refused\n")
        due += requests.is_due("RUN")
    assert due == 18
    now = 59.0
    assert not requests.is_due("RUN")
    now = 61.0
    assert requests.is_due("RUN")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """serve_requests.sh, as in a habitat."""
    folder = tmp_path / "asks"
    argv = ("/bin/sh", "-c", "--", git_tokens._SERVE.text, "sh", str(folder), git_tokens._ASK.text)
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    until = time.monotonic() + 20
    while not (folder / "pid").exists() and time.monotonic() < until:
        time.sleep(0.02)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    yield process
    process.terminate()
    process.wait()
    process.stdout.close()


def ask(folder: Path, verb: str = "get") -> subprocess.Popen[bytes]:
    return subprocess.Popen(("/bin/sh", folder / "ask", folder, "RUN", verb), stdin=subprocess.DEVNULL)


def test_git_waits_until_its_request_is_answered(tmp_path: Path, served: subprocess.Popen[str]) -> None:
    folder = tmp_path / "asks"
    assert served.stdin
    assert served.stdout
    assert folder.stat().st_mode & 0o777 == 0o700
    for number in (1, 2):
        with ask(folder) as asking:
            assert served.stdout.readline() == "RUN get\n"
            time.sleep(0.2)
            assert asking.poll() is None
            served.stdin.write(f"RUN {number}\n")
            served.stdin.flush()
            assert asking.wait(20) == 0
    with ask(folder, "erase") as asking:
        assert asking.wait(20) == 0
    assert served.stdout.readline() == "RUN refused\n"
    with ask(folder, "store") as asking:
        assert asking.wait(20) == 0
    with ask(folder) as asking:
        assert served.stdout.readline() == "RUN get\n"
        served.stdin.close()
        assert asking.wait(20) == 0  # nobody answers any more
    assert served.wait(20) == 0
    assert not folder.exists()


def test_requests_end_where_another_user_has_the_folder(tmp_path: Path) -> None:
    (tmp_path / "asks").mkdir()
    argv = ("/bin/sh", "-c", "--", git_tokens._SERVE.text, "sh", str(tmp_path / "asks"), "x")
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert done.returncode != 0
    assert list((tmp_path / "asks").iterdir()) == []


@pytest.mark.parametrize("piece", [b"ready\n", None], ids=["ready", "ended"])
def test_command_begins_when_its_requests_are_read(piece: bytes | None) -> None:
    reading, writing = os.pipe()
    pieces = iter([[(piece, False)] if piece else None, None])
    process = SimpleNamespace(
        fileno=lambda: reading, read=lambda: os.read(reading, 1) and next(pieces), end_input=lambda: None,
        close=lambda: None, poll=lambda: 0, exit_code=lambda: 0,
    )  # fmt: skip
    project = SimpleNamespace(engine=SimpleNamespace(exec_piped=lambda *_, **__: process))
    session = SimpleNamespace(project=project, guard=None, user="root", container=SimpleNamespace(id="c"))
    renewal = git_tokens.TokenRenewal(session, "/asks", {})  # type: ignore[arg-type]
    starting = threading.Thread(target=renewal.start)
    starting.start()
    starting.join(0.2)
    assert starting.is_alive()
    os.write(writing, b"xx")
    starting.join(5)
    assert not starting.is_alive()
    renewal.close()
    os.close(reading)
    os.close(writing)


def test_mask_hides_a_secret_that_is_added_later() -> None:
    mask = Mask([b"first-secret"])
    assert mask.feed(b"first-secret later-secret\n") == b"*** later-secret\n"
    mask.add(b"later-secret")
    assert mask.feed(b"first-secret later-secret\n") == b"*** ***\n"
    empty = Mask([])
    empty.add(b"later-secret")
    assert empty.feed(b"later-secret\n") == b"***\n"
