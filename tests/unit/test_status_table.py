"""How the habitats are shown: whole at every width, and never by colour alone."""

from __future__ import annotations

import io
import re
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import pytest
from conftest import ROOT
from rich.cells import cell_len
from rich.console import Console

from phases.core.report.states import Base, ContainerState, HabitatState, Overview, PhaseState
from phases.registry import PHASES
from phases.ui.status import table as status_table
from phases.ui.status.cells import age

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.core.report.states import State

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
INITIALS: dict[str, State] = {"c": "cached", "s": "stale", "f": "failed", "n": "new", "?": "unknown"}
ERROR = "habitats/broken/config.yaml:1: unknown key 'base_imgae': did you mean 'base_image'?"


def habitat(name: str, states: str = "c" * 12, reason: str = "", **other: object) -> HabitatState:
    first = next((number for number, state in enumerate(states) if state in "sfn"), None)
    phases = [
        PhaseState(phase.ID, phase.NAME, INITIALS[state], reason if number == first else "")
        for number, (phase, state) in enumerate(zip(PHASES[-len(states) :], states, strict=True))
    ]
    facts = {
        "description": "",
        "error": "",
        "base": Base("debian:bookworm-slim", dockerfile=False, id="b", created=NOW - timedelta(days=22)),
        "container": None,
        "set_aside": (),
        "bytes": 1_250_000_000,
        **other,
    }
    return HabitatState(name=name, phases=phases, **facts)  # type: ignore[arg-type]


def up(*pids: int) -> ContainerState:
    return ContainerState("habitat-x", running=True, since=NOW - timedelta(hours=3), pids=pids)


TOWN = (
    habitat("api", container=up(1, 2)),
    habitat("broken", "?" * 12, error=ERROR, base=None),
    habitat(
        "claude",
        "c" * 6 + "s" * 6,
        "setup.user[1]: changed",
        set_aside=("habitat-claude-1",),
        container=ContainerState("habitat-claude", running=False, since=NOW - timedelta(days=2), pids=()),
    ),
    habitat("docker", "c" * 13, base=Base("", dockerfile=True)),
    habitat("fails", "c" * 7 + "f" + "n" * 4, "it failed"),
    habitat("fresh", "n" * 12, "nothing there", bytes=0),
)

SAMPLE = (
    habitat("api", container=up(1), bytes=412_300_000),
    habitat(
        "claude",
        "c" * 6 + "s" * 6,
        "setup.user[1]: changed (line 2: npm install → npm ci)",
        container=ContainerState("habitat-claude", running=False, since=NOW - timedelta(days=2), pids=()),
        set_aside=("habitat-claude-1", "habitat-claude-2"),
        bytes=1_204_300_000,
    ),
    habitat(
        "frontend",
        "c" * 7 + "f" + "n" * 4,
        "it failed: `habitat debug frontend` opens a shell there",
        base=Base("node:22", dockerfile=False, created=NOW - timedelta(days=5)),
        bytes=96_300_000,
    ),
    habitat(
        "legacy",
        "c" * 13,
        container=ContainerState("habitat-legacy", running=True, since=NOW - timedelta(minutes=12), pids=()),
        base=Base("ubuntu:20.04", dockerfile=True, created=NOW - timedelta(days=700)),
        bytes=640_000_000,
    ),
    habitat(
        "paper",
        "?" * 12,
        error="habitats/paper/config.yaml:4: unknown key 'base_imgae': did you mean 'base_image'?",
        base=None,
        bytes=12_000,
    ),
)


def overview(*habitats: HabitatState) -> Overview:
    return Overview("unix:///x", "", 3_000_000_000, habitats)


def shown(
    report: Overview,
    width: int | None = None,
    *,
    encoding: str = "utf-8",
    colours: Literal["truecolor"] | None = None,
) -> list[str]:
    """The lines on a terminal of a width, without one those in a pipe."""
    if width is None:
        raw = io.BytesIO()
        stream = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
        status_table.show(report, stream)
        return raw.getvalue().decode(encoding).splitlines()
    console = Console(file=io.StringIO(), width=width, force_terminal=bool(colours), color_system=colours)
    with console.capture() as captured:
        console.print(status_table.page(report, console, NOW))
    return captured.get().splitlines()


def row(lines: Sequence[str], name: str) -> str:
    return next(line for line in lines if line.split()[:1] == [name])


