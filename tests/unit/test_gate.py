"""A habitat with an allowlist: its gate and its proxy, on the engine fake."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING

import pytest
from unit_helpers import FakeTerminal, built_demo, make_user, write

from phases.core.config.entry import hosts
from phases.core.container import gate_variables
from phases.core.engine.confinement.restrictions import NO_NETWORK, network_of
from phases.core.errors import HabitatError, StartError
from phases.core.network import gate as network_gate
from phases.core.network import image as gate_image
from phases.core.network import proxy, rules
from phases.core.runtime import exec as runtime_exec
from phases.core.runtime import start as runtime_start
from phases.core.runtime import stop as runtime_stop
from phases.core.runtime.destroy import destroy

if TYPE_CHECKING:
    from pathlib import Path

    from fake_engine import Command, FakeContainer
    from unit_helpers import DemoProject

PROXY, CONTAINER = "habitat-demo--proxy", "habitat-demo"

PROOFS = "ok\tno interface but lo\nok\tthe proxy answers\n"


def config(network: str = "{allow: [example.org]}", more: str = "") -> str:
    return f"base_image: base:1\nentry: {{command: 'true', network: {network}{more}}}\n"


class Engine:
    """Answers of the programs in the gate's image, for the engine fake."""

    def __init__(self) -> None:
        self.proofs = PROOFS
        self.code = 0
        self.seen: list[str] = []  # what runs while a command of the habitat does

    def attach(self, demo: DemoProject) -> DemoProject:
        demo.engine.on_execute = self.execute
        self.demo = demo
        demo.engine.add_image(f"habitat-gate:{gate_image._digest()}")
        return demo

    def execute(self, command: Command) -> tuple[int, str] | None:
        program = command.argv[0].rpartition("/")[2]
        if program == "prove.sh":
            return self.code, self.proofs
        if program == "squid":
            return 0, ""
        if command.argv[-1] == "true":
            self.seen = sorted(one.name for one in self.demo.engine._containers.values() if one.running)
        return make_user(command)


@pytest.fixture
def inside() -> Engine:
    return Engine()


@pytest.fixture
def demo(tmp_path: Path, inside: Engine) -> DemoProject:
    return inside.attach(built_demo(tmp_path, config().partition("\n")[2]))


def start(demo: DemoProject) -> None:
    runtime_start.start(demo.run_anew(), "demo", FakeTerminal())


def gate_of(demo: DemoProject) -> FakeContainer | None:
    return next((one for one in demo.engine._containers.values() if "--gate-" in one.name), None)


def names(demo: DemoProject) -> list[str]:
    return sorted(one.name for one in demo.engine._containers.values())


@pytest.mark.guarantee("allowlist-holds-before-commands")
def test_commands_run_behind_the_gate(demo: DemoProject, inside: Engine) -> None:
    start(demo)
    own, its_proxy = demo.engine._container(CONTAINER), demo.engine._container(PROXY)
    assert inside.seen == [CONTAINER, f"{CONTAINER}--gate-{own.id[:12]}", PROXY]
    assert own.restrictions.network == NO_NETWORK
    assert proxy.volume("demo", demo.run_anew()).volume in its_proxy.volumes
    assert proxy.volume("demo", demo.run_anew()).volume not in own.volumes
    env = demo.engine.commands[-1].env
    assert {env[name] for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")} == {
        f"http://127.0.0.1:{gate_variables.PORT}"
    }
    assert (its_proxy.user, its_proxy.restrictions.capabilities, its_proxy.restrictions.read_only) == (
        "13",
        False,
        True,
    )
    assert not its_proxy.running, "it is stopped with the habitat, and keeps its log"
    assert names(demo) == [CONTAINER, PROXY]


