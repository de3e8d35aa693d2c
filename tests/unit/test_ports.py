"""The ports of a habitat: as a config says them, and on the fake engine."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from conftest import wait_until
from fake_engine import Command, FakeEngine
from unit_helpers import DemoProject, FakeTerminal, load, write

from phases.core.container import listeners
from phases.core.engine.types import PortRefused
from phases.core.errors import ConfigError, StartError
from phases.core.port import Port
from phases.core.runtime import exec as runtime_exec
from phases.core.runtime import start as runtime_start

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.guarantee("ports-on-localhost")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3000", Port(3000, "tcp", "127.0.0.1", 3000)),
        ("8080:3000", Port(3000, "tcp", "127.0.0.1", 8080)),
        ("0:3000", Port(3000, "tcp", "127.0.0.1", 0)),
        ("0.0.0.0:8080:3000", Port(3000, "tcp", "0.0.0.0", 8080)),
        ("'[::1]:8080:3000'", Port(3000, "tcp", "::1", 8080)),
        ("'[0:0::1]:0:1'", Port(1, "tcp", "::1", 0)),
        ("53:53/udp", Port(53, "udp", "127.0.0.1", 53)),
        ("65535/tcp", Port(65535, "tcp", "127.0.0.1", 65535)),
        ("$WEB:3000", Port(3000, "tcp", "127.0.0.1", 8000)),
    ],
)
def test_port_without_address_is_published_on_localhost(tmp_path: Path, text: str, expected: Port) -> None:
    (port,) = load(tmp_path, f"base_image: b\nenv: [WEB=8000]\nentry:\n  ports:\n    - {text}\n").entry.ports
    assert port == expected
    assert port.origin
    assert port.origin.line == 5


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("web", "ports: 'web' is not a port: write it like 3000, 8080:3000, 0.0.0.0:8080:3000 or 53:53/udp"),
        ("3000-3010", "ports: '3000-3010' is not a port: "),
        ("53/icmp", "ports: '53/icmp' is not a port: "),
        (":3000", "ports: ':3000' is not a port: "),
        ("::1:80:80", "ports: '::1:80:80' is not a port: "),
        ("localhost:80:80", "ports: 'localhost:80:80' is not a port: "),
        (
            "0",
            "ports: there is no port 0: write 1 to 65535 (as the host's port also 0: ",
        ),
        ("80:0", "ports: there is no port 0: "),
        ("65536:80", "ports: there is no port 65536: "),
        ("127.0.0.256:80:80", "ports: '127.0.0.256' is not an address: write an address of the host"),
        ("'[127.0.0.1]:80:80'", "ports: '[127.0.0.1]' is not an address: "),
        ("8080: 3000", "entry.ports[1]: must be text, is a mapping: quote it: a colon and a space make a mapping"),
        ("80", "ports: 127.0.0.1:80 is already published (habitats/demo/config.yaml:4): keep one of them, or give it"),
        ("0.0.0.0:80:81", "ports: 0.0.0.0:80 is already published (habitats/demo/config.yaml:4): "),
    ],
)
def test_port_malformed_is_refused_with_line(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigError) as excinfo:
        load(tmp_path, f"base_image: b\nentry:\n  ports:\n    - 80\n    - {text}\n")
    assert str(excinfo.value).startswith(f"habitats/demo/config.yaml:5: {why}")


@pytest.mark.parametrize("text", ["80/udp", "'[::1]:80:80'", "127.0.0.2:80:80", "81:80", "0:80"])
def test_port_number_with_other_protocol_or_address_is_separate_port(tmp_path: Path, text: str) -> None:
    assert len(load(tmp_path, f"base_image: b\nentry:\n  ports: [80, {text}]\n").entry.ports) == 2


def test_ports_without_network_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as excinfo:
        load(tmp_path, "base_image: b\nentry:\n  network: none\n  ports: [80]\n")
    assert str(excinfo.value) == (
        "habitats/demo/config.yaml:4: a port can't be published without a network: "
        "remove the ports, or write `network: bridge`"
    )


# On the engine

PORTS = "0:3000, '[::1]:8081:3000', 0.0.0.0:53:53/udp"


def config(ports: str, command: str = "'true'") -> str:
    return f"base_image: base:1\nentry:\n  command: {command}\n  ports: [{ports}]\n"


def built_demo(root: Path, ports: str = PORTS) -> DemoProject:
    demo = DemoProject(root, config(ports))
    demo.build()
    return demo


def start(demo: DemoProject) -> int:
    return runtime_start.start(demo.run_anew(), "demo", FakeTerminal())


def port_notices(demo: DemoProject) -> list[str]:
    return [text.rpartition(":")[0] if "3000: http://127" in text else text for text in demo.notices()]


URLS = ["port 53: udp://0.0.0.0:53, also from other machines", "port 3000: http://127.0.0.1"]
URLS += ["port 3000: http://[::1]:8081"]


def test_start_prints_url_of_each_port(tmp_path: Path) -> None:
    demo = built_demo(tmp_path)
    start(demo)
    assert port_notices(demo) == URLS
    runtime_exec.execute(demo.run_anew(), "demo", ("true",), FakeTerminal())
    assert port_notices(demo) == URLS
    runtime_exec.shell(demo.run_anew(), "demo", FakeTerminal(interactive=True))
    assert port_notices(demo) == URLS
    # The number that the engine picked, not the one that was asked for.
    (number,) = {text.rpartition(":")[2] for text in demo.notices() if "3000: http://127" in text}
    assert int(number) >= 32768


#: What the kernel prints of servers on 127.0.0.1:3000, [::1]:3001, 127.0.0.1 and 0.0.0.0:3002, [::ffff:127.0.0.1]:3004
#: and 127.0.0.53:53/udp, and of a connection from 127.0.0.1:3003.
SOCKETS = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:0BBA 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   2: 00000000:0BBA 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   3: 0100007F:0BBB 0100007F:A1B2 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when
   0: 00000000000000000000000001000000:0BB9 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
   1: 0000000000000000FFFF00000100007F:0BBC 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
 9: 3500007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000   101        0 2 2 0 0
"""


