"""Whatever a config holds, an error is one of ours; what is equal hashes equally."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from unit_helpers import SOMEWHERE, load, write

from phases.core import slices, yamltree
from phases.core.errors import HabitatError
from phases.core.variables import Env, expand, in_image
from phases.registry import PHASES

FEW = settings(
    derandomize=True, max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)

WORDS = st.sampled_from(
    [
        "base_image",
        "name",
        "env",
        "files",
        "setup",
        "repos",
        "verify-fs",
        "tests",
        "entry",
        "timeouts",
        "root",
        "user",
        "path",
        "url",
        "source",
        "dest",
        "debian",
        "A=1",
        "${A}",
        "$A",
        "$",
        "-",
        ":",
        "[",
        "]",
        "{",
        "}",
        "&",
        "*",
        "!",
        "|",
        ">",
        "#",
        "'",
        '"',
        ",",
        "?",
        "~",
        "<<:",
        "null",
        "/x",
        "~/x",
        "../x",
        "0644",
        "true",
        "3m",
    ]
)
SPACES = st.sampled_from([" ", "\n", "\n  ", "\n    ", "\n  - ", ": ", "\t", ""])
YAMLISH = st.lists(st.tuples(WORDS, SPACES), max_size=25).map(lambda pairs: "".join(map("".join, pairs)))


def loads_or_is_refused(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "habitats/demo/config.yaml"
        path.parent.mkdir(parents=True)
        path.write_bytes(text.encode(errors="surrogateescape"))
        try:
            habitat = load(Path(folder))
        except HabitatError as error:
            said = str(error)
        else:
            said = f"habitats/demo {habitat.name}"
        assert "\n" not in said
        assert "config.yaml" in said or "habitats/demo" in said


@FEW
@given(YAMLISH)
def test_text_like_yaml_loads_or_is_refused_in_one_line(text: str) -> None:
    loads_or_is_refused(f"base_image: debian\n{text}")


@FEW
@given(st.text(max_size=60))
def test_any_text_loads_or_is_refused_in_one_line(text: str) -> None:
    assume(not any(0xD800 <= ord(char) < 0xDC80 or 0xDCFF < ord(char) <= 0xDFFF for char in text))
    loads_or_is_refused(text)


@FEW
@given(st.binary(max_size=60))
def test_any_bytes_load_or_are_refused(data: bytes) -> None:
    loads_or_is_refused(data.decode(errors="surrogateescape"))


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["$A", "/x", "root"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6) | WORDS, inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(
    [
        "name",
        "description",
        "base_image",
        "env",
        "files",
        "volumes",
        "setup",
        "repos",
        "verify-fs",
        "tests",
        "entry",
        "debug",
        "timeouts",
        "other",
    ]
)


@FEW
@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_any_value_of_any_key_loads_or_is_refused(config: dict[str, Any]) -> None:
    loads_or_is_refused(yaml.safe_dump({"base_image": "debian", **config}))


TEMPLATES = st.text(alphabet="$${}AB_1 /:=ä\n", max_size=12)


@FEW
@given(TEMPLATES)
def test_expanding_gives_text_or_is_refused(text: str) -> None:
    try:
        found = expand(text, lambda name: f"<{name}>", SOMEWHERE)
    except HabitatError as error:
        assert "write $$ for a dollar sign" in str(error)  # noqa: PT017 (it may succeed as well)
    else:
        assert "$" not in text or found != text


@FEW
@given(st.lists(st.tuples(st.sampled_from("ABC"), TEMPLATES).map("=".join) | st.text(max_size=6), max_size=5))
def test_any_env_resolves_or_is_refused(entries: list[str]) -> None:
    try:
        env = Env((text, SOMEWHERE) for text in entries)
        values = {
            name: in_image(value, {"A": "1", "B": "$", "_1": "x"}, SOMEWHERE) for name, value in env.values.items()
        }
    except HabitatError:
        return
    assert set(values) == {text.partition("=")[0] for text in entries}


@FEW
@given(st.text(alphabet="$ab{}\\'\" ", max_size=10))
def test_a_value_without_variables_arrives_as_it_was_meant(text: str) -> None:
    env = Env([(f"A={text.replace('$', '$$')}", SOMEWHERE)])
    assert env.get("A") == text
    assert in_image(env.values["A"], {}, SOMEWHERE) == text


# Hashes

NAMES = st.sampled_from(["A", "B", "C", "PATH"])
TEXT = st.text(alphabet="abc /._-", min_size=1, max_size=6).map(lambda text: f"x{text}x")
CONFIGS = st.fixed_dictionaries(
    {},
    optional={
        "env": st.lists(st.tuples(NAMES, TEXT).map("=".join), max_size=3),
        "setup": st.dictionaries(st.sampled_from(["root", "user", "zoe"]), st.lists(TEXT, max_size=2), max_size=3),
        "repos": st.lists(
            st.fixed_dictionaries(
                {"url": st.sampled_from(["u", "v"]), "path": st.sampled_from(["/p", "q"])},
                optional={
                    "branch": st.sampled_from(["b", "1.10"]),
                    "depth": st.integers(0, 3),
                    "setup": st.lists(TEXT),
                },
            ),
            max_size=2,
        ),
        "verify-fs": st.fixed_dictionaries({"required_files": st.lists(st.sampled_from(["/a", "b"]), max_size=2)}),
        "entry": st.fixed_dictionaries({}, optional={"command": TEXT, "init_command": TEXT}),
    },
)

#: The phase that a key belongs to.
OWNER = {"env": "env", "setup": "setup", "repos": "repos", "verify-fs": "verify", "entry": "final"}
ORDER = [phase.NAME for phase in PHASES[1:]]


def shuffled(value: Any, rng: random.Random) -> Any:
    """The same, the keys of its mappings in another order."""
    if isinstance(value, dict):
        keys = list(value)
        rng.shuffle(keys)
        return {key: shuffled(value[key], rng) for key in keys}
    return [shuffled(one, rng) for one in value] if isinstance(value, list) else value


def hashes(root: Path, text: str) -> dict[str, str]:
    habitat = load(root, text)
    return {phase.NAME: slices.digest(phase.slice(habitat)) for phase in PHASES[1:]}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    write(folder, "habitats/demo/note", "x")
    return folder


@FEW
@given(config=CONFIGS, seed=st.integers(0, 99))
def test_equal_configs_have_equal_hashes_however_they_are_written(
    root: Path, config: dict[str, Any], seed: int
) -> None:
    whole = {"base_image": "debian", **config}
    block = yaml.safe_dump(whole, default_flow_style=False, sort_keys=False)
    flow = yaml.safe_dump(shuffled(whole, random.Random(seed)), default_flow_style=True, sort_keys=False, width=30)
    other = "# a comment\n" + flow.replace("{", "{ ", 1)
    assert hashes(root, block) == hashes(root, other)


@FEW
@given(before=CONFIGS, after=CONFIGS, key=st.sampled_from(list(OWNER)))
def test_a_key_changes_no_hash_before_its_own_phase(
    root: Path, before: dict[str, Any], after: dict[str, Any], key: str
) -> None:
    """The two configs differ in `key` alone."""
    changed = {name: value for name, value in before.items() if name != key}
    if key in after:
        changed[key] = after[key]
    old = hashes(root, yaml.safe_dump({"base_image": "debian", **before}))
    new = hashes(root, yaml.safe_dump({"base_image": "debian", **changed}))
    first = ORDER.index(OWNER[key])
    assert [name for name in ORDER[:first] if old[name] != new[name]] == []


LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=8)


@FEW
@given(st.recursive(LEAVES, lambda v: st.lists(v) | st.dictionaries(st.text(max_size=4), v), max_leaves=8))
def test_canonical_form_depends_on_the_value_alone(value: Any) -> None:
    assert slices.canonical(value) == slices.canonical(shuffled(value, random.Random(1)))


@FEW
@given(YAMLISH)
def test_every_value_of_a_tree_has_a_line_of_its_file(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), "x.yaml")
        path.write_text(text)
        try:
            tree = yamltree.load(path, layer="local", shown="x.yaml")
        except HabitatError:
            return
    last = text.count("\n") + 1
    todo = [tree]
    while todo:
        one = todo.pop()
        assert 1 <= one.origin.line <= last
        todo += one.value.values() if isinstance(one.value, dict) else one.value if isinstance(one.value, list) else []
