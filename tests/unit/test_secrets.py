"""Where secrets come from, who sees them, and that nothing keeps them."""

from __future__ import annotations

import os
import socket
from contextlib import closing
from pathlib import Path

import pytest
from fake_engine import FakeEngine
from unit_helpers import SOMEWHERE, DemoProject, load, write

from phases import p07_setup, p08_repos
from phases.core.copied_files import dockerfile_context, file_tree, layer_tree, subfolder_tree
from phases.core.errors import ConfigError, EngineError, SecretError
from phases.core.files.tree import identity
from phases.core.model import Value
from phases.core.secrets import delivery
from phases.core.secrets.ssh_agent import AgentRelay, known_hosts
from phases.core.secrets.store import SecretStore
from phases.registry import NAMES, PHASES

CANARY = "canary-4f9a71"

SETUP = """\
    base_image: base:1
    secrets:
      - {name: TOKEN, env: TOKEN, phases: [setup], variable: MY_TOKEN}
    setup:
      root: [cat /run/secrets/TOKEN]
      user: [echo $MY_TOKEN]
    """


@pytest.fixture(autouse=True)
def _canary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", CANARY)


def values(root: Path, text: str) -> dict[str, bytes]:
    habitat = load(root, f"base_image: b\nsecrets:\n  - {{{text}}}\n")
    return {value.name: value.data for value in SecretStore(root).values(habitat.secrets)}


# Where from


@pytest.mark.parametrize(
    ("source", "data"),
    [
        ("env: TOKEN", CANARY.encode()),
        ("file: token", b"from a file\n"),
        ("file: ../../token", b"of the root\n"),
        ("command: printf 'a\\n\\n'", b"a\n"),
        ("command: cat token", b"of the root"),
    ],
)
def test_secret_value_is_read_from_env_file_or_command(tmp_path: Path, source: str, data: bytes) -> None:
    write(tmp_path, "habitats/demo/token", "from a file\n")
    write(tmp_path, "token", "of the root\n")
    assert values(tmp_path, f"name: T, {source}, start: true") == {"T": data}


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (
            "env: ABSENT_HERE",
            "secret T: the environment has no ABSENT_HERE: set ABSENT_HERE; or write `optional: true`",
        ),
        ("file: /absent/here", "secret T: there is no /absent/here on the host: add it, or fix the path; or"),
        ("file: /", "secret T: can't be read (Is a directory): check that it is a file and that you may read it"),
        (
            "command: exit 3",
            "secret T: its command ended with exit code 3: run it and fix what it reports: exit 3; or write",
        ),
        ("command: 'true'", "secret T: is empty: check its source"),
        (
            "file: /dev/zero",
            "secret T: can't be read (Not a regular file): check that it is a file and that you may read it",
        ),
        ("command: head -c 2000000 /dev/zero", "secret T: is larger than 1 MB: check its source"),
        (
            "command: 'yes | head -c 131080', variable: V",
            "secret T: is larger than 128 KB, which is too much for a variable: check its source",
        ),
        ("command: 'printf \"\\\\377\"', variable: V", "secret T: is not UTF-8 text, as a variable must be: check"),
        ("command: 'printf \"\\\\0\"', variable: V", "secret T: contains a NUL byte: check its source"),
    ],
)
def test_secret_missing_on_host_is_one_line_error(tmp_path: Path, source: str, why: str) -> None:
    with pytest.raises(SecretError) as excinfo:
        values(tmp_path, f"name: T, {source}, start: true")
    assert str(excinfo.value).startswith(f"habitats/demo/config.yaml:3: {why}")


@pytest.mark.parametrize("source", ["env: ABSENT_HERE", "file: /absent/here", "command: exit 1"])
def test_secret_optional_and_missing_is_omitted(tmp_path: Path, source: str) -> None:
    assert values(tmp_path, f"name: T, {source}, start: true, optional: true") == {}


def test_secret_value_is_fetched_once(tmp_path: Path) -> None:
    habitat = load(
        tmp_path,
        "base_image: b\nsecrets: [{name: T, command: echo asked >> log; echo x, phases: [setup], start: true}]",
    )
    vault = SecretStore(tmp_path)
    for _ in range(3):
        vault.values(habitat.secrets)
    assert (tmp_path / "log").read_text() == "asked\n"


def test_secret_of_later_layer_replaces_earlier_one(tmp_path: Path) -> None:
    write(tmp_path, "shared/config.yaml", "secrets: [{name: T, env: A, start: true}, {name: U, env: A, start: true}]")
    habitat = load(tmp_path, "base_image: b\nsecrets: [{name: T, env: B, phases: [setup]}]")
    assert [(s.name, s.env, s.start) for s in habitat.secrets] == [("T", "B", False), ("U", "A", True)]


