"""Repositories that want to know who comes: by HTTPS with a token, by SSH with an agent's key."""

from __future__ import annotations

import asyncio
import base64
import http.server
import os
import shlex
import shutil
import ssl
import subprocess
import sys
import tarfile
import threading
from asyncio.subprocess import PIPE
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import asyncssh
import pytest
from conftest import Project, docker, gateway, snapshots, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.engine

TOKEN = "ghp-canary-8f14e45fceea167a"


@pytest.fixture(scope="module")
def address() -> str:
    """Where containers find this machine."""
    return gateway()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bare repository, as a server has it."""
    folder = tmp_path_factory.mktemp("project")
    work = folder / "work"
    run("git", "init", "-q", "-b", "main", str(work))
    (work / "README").write_text("private\n")
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    run("git", "init", "-q", "-b", "main", str(folder / "lib"))
    (folder / "lib/code").write_text("lib\n")
    run("git", "-C", str(folder / "lib"), "add", ".")
    run("git", "-C", str(folder / "lib"), *who, "commit", "-qm", "lib")
    run("git", "clone", "-q", "--bare", str(folder / "lib"), str(folder / "lib.git"))
    run("git", "-C", str(folder / "lib.git"), "update-server-info")
    add = ("-c", "protocol.file.allow=always", "submodule", "--quiet", "add")
    run("git", "-C", str(work), *add, str(folder / "lib.git"), "lib")
    run("git", "-C", str(work), "config", "-f", ".gitmodules", "submodule.lib.url", "../lib.git")
    run("git", "-C", str(work), "add", ".")
    run("git", "-C", str(work), *who, "commit", "-qm", "one")
    run("git", "clone", "-q", "--bare", str(work), str(folder / "private.git"))
    run("git", "-C", str(folder / "private.git"), "update-server-info")
    return folder


def run(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


# HTTPS


class GitHost(http.server.SimpleHTTPRequestHandler):
    """Shows its folder to who has the token; sends everybody elsewhere from /moved/.

    If the token is in a file, `rotated`, a request for /rotate/ writes another one into it.
    """

    folder: ClassVar[str]
    elsewhere: ClassVar[str] = ""
    rotated: ClassVar[Path | None] = None
    asked: ClassVar[list[str]] = []
    heard: ClassVar[list[str]] = []

    def __init__(self, *args: object) -> None:
        super().__init__(*args, directory=self.folder)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        output = self.headers.get("Authorization", "")
        if output:
            self.heard.append(base64.b64decode(output.split()[1]).decode())
        token = self.rotated.read_text() if self.rotated else TOKEN
        if self.rotated and self.path.startswith("/rotate/"):
            self.rotated.write_text(f"{TOKEN}-{len(self.asked)}")
        if self.path.startswith("/moved/"):
            self.send_response(302)
            self.send_header("Location", f"{self.elsewhere}/{self.path.removeprefix('/moved/')}")
            self.send_header("Content-Length", "0")  # or git gives up, and goes nowhere
            self.end_headers()
        elif output and self.heard[-1].endswith(f":{token}"):
            super().do_GET()
        else:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="private"')
            self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def certificate(address: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    run(
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=tests"),
        *("-addext", f"subjectAltName=IP:{address}", "-keyout", f"{path}.key", "-out", f"{path}.crt"),
    )
    path.write_text(Path(f"{path}.key").read_text() + Path(f"{path}.crt").read_text())
    return path


@contextmanager
def serving(address: str, certificate: Path, folder: Path, elsewhere: str = "") -> Iterator[type[GitHost]]:
    class Host(GitHost):
        asked: ClassVar[list[str]] = []
        heard: ClassVar[list[str]] = []

    Host.folder, Host.elsewhere = str(folder), elsewhere
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with http.server.ThreadingHTTPServer((address, 0), Host) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        Host.url = f"https://{address}:{server.server_port}"  # type: ignore[attr-defined]
        yield Host
        server.shutdown()


def by_https(project: Project, name: str, image: str, certificate: Path, url: str) -> str:
    return project.habitat(
        name,
        f"""
        base_image: {image}
        env: [GIT_SSL_CAINFO=/ca.pem]
        volumes: [{{source: "{certificate}.crt", dest: /ca.pem}}]
        secrets: [{{name: GITHUB, env: GITHUB, phases: [repos]}}]
        setup:
          root:
            - git config --system credential.helper store
        repos:
          - url: {url}
            path: project
            token: GITHUB
            setup:
              - git log -1 --format=%s >said
              - git clone -q {url.replace("private", "lib")} dependency
        """,
    )


@pytest.mark.guarantee("token-sent-to-its-host-only")
def test_https_token_clones_repository_and_is_stored_nowhere(
    project: Project, name: str, git_image: str, certificate: Path, address: str, repository: Path, tmp_path: Path
) -> None:
    with serving(address, certificate, repository) as host:
        url = host.url  # type: ignore[attr-defined]
        by_https(project, name, git_image, certificate, f"{url}/private.git")
        result = project.doit(f"final:{name}", env={"GITHUB": TOKEN})
        assert result.code == 0, result.out
        assert set(host.heard) == {f"x-access-token:{TOKEN}"}
        assert "its submodules are left out (lib): write `submodules: true`" in result.out
    image = f"habitat-{name}:final"
    assert docker("run", "--rm", image, "cat", "/workspace/project/said") == "one"
    assert docker("run", "--rm", image, "cat", "/workspace/project/dependency/code") == "lib", "by setup:"
    assert docker("run", "--rm", image, "git", "-C", "/workspace/project", "remote", "get-url", "origin") == (
        f"{url}/private.git"
    )
    assert hits(project, name, TOKEN, tmp_path) == []
    assert TOKEN not in result


def test_https_user_and_token_with_special_characters_are_sent_exactly(
    project: Project,
    name: str,
    git_image: str,
    certificate: Path,
    address: str,
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The echo of some shells makes a newline of `\\n`; a URL writes signs as %40."""
    token = TOKEN + r"\nn\\t%s$(id)"
    monkeypatch.setattr("test_private_repos.TOKEN", token)
    with serving(address, certificate, repository) as host:
        url = host.url.replace("://", "://me%40corp.org@")  # type: ignore[attr-defined]
        by_https(project, name, git_image, certificate, f"{url}/private.git")
        result = project.doit(f"repos:{name}", env={"GITHUB": token})
        assert result.code == 0, result.out
    assert set(host.heard) == {f"me@corp.org:{token}"}