@pytest.mark.parametrize("way", ["start", "detached", "shell"])
def test_server_on_loopback_address_of_published_port_is_warned_of(tmp_path: Path, way: str) -> None:
    demo = built_demo(tmp_path, "3000, 3001, 3002, 3003, 3004, 3005, 53:53/udp")
    demo.engine.on_execute = lambda command: (1, SOCKETS) if command.argv[0] == "cat" else None
    match way:
        case "start":
            start(demo)
        case "detached":
            runtime_start.start_detached(demo.run_anew(), "demo")
        case _:
            runtime_start.start_detached(demo.run_anew(), "demo")
            runtime_exec.shell(demo.run_anew(), "demo", FakeTerminal(interactive=True))
    assert [text.partition(":")[0] for text in demo.notices() if "its server" in text] == [
        *("port 3000/tcp", "port 3001/tcp", "port 3004/tcp", "port 53/udp")
    ]


@pytest.mark.parametrize("interactive", [False, True])
def test_server_of_entry_command_on_loopback_address_is_warned_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interactive: bool
) -> None:
    monkeypatch.setattr("phases.core.runtime.session.ports._PAUSES", (0.01, 0.01, 0.01))
    demo = built_demo(tmp_path, "3000, 3002")
    begun, looks = threading.Event(), []
    warned_meanwhile: list[bool] = []

    def execute(command: Command) -> tuple[int, str] | None:
        if command.argv[0] == "cat":
            looks.append(begun.is_set())
            return 1, SOCKETS if begun.is_set() else ""
        if "server" in command.argv:
            begun.set()
            wait_until(lambda: looks.count(True) > 2)
            warned_meanwhile.append(any("its server" in text for text in demo.notices()))
        return None

    demo.engine.on_execute = execute
    runtime_start.start(demo.run_anew(), "demo", FakeTerminal(interactive=interactive), command="server")
    assert [text.partition(":")[0] for text in demo.notices() if "its server" in text] == ["port 3000/tcp"]
    assert warned_meanwhile == [not interactive]


class EngineWithSockets(FakeEngine):
    """Runs a command that prints `pieces`, each to stdout, or to stderr."""

    def __init__(self, *pieces: tuple[str, bool]) -> None:
        super().__init__()
        self.pieces = pieces

    def exec(self, *_: object, on_output: Callable[[bytes, bool], None] | None = None, **__: object) -> int:
        assert on_output
        for text, is_err in self.pieces:
            on_output(text.encode(), is_err)
        return 1


def test_errors_of_cat_between_pieces_of_sockets_change_nothing() -> None:
    middle = SOCKETS.index(":0BB8")
    engine = EngineWithSockets(
        (SOCKETS[:middle], False), ("cat: /proc/net/tcp6: x y 0A\n", True), (SOCKETS[middle:], False)
    )
    expected = {("tcp", 3000), ("tcp", 3001), ("tcp", 3004), ("udp", 53)}
    assert listeners.only_on_loopback(engine, "id") == expected


@pytest.mark.parametrize(
    "line",
    [
        "cat: /proc/net/tcp6: 0A",
        "cat: can't:open 'x' 0A",
        "0: 0100007F:port x 0A",
        "0: 0100007F: x 0A",
        "0: 01007F:0BB8 x 0A",
        "0: 0100007F00:0BB8 x 0A",
        "0: 0100007 x 0A",
        "0: :0BB8 x 0A",
    ],
)
def test_malformed_line_of_sockets_is_ignored(line: str) -> None:
    assert listeners.only_on_loopback(EngineWithSockets((f"{line}\n{SOCKETS}", False)), "id") == {
        *(("tcp", 3000), ("tcp", 3001), ("tcp", 3004), ("udp", 53))
    }