def test_status_table_equals_readme_sample() -> None:
    lines = shown(Overview("unix:///x", "", 2_600_000_000, SAMPLE), 80)
    page = (ROOT / "docs" / "daily-work.md").read_text(encoding="utf-8")
    drawn = page.split("$ habitat status\n", 1)[1].split("\n```", 1)[0]
    assert drawn.splitlines() == [line.rstrip() for line in lines]


@pytest.mark.parametrize("kind", [Overview, HabitatState, PhaseState, Base, ContainerState])
def test_status_docs_name_every_json_key(kind: type[Any]) -> None:
    page = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    keys = page.split("| key | is |\n", 1)[1].split("\n\n", 1)[0]
    assert [field.name for field in fields(kind) if not re.search(rf"`\W*{field.name}\W*`", keys)] == []


@pytest.mark.parametrize("width", [80, 100, 120, 140, 200])
def test_status_table_fits_terminal_without_cutting_text(width: int) -> None:
    lines = shown(overview(*TOWN), width)
    assert max(map(cell_len, lines)) <= width
    text = "\n".join(lines)
    assert "…" not in text
    words = " ".join(text.split())
    for text in ("up 3h, 2 in it", "stopped 2d", "1.2 GB", "3.0 GB", "setup: setup.user[1]: changed", "6 habitats"):
        assert text in words
    for part in ERROR.split():
        assert part in words


@pytest.mark.parametrize("width", [80, 120, 140, 200, None])
def test_status_table_signs_are_aligned_with_phase_headings(width: int | None) -> None:
    lines = shown(overview(*TOWN), width)
    names = [str(phase.ID) if width in {80, 120} else phase.NAME for phase in PHASES]
    rule = next(number for number, line in enumerate(lines) if line.startswith("─"))
    heads = lines[:rule]
    places = [next(at for line in heads if (at := column_of(line, name)) >= 0) for name in names]
    assert [row(lines, "docker")[place] for place in places] == ["✓"] * 13
    assert [row(lines, "claude")[place] for place in places] == [" ", *"✓✓✓✓✓✓↻↻↻↻↻↻"]
    assert [row(lines, "fails")[place] for place in places] == [" ", *"✓✓✓✓✓✓✓✗····"]


def column_of(line: str, word: str) -> int:
    """Where a word of the heads of phases stands: after that of the names, which are `habitat` too."""
    match = re.search(rf"(?<!^)\b{word}\b", line)
    return match.start() if match else -1


def test_status_table_omits_base_details_on_narrow_terminal() -> None:
    calm = [one for one in TOWN if not one.set_aside]
    assert row(shown(overview(*calm), 80), "api").split()[-1] == "3w"
    assert "debian:bookworm-slim, 3w old" in row(shown(overview(*TOWN), 140), "api")
    assert "of the Dockerfile" in row(shown(overview(*TOWN), 140), "docker")


def test_status_table_in_pipe_has_one_plain_line_per_habitat() -> None:
    lines = shown(overview(*TOWN))
    assert "\x1b" not in "".join(lines)
    assert row(lines, "broken").endswith(ERROR)
    assert row(lines, "claude").endswith("setup: setup.user[1]: changed")
    assert [line for line in lines if line != line.rstrip()] == []
    assert sum(line.split()[:1] == ["claude"] for line in lines) == 1


def test_status_table_in_ascii_uses_distinct_signs() -> None:
    lines = shown(overview(*TOWN), encoding="ascii")
    assert re.findall("[+~]", row(lines, "claude")) == list("++++++~~~~~~")
    assert lines[-1] == "+ cached   ~ would run again   x failed   . never built"


def test_status_table_without_colour_has_same_text(monkeypatch: pytest.MonkeyPatch) -> None:
    coloured = shown(overview(*TOWN), 120, colours="truecolor")
    assert "\x1b[32m✓" in "".join(coloured)
    monkeypatch.setenv("NO_COLOR", "1")
    plain = shown(overview(*TOWN), 120, colours="truecolor")
    assert not re.search(r"\x1b\[[\d;]*3\d", "".join(plain)), "styles are left, and no colour"
    bare = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in (*coloured, *plain)]
    assert bare == [*shown(overview(*TOWN), 120)] * 2


