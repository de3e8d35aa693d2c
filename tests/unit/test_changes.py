"""The changes between two slices, and the text for each kind of change."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phases.core.events import ABSENT
from phases.core.report.changes import Difference, describe, differences
from phases.protocol import ChangeDescription

ONE, OTHER = "1" * 64, "2" * 64


def changes(before: Any, after: Any) -> list[tuple[Any, ...]]:
    return [(d.key, d.before, d.after) for d in differences(before, after)]


def words(before: Any, after: Any, kind: Any = "value") -> str:
    return describe(Difference(("x",), before, after), ChangeDescription("x", kind)).removeprefix("x: ")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, [(("a", "c"), 2, 3)]),
        ({"a": "x"}, {}, [(("a",), "x", ABSENT)]),
        ({}, {"a": "x"}, [(("a",), ABSENT, "x")]),
        # A section that came is all that is in it.
        ({}, {"a": {"b": "x"}}, [(("a", "b"), ABSENT, "x")]),
        ({"a": ["x"]}, {}, [(("a", 0), "x", ABSENT)]),
        # What moved because of what was put before it is no change.
        ({"a": ["x", "y"]}, {"a": ["new", "x", "y"]}, [(("a", 0), ABSENT, "new")]),
        ({"a": ["old", "x", "y"]}, {"a": ["x", "y"]}, [(("a", 0), "old", ABSENT)]),
        ({"a": ["x", "y"]}, {"a": ["x", "z"]}, [(("a", 1), "y", "z")]),
        (
            {"a": [{"url": "u", "branch": "b"}]},
            {"a": [{"url": "u", "branch": "c"}]},
            [(("a", 0, "branch"), "b", "c")],
        ),
        # Elements that have nothing in common are two.
        (
            {"a": [{"url": "u", "ref": ""}]},
            {"a": [{"url": "v", "ref": ""}]},
            [(("a", 0), {"url": "u", "ref": ""}, ABSENT), (("a", 0), ABSENT, {"url": "v", "ref": ""})],
        ),
        ({"a": "x"}, {"a": ["x"]}, [(("a",), "x", ["x"])]),
    ],
)
def test_diff_of_two_slices_lists_changed_values(before: Any, after: Any, expected: list[Any]) -> None:
    assert changes(before, after) == expected


JSON = st.recursive(
    st.text(max_size=3) | st.booleans() | st.integers(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=4),
    max_leaves=12,
)


@given(JSON, JSON)
def test_diff_is_empty_only_if_slices_are_equal_but_for_empty_sections(before: Any, after: Any) -> None:
    """An empty section counts as an absent one."""
    assert changes(before, before) == []
    if changes(before, after) == []:
        assert emptied(before) == emptied(after)


def emptied(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: kept for name, inner in value.items() if (kept := emptied(inner)) not in ({}, [])}
    return [emptied(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        ("main", "stable", "main → stable"),
        ("", "dev", '"" → dev'),
        ("a ", "a", '"a " → a'),
        (0, 1, "0 → 1"),
        (False, True, "false → true"),
        (None, "x", "null → x"),
        (ABSENT, "green", "added (green)"),
        ("green", ABSENT, "removed (green)"),
        (ABSENT, "", "added"),
        (ABSENT, {"url": "https://example.org/x", "path": "/x"}, "added (https://example.org/x)"),
        ({"dest": "/data", "readonly": True}, ABSENT, "removed (/data)"),
        (ABSENT, {"name": "TOKEN", "variable": ""}, "added"),
        (ABSENT, "one\ntwo", "added (one …)"),
        ("a\nb\n", "a\nc\n", "changed (line 2: b → c)"),
        ("a\nb\n", "a\nb\nc\n", "changed (line 3 added: c)"),
        ("a\nb\nc\n", "b\nc\n", "changed (line 1 removed: a)"),
        ("a\nb\nc\nd\n", "x\nb\nc\ny\n", "changed (line 1: a → x, and more)"),
        ("a\nb\nc\n", "x\ny\nc\n", "changed (line 1: a → x, and more)"),
        ("a\nb", "a\nb\n", "changed (the end of its last line)"),
        ("echo \x1b[31m", "echo", r"echo \x1b[31m → echo"),
    ],
)
def test_diff_value_change_is_described(before: Any, after: Any, text: str) -> None:
    assert words(before, after) == text


def test_diff_long_values_are_shown_from_first_difference() -> None:
    text = words(f"https://example.org/{'a' * 50}/one/{'b' * 50}", f"https://example.org/{'a' * 50}/two/{'b' * 50}")
    assert text == f"…aaaaa/one/{'b' * 20}… → …aaaaa/two/{'b' * 20}…"


def test_diff_long_value_with_appended_text_shows_its_end() -> None:
    assert words("x" * 40, "x" * 40 + "end") == "…xxxxxx → …xxxxxxend"


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (f"644 {ONE}", f"644 {OTHER}", "changed"),
        (f"644 {ONE}", f"755 {ONE}", "made executable"),
        (f"755 {ONE}", f"644 {ONE}", "no longer executable"),
        (f"644 {ONE}", f"755 {OTHER}", "changed and made executable"),
        (f"644 {ONE}", f"600 {ONE}", "mode 644 → 600"),
        (f"755 {ONE}", f"4755 {OTHER}", "changed and mode 755 → 4755"),
        ("dir", "dir 1757", "mode 755 → 1757"),
        ("dir 700", "dir", "mode 700 → 755"),
        ("dir 700", "dir 2755", "mode 700 → 2755"),
        ("dir 700", f"600 {ONE}", "changed"),
        ("link a", "link b", "link a → link b"),
        ("dir", f"644 {ONE}", "changed"),
        (ABSENT, f"644 {ONE}", "added"),
        ("dir", ABSENT, "removed"),
        (ONE, OTHER, "changed"),
    ],
)
def test_diff_file_change_is_described(before: Any, after: Any, text: str) -> None:
    assert words(before, after, "file") == text


def test_diff_image_change_shows_beginnings_of_ids() -> None:
    assert words(f"sha256:{ONE}", f"sha256:{OTHER}", "image") == "moved from 111111111111… to 222222222222…"
