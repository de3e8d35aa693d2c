"""The log of a proxy, also with hostile lines, and the verbs that allow and refuse a host."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from test_gate import CONTAINER, PROXY, Engine, config, start
from unit_helpers import built_demo, write

from phases.core.errors import ConfigError, StartError
from phases.core.network import access_log, allowed
from phases.core.network.access_log import AccessLog
from phases.ui.network import table
from phases.ui.verbs.network import allow as allow_verb
from phases.ui.verbs.network import deny as deny_verb

if TYPE_CHECKING:
    from pathlib import Path

    from unit_helpers import DemoProject


def line(host: str = "a.org", **more: Any) -> bytes:
    fields = {"t": 1796086359.25, "host": host, "port": "443", "verdict": "TCP_TUNNEL", "status": 200, **more}
    return json.dumps(fields).encode() + b"\n"


def rows(data: bytes) -> list[tuple[str, int, bool, int]]:
    log = AccessLog()
    log.feed(data)
    return [(row.host, row.port, row.allowed, row.count) for row in log.requests]


def test_requests_are_counted_by_host_port_and_outcome() -> None:
    data = line() + line("A.org", t=1796086999) + line(verdict="TCP_DENIED") + line(port="80", verdict="TCP_MISS")
    assert rows(data) == [("a.org", 443, False, 1), ("a.org", 80, True, 1), ("a.org", 443, True, 2)]


def test_proof_is_no_request() -> None:
    assert rows(line("gate.habitat") + line("proof-1.gate.habitat", verdict="TCP_DENIED")) == []


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\n\n", b"{}", b"{}\n", b"null\n", b"[1]\n", b"\xff\xfe\n", b'{"t":1,"host":"a"\n', line(port="x"),
        line(t="x"), line(t=1e300), line(t=float("nan")), line(port="9" * 5000), b"x" * 1_000_000, b"WARNING: squid\n",
        line().rstrip(), b'{"t":1,"host":' + b"[" * 5000 + b"\n", line(host=7),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_invalid_line_is_ignored(data: bytes) -> None:
    log = AccessLog()
    log.feed(data)
    assert log.requests == []
    assert len(log._partial) <= access_log._LONGEST
    log.feed(b"\n" + line("after.org"))
    assert "after.org" in [row.host for row in log.requests]


def test_line_in_pieces_is_one() -> None:
    log = AccessLog()
    for byte in line() * 2:
        log.feed(bytes([byte]))
    assert [row.count for row in log.requests] == [2]


def test_any_number_of_hosts_takes_little_memory() -> None:
    log = AccessLog()
    for number in range(access_log._MOST_HOSTS + 50):
        log.feed(line(f"h{number}.org"))
    assert (len(log.requests), log.others) == (access_log._MOST_HOSTS, 50)


def test_later_lines_alone_count() -> None:
    log = AccessLog(since=100)
    log.feed(line("early.org", t=99.9) + line("late.org", t=100))
    assert [row.host for row in log.requests] == ["late.org"]


def test_each_request_is_handed_on_while_it_is_followed() -> None:
    seen = []
    log = AccessLog(100, lambda row: seen.append(table.line(row).plain.split("  ", 1)[1]))
    log.feed(line("early.org", t=1) + line() + line() + line("b.org", verdict="TCP_DENIED"))
    assert seen == ["allowed  a.org:443", "allowed  a.org:443", "blocked  b.org:443"]


def test_entries_name_a_port_only_where_it_is_unusual() -> None:
    log = AccessLog()
    log.feed(line("b.org") + line("b.org", port="80") + line("a.org", port="22") + line("b.org", port="8443"))
    assert access_log.names_of(log.requests) == ["a.org:22", "b.org", "b.org:8443"]


@pytest.mark.guarantee("allowlist-names-hosts-only")
@pytest.mark.parametrize(
    "host", ["*.org", "*.example.org", "a.org.", "münchen.de", "a: [b]", "1.2.3.4", "x\ny.org", ""]
)
def test_list_for_a_config_has_no_entry_that_a_program_made_up(host: str) -> None:
    log = AccessLog()
    log.feed(line(host) + line("real.org"))
    assert access_log.names_of(log.requests) == ["real.org"]


def test_host_with_control_characters_reaches_no_terminal(demo: DemoProject) -> None:
    log = AccessLog()
    log.feed(line("\x1b]0;evil\x07.org", verdict="TCP_DENIED"))
    habitat = demo.run_anew().habitat("demo")
    shown = "".join(str(part) for part in table.parts("demo", log, allowed.HostChanges(), habitat, wrap=False))
    assert "\x1b" not in shown
    assert "evil" in shown


@pytest.fixture
def demo(tmp_path: Path) -> DemoProject:
    return Engine().attach(built_demo(tmp_path, config().partition("\n")[2]))


def rules(demo: DemoProject) -> str:
    node = demo.engine._container(PROXY).files.find("/gate/rules.conf")
    assert node
    return node.content.decode()


def run(verb: Any, demo: DemoProject, *words: str, save: bool = False) -> str:
    project = demo.run_anew()
    verb.run(project, "demo", words=list(words), save=save)
    return demo.notices()[-1]


def own_config(demo: DemoProject) -> str:
    return (demo.root / "habitats/demo/config.yaml").read_text()


def test_host_is_allowed_and_refused_for_now(demo: DemoProject) -> None:
    start(demo)
    before = own_config(demo)
    assert "--save` changes the config" in run(allow_verb, demo, "new.org")
    start(demo)
    assert "new.org" in rules(demo)
    run(deny_verb, demo, "example.org")
    start(demo)
    assert "acl no_host0 dstdomain -n example.org" in rules(demo).splitlines()
    run(deny_verb, demo, "new.org")
    run(allow_verb, demo, "example.org")
    start(demo)
    assert ("new.org" in rules(demo), "no_host" in rules(demo)) == (False, False)
    assert own_config(demo) == before
    assert allowed.read(demo.run_anew(), "demo") == allowed.HostChanges()
    assert demo.engine._container(CONTAINER)


@pytest.mark.parametrize(
    ("text", "after"),
    [
        (
            "# mine\nentry: {network: {allow: [a.org]}} # why\n",
            "# mine\nentry: {network: {allow: [a.org, new.org]}} # why\n",
        ),
        (
            "entry:\n  network:\n    allow:\n    - a.org  # why\n    # last\n",
            "entry:\n  network:\n    allow:\n    - a.org  # why\n    - new.org\n    # last\n",
        ),
        (
            "entry:\n  network:\n    allow:\n      - 'a.org'\n\nenv:\n  - X=1 # x\n",
            "entry:\n  network:\n    allow:\n      - 'a.org'\n      - new.org\n\nenv:\n  - X=1 # x\n",
        ),
        ("entry: {network: {}}\n", "entry: {network: {allow: [new.org]}}\n"),
    ],
)  # fmt: skip
def test_host_is_saved_with_all_comments(demo: DemoProject, text: str, after: str) -> None:
    write(demo.root, "habitats/demo/config.yaml", f"base_image: base:1\n{text}")
    assert "habitats/demo/config.yaml says so" in run(allow_verb, demo, "new.org", "--save")
    saved = own_config(demo)
    assert sorted(saved.splitlines()) == sorted(f"base_image: base:1\n{after}".splitlines())
    assert "its own config has not to change" in run(allow_verb, demo, "new.org", save=True)
    run(deny_verb, demo, "new.org", "--save")
    assert "new.org" not in own_config(demo)


def test_host_of_another_layer_is_refused_for_now_and_its_line_told(tmp_path: Path) -> None:
    write(tmp_path, "shared/config.yaml", "entry: {network: {allow: [team.org]}}\n")
    demo = Engine().attach(built_demo(tmp_path, config().partition("\n")[2]))
    with pytest.raises(ConfigError, match=r"shared/config.yaml:1: team.org is allowed by another config"):
        run(deny_verb, demo, "team.org", "--save")
    start(demo)
    assert rules(demo).index("deny no_host0") < rules(demo).index("allow host")


@pytest.mark.parametrize(
    ("allow", "denied", "lines"),
    [
        ("'*.org.test'", "a.org.test", ["acl no_host0 dstdomain -n a.org.test", "http_access deny no_host0"]),
        ("a.org.test", "'*.org.test'", [r"acl no_host0 dstdom_regex -n -i [^.]\.org\.test$"]),
        ("a.org.test", "a.org.test:443", ["acl no_port0 port 443", "http_access deny no_host0 no_port0"]),
    ],
)  # fmt: skip
def test_refusal_counts_whatever_else_allows_the_host(
    tmp_path: Path, allow: str, denied: str, lines: list[str]
) -> None:
    demo = Engine().attach(built_demo(tmp_path, config(f"{{allow: [{allow}]}}").partition("\n")[2]))
    start(demo)
    text = run(deny_verb, demo, denied.strip("'"))
    start(demo)
    written = rules(demo)
    assert [line for line in lines if line not in written.splitlines()] == []
    assert written.index("deny no_host0") < written.index("allow host0")
    assert (f"allows {allow.strip(chr(39))}, but for this" in text) == (allow.strip("'") != denied.strip("'")), text
    assert "but for" in run(allow_verb, demo, "*.org.test") if denied != "'*.org.test'" else True


def test_refusal_counts_while_everything_is_learned(tmp_path: Path) -> None:
    demo = Engine().attach(built_demo(tmp_path, config("{learn: true}").partition("\n")[2]))
    start(demo)
    run(deny_verb, demo, "evil.org")
    start(demo)
    assert rules(demo).index("deny no_host0") < rules(demo).index("allow all")


@pytest.mark.parametrize(
    "text",
    [
        "entry:\n    network:\n        allow:\n            - a.org\n    command: x\n",
        "entry: {network: {allow: [a.org]}}\r\n",
        "entry: { network: { allow: [ a.org ] } }\n",
        "entry: ~\n",
    ],
)
def test_config_that_would_change_elsewhere_is_left_to_the_person(demo: DemoProject, text: str) -> None:
    write(demo.root, "shared/config.yaml", "entry: {network: {allow: []}}\n")
    path = demo.root / "habitats/demo/config.yaml"
    path.write_bytes(f"base_image: base:1\n{text}".encode())
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="by hand; until then it counts for now"):
        run(allow_verb, demo, "new.org", "--save")
    assert path.read_bytes() == before
    assert allowed.read(demo.run_anew(), "demo").allow == ["new.org"]


def test_comment_behind_the_last_host_is_not_lost(demo: DemoProject) -> None:
    text = (
        "base_image: base:1\nentry:\n  network:\n    allow:\n      - a.org\n      # about what follows\n  command: x\n"
    )
    write(demo.root, "habitats/demo/config.yaml", text)
    try:
        run(deny_verb, demo, "a.org", "--save")
    except ConfigError:
        assert own_config(demo) == text
    assert "# about what follows" in own_config(demo)


def test_habitat_without_allowlist_allows_nothing(demo: DemoProject) -> None:
    write(demo.root, "habitats/demo/config.yaml", config("bridge"))
    with pytest.raises(StartError, match="it has no allowlist"):
        run(allow_verb, demo, "new.org")
    with pytest.raises(StartError, match="allow needs a host"):
        run(allow_verb, demo)
