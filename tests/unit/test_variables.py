"""`$NAME` in config values."""

from __future__ import annotations

import pytest
from unit_helpers import SOMEWHERE

from phases.core.errors import ConfigError
from phases.core.variables import DEFAULT_PATH, Env, expand, in_image


def env(*entries: str) -> Env:
    return Env((text, SOMEWHERE) for text in entries)


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        (["A=1"], {"A": "1"}),
        (["A=1", "A=2"], {"A": "2"}),
        (["A=1", "B=$A", "A=2"], {"A": "2", "B": "2"}),
        (["A=1", "A=${A}2", "A=${A}3"], {"A": "123"}),
        (["A=x", "B=${A}y", "C=$B-$A"], {"A": "x", "B": "xy", "C": "xy-x"}),
        (["B=$A", "A=later"], {"B": "later", "A": "later"}),
        (["PATH=/x:$PATH"], {"PATH": "/x:${PATH}"}),
        (["PATH=/x:$PATH", "PATH=/y:$PATH"], {"PATH": "/y:/x:${PATH}"}),
        (["A=$OTHER"], {"A": "${OTHER}"}),
        (["A=$$B"], {"A": "$$B"}),
        (["A="], {"A": ""}),
        (["A=b=c"], {"A": "b=c"}),
        (["A= spaced "], {"A": " spaced "}),
        (["a=1", "A=$a"], {"a": "1", "A": "1"}),
        (["A=1", "B=${A}BC $A.x"], {"A": "1", "B": "1BC 1.x"}),
    ],
)
def test_env_definitions_resolve_references(entries: list[str], expected: dict[str, str]) -> None:
    assert env(*entries).values == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("/x:${PATH}", "/x:/image/bin"),
        ("$$5", "$5"),
        ("$$$$", "$$"),
        ("${HOME}", "/root"),
    ],
)
def test_env_value_is_completed_with_image_environment(template: str, expected: str) -> None:
    assert in_image(template, {"PATH": "/image/bin", "HOME": "/root"}, SOMEWHERE) == expected


def test_env_path_of_image_without_path_is_engine_default() -> None:
    assert in_image("/x:${PATH}", {}, SOMEWHERE) == f"/x:{DEFAULT_PATH}"


def test_env_reference_to_unset_variable_is_error() -> None:
    with pytest.raises(ConfigError) as excinfo:
        in_image("${HOEM}", {"HOME": "/root"}, SOMEWHERE)
    assert str(excinfo.value) == (
        f"{SOMEWHERE}: ${{HOEM}} is set neither in env nor by the base image: did you mean 'HOME'?"
    )


@pytest.mark.parametrize(
    ("entries", "name", "expected"),
    [(["A=$$5"], "A", "$5"), (["A=x", "B=$A$$A"], "B", "x$A"), ([], "A", "")],
)
def test_env_get_expands_references_and_escaped_dollars(entries: list[str], name: str, expected: str) -> None:
    assert env(*entries).get(name) == expected


def test_env_expand_uses_last_definitions() -> None:
    actual = env("A=1", "B=$A/x", "A=2").expand("$B $$A ${A}", SOMEWHERE)
    assert actual == "2/x $A 2"


@pytest.mark.parametrize("entries", [["A=$A$B", "B=$A"], ["A=$B", "B=$C", "C=$A"], ["A=1", "B=$A", "A=$B"]])
def test_env_cycle_is_error(entries: list[str]) -> None:
    with pytest.raises(ConfigError, match="is a cycle"):
        env(*entries)


@pytest.mark.parametrize("text", ["$", "a$", "$5", "${", "${A", "${A-b}", "$ä", "${}", "a$$$"])
def test_env_lone_dollar_sign_is_error(text: str) -> None:
    with pytest.raises(ConfigError, match="a lone "):
        expand(text, lambda name: name, SOMEWHERE)


@pytest.mark.parametrize("text", ["A", "=x", "1A=x", "A B=x", "Ä=x", "", "-A=1"])
def test_env_entry_without_assignment_is_error(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is not NAME=value|is not the name of a variable|no name before the ="):
        env(text)