# Who sees them


def test_secret_is_delivered_to_its_phase_as_file_and_variable(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path, SETUP)
    demo.build()
    given = [c for c in demo.engine.commands if c.script == delivery._RECEIVE.text]
    assert [(c.args, c.stdin, c.user) for c in given] == [
        (("/run/secrets/TOKEN", "root", str(len(CANARY))), CANARY.encode(), "0"),
        (("/run/secrets/TOKEN", "agent", str(len(CANARY))), CANARY.encode(), "0"),
    ]
    own = [c.env for c in demo.engine.commands if "MY_TOKEN" in c.script or c.script.startswith("cat")]
    assert [env["MY_TOKEN"] for env in own] == [CANARY] * 2


@pytest.mark.guarantee("secret-readable-by-its-user-only")
def test_secret_of_other_phase_is_not_delivered(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path, SETUP.replace("[setup]", "[test]").replace("cat /run/secrets/TOKEN", "true"))
    demo.build()
    assert not [c for c in demo.engine.commands if c.script == delivery._RECEIVE.text]


def test_secret_is_in_no_log_stamp_event_or_image(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path, SETUP)
    demo.build()
    written = [path for path in (tmp_path / ".stamps").rglob("*") if path.is_file()]
    assert len(written) > 20
    assert [path for path in written if CANARY.encode() in path.read_bytes()] == []
    log = (tmp_path / ".stamps/demo/7-setup.log").read_text()
    assert log.count("***") == 2
    expected = " ".join(str(event) for event in demo.seen)
    assert CANARY not in expected
    for tag in demo.engine.tags():
        image = demo.engine._image(tag)
        files = [node.content for node in image.files.nodes.values()]
        assert not any(CANARY.encode() in content for content in files)
        assert CANARY not in repr((image.config, image.labels))


def test_secret_in_output_of_failed_command_is_masked(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path, SETUP.replace("[echo $MY_TOKEN]", '["echo $MY_TOKEN; false"]'))
    with pytest.raises(Exception, match="setup command 2") as excinfo:
        demo.build()
    assert "***" in excinfo.value.output  # type: ignore[attr-defined]
    assert CANARY not in repr(vars(excinfo.value))


def test_secret_value_change_rebuilds_nothing_but_variable_change_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo = DemoProject(tmp_path, SETUP)
    demo.build()
    monkeypatch.setenv("TOKEN", "another")
    assert demo.build() == []
    write(tmp_path, "habitats/demo/config.yaml", SETUP.replace("env: TOKEN", "command: echo x"))
    assert demo.build() == []
    write(tmp_path, "habitats/demo/config.yaml", SETUP.replace("variable: MY_TOKEN", "variable: THEIRS"))
    assert demo.build()[0] == "setup"


@pytest.mark.guarantee("secret-change-rebuilds-nothing")
def test_secret_of_cached_phase_is_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo = DemoProject(tmp_path, SETUP)
    demo.build()
    monkeypatch.delenv("TOKEN")
    assert demo.build() == []


def test_secret_missing_fails_phase_before_phase_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKEN")
    demo = DemoProject(tmp_path, SETUP)
    with pytest.raises(SecretError, match="the environment has no TOKEN"):
        demo.build()
    assert demo.build("files") == []


def test_secret_free_habitat_has_slices_without_secrets(tmp_path: Path) -> None:
    habitat = load(tmp_path, "base_image: b\nsetup: {root: [a]}")
    assert p07_setup.slice(habitat) == {"commands": [{"script": "a", "user": "root"}]}


@pytest.mark.parametrize("phase", ["dockerfile", "setup", "repos", "tools", "test"])
def test_secret_is_in_slices_of_its_phases_only(tmp_path: Path, phase: str) -> None:
    habitat = load(tmp_path, f"base_image: b\nsecrets: [{{name: T, env: A, phases: [{phase}]}}]")
    write(tmp_path, "habitats/demo/Dockerfile", "FROM b")
    having = [p.NAME for p in PHASES if "secrets" in p.slice(habitat)]
    assert having == [phase]