@pytest.mark.guarantee("allowlist-holds-before-commands")
@pytest.mark.parametrize(
    ("code", "proofs"),
    [(1, "ok\tno interface but lo\nmissed\tno route\n"), (127, ""), (1, PROOFS), (0, "missed\tno route\n")],
)
def test_habitat_whose_proof_fails_is_not_entered(demo: DemoProject, inside: Engine, code: int, proofs: str) -> None:
    inside.code, inside.proofs = code, proofs
    with pytest.raises(StartError, match="its network doesn't hold: missed: "):
        start(demo)
    assert inside.seen == []
    assert not demo.engine._container(CONTAINER).running if CONTAINER in names(demo) else True
    assert gate_of(demo) is None
    inside.code, inside.proofs = 0, PROOFS
    start(demo)
    assert len(inside.seen) == 3


@pytest.mark.guarantee("allowlist-holds-before-commands")
@pytest.mark.parametrize("proofs", [PROOFS, "missed\tno route\n"])
def test_gate_whose_proof_did_not_end_is_proved_before_the_next_command(
    demo: DemoProject, inside: Engine, monkeypatch: pytest.MonkeyPatch, proofs: str
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(network_gate, "prove", killed)
        patch.setattr(network_gate, "close", lambda *_: None)
        patch.setattr(demo.engine, "stop", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            start(demo)
    own = demo.engine._container(CONTAINER)
    own.running = True
    assert gate_of(demo)
    inside.proofs = proofs
    with nullcontext() if proofs == PROOFS else pytest.raises(StartError, match="doesn't hold"):
        runtime_exec.execute(demo.run_anew(), "demo", ("true",), FakeTerminal())
    assert len(inside.seen) == (3 if proofs == PROOFS else 0)


def test_new_port_waits_while_the_habitat_runs(demo: DemoProject) -> None:
    runtime_start.start_detached(demo.run_anew(), "demo")
    its_proxy = demo.engine._container(PROXY).id
    write(demo.root, "habitats/demo/config.yaml", config(more=", ports: [3000]"))
    runtime_exec.execute(demo.run_anew(), "demo", ("true",), FakeTerminal())
    assert demo.engine._container(PROXY).id == its_proxy, "its connections go on"
    runtime_stop.stop(demo.run_anew(), "demo")
    start(demo)
    assert demo.engine._container(PROXY).id != its_proxy


def test_container_of_somebody_else_is_not_removed(demo: DemoProject) -> None:
    other = demo.engine.create("base:1", PROXY, ("true",))
    with pytest.raises(StartError, match=f"the container name {PROXY} is taken by another container"):
        start(demo)
    assert demo.engine._container(PROXY).id == other


def test_gate_shares_the_network_of_the_habitat_alone(demo: DemoProject) -> None:
    runtime_start.start_detached(demo.run_anew(), "demo")
    gate = gate_of(demo)
    assert gate
    assert gate.running
    assert gate.restrictions.network == network_of(demo.engine._container(CONTAINER).id)
    assert (gate.user, gate.restrictions.capabilities, gate.restrictions.read_only) == ("65534", False, True)
    runtime_stop.stop(demo.run_anew(), "demo")
    assert [one.name for one in demo.engine._containers.values() if one.running] == []
    assert gate_of(demo) is None


def test_gate_that_ended_is_opened_for_the_next_command(demo: DemoProject, inside: Engine) -> None:
    runtime_start.start_detached(demo.run_anew(), "demo")
    gate = gate_of(demo)
    assert gate
    demo.engine.remove(gate.id)
    demo.engine.stop(PROXY)
    start(demo)
    assert len(inside.seen) == 3


def test_change_of_hosts_or_ports_keeps_the_container(demo: DemoProject) -> None:
    start(demo)
    own, its_proxy = demo.engine._container(CONTAINER).id, demo.engine._container(PROXY).id
    write(demo.root, "habitats/demo/config.yaml", config("{allow: [other.org]}"))
    start(demo)
    assert (demo.engine._container(CONTAINER).id, demo.engine._container(PROXY).id) == (own, its_proxy)
    written = demo.engine._container(PROXY).files.find("/gate/rules.conf")
    assert written
    assert "other.org" in written.content.decode()
    assert "example.org" not in written.content.decode()
    write(demo.root, "habitats/demo/config.yaml", config(more=", ports: [3000]"))
    start(demo)
    its_proxy_now = demo.engine._container(PROXY)
    assert demo.engine._container(CONTAINER).id == own
    assert (its_proxy_now.id != its_proxy, [port.inside for port in its_proxy_now.ports]) == (True, [3000])


def test_destroy_leaves_nothing(demo: DemoProject) -> None:
    start(demo)
    assert destroy(demo.run_anew(), "demo", lambda _: True)
    assert names(demo) == []
    assert [volume.name for volume in demo.engine.volumes() if "--gate" in volume.name] == []


def test_image_can_be_named_by_a_person(demo: DemoProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gate_image.IMAGE_VARIABLE, "own/gate:1")
    with pytest.raises(StartError, match=r"the engine has no image own/gate:1 \(HABITATS_GATE_IMAGE\)"):
        start(demo)
    demo.engine.add_image("own/gate:1")
    start(demo)


def test_start_killed_at_any_request_is_continued_by_the_next(
    demo: DemoProject, inside: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(demo)
    for method in ("create", "start", "put_archive", "exec"):
        for at in range(1, 5):
            calls = 0
            plain = getattr(demo.engine, method)

            def dying(*arguments: object, plain=plain, at=at, **options: object) -> object:  # type: ignore[no-untyped-def]
                nonlocal calls
                calls += 1
                if calls == at:
                    raise KeyboardInterrupt
                return plain(*arguments, **options)

            with monkeypatch.context() as patch:
                patch.setattr(demo.engine, method, dying)
                with suppress(KeyboardInterrupt, HabitatError):
                    start(demo)
            inside.seen = []
            start(demo)
            assert len(inside.seen) == 3, (method, at)
            assert names(demo) == [CONTAINER, PROXY], (method, at)


@pytest.mark.guarantee("allowlist-names-hosts-only")
def test_rules_resolve_no_name_that_is_not_allowed() -> None:
    text = rules.squid_rules([hosts.parse("a.org"), hosts.parse("*.b.org:8443")], learns=False)
    assert text.splitlines() == [
        "acl host0 dstdomain -n a.org",
        "acl port0 port 443 80",
        "http_access deny host0 port0 inward",
        "http_access allow host0 port0",
        r"acl host1 dstdom_regex -n -i [^.]\.b\.org$",
        "acl port1 port 8443",
        "http_access deny host1 port1 inward",
        "http_access allow host1 port1",
    ]
    learned = rules.squid_rules([], learns=True).splitlines()
    assert learned == ["http_access deny inward", "http_access allow all"]


def test_dns_of_the_proxy_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(rules.DNS_VARIABLE, "192.0.2.53 2001:db8::53")
    assert rules.squid_rules([], learns=False) == "dns_nameservers 192.0.2.53 2001:db8::53\n"
    monkeypatch.setenv(rules.DNS_VARIABLE, "192.0.2.53\nhttp_access allow all")
    with pytest.raises(StartError, match="HABITATS_GATE_DNS"):
        rules.squid_rules([], learns=False)


def test_proxy_name_is_no_habitats() -> None:
    assert "--" in proxy.proxy_name("demo")


@pytest.mark.guarantee("allowlist-holds-before-commands")
def test_running_container_with_another_network_is_not_entered(demo: DemoProject, inside: Engine) -> None:
    write(demo.root, "habitats/demo/config.yaml", config("bridge"))
    runtime_start.start_detached(demo.run_anew(), "demo")
    own = demo.engine._container(CONTAINER).id
    write(demo.root, "habitats/demo/config.yaml", config())
    with pytest.raises(StartError, match=r"without the allowlist .*stop:demo"):
        runtime_exec.execute(demo.run_anew(), "demo", ("true",), FakeTerminal())
    assert inside.seen == []
    start(demo)
    assert demo.engine._container(CONTAINER).id != own, "its files are in a container behind a gate"
    assert len(inside.seen) == 3
    write(demo.root, "habitats/demo/config.yaml", config("bridge"))
    start(demo)
    assert inside.seen == [CONTAINER]
