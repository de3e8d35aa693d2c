"""The proxies of docker's config.json reach commands, and nothing that is kept."""

from __future__ import annotations

import json
import pwd
from typing import TYPE_CHECKING

import pytest
from unit_helpers import DemoProject, FakeTerminal, load

from phases.core.eject.command import eject
from phases.core.engine import connect as engine_connect
from phases.core.engine.docker_api.client import DockerEngine
from phases.core.engine.docker_api.proxies import proxies
from phases.core.engine.http import HttpClient
from phases.core.engine.transport import Route
from phases.core.errors import ConfigError, EngineUnreachable, StateError
from phases.core.runtime import exec as runtime_exec
from phases.core.runtime import start as runtime_start

if TYPE_CHECKING:
    from pathlib import Path

PROXY = "http://user:p4ss@proxy.corp:3128"


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "docker"
    folder.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    return folder / "config.json"


def test_proxies_of_default_are_set_in_both_cases(config: Path) -> None:
    keys = {"httpProxy": PROXY, "httpsProxy": "h", "ftpProxy": "f", "noProxy": "a,.b", "allProxy": "socks5://s", "x": 1}
    config.write_text(json.dumps({"proxies": {"default": keys}}))
    expected = {
        "HTTP_PROXY": PROXY,
        "HTTPS_PROXY": "h",
        "FTP_PROXY": "f",
        "NO_PROXY": "a,.b",
        "ALL_PROXY": "socks5://s",
    }
    assert proxies(["unix:///x"]) == expected | {name.lower(): value for name, value in expected.items()}


@pytest.fixture
def no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """An account without a home folder, as in a container that runs with any uid."""

    def unknown(uid: int) -> None:
        raise KeyError(uid)

    for name in ("HOME", "DOCKER_CONFIG", "XDG_DATA_HOME", "HABITATS_TRUST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


@pytest.mark.usefixtures("no_home")
def test_account_without_home_has_no_proxies_and_uses_default_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    assert DockerEngine(HttpClient(Route("the default socket", "/s"))).proxies == {}
    assert engine_connect.socket_path() == "/var/run/docker.sock"


@pytest.mark.usefixtures("no_home")
def test_account_without_home_builds_and_starts(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path, "base_image: base:1\n")
    demo.build()
    runtime_start.start_detached(demo.run_anew(), "demo")


@pytest.mark.usefixtures("no_home")
def test_account_without_home_gets_errors_with_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = "secrets: [{name: S, command: 'true', start: true}]\nrepos: [{url: 'git@h:x', path: x, ssh_agent: true}]\n"
    with pytest.raises(ConfigError, match=r"config.yaml:3: you have no home folder with .ssh/known_hosts: set HOME"):
        load(tmp_path, f"base_image: base:1\n{keys}")
    demo = DemoProject(tmp_path, f"base_image: base:1\n{keys.partition('repos')[0]}")
    with pytest.raises(StateError, match="since you have no home folder: set HOME or XDG_DATA_HOME, or HABITATS_TRUST"):
        demo.project.need_trust(demo.project.habitat("demo"))
    monkeypatch.setenv("HABITATS_TRUST", "all")
    demo.project.need_trust(demo.project.habitat("demo"))
    for folder in ("~/x", "~nosuchuser/x"):
        with pytest.raises(StateError, match=f"^no user has the home folder {folder}: write --to with"):
            eject(demo.project, "demo", folder)


@pytest.mark.usefixtures("no_home")
def test_missing_certificates_without_home_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    for folder in ("", "~nosuchuser/x"):
        monkeypatch.setenv("DOCKER_CERT_PATH", folder)
        with pytest.raises(EngineUnreachable, match=f"are missing in {folder or '~/.docker'}"):
            engine_connect.connect()


def test_proxies_of_engine_replace_those_of_default(config: Path) -> None:
    by_engine = {"default": {"httpProxy": "d", "noProxy": "n"}, "tcp://h:2375": {"httpProxy": "t"}, "unix:///s": {}}
    config.write_text(json.dumps({"proxies": by_engine}))
    assert proxies(["tcp://h:2375"]) == {"HTTP_PROXY": "t", "http_proxy": "t"}
    assert proxies(["unix:///s"]) == {}, "as docker does: an entry of the engine is taken as it is"
    assert proxies(["tcp://other:1"])["HTTP_PROXY"] == "d"
    socket = DockerEngine(HttpClient(Route("the default socket", "/s")))
    assert socket.proxies == {}
    assert DockerEngine(HttpClient(Route("the default socket", "/z"))).proxies["NO_PROXY"] == "n"


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "{",
        "[]",
        "{}",
        '{"proxies": null}',
        '{"proxies": []}',
        '{"proxies": {"default": null}}',
        '{"proxies": {"default": "x"}}',
        '{"proxies": {"default": {"httpProxy": 7, "noProxy": ""}}}',
    ],
)
def test_config_without_proxies_gives_none(config: Path, text: str | None) -> None:
    if text is not None:
        config.write_text(text)
    assert proxies(["x"]) == {}


def test_config_that_is_folder_gives_no_proxies(config: Path) -> None:
    config.mkdir()
    assert proxies(["x"]) == {}


CONFIG = """\
base_image: base:1
env: [http_proxy=http://own:1]
setup: {root: [echo root], user: [echo user]}
entry: {command: echo entry, ready: echo ready}
"""


@pytest.mark.guarantee("proxies-reach-commands-and-no-image")
def test_proxies_reach_commands_of_build_start_and_exec_and_no_image_or_hash(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path, CONFIG)
    demo.engine.proxies = {"HTTP_PROXY": PROXY, "http_proxy": PROXY}
    demo.build()
    runtime_start.start(demo.run_anew(), "demo", FakeTerminal())
    runtime_exec.execute(demo.run_anew(), "demo", ("echo", "exec"), FakeTerminal())
    commands = [c for c in demo.engine.commands if c.script.startswith("echo") or c.argv[0] == "echo"]
    assert len(commands) == 6, "setup (2), ready, entry, ready, exec"
    assert {c.env["HTTP_PROXY"] for c in commands} == {PROXY}
    assert all(c.env.get("http_proxy", "http://own:1") == "http://own:1" for c in commands), "the config comes first"
    assert PROXY not in str([(image.config, image.labels) for image in demo.engine._images.values()])
    assert PROXY not in str([(c.env, c.labels) for c in demo.engine._containers.values()])
    kept = [path.read_text(errors="replace") for path in (tmp_path / ".stamps").rglob("*") if path.is_file()]
    assert not [text for text in kept if "p4ss" in text]
    demo.engine.proxies = {"HTTP_PROXY": "http://other:1"}
    assert demo.build() == []


def test_init_command_gets_proxies_at_creation_of_container(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path, "base_image: base:1\nentry: {init_command: sleep 600}\n")
    demo.engine.proxies = {"HTTP_PROXY": PROXY}
    demo.build()
    runtime_start.start_detached(demo.run_anew(), "demo")
    assert demo.engine._container("habitat-demo").env["HTTP_PROXY"] == PROXY