@pytest.mark.guarantee("token-sent-to-its-host-only")
def test_https_token_is_hidden_in_git_traces(
    project: Project, name: str, git_image: str, certificate: Path, address: str, repository: Path, tmp_path: Path
) -> None:
    with serving(address, certificate, repository) as host:
        by_https(project, name, git_image, certificate, f"{host.url}/private.git")  # type: ignore[attr-defined]
        config = project.root / "habitats" / name / "config.yaml"
        traces = "GIT_TRACE=1, GIT_TRACE_CURL=1, GIT_CURL_VERBOSE=1, GIT_TRACE_REDACT=0, "
        config.write_text(config.read_text().replace("env: [", f"debug: true\nenv: [{traces}"))
        result = project.doit(f"repos:{name}", env={"GITHUB": TOKEN})
    assert result.code == 0, result.out
    assert "Authorization: Basic" in result, "unredacted"
    whole = base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()
    for form in (TOKEN, whole, whole[20:40]):
        assert form not in result
        assert hits(project, name, form, tmp_path) == []


def test_https_token_change_clones_nothing_again(
    project: Project, name: str, git_image: str, certificate: Path, address: str, repository: Path
) -> None:
    with serving(address, certificate, repository) as host:
        by_https(project, name, git_image, certificate, f"{host.url}/private.git")  # type: ignore[attr-defined]
        assert project.doit(f"repos:{name}", env={"GITHUB": TOKEN}).code == 0
        again = project.doit(f"repos:{name}", env={"GITHUB": "rotated"})
        assert (again.code, again.ran) == (0, [])


