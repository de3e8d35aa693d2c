"""A habitat that says when it is ready, and whose ports are reached from the host."""

from __future__ import annotations

import re
import signal
import socket
import time
import urllib.request
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from conftest import (
    CommandResult,
    Project,
    RunningDoit,
    clear,
    docker,
    fresh_name,
    gateway,
    left_containers,
    wait_until,
)
from terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phases.core.engine.docker_api.client import DockerEngine

pytestmark = pytest.mark.engine

# Takes its time; then there is a page on port 3000.
SERVE = """\
#!/bin/sh
trap 'exit 0' TERM
echo booting
sleep 1.5
mkdir -p /www
echo hello from within >/www/index.html
httpd -p 3000 -h /www
while :; do sleep 1000 & wait $!; done
"""

PROBE = "wget -q -O - localhost:3000/"


class BuiltHabitat:
    """A project with a habitat that is built once; what its entry says is no part of that."""

    def __init__(self, project: Project, image: str) -> None:
        self.project = project
        self.image = image
        self.name = fresh_name()

    @property
    def container(self) -> str:
        return f"habitat-{self.name}"

    def entry(self, text: str) -> None:
        base = (
            f"base_image: {self.image}\n"
            "files: [{source: serve, dest: /sbin/serve, owner: root, mode: 0755}]\n"
            "secrets: [{name: T, command: echo s3cret-word, start: true}]\n"
            "entry:\n  init_command: /sbin/serve\n  command: echo ran\n"
        )
        self.project.habitat(self.name, base + text)

    def doit(self, verb: str, *args: str) -> CommandResult:
        return self.project.doit(f"{verb}:{self.name}", *args)

    def state(self) -> str:
        return docker("container", "inspect", "--format", "{{.State.Status}}", self.container)


@pytest.fixture(scope="module")
def built_habitat(
    engine: DockerEngine, busybox: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BuiltHabitat]:
    habitat = BuiltHabitat(Project(tmp_path_factory.mktemp("ready")), busybox)
    habitat.project.write("serve", SERVE)
    habitat.entry("")
    built_habitat = habitat.doit("final")
    assert built_habitat.code == 0, built_habitat.out
    yield habitat
    clear(engine, habitat.name)


@pytest.fixture
def habitat(built_habitat: BuiltHabitat) -> BuiltHabitat:
    built_habitat.project.run("docker", "container", "rm", "--force", built_habitat.container)
    return built_habitat


def last(result: CommandResult) -> str:
    return result.out.splitlines()[-1]


def free_port() -> int:
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.mark.guarantee("ports-on-localhost")
def test_start_waits_until_ready_and_publishes_port_on_localhost_only(habitat: BuiltHabitat) -> None:
    habitat.entry(f"  ready: {PROBE}; grep s3cret /run/secrets/T && {PROBE}\n  ports: [0:3000]\n")
    started = habitat.doit("start", "--detach")
    assert started.code == 0, started.out
    assert started.out.count("waiting until it is ready, 1m 00s at most: ") == 1
    assert re.search(r"^• ready after [1-9]", started.out, re.MULTILINE)
    match = re.search(r"is running at (http://127\.0\.0\.1:(\d+)): ", last(started))
    assert match, started.out
    with urllib.request.urlopen(match[1], timeout=5) as answer:
        assert answer.read() == b"hello from within\n"
    with pytest.raises(OSError, match=r"refused|timed out"):
        socket.create_connection((gateway(), int(match[2])), timeout=2)

    joined = habitat.doit("start")
    assert (joined.code, last(joined)) == (0, "ran"), joined.out
    assert "waiting" not in joined
    assert "http" not in joined
    assert habitat.doit("stop").code == 0
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(match[1], timeout=5)


def test_udp_port_published_on_all_addresses_is_reachable(habitat: BuiltHabitat) -> None:
    port = free_port()
    habitat.entry(f"  ports: ['0.0.0.0:{port}:53/udp']\n")
    # Nobody listens there, and the kernel counts what came all the same.
    counted = "grep ^Udp: /proc/net/snmp | tail -n 1 | cut -d ' ' -f 3"
    command = f'until [ "$({counted})" -gt 0 ]; do sleep 0.2; done; echo arrived'
    with RunningDoit(habitat.project, f"start:{habitat.name}", "--cmd", command) as running:
        running.wait_for(f"port 53: udp://0.0.0.0:{port}, also from other machines\n")
        with closing(socket.socket(type=socket.SOCK_DGRAM)) as sender:
            sender.sendto(b"ping", (gateway(), port))
        result = running.end(20)
    assert last(result) == "arrived", result.out


def test_ready_timeout_is_error_with_last_output_and_stops_container(habitat: BuiltHabitat) -> None:
    habitat.entry("  ready: {command: 'cat /run/secrets/T; echo not yet >&2; exec sleep 1000', timeout: 2s}\n")
    began = time.monotonic()
    result = habitat.doit("start", "--detach")
    assert time.monotonic() - began < 15
    assert result.code == 1
    assert "    not yet" in result.out.splitlines()
    assert "s3cret" not in result
    assert last(result) == (
        f"❌ habitats/{habitat.name}/config.yaml:7: {habitat.name} is not ready after 2s: the last check was killed: "
        f"see `doit logs:{habitat.name}`, or raise entry.ready.timeout"
    )
    assert habitat.state() == "exited"
    assert "booting" in habitat.doit("logs")


