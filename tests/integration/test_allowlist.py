"""An allowlist on the real engine: what comes through, and what root inside can't do."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import CommandResult, Project, clear, docker, fresh_name, gateway, wait_until
from measurements import LINES
from network_origin import ALLOWED, DENIED, Origin

from phases.core.container.gate_variables import PORT
from phases.core.network.proxy import PROGRAMS
from phases.core.network.rules import DNS_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phases.core.engine.docker_api.client import DockerEngine

pytestmark = pytest.mark.engine

ATTACKS = Path(__file__).parent / "network_attacks.sh"

CONFIG = """\
base_image: debian:bookworm-slim
entry:
  network: {allow: ALLOW}
  ports: ['0:3000']
"""

#: `get HOST` prints the status and the content that a server answers through the gate, without any tool.
GET = f"""\
get() {{
    exec 3<>/dev/tcp/127.0.0.1/{PORT}
    printf "GET http://$1/ HTTP/1.1\\r\\nHost: $1\\r\\nConnection: close\\r\\n\\r\\n" >&3
    tr -d "\\r" <&3 | sed -n "1s/HTTP.1.1 //p;\\$p" | paste -sd" "
}}
"""


class Fenced:
    """A habitat with an allowlist, and what its servers saw."""

    def __init__(self, project: Project, name: str, origin: Origin) -> None:
        self.project, self.name, self.origin = project, name, origin

    def configure(self, allow: str) -> None:
        self.project.habitat(self.name, CONFIG.replace("ALLOW", allow))

    def doit(self, verb: str, *words: str) -> CommandResult:
        return self.project.doit(f"{verb}:{self.name}", *words, env={DNS_VARIABLE: self.origin.dns})

    def inside(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a script as root in the running habitat, as `docker exec` does."""
        argv = ["docker", "exec", "--user", "0", f"habitat-{self.name}", "bash", "-c", script]
        return subprocess.run(argv, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def fenced(engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fenced]:
    project, name, origin = Project(tmp_path_factory.mktemp("fenced")), fresh_name(), Origin(gateway())
    fenced = Fenced(project, name, origin)
    fenced.configure("[allowed.test]")
    with origin.serving():
        started = fenced.doit("start", "--detach")
        assert started.code == 0, started.out
        yield fenced
        fenced.doit("destroy", "--yes")
    clear(engine, name)
    assert docker("ps", "--all", "--quiet", "--filter", f"name=habitat-{name}") == ""
    assert docker("volume", "ls", "--quiet", "--filter", f"name=habitat-{name}--gate") == ""


@pytest.mark.guarantee("allowlist-holds")
def test_root_inside_finds_no_way_around_the_allowlist(fenced: Fenced) -> None:
    fenced.origin.hits.clear()
    fenced.origin.questions.clear()
    done = subprocess.run(
        ["docker", "exec", "--interactive", "--user", "0", f"habitat-{fenced.name}", "bash", "-s", str(PORT), DENIED,
         fenced.origin.gateway],
        input=ATTACKS.read_text(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    rows = [line.partition("\t")[::2] for line in done.stdout.splitlines()]
    assert len(rows) >= 70, done.stderr
    assert [row for row in rows if row[1] != "failed"] == []
    assert [hit for hit in fenced.origin.hits if not hit.startswith(f"{ALLOWED}:80 ")] == []
    assert {*fenced.origin.questions} <= {"allowed.test", "loopback.test", "metadata.test", "private.test", "host.test"}
    LINES.append(f"attacks on the allowlist as root inside: {len(rows)} tried, 0 through")


@pytest.mark.guarantee("allowlist-holds-before-commands")
def test_proof_misses_what_a_container_with_a_network_has(fenced: Fenced) -> None:
    image = docker("inspect", "--format", "{{.Image}}", f"habitat-{fenced.name}--proxy")
    argv = ["docker", "run", "--rm", image, f"{PROGRAMS}/prove.sh", str(PORT), "0"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    missed = {line.partition("\t")[2] for line in done.stdout.splitlines() if line.startswith("missed")}
    assert done.returncode == 1
    assert {"no interface but lo", "no route, in IPv4 and IPv6", "the proxy answers"} <= missed


def test_allowed_host_comes_through_and_another_is_refused(fenced: Fenced) -> None:
    answers = fenced.inside(f"{GET}get allowed.test; get denied.test").stdout.splitlines()
    assert answers[0] == f"200 OK hello from {ALLOWED}"
    assert answers[1].startswith("403 Forbidden")
    seen = fenced.doit("exec", "--", "bash", "-c", "echo $https_proxy $NODE_USE_ENV_PROXY; cat </dev/tcp/192.0.2.1/80")
    assert f"http://127.0.0.1:{PORT} 1" in seen.out.splitlines()
    assert "Network is unreachable" in seen


def test_port_leads_to_a_server_that_listens_on_loopback(fenced: Fenced) -> None:
    server = "use Socket; socket(S,AF_INET,SOCK_STREAM,0); setsockopt(S,SOL_SOCKET,SO_REUSEADDR,1);"
    server += "bind(S,pack_sockaddr_in(3000,INADDR_LOOPBACK)); listen(S,5); accept(C,S); syswrite(C,qq(from inside\\n))"
    fenced.inside(f"perl -e '{server}' >/dev/null 2>&1 &")
    host, _, port = docker("port", f"habitat-{fenced.name}--proxy", "3000").splitlines()[0].rpartition(":")
    assert host == "127.0.0.1"

    def answer() -> bytes:
        with socket.create_connection((host, int(port)), timeout=5) as client:
            return client.recv(100)

    wait_until(lambda: answer() == b"from inside\n", 10)


def test_config_takes_effect_without_another_container(fenced: Fenced) -> None:
    container = docker("inspect", "--format", "{{.Id}}", f"habitat-{fenced.name}")
    fenced.configure("['*.allowed.test', 'denied.test']")
    script = f"{GET}get sub.allowed.test; get allowed.test; get denied.test"
    result = fenced.doit("exec", "--", "bash", "-c", script)
    codes = [line.partition(" ")[0] for line in result.out.splitlines() if line[:1].isdigit()]
    assert codes == ["200", "403", "200"], result.out
    assert docker("inspect", "--format", "{{.Id}}", f"habitat-{fenced.name}") == container


def test_person_sees_what_was_blocked_and_allows_it_within_a_second(fenced: Fenced) -> None:
    fenced.configure("[allowed.test]")
    result = fenced.doit("exec", "--", "bash", "-c", f"{GET}get denied.test")
    assert "403 Forbidden" in result
    assert "1 connection blocked: denied.test" in result
    assert "connections blocked: " in fenced.project.doit("status").out
    rows = [line.split()[:4] for line in fenced.doit("network").out.splitlines()]
    assert ["denied.test", "80", "blocked"] in [row[:3] for row in rows]
    assert ["allowed.test", "80", "allowed"] in [row[:3] for row in rows]
    assert fenced.doit("allow", "denied.test").code == 0
    answer = fenced.inside(f"{GET}get denied.test").stdout
    assert answer.strip() == f"200 OK hello from {DENIED}"
    assert fenced.doit("deny", "denied.test").code == 0
    assert fenced.inside(f"{GET}get denied.test").stdout.startswith("403")
    proofs = fenced.doit("network", "--prove").out.splitlines()
    assert len([line for line in proofs if line.startswith("✓ ")]) == 6


@pytest.mark.guarantee("allowlist-holds-before-commands")
def test_gate_goes_with_the_habitat_and_comes_back(fenced: Fenced) -> None:
    fenced.configure("['*.allowed.test']")
    assert fenced.doit("stop").code == 0
    running = ("ps", "--format", "{{.Names}}", "--filter", f"name=habitat-{fenced.name}")
    assert docker(*running) == ""
    docker("start", f"habitat-{fenced.name}")
    assert "refused" in fenced.inside(f"{GET}get sub.allowed.test").stderr, "started by hand, it has no gate"
    result = fenced.doit("start", "--cmd", f"bash -c '{GET}get sub.allowed.test'")
    assert result.out.splitlines()[-1] == f"200 OK hello from {ALLOWED}", result.out