@pytest.mark.parametrize("width", [80, 140])
def test_status_table_long_and_wide_names_stay_aligned(width: int) -> None:
    long = "a-name-that-somebody-thought-about-for-long-and-made-so-too-x"
    lines = shown(overview(habitat(long), habitat("日本語"), habitat("b")), width)
    assert max(map(cell_len, lines)) <= width
    names = [line.split("  ")[0] for line in lines[: lines.index("")]]
    assert long in "".join(names), "it is whole, and in its own column"
    wide, narrow = row(lines, "日本語"), row(lines, "b")
    assert cell_len(wide[: wide.index("✓")]) == cell_len(narrow[: narrow.index("✓")])


LONG = "a-name-that-somebody-thought-about-for-long-and-made-so-too-x"

#: Names that folders may have: long, wide, of letters with marks, from right to left, of emoji.
ODD_NAMES = [LONG, "日本語のとても長い名前ですからねえ", "ẹ́" * 9, "שלום-עולם", "👩‍🚀-habitat", "x" * 200]


@pytest.mark.parametrize("width", [*range(20, 90), *range(90, 201, 11)])
def test_status_shows_every_name_and_fact_at_every_width(width: int) -> None:
    lines = shown(overview(*TOWN, *map(habitat, ODD_NAMES)), width)
    assert max(map(cell_len, lines)) <= width
    heads = "".join(line.split("  ")[0].strip() for line in lines)
    for name in ODD_NAMES:
        assert name in heads, name
    for one in TOWN:
        assert any(line.split()[:1] == [one.name] for line in lines), one.name
    text = "".join(" ".join(lines).split())
    for fact in ("up 3h, 2 in it", "stopped 2d", "1.2 GB", "3.0 GB", "12 habitats", "✓✓✓✓✓✓↻↻↻↻↻↻", "✓✓✓✓✓✓✓✗····"):
        assert fact.replace(" ", "") in text, fact
    assert "…" not in text


def test_status_of_one_habitat_on_narrow_terminal_has_no_total() -> None:
    assert [line.rstrip() for line in shown(overview(habitat("api", container=up())), 30)] == [
        "           111",
        "  123456789012",
        "api",
        "  ✓✓✓✓✓✓✓✓✓✓✓✓",
        "  up 3h",
        "  1.2 GB,",
        "  debian:bookworm-slim, 3w old",
        "",
        "✓ cached   ↻ would run again",
        "✗ failed   · never built",
    ]


def test_status_table_of_hundred_habitats_has_hundred_rows() -> None:
    many = shown(overview(*(habitat(f"h{number:03}") for number in range(100))), 80)
    assert [line.split()[0] for line in many if line.startswith("h0")] == [f"h{number:03}" for number in range(100)]
    assert "100 habitats" in "\n".join(many)
    alone = shown(overview(habitat("api")), 80)
    assert [line.split()[0] for line in alone if line.strip()][0::2] == ["habitat", "api"]
    assert "3.0 GB" not in "\n".join(alone)


def test_status_table_habitat_never_built_shows_no_reason() -> None:
    assert "nothing there" not in "\n".join(shown(overview(*TOWN), 140))


def test_status_table_without_engine_shows_unknown_states() -> None:
    bare = habitat("api", "?" * 12, bytes=None, base=Base("base:1", dockerfile=False))
    lines = shown(Overview("", "no engine", None, (bare, habitat("other", "?" * 12, bytes=None))), 80)
    assert row(lines, "api").split() == ["api", *"?" * 12, "base:1"]
    assert "container" not in lines[0]
    assert lines[-1].endswith("? not known")


def test_status_table_without_habitats_suggests_first_step() -> None:
    (line,) = shown(overview())
    assert "doit new NAME" in line


@pytest.mark.parametrize(
    ("ago", "message"),
    [
        ({"seconds": -5}, "0s"),
        ({"seconds": 59}, "59s"),
        ({"minutes": 59}, "59m"),
        ({"hours": 3}, "3h"),
        ({"days": 13}, "13d"),
        ({"days": 14}, "2w"),
        ({"days": 62}, "8w"),
        ({"days": 64}, "2mo"),
        ({"days": 729}, "23mo"),
        ({"days": 800}, "2y"),
    ],
)
def test_status_age_is_in_readable_units(ago: dict[str, int], message: str) -> None:
    assert age(NOW - timedelta(**ago), NOW) == message
