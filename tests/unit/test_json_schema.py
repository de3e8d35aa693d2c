"""docs/config.schema.json tells editors what the loader takes: no more is refused there, and the structure is."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 (of a dataclass)
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from conftest import ROOT
from hostile_values import CASES as HOSTILE
from hostile_values import PLACES, YAML, yaml_file
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from test_config_errors import CASES as ERRORS
from test_readme import sample
from unit_helpers import write

from phases.core.config import loader, validation, yaml_tree
from phases.core.config.json_schema import json_schema, personal_schema, published
from phases.core.errors import ConfigError
from phases.core.problems import Problems
from phases.core.scaffold import template
from phases.core.scaffold.clone_urls import clones
from phases.registry import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA = json_schema(NAMES)
VALIDATOR = Draft202012Validator(SCHEMA)

# As YAML 1.2 has it, which editors read.
_CORE = (
    (re.compile(r"~|null|Null|NULL|"), lambda _: None),
    (re.compile(r"true|True|TRUE|false|False|FALSE"), lambda text: text.lower() == "true"),
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
)


def as_an_editor_sees_it(text: str | bytes) -> Any:
    return _seen(yaml.compose(text, Loader=yaml.CSafeLoader))


def _seen(node: yaml.Node | None) -> Any:
    if isinstance(node, yaml.MappingNode):
        return {key.value: _seen(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_seen(element) for element in node.value]
    if not isinstance(node, yaml.ScalarNode) or node.style:
        return node and node.value
    for form, read in _CORE:
        if form.fullmatch(node.value) and len(node.value) < 400:
            return read(node.value)
    return node.value


def refusals(text: str | bytes) -> list[str]:
    """What an editor says of a config.yaml."""
    return [error.message for error in VALIDATOR.iter_errors(as_an_editor_sees_it(text))]


@dataclass
class Outcome:
    """Whether a config.yaml is refused by the schema, by the model, and by the loader. What is no YAML
    that we read is nothing for an editor either.
    """

    root: Path
    text: str | bytes

    def __post_init__(self) -> None:
        path = write(self.root, "habitats/demo/config.yaml")
        path.write_bytes(self.text if isinstance(self.text, bytes) else self.text.encode())
        try:
            tree = yaml_tree.load(path, layer="local", shown="config.yaml")
        except ConfigError:
            self.by_schema = self.by_model = True
            return
        self.by_schema = bool(refusals(self.text))
        problems = Problems()
        self.by_model = _fails(validation.validate, tree, problems) or bool(problems)

    @property
    def by_loader(self) -> bool:
        return _fails(loader.load, self.root, "demo", NAMES)


def _fails(act: Any, *args: object) -> bool:
    try:
        act(*args)
    except ConfigError:
        return True
    return False


def check(root: Path, text: str | bytes, *, structure: bool = True) -> None:
    """structure: whether what the model refuses has to be refused by the schema."""
    outcome = Outcome(root, text)
    if outcome.by_schema:
        assert outcome.by_loader, (text, refusals(text))
    elif structure:
        assert not outcome.by_model, text


# The file


def test_schema_in_docs_equals_schema_of_model() -> None:
    text = (ROOT / "docs" / "config.schema.json").read_text(encoding="utf-8")
    assert text == published(SCHEMA), "run .venv/bin/python script/schemas"
    text = (ROOT / "docs" / "personal.schema.json").read_text(encoding="utf-8")
    assert text == published(personal_schema(NAMES)), "run .venv/bin/python script/schemas"


def test_schema_is_valid_json_schema() -> None:
    for schema in (SCHEMA, personal_schema(NAMES)):
        Draft202012Validator.check_schema(json.loads(published(schema)))


def keys(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key of the schema, those within lists as well."""
    for choice in node.get("anyOf", ()):
        yield from keys(choice, path)
    yield from keys(node["items"], f"{path}[]") if "items" in node else ()
    for key, value in node.get("properties", {}).items():
        yield f"{path}.{key}", value
        yield from keys(value, f"{path}.{key}")


def test_schema_describes_every_key() -> None:
    free = re.compile(r"\.(setup|timeouts)\.\w+")
    actual = {path: value for path, value in keys(SCHEMA) if not free.fullmatch(path)}
    assert {".env", ".files[].mode", ".entry.limits.pids", ".setup[].run_as"} <= set(actual)
    silent = [path for path, value in actual.items() if not value.get("description")]
    assert silent == [], "say beside the key in phases/core/config/schema/ what it is for"


