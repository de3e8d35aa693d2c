"""The hosts of an allowlist: what names one, what doesn't, and how layers merge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from unit_helpers import load

from phases.core.config.entry import hosts
from phases.core.errors import ConfigError
from phases.core.runtime.new_container import restrictions_label

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from phases.core.entry_settings import HostRule

BASE = "base_image: base:1\n"


def texts(rules: Iterable[HostRule]) -> list[str]:
    return [rule.text for rule in rules]


@pytest.mark.parametrize(
    ("text", "host", "ports"),
    [
        ("example.org", "example.org", (443, 80)),
        ("Example.ORG", "example.org", (443, 80)),
        ("*.example.org", "*.example.org", (443, 80)),
        ("example.org:8443", "example.org", (8443,)),
        ("*.example.org:22", "*.example.org", (22,)),
        ("a-b.c_d.xn--p1ai", "a-b.c_d.xn--p1ai", (443, 80)),
    ],
)
def test_host_is_read(text: str, host: str, ports: tuple[int, ...]) -> None:
    rule = hosts.parse(text)
    assert (rule.host, rule.ports) == (host, ports)


@pytest.mark.guarantee("allowlist-names-hosts-only")
@pytest.mark.parametrize(
    "text",
    [
        "", " ", "*", "*.", "*.com", "com", "localhost", "a.localhost", "gate.habitat", "example.org.",
        ".example.org", "ex ample.org", "example.org ", "example.org\n", "exa\tmple.org", "example..org", "-a.org",
        "a-.org", "a.*.org", "*example.org", "**.example.org", "a.org:0", "a.org:٤٤٣", "a.org:65536",
        "a.org:", "a.org:x", "a.org:80:80", "127.0.0.1", "127.1", "0x7f.1", "0x7f.0x1", "2130706433", "0177.0.0.1",
        "1.2.3.4:80", "10.0.0.0/8", "[::1]", "::1", "[::1]:443", "::ffff:127.0.0.1", "http://example.org",
        "example.org/path", "a@example.org", "user:pw@example.org", "example.org#x", "example.org?x",
        "bücher.example", "exam\u200bple.org", "example.org\x00", "e%78ample.org", "a." * 127 + "org",
        "a" * 64 + ".org", '"example.org"', "example.org http_access allow all", "a.org;b.org", "a.1", "example．org",
        "exampleⓄ.org",
    ],
)  # fmt: skip
def test_invalid_host_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        hosts.parse(text)
    assert caught.value.remedy
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError):
        hosts.parse(f"a.org:{'1' * 5000}")
    quoted = text.replace("'", "''") if text.isprintable() else "a b"
    with pytest.raises(ConfigError, match=r"config\.yaml:4: '.*' is not a host"):
        load(tmp_path, f"{BASE}entry:\n  network:\n    allow: ['{quoted.replace('$', '$$')}']\n")


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("https://Example.org/x", "write the host alone: example.org"),
        ("example.org/x", "write the host alone: example.org"),
        ("bücher.example", "write it as DNS has it: xn--bcher-kva.example"),
        ("10.1.2.3", "addresses are never allowed"),
        ("a.org:70000", "write a port from 1 to 65535"),
        ("db.localhost", "names below .localhost never lead to another machine"),
    ],
)
def test_remedy_says_what_to_write(text: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        hosts.parse(text)
    assert remedy in str(caught.value.remedy)


@pytest.mark.parametrize(
    ("rule", "denied", "meets"),
    [
        ("example.org", "example.org", True),
        ("example.org", "example.org:443", True),
        ("example.org", "example.org:22", False),
        ("example.org:22", "example.org", True),
        ("example.org", "a.example.org", False),
        ("example.org", "notexample.org", False),
        ("*.example.org", "a.b.example.org", True),
        ("*.example.org", "example.org", False),
        ("*.example.org", "evilexample.org", False),
        ("a.example.org", "*.example.org", True),
        ("*.a.example.org", "*.example.org", True),
    ],
)
def test_rule_meets_a_refusal_of_a_part_of_its_hosts(rule: str, denied: str, *, meets: bool) -> None:
    assert hosts.parse(rule).meets(hosts.parse(denied)) == meets


@pytest.mark.parametrize(
    ("shared", "local", "mode", "allow"),
    [
        ("{allow: [a.org]}", "{allow: [b.org, a.org]}", "allowlist", ["a.org", "b.org"]),
        ("{allow: [a.org]}", "bridge", "bridge", []),
        ("{allow: [a.org]}", "none", "none", []),
        ("none", "{allow: [b.org]}", "allowlist", ["b.org"]),
        ("{}", "{}", "allowlist", []),
        ("{learn: true}", "{allow: [b.org]}", "allowlist", ["b.org"]),
        ("bridge", "none", "none", []),
    ],
)
def test_layers_append_hosts_and_replace_words(
    tmp_path: Path, shared: str, local: str, mode: str, allow: list[str]
) -> None:
    config = tmp_path / "shared/config.yaml"
    config.parent.mkdir()
    config.write_text(f"entry: {{network: {shared}}}\n")
    entry = load(tmp_path, f"{BASE}entry: {{network: {local}}}\n").entry
    assert (entry.network, texts(entry.allow)) == (mode, allow)
    assert entry.learns == ("learn" in shared)


def test_hosts_count_where_the_network_names_hosts(tmp_path: Path) -> None:
    folder = tmp_path / "shared/extends/tool"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("entry: {hosts: [tool.org]}\n")
    text = f"{BASE}extends: [tool]\nentry: {{network: NETWORK}}\n"
    assert load(tmp_path, text.replace("NETWORK", "bridge")).entry.allow == ()
    entry = load(tmp_path, text.replace("NETWORK", "{allow: [a.org]}")).entry
    assert texts(entry.allow) == ["a.org", "tool.org"]
    (folder / "config.yaml").write_text("entry: {hosts: [x]}\n")
    with pytest.raises(ConfigError, match=r"tool/config\.yaml:1: 'x' is not a host"):
        load(tmp_path, text.replace("NETWORK", "bridge"))


def test_allowlist_needs_no_other_container_for_another_host_or_port(tmp_path: Path) -> None:
    label = restrictions_label(load(tmp_path, f"{BASE}entry: {{network: {{allow: [a.org]}}, ports: [3000]}}\n"))
    assert label == restrictions_label(load(tmp_path, f"{BASE}entry: {{network: {{allow: [b.org]}}}}\n"))
    assert label != restrictions_label(load(tmp_path, f"{BASE}entry: {{network: none}}\n"))


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ("entry: {network: {}, ports: ['53:53/udp']}", "port 53/udp can't be published beside the allowlist"),
        ("entry: {network: {allow: a.org}}", "network.allow"),
        ("entry: {network: [a.org]}", "network"),
        ("entry: {network: {alow: [a.org]}}", "allow"),
        ("entry: {network: {learn: sometimes}}", "learn"),
    ],
)  # fmt: skip
def test_wrong_network_is_an_error(tmp_path: Path, config: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"{BASE}{config}\n")
    assert problem in f"{caught.value} {caught.value.remedy}"


def test_allowlist_beside_volume_that_gives_root_is_refused(tmp_path: Path) -> None:
    volume = "volumes: [{source: /var/run/docker.sock, dest: /docker.sock, gives_root_on_the_host: true}]"
    assert load(tmp_path, f"{BASE}{volume}\n")
    with pytest.raises(ConfigError, match=r"config\.yaml:2: /var/run/docker.sock gives root on this machine"):
        load(tmp_path, f"{BASE}{volume}\nentry: {{network: {{allow: [a.org]}}}}\n")