def test_ready_attempt_that_hangs_is_killed_in_detached_container(habitat: BuiltHabitat) -> None:
    habitat.entry("")
    assert habitat.doit("start", "--detach").code == 0
    habitat.entry("  ready: {command: sleep 777, timeout: 1s}\n")
    result = habitat.doit("exec", "--", "true")
    assert result.code == 1
    assert "is not ready after 1s" in result
    assert habitat.state() == "running"
    assert "777" not in docker("top", habitat.container, "-eo", "pid,args")


@pytest.mark.parametrize("way", ["it ends", "it is stopped"])
def test_container_ended_during_ready_wait_fails_at_once(habitat: BuiltHabitat, way: str) -> None:
    habitat.entry("  ready: sleep 1000\n" + ("  init_command: sleep 2\n" if way == "it ends" else ""))
    if way == "it ends":
        config = habitat.project.root / f"habitats/{habitat.name}/config.yaml"
        config.write_text(config.read_text().replace("  init_command: /sbin/serve\n", "", 1))
    with RunningDoit(habitat.project, f"start:{habitat.name}") as running:
        running.wait_for("waiting until it is ready")
        if way == "it is stopped":
            assert "in use by doit with pid" in habitat.doit("stop")
            assert habitat.doit("stop", "--force").code == 0
        result = running.end(15)
    assert result.code == 1
    expected = "the init command ended: sleep 2" if way == "it ends" else "the init command ended: /sbin/serve"
    assert expected in last(result), result.out


def test_ready_wait_ctrl_c_ends_at_once_and_stops_container(habitat: BuiltHabitat) -> None:
    habitat.entry("  ready: {command: 'echo refused; exit 1', timeout: 5m}\n")
    with Terminal(habitat.project, f"start:{habitat.name}") as terminal:
        terminal.wait_for("waiting until it is ready")
        terminal.wait_for("refused")
        began = time.monotonic()
        terminal.type("\x03")
        assert terminal.end() == 128 + signal.SIGINT
        assert time.monotonic() - began < 5
        assert "Traceback" not in terminal.shown
        assert "\nstopped: finished phases are kept" in terminal.shown
        assert terminal.now == terminal.before
    assert habitat.state() == "exited"


def test_port_in_use_error_names_owner_and_leaves_no_container(habitat: BuiltHabitat, busybox: str) -> None:
    with closing(socket.socket()) as program:
        program.bind(("127.0.0.1", 0))
        program.listen()
        port = program.getsockname()[1]
        habitat.entry(f"  ports: [{port}]\n")
        refused = habitat.doit("start")
        assert refused.code == 1
        taken = f"❌ habitats/{habitat.name}/config.yaml:7: port 127.0.0.1:{port} is taken by "
        another = f", or write 0:{port} for one that is free"
        assert last(refused) == f"{taken}a program on this machine: stop that program{another}"
    holder = f"{habitat.container}-holder"
    docker("run", "--detach", "--name", holder, "--publish", f"127.0.0.1:{port}:80", busybox, "sleep", "1000")
    refused = habitat.doit("start")
    assert last(refused) == f"{taken}the container {holder}: `docker stop {holder}` frees it{another}"
    assert docker("container", "ls", "--all", "--quiet", "--filter", f"name=^{habitat.container}$") == ""
    docker("rm", "--force", holder)
    wait_until(lambda: habitat.doit("start").code == 0, seconds=10)


def test_port_on_foreign_address_is_error(habitat: BuiltHabitat) -> None:
    habitat.entry("  ports: ['198.51.100.1:8080:80']\n")
    assert last(habitat.doit("start")) == (
        f"❌ habitats/{habitat.name}/config.yaml:7: port 198.51.100.1:8080 can't be published (cannot assign requested "
        "address): check that it is an address of this machine and a port that you may use"
    )


@pytest.mark.guarantee("tests-beside-init")
def test_test_with_init_runs_beside_ready_init_command_and_layer_test_records_nothing(
    project: Project, name: str, busybox: str
) -> None:
    config = (
        f"base_image: {busybox}\n"
        "tests: [tests/alone.sh, {run: tests/beside.sh, init: true}]\n"
        "entry: {init_command: 'sleep 0.2; touch /up; exec sleep 1000', ready: until test -e /up; do sleep 0.1; done}\n"
    )
    project.habitat(name, config)
    project.write(f"habitats/{name}/tests/alone.sh", "#!/bin/sh\necho left >/left; test ! -e /up\n", 0o755)
    beside = "#!/bin/sh\ntest ! -e /left && test -e /up && grep -q 1000 /proc/1/cmdline && echo 1..1 && echo ok 1\n"
    project.write(f"habitats/{name}/tests/beside.sh", beside, 0o755)
    only = project.doit(f"test:{name}", "--layer", "local")
    assert (only.code, last(only)) == (0, "• 2 tests of layer local passed; phase test is not recorded as done")
    assert "tests/beside.sh: 1 of 1 passed" in only.out
    stamps = {path.name for path in (project.root / ".stamps" / name).glob("*.stamp")}
    assert ("10-verify.stamp" in stamps, "11-test.stamp" in stamps) == (True, False)
    assert left_containers(name) == []