# What is there


EXAMPLES = sorted(path for path in ROOT.glob("*/**/config.yaml") if not path.is_relative_to(ROOT / ".venv"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_schema_accepts_example_configs(path: Path) -> None:
    assert refusals(path.read_bytes()) == []


def test_schema_accepts_samples_of_readme_and_plan() -> None:
    assert refusals(sample()) == []
    assert refusals((ROOT / "tests" / "unit" / "plan_sample.yaml").read_bytes()) == []


@pytest.mark.parametrize("urls", [(), ("https://example.org/a.git", "git@example.org:b")])
def test_schema_accepts_new_habitat_config(urls: tuple[str, ...]) -> None:
    assert refusals(template.text("debian", clones(urls, "--repo"))) == []


@pytest.mark.parametrize(
    "path",
    [path for path in EXAMPLES if "tests" not in path.relative_to(ROOT).parts],
    ids=lambda path: path.parent.name,
)
def test_example_config_first_line_refers_to_schema(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    match = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)
    assert match
    assert (path.parent / match[1]).resolve() == ROOT / "phases" / "config.schema.json"


# What is refused

VALID = [
    "",
    "~",
    "description:",
    "description: 1.10\nbase_image: debian",
    "description: true\nbase_image: debian",
    "base_image: debian\nenv:\nfiles: ~\nentry:\n  limits:\ntimeouts: {setup: }",
    "base_image: debian\nfiles:\n  - {source: ., dest: /x, mode: 0600}",
    "base_image: debian\nfiles:\n  - {source: ., dest: /x, mode: '4755', owner: ''}",
    "base_image: debian\nrepos:\n  - {url: u, path: p, depth: '7', branch: 1.10, ssh_agent: False}",
    "base_image: debian\nrepos:\n  - {url: u, path: p, depth: 1.0, ref: 0123456}",
    "base_image: debian\ndebug: 1",
    "base_image: debian\ndebug: 'TRUE'",
    "base_image: debian\nentry: {startup_delay: '1.5', limits: {memory: 536870912, cpus: '2', pids: 0}, network: ''}",
    "base_image: debian\nentry: {limits: {memory: ' 1.5 GiB '}}",
    "base_image: debian\ntimeouts: {setup: 90, test: 1h 30m}",
    "base_image: debian\nsetup: {root: [true, 1], user: }",
    "base_image: debian\nsetup: [{commands: [x]}, {run_as: root, commands: []}]",
    "base_image: debian\nsecrets: [{name: 1, env: X, phases: [setup], variable: ''}]",
]

STRUCTURAL = [
    "setpu: []",
    "setpu:",
    "entry: {comand: }",
    "entry: {limits: {memroy: 1g}}",
    "verify-fs: {required: }",
    "files: [{source: a}]",
    "files: [{source: a, dest: ~}]",
    "files: [~]",
    "env: [[A=1]]",
    "env: {A: 1}",
    "env: [~]",
    "setup: apt",
    "setup: [apt]",
    "setup: {root: apt}",
    "setup: {root: [{a: b}]}",
    "setup: [{run_as: root}]",
    "debug: maybe",
    "debug: 2",
    "debug: []",
    "description: [a]",
    "entry: {startup_delay: soon}",
    "entry: {limits: {cpus: many}}",
    "repos: [{url: u, path: p, depth: many}]",
    "repos: [{url: u, path: p, depth: '010'}]",
    "timeouts: {setup: [1]}",
    "tests: x",
]


@pytest.mark.parametrize("text", VALID)
def test_schema_accepts_valid_configs(tmp_path: Path, text: str) -> None:
    outcome = Outcome(tmp_path, text)
    assert (outcome.by_schema, outcome.by_model) == (False, False), refusals(text)


@pytest.mark.guarantee("schema-agrees-with-loader")
@pytest.mark.parametrize("text", STRUCTURAL)
def test_schema_and_model_refuse_structural_errors(tmp_path: Path, text: str) -> None:
    outcome = Outcome(tmp_path, f"base_image: debian\n{text}\n")
    assert (outcome.by_schema, outcome.by_model, outcome.by_loader) == (True, True, True)


@pytest.mark.parametrize("text", [case[1] for case in ERRORS], ids=[case[0] for case in ERRORS])
def test_schema_refuses_structural_errors_among_known_errors(tmp_path: Path, text: str) -> None:
    check(tmp_path, f"base_image: debian\n{text}\n")


@pytest.mark.guarantee("schema-agrees-with-loader")
@pytest.mark.parametrize("place", [place.name for place in PLACES])
def test_schema_accepts_hostile_values_that_loader_accepts(tmp_path: Path, place: str) -> None:
    offered = [case for case in HOSTILE if case.place.name == place]
    assert offered
    for case in offered:
        if case.taken:
            assert refusals(case.config()) == [], case
        else:
            # How long a number may be is no matter of structure.
            check(tmp_path, case.config(), structure=case.kind != "a huge number")


# What is large is refused before anybody looks at its structure.
@pytest.mark.parametrize("kind", [kind for kind in YAML if len(yaml_file(kind)) < 20_000])
def test_schema_accepts_odd_yaml_that_loader_accepts(tmp_path: Path, kind: str) -> None:
    check(tmp_path, yaml_file(kind))


KEYS = sorted({path.rpartition(".")[2] for path, _ in keys(SCHEMA)} | {"base", "Env"})
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 10_000),
    st.floats(-5, 10_000, allow_nan=False),
    st.sampled_from(["", "x", "A=1", "1", "0600", "yes", "true", "90s", "4g", "none", "root", "setup", "$X", "~"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.guarantee("schema-agrees-with-loader")
@settings(max_examples=150, deadline=None)
@given(document=st.dictionaries(st.sampled_from([*SCHEMA["properties"], "Env"]), VALUES, max_size=5))
def test_schema_agrees_with_model_for_any_document(
    tmp_path_factory: pytest.TempPathFactory, document: dict[str, Any]
) -> None:
    check(tmp_path_factory.mktemp("any"), yaml.safe_dump(document))


# The personal config


PERSONAL = Draft202012Validator(personal_schema(NAMES))
FLAWS = [
    "env: [A=1]",
    "base_image: x",
    "files: []",
    "extends: [claude]",
    "entry: {command: x}",
    "entry: {instruction_files: [~/x]}",
    "entry: {files: [{source: rc}]}",
    "entry: {files: [{source: rc, dest: ~/x, after: setup}]}",
    "entry: {files: rc}",
    "entry: [A=1]",
    "entri: {}",
    "identity: Ada",
    "identity: {nam: Ada}",
    "identity: {name: 'A <b>'}",
    "identity: {email: '  '}",
    "identity: {email: [a]}",
    "instructions: {text: x}",
    "secrets: [{name: A, env: A}]",
    "secrets: [{name: A, env: A, start: false}]",
    "secrets: [{name: A, env: A, start: 0}]",
    "secrets: [{name: A, env: A, start: true, phases: [setup]}]",
    "- a",
]
SOUND = [
    "",
    "identity: {name: Ada L., email: ada@example.org}",
    "identity: {name: e\u0301 \U0001f469}",
    "identity:",
    "entry: {env: [A=1], persist: [~/x/], files: [{source: rc, dest: ~/.rc, owner: root, mode: 0644}]}",
    "entry: {env: , files: }",
    "instructions: [Text., {file: rc}]",
    "instructions: Text.",
    "instructions: {file: rc}",
    *(f"secrets: [{{name: A, env: A, start: {yes}, variable: B}}]" for yes in ("true", "True", "1", "'true'", "'1'")),
]


@pytest.mark.parametrize("text", [*FLAWS, *SOUND])
def test_personal_schema_refuses_what_the_loader_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    write(tmp_path, "habitats/rc", "x")
    write(tmp_path, "habitats/config.yaml", text)
    write(tmp_path, "project/habitats/demo/config.yaml", "base_image: base:1\n")
    is_sound = text in SOUND
    with contextlib.nullcontext() if is_sound else pytest.raises(ConfigError):
        loader.load(tmp_path / "project", "demo", NAMES)
    errors = [error.message for error in PERSONAL.iter_errors(as_an_editor_sees_it(text))]
    assert (errors == []) is is_sound, errors