def test_https_wrong_token_is_one_line_error(
    project: Project, name: str, git_image: str, certificate: Path, address: str, repository: Path
) -> None:
    with serving(address, certificate, repository) as host:
        by_https(project, name, git_image, certificate, f"{host.url}/private.git")  # type: ignore[attr-defined]
        result = project.doit(f"final:{name}", env={"GITHUB": "wrong-token"})
    assert result.code != 0
    assert "Authentication failed" in result
    assert "wrong-token" not in result
    assert "check url, branch and ref" in result


@pytest.mark.guarantee("token-sent-to-its-host-only")
def test_https_token_is_not_sent_after_redirect_to_other_host(
    project: Project, name: str, git_image: str, certificate: Path, address: str, repository: Path
) -> None:
    with (
        serving(address, certificate, repository) as other,
        serving(address, certificate, repository, other.url) as first,  # type: ignore[attr-defined]
    ):
        by_https(project, name, git_image, certificate, f"{first.url}/moved/private.git")  # type: ignore[attr-defined]
        result = project.doit(f"final:{name}", env={"GITHUB": TOKEN})
    assert result.code != 0
    assert other.asked, "git went there"
    assert [header for header in other.heard if TOKEN in header] == []


@pytest.mark.guarantee("run-time-token-for-its-host-only")
@pytest.mark.guarantee("habitat-cannot-choose-what-is-renewed")
def test_https_token_that_expired_is_renewed_in_the_running_habitat(
    project: Project, name: str, git_image: str, certificate: Path, address: str, repository: Path, tmp_path: Path
) -> None:
    token, runs = tmp_path / "token", tmp_path / "runs"
    token.write_text(TOKEN)
    with serving(address, certificate, repository) as host, serving(address, certificate, repository) as other:
        host.rotated = token
        url, away = host.url, other.url  # type: ignore[attr-defined]
        by_https(project, name, git_image, certificate, f"{url}/private.git")
        config = project.root / "habitats" / name / "config.yaml"
        command = f"command: 'echo x >>{runs}; cat {token}', start: true"
        script = f"""
        cd project && git pull -q && echo pulled
        git ls-remote {url}/rotate/private.git 2>/dev/null
        git fetch -q && echo fetched with the new one && cat /run/secrets/GITHUB
        git ls-remote {away}/private.git 2>&1 | head -1
        for i in $$(seq 40); do
            printf '%s\\n' 'GITHUB get' 'GITHUB refused' 'OTHER get' '`touch {tmp_path}/pwned`' >>/dev/shm/habitat-*/requests
        done
        sleep 2; git fetch -q && echo fetched again
        """  # noqa: E501
        text = config.read_text().replace("env: GITHUB", command)
        config.write_text(f"{text}\nentry:\n  command: |-\n{script}")
        result = project.doit(f"start:{name}")
        assert result.code == 0, result.out
    assert all(line in result for line in ("pulled", "fetched with the new one", "fetched again")), result.out
    assert TOKEN not in result, "masked, the new one too"
    assert [header for header in other.heard if TOKEN in header] == []
    assert len(runs.read_text().split()) <= 1 + 20, "at the start, and as often as the limit allows"
    assert not (tmp_path / "pwned").exists()
    assert docker("ps", "--quiet", "--filter", f"name=habitat-{name}") == "", "the last session stops it"


def hits(project: Project, name: str, text: str, tmp_path: Path) -> list[str]:
    """Where a text is found: in our files, image configs and layers."""
    actual = [str(path) for path in project.root.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]
    saved = tmp_path / "saved.tar"
    docker("image", "save", "-o", str(saved), *snapshots(name).values())
    with tarfile.open(saved) as tar:
        for member in tar:
            stream = tar.extractfile(member)
            if stream and text.encode() in stream.read():
                actual.append(member.name)
    saved.unlink()
    return actual