@pytest.mark.guarantee("secret-file-not-copied")
@pytest.mark.parametrize("place", ["habitats/demo/private/token", "shared/token", "habitats/demo/tools/token"])
def test_secret_file_is_never_copied_into_image(tmp_path: Path, place: str) -> None:
    write(tmp_path, place, CANARY)
    write(tmp_path, "habitats/demo/Dockerfile", "FROM b")
    relative = place.removeprefix("habitats/demo/")
    habitat = load(
        tmp_path,
        f"""\
        files: [{{source: ../demo, dest: /copy}}]
        secrets: [{{name: T, file: ./../demo/{relative}, phases: [setup]}}]
        """
        if place.startswith("habitats")
        else f"secrets: [{{name: T, file: {place}, phases: [setup]}}]",
    )
    trees = [
        dockerfile_context(habitat).items,
        *(layer_tree(habitat, layer) for layer in habitat.layers),
    ]
    trees += [subfolder_tree(habitat, layer, "tools") for layer in habitat.layers]
    trees += [file_tree(habitat, copy) for copy in habitat.files]
    assert not [path for tree in trees for path in identity(tree) if path.endswith("token")]
    assert (tmp_path / place).exists()


@pytest.mark.guarantee("secret-file-not-copied")
def test_secret_file_of_replaced_layer_entry_is_not_copied(tmp_path: Path) -> None:
    write(tmp_path, "shared/token", CANARY)
    write(tmp_path, "shared/config.yaml", "secrets: [{name: T, file: token, phases: [setup]}]")
    text = "base_image: b\nsecrets: [{name: T, env: TOKEN, phases: [setup]}]\n"
    habitat = load(tmp_path, text)
    assert not [path for layer in habitat.layers for path in identity(layer_tree(habitat, layer)) if path == "token"]
    with pytest.raises(ConfigError, match="files: shared/token is the file of a secret, and would be in the image"):
        load(tmp_path, f"{text}files: [{{source: shared/token, dest: /t}}]")


# What a config may say


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "name: a/b, env: A, start: true",
            "secret 'a/b' can't be the name of a file: use up to 100 letters, digits, _ . and -",
        ),
        ("name: .x, env: A, start: true", "secret '.x' can't be the name of a file"),
        ("name: T, start: true", "secret 'T' needs exactly one source: write one of env, file and command"),
        ("name: T, env: A, file: b, start: true", "secret 'T' needs exactly one source"),
        ("name: T, env: A", "secret 'T' is used by nothing: add phases, or start: true"),
        (
            "name: T, env: A, phases: [env]",
            "secret 'T': phase 'env' can't have secrets: write dockerfile, setup, repos, tools or test",
        ),
        (
            "name: T, env: A, phases: [setpu]",
            "secret 'T': phase 'setpu' can't have secrets: write dockerfile, setup, repos, tools or test",
        ),
        (
            "name: T, env: $A, start: true",
            "secret 'T': env is '$A', which is not the name of a variable: write letters, digits and _ only",
        ),
        (
            "name: T, env: A, variable: A-B, start: true",
            "secret 'T': variable is 'A-B', which is not the name of a variable",
        ),
        ("name: T, envv: A, start: true", "secrets[0]: unknown key 'envv': did you mean 'env'?"),
    ],
)
def test_secret_setting_malformed_is_refused_with_line(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigError) as excinfo:
        load(tmp_path, f"base_image: b\nsecrets:\n  - {{{text}}}\n")
    assert str(excinfo.value).startswith(f"habitats/demo/config.yaml:3: {why}")


def test_secret_file_in_files_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "habitats/demo/token", CANARY)
    with pytest.raises(ConfigError, match="files: token is the file of a secret, and would be in the image"):
        load(
            tmp_path,
            "base_image: b\nfiles: [{source: token, dest: /t}]\nsecrets: [{name: T, file: token, start: true}]",
        )


# Repositories

REPO = "secrets: [{name: T, env: A, phases: [repos]}, {name: U, env: A, start: true}]\nrepos:\n  - {path: p, %s}\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("url: 'https://h/x', token: U", "there is no secret 'U' for repos: known here: T"),
        ("url: 'http://h/x', token: T", "a token is sent only by HTTPS: use the repository's https:// URL"),
        ("url: 'git@h:x', token: T", "a token is sent only by HTTPS"),
        ("url: 'git@h:x', known_hosts: k", "known_hosts is for SSH: add ssh_agent: true"),
        (
            "url: 'git@h:x', ssh_agent: true, known_hosts: k",
            "repos: there is neither habitats/demo/k nor k on the host",
        ),
    ],
)
def test_repository_token_or_known_hosts_that_cannot_work_is_refused_with_line(
    tmp_path: Path, text: str, why: str
) -> None:
    with pytest.raises(ConfigError) as excinfo:
        load(tmp_path, f"base_image: b\n{REPO % text}")
    assert str(excinfo.value).startswith(f"habitats/demo/config.yaml:4: {why}")