def test_detached_start_prints_urls_and_next_session_prints_none(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "80, 81")
    for _ in range(2):
        runtime_start.start_detached(demo.run_anew(), "demo")
        (notice,) = demo.notices()
        assert notice.startswith(
            "habitat-demo is running at http://127.0.0.1:80, http://127.0.0.1:81: `doit shell:demo` opens"
        )
    start(demo)
    assert demo.notices() == []


def test_ports_changed_give_new_container_of_same_image(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "80, 81")
    start(demo)
    before = demo.engine.container("habitat-demo")
    write(tmp_path, "habitats/demo/config.yaml", config("81, 80"))
    assert demo.build() == []
    start(demo)
    same = demo.engine.container("habitat-demo")
    assert before
    assert same
    assert same.id == before.id, "their order means nothing"
    write(tmp_path, "habitats/demo/config.yaml", config("80"))
    assert demo.build() == []
    start(demo)
    after = demo.container()
    assert (after.id != before.id, after.image) == (True, before.image)
    assert demo.engine.container(before.id) is None


def test_container_label_without_ports_equals_label_of_earlier_versions(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "")
    start(demo)
    held = demo.engine._container("habitat-demo").labels["habitat.confinement"]
    assert held == "privileges=0 network=1 memory=0 cpus=0 pids=4096"


def test_shell_in_snapshot_publishes_no_ports(tmp_path: Path) -> None:
    demo = built_demo(tmp_path)
    ports: list[tuple[Port, ...]] = []
    demo.engine.on_execute = lambda command: ports.append(command.container.ports)
    runtime_exec.shell(demo.run_anew(), "demo", FakeTerminal(piped=True, typed=b""), at="final")
    assert ports
    assert set(ports) == {()}
    assert demo.notices() == []


def refused(demo: DemoProject) -> str:
    with pytest.raises(StartError) as excinfo:
        start(demo)
    return str(excinfo.value)


TAKEN = "habitats/demo/config.yaml:4: port 127.0.0.1:80 is taken by "
ANOTHER = ", or write 0:80 for one that is free"


@pytest.mark.parametrize(
    ("holder", "labels", "ip", "expected"),
    [
        ("habitat-a", {"habitat.run": "a"}, "127.0.0.1", "habitat-a: `doit stop:a` frees it"),
        (
            "habitat-a-2",
            {"habitat.run": "a"},
            "127.0.0.1",
            "the container habitat-a-2: `docker stop habitat-a-2` frees it",
        ),
        ("web", {}, "0.0.0.0", "the container web: `docker stop web` frees it"),
    ],
)
def test_port_in_use_error_names_container_using_port(
    tmp_path: Path, holder: str, labels: dict[str, str], ip: str, expected: str
) -> None:
    demo = built_demo(tmp_path, "80")
    other = demo.engine.create("base:1", holder, ("sleep", "inf"), labels=labels, ports=(Port(1, "tcp", ip, 80),))
    demo.engine.start(other)
    assert refused(demo) == f"{TAKEN}{expected}{ANOTHER}"
    assert demo.engine.container("habitat-demo") is None, "nothing is left behind"
    demo.engine.stop(other)
    assert start(demo) == 0


def test_port_in_use_by_program_is_error_and_old_container_stays(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "80")
    start(demo)
    demo.engine.failures["start"] = PortRefused("address already in use", Port(80, host=80), taken=True)
    assert refused(demo) == f"{TAKEN}a program on this machine: stop that program{ANOTHER}"
    assert demo.engine.container("habitat-demo")


@pytest.mark.parametrize("text", ['"[::1]:{}:80/udp"', "0.0.0.0:{}:80", "{}:80"])
def test_port_in_use_error_offers_free_port_at_same_address(tmp_path: Path, text: str) -> None:
    demo = built_demo(tmp_path, text.format(8080))
    (port,) = load(tmp_path).entry.ports
    demo.engine.failures["start"] = PortRefused("port is already allocated", port, taken=True)
    assert refused(demo).endswith(f", or write {text.format(0)} for one that is free")


def test_port_refused_by_host_error_gives_reason(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "10.9.9.9:80:80")
    port = Port(80, "tcp", "10.9.9.9", 80)
    demo.engine.failures["start"] = PortRefused("cannot assign requested address", port, taken=False)
    assert refused(demo) == (
        "habitats/demo/config.yaml:4: port 10.9.9.9:80 can't be published (cannot assign requested address): "
        "check that it is an address of this machine and a port that you may use"
    )