# SSH


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the server's key, a person's, and one that nobody knows."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("host", "mine", "unknown"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name))
    return folder


@pytest.fixture(scope="module")
def ssh_url(address: str, repository: Path, keys: Path) -> Iterator[str]:
    """An SSH server that knows the person's key, and runs the git of this machine."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    server = asyncio.run_coroutine_threadsafe(_listen(address, keys), loop).result(20)
    port = server.get_port()
    for name in ("host", "unknown"):
        key = " ".join((keys / f"{name}.pub").read_text().split()[:2])
        (keys / f"known_{name}").write_text(f"[{address}]:{port} {key}\n")
    yield f"ssh://git@{address}:{port}{repository}/private.git"
    loop.call_soon_threadsafe(server.close)
    loop.call_soon_threadsafe(loop.stop)


async def _listen(address: str, keys: Path) -> asyncssh.SSHAcceptor:
    return await asyncssh.listen(
        address,
        0,
        server_host_keys=[str(keys / "host")],
        authorized_client_keys=str(keys / "mine.pub"),
        process_factory=_serve,
        encoding=None,
    )


async def _serve(process: asyncssh.SSHServerProcess[bytes]) -> None:
    assert process.command
    command = await asyncio.create_subprocess_exec(*shlex.split(process.command), stdin=PIPE, stdout=PIPE, stderr=PIPE)
    await process.redirect(stdin=command.stdin, stdout=command.stdout, stderr=command.stderr)
    process.exit(await command.wait())


@pytest.fixture(scope="module")
def agent(keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The person's SSH agent, with the key in it."""
    socket = tmp_path_factory.mktemp("agent") / "s"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        wait_until(socket.exists)
        env = {**os.environ, "SSH_AUTH_SOCK": str(socket)}
        subprocess.run(["ssh-add", "-q", str(keys / "mine")], env=env, check=True)
        yield str(socket)
    finally:
        process.terminate()
        process.wait()


def by_ssh(project: Project, name: str, image: str, url: str, known_hosts: Path) -> str:
    return project.habitat(
        name,
        f"""
        base_image: {image}
        repos:
          - url: {url}
            path: project
            ssh_agent: true
            known_hosts: {known_hosts}
            setup:
              - test -S "$SSH_AUTH_SOCK"
        setup:
          root: ['test ! -e /run/ssh-agent']
        tests: [tests/no-agent.sh]
        """,
    )


@pytest.fixture
def no_agent(project: Project, name: str) -> None:
    """A test of the habitat: in its own phase there is no agent."""
    script = '#!/bin/sh\nset -e\ntest ! -e /run/ssh-agent/socket\ntest -z "$SSH_AUTH_SOCK"\n'
    project.write(f"habitats/{name}/tests/no-agent.sh", script, 0o755)


@pytest.mark.guarantee("ssh-agent-for-one-phase")
@pytest.mark.usefixtures("no_agent")
def test_ssh_agent_clones_repository_and_is_available_in_that_phase_only(
    project: Project, name: str, git_image: str, ssh_url: str, keys: Path, agent: str, tmp_path: Path
) -> None:
    by_ssh(project, name, git_image, ssh_url, keys / "known_host")
    result = project.doit(f"final:{name}", env={"SSH_AUTH_SOCK": agent})
    assert result.code == 0, result.out
    image = f"habitat-{name}:final"
    assert docker("run", "--rm", image, "cat", "/workspace/project/README") == "private"
    assert docker("run", "--rm", image, "stat", "-c", "%U", "/workspace/project/README") == "agent"
    left = docker("run", "--rm", image, "find", "/run", "/home/agent", "-mindepth", "1", "-not", "-name", ".*")
    assert sorted(left.splitlines()) == ["/run/secrets", "/run/ssh-agent"], "empty folders, where something was mounted"
    secret = (keys / "mine").read_text().splitlines()[2]
    assert hits(project, name, secret, tmp_path) == []
    lend_to_session(project, name, keys, agent)