@pytest.mark.parametrize(
    ("url", "host", "user"),
    [
        ("https://h.org/x", "https://h.org", "x-access-token"),
        ("https://me@h.org:8443/x", "https://h.org:8443", "me"),
        ("https://me%40corp.org@h.org/x", "https://h.org", "me@corp.org"),
    ],
)
def test_repository_token_is_sent_only_to_host_of_url(tmp_path: Path, url: str, host: str, user: str) -> None:
    habitat = load(tmp_path, f"base_image: b\n{REPO % f'url: {url!r}, token: T'}")
    clone = next(step for step in p08_repos.plan(habitat) if getattr(step, "args", ()))
    settings = clone.env["GIT_CONFIG_PARAMETERS"].replace("'\\''", "")  # type: ignore[union-attr]
    assert settings.startswith(f"'credential.{host}.helper=' 'credential.{host}.helper=!token")
    assert f"username={user} " in settings
    assert "cat /run/secrets/T" in settings


def test_repository_access_settings_are_in_no_slice(tmp_path: Path) -> None:
    write(tmp_path, "k")
    plain = load(tmp_path, f"base_image: b\n{REPO % 'url: git@h:x'}")
    lent = load(tmp_path, f"base_image: b\n{REPO % 'url: git@h:x, ssh_agent: true, known_hosts: k'}")
    assert p08_repos.slice(plain) == p08_repos.slice(lent)


def test_ssh_agent_relay_forwards_through_private_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(tmp_path / "agent"))
        agent.listen()
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
        with closing(AgentRelay(tmp_path, SOMEWHERE)) as relay:
            place = Path(relay.bind.source) / "socket"
            modes = [path.stat().st_mode & 0o777 for path in (place, place.parent, place.parent.parent)]
            assert modes == [0o666, 0o755, 0o700]
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(place))
                client.sendall(b"question")
                behind, _ = agent.accept()
                with behind:
                    assert behind.recv(100) == b"question"
                    behind.sendall(b"answer")
                    assert client.recv(100) == b"answer"
    assert not place.parent.parent.exists()


def test_ssh_agent_relay_in_deep_folder_replaces_socket_of_killed_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 100)
    write(deep, "ssh-agent/lent/socket", "of a killed run")
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(tmp_path / "agent"))
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
        with closing(AgentRelay(deep, SOMEWHERE)) as relay:
            assert (Path(relay.bind.source) / "socket").is_socket()
    assert list(deep.iterdir()) == []


def test_ssh_agent_relay_without_socket_folder_is_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(tmp_path / "agent"))
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
        with pytest.raises(SecretError, match=r"can't make a socket in .*/absent \(No such file or directory\)"):
            AgentRelay(tmp_path / "absent", SOMEWHERE)


def test_ssh_agent_socket_of_killed_run_is_removed_by_next_run(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path)
    write(tmp_path, ".stamps/demo/ssh-agent/lent/socket")
    demo.build("base")
    assert not (tmp_path / ".stamps/demo/ssh-agent").exists()


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("/dev/zero", "Not a regular file"),
        ("pipe", "Not a regular file"),
        (".", "Is a directory"),
        ("absent", "No such file or directory"),
        ("large", "larger than 10 MB"),
    ],
)
def test_known_hosts_that_is_no_regular_file_is_refused(tmp_path: Path, place: str, why: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(SecretError, match=rf"ssh_agent: .* can't be read \({why}\): write the host's key into it"):
        known_hosts(tmp_path / place, SOMEWHERE)


def test_ssh_agent_missing_on_host_is_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(SecretError, match="no SSH agent runs on the host: start one and add your key"):
        AgentRelay(tmp_path, SOMEWHERE)


def test_secret_phases_exist_in_registry() -> None:
    from phases.core.config.names import SECRET_PHASES

    assert set(SECRET_PHASES) <= set(NAMES)


def test_secret_delivery_failure_is_error(tmp_path: Path) -> None:
    engine = FakeEngine()
    image = engine.add_image("base:1")
    container = engine.create(image, "c", ("/bin/sh", "-c", "sleep 9"))
    engine.start(container)
    engine.on_execute = lambda _: (1, "/run/secrets is no tmpfs\n")
    demo = load(tmp_path, "base_image: b\nsecrets:\n  - {name: T, env: A, start: true}\n")
    with pytest.raises(EngineError) as excinfo:
        delivery.deliver(engine, container, [Value("T", b"x")], "root", demo)
    assert str(excinfo.value) == (
        "habitats/demo/config.yaml:3: secret T could not be given to the container (/run/secrets is no tmpfs): "
        "check that no volume covers /run/secrets, and that the image has a working sh, head, chown, chmod and mv"
    )