def lend_to_session(project: Project, name: str, keys: Path, agent: str) -> None:
    """The agent of a session, also in a container that ran before; the sockets go with their sessions."""
    config = project.root / "habitats" / name / "config.yaml"
    config.write_text(config.read_text() + "\nentry: {ssh_agent: true}\n")
    known = (keys / "known_host").read_text().strip()
    pull = "git -C project -c core.sshCommand='ssh -o UserKnownHostsFile=/tmp/known' pull"
    command = f"echo '{known}' >/tmp/known; {pull}; ls /run/ssh-agent | wc -l"
    no_agent = project.doit(f"start:{name}", "--cmd", "echo none:$SSH_AUTH_SOCK", env={"SSH_AUTH_SOCK": ""})
    assert "none:\n" in no_agent
    assert "no SSH agent runs on the host" in no_agent
    before = docker("inspect", "--format", "{{.Id}}", f"habitat-{name}")
    result = project.doit(f"start:{name}", "--cmd", command, env={"SSH_AUTH_SOCK": agent})
    assert all(text in result for text in ("Already up to date.", "\n1\n")), result.out
    assert f"your SSH agent is lent to {name} until this session ends" in result
    assert docker("inspect", "--format", "{{.Id}}", f"habitat-{name}") == before


@pytest.mark.guarantee("ssh-agent-for-one-phase")
@pytest.mark.usefixtures("no_agent")
def test_ssh_host_with_other_key_is_refused(
    project: Project, name: str, git_image: str, ssh_url: str, keys: Path, agent: str
) -> None:
    by_ssh(project, name, git_image, ssh_url, keys / "known_unknown")
    result = project.doit(f"final:{name}", env={"SSH_AUTH_SOCK": agent})
    assert result.code != 0
    assert "Host key verification failed" in result


@pytest.mark.usefixtures("no_agent")
def test_ssh_host_without_known_key_is_refused(
    project: Project, name: str, git_image: str, ssh_url: str, keys: Path, agent: str
) -> None:
    (keys / "known_nobody").write_text("")
    by_ssh(project, name, git_image, ssh_url, keys / "known_nobody")
    result = project.doit(f"repos:{name}", env={"SSH_AUTH_SOCK": agent})
    assert result.code != 0
    assert "Host key verification failed" in result


@pytest.mark.usefixtures("no_agent")
def test_debug_of_failed_ssh_clone_has_agent(
    project: Project, name: str, git_image: str, ssh_url: str, keys: Path, agent: str
) -> None:
    (keys / "known_late").write_text("")
    by_ssh(project, name, git_image, ssh_url, keys / "known_late")
    assert project.doit(f"repos:{name}", env={"SSH_AUTH_SOCK": agent}).code == 1
    shutil.copy(keys / "known_host", keys / "known_late")
    result = subprocess.run(
        (sys.executable, "-m", "doit", f"debug:{name}"),
        cwd=project.root,
        env={**os.environ, "SSH_AUTH_SOCK": agent},
        input=b"again && cat /workspace/project/README; test -S $SSH_AUTH_SOCK && echo lent\n",
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert result.stdout.splitlines()[-2:] == [b"private", b"lent"], result.stderr.decode()


@pytest.mark.usefixtures("no_agent")
@pytest.mark.parametrize(
    ("env", "why"),
    [
        ({"SSH_AUTH_SOCK": ""}, "ssh_agent: no SSH agent runs on the host: start one and add your key"),
        ({"SSH_AUTH_SOCK": "/absent"}, "ssh_agent: no SSH agent runs on the host: start one and add your key"),
    ],
)
def test_ssh_agent_missing_is_one_line_error(
    project: Project, name: str, git_image: str, ssh_url: str, keys: Path, env: dict[str, str], why: str
) -> None:
    by_ssh(project, name, git_image, ssh_url, keys / "known_host")
    result = project.doit(f"final:{name}", env=env)
    assert result.code != 0
    assert f"habitats/{name}/config.yaml:4: {why}" in result
