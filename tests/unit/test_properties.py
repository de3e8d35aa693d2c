"""Whatever a config holds, an error is one of ours; what is equal hashes equally."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import subprocess
import tempfile
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import yaml
from hostile_values import PLACES, Case, Place
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from unit_helpers import SOMEWHERE, load, write

from phases.core import json_types
from phases.core.cache.stamps import Stamps
from phases.core.config import units, yaml_tree
from phases.core.copied_files import NOT_IN_PHASE_6
from phases.core.errors import HabitatError, printable
from phases.core.files import ignore, tree
from phases.core.files.dockerignore import dockerignore
from phases.core.files.habignore import rules_of_tree
from phases.core.files.ignore import DEFAULT_IGNORE
from phases.core.variables import Env, expand, in_image
from phases.registry import PHASES, habitat_phases
from phases.ui.tasks import quoted

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
            for phase in habitat_phases(habitat):
                phase.slice(habitat)
                phase.plan(habitat)
        except HabitatError as error:
            expected = str(error)
        else:
            expected = f"habitats/demo {habitat.name}"
        assert "\n" not in expected
        assert "config.yaml" in expected or "habitats/demo" in expected


@FEW
@given(YAMLISH)
def test_config_of_text_like_yaml_loads_or_is_refused_in_one_line(text: str) -> None:
    loads_or_is_refused(f"base_image: debian\n{text}")


@FEW
@given(st.text(max_size=60))
def test_config_of_any_text_loads_or_is_refused_in_one_line(text: str) -> None:
    assume(not any(0xD800 <= ord(char) < 0xDC80 or 0xDCFF < ord(char) <= 0xDFFF for char in text))
    loads_or_is_refused(text)


@FEW
@given(st.binary(max_size=60))
def test_config_of_any_bytes_loads_or_is_refused(data: bytes) -> None:
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
        "dockerfile",
        "env",
        "files",
        "volumes",
        "caches",
        "setup",
        "hooks",
        "repos",
        "verify-fs",
        "tests",
        "extends",
        "instructions",
        "entry",
        "debug",
        "timeouts",
        "other",
    ]
)


@FEW
@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_config_with_any_value_loads_or_is_refused(config: dict[str, Any]) -> None:
    loads_or_is_refused(yaml.safe_dump({"base_image": "debian", **config}))


TEMPLATES = st.text(alphabet="$${}AB_1 /:=ä\n", max_size=12)


@FEW
@given(TEMPLATES)
def test_expand_any_text_gives_text_or_is_refused(text: str) -> None:
    try:
        actual = expand(text, lambda name: f"<{name}>", SOMEWHERE)
    except HabitatError as error:
        assert "write $$ for a dollar sign" in str(error)  # noqa: PT017 (it may succeed as well)
    else:
        assert "$" not in text or actual != text


@FEW
@given(st.lists(st.tuples(st.sampled_from("ABC"), TEMPLATES).map("=".join) | st.text(max_size=6), max_size=5))
def test_env_any_entries_resolve_or_are_refused(entries: list[str]) -> None:
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
def test_env_value_without_variables_arrives_literally(text: str) -> None:
    env = Env([(f"A={text.replace('$', '$$')}", SOMEWHERE)])
    assert env.get("A") == text
    assert in_image(env.values["A"], {}, SOMEWHERE) == text


@FEW
@given(st.text(max_size=20).map(lambda text: text.replace("$", "")))
def test_env_value_without_dollar_is_unchanged(text: str) -> None:
    env = Env([("A=1", SOMEWHERE), (f"B={text}", SOMEWHERE)])
    assert expand(text, lambda name: f"<{name}>", SOMEWHERE) == text
    assert (env.expand(text, SOMEWHERE), env.values["B"], env.get("B")) == (text, text, text)
    assert in_image(text, {}, SOMEWHERE) == text


@FEW
@given(st.lists(st.tuples(st.sampled_from("ABC"), TEMPLATES).map("=".join), max_size=5))
def test_env_resolved_values_resolve_to_themselves(entries: list[str]) -> None:
    try:
        env = Env((text, SOMEWHERE) for text in entries)
    except HabitatError:
        return
    again = Env((f"{name}={value}", SOMEWHERE) for name, value in env.values.items())
    assert again.values == env.values


# Any text at any place

SIGNS = "$`'\"\\/.~:-@ \n\t\r\x00\x1b\x7f\x9b\u202e\u2028\ufeffé*?[]{}#%&|;<>=!^+ab01"
HOSTILE = st.text(st.sampled_from(SIGNS) | st.characters(exclude_categories=["Cs"]), max_size=12)
READ_AS_ANOTHER = {"files.mode", "timeouts value", "debug"}
#: Not those whose value is read as another, such as 1m.
LITERAL = [place for place in PLACES if not place.on_host and place.name not in READ_AS_ANOTHER]


@settings(FEW, max_examples=250)
@given(place=st.sampled_from(LITERAL), value=HOSTILE)
def test_config_any_text_at_any_place_is_literal_or_refused(root: Path, place: Place, value: str) -> None:
    write(root, "habitats/demo/note", "x")
    try:
        habitat = load(root, Case(place, "any", value, taken=True).config())
        actual = str(place.arrives(habitat))
    except HabitatError as refusal:
        error = refusal
    else:
        assert actual == str(place.meant(value))
        return
    assert re.match(r"(habitats/demo|phases/system)/config\.yaml:\d", str(error))
    assert error.remedy
    assert str(error) == printable(str(error))


@FEW
@given(st.text())
def test_printable_any_text_has_no_control_characters_and_is_stable(text: str) -> None:
    shown = printable(text)
    assert printable(shown) == shown
    assert not any(unicodedata.category(sign) in ("Cc", "Cs") for sign in shown)
    assert shown == text or any(not sign.isprintable() for sign in text)


@FEW
@given(st.lists(st.binary(min_size=1, max_size=8).map(os.fsdecode) | HOSTILE, unique=True, max_size=6))
def test_task_names_of_any_folders_are_unique_and_printable(names: list[str]) -> None:
    assume(not any("/" in name or not name for name in names))
    safe = [quoted(name) for name in names]
    assert len(set(safe)) == len(set(names))
    assert all(name.isprintable() and not set(name) & set("=*") for name in safe)


@FEW
@given(st.binary(max_size=30) | HOSTILE.map(lambda text: text.encode()))
def test_ignore_file_of_any_bytes_works_or_is_refused(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for file in (".habignore", ".dockerignore"):
            (Path(folder) / file).write_bytes(data)
            try:
                top = Path(folder)
                ignore = dockerignore(top) if "docker" in file else rules_of_tree(top, top)
            except HabitatError as error:
                assert file in str(error)  # noqa: PT017 (or it decides)
            else:
                assert {ignore("a"), ignore("a/b/"), ignore("é\n")} <= {True, False}


@FEW
@given(st.binary(max_size=40) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_stamp_of_any_bytes_can_be_read(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), ".stamps/demo/1-base.stamp").write_bytes(data)
        stamps = Stamps(Path(folder))
        assert isinstance(stamps.read("base:demo"), dict)
        assert stamps.is_forgotten("base:demo") in (True, False)


@FEW
@given(HOSTILE | st.sampled_from(["", "9h", "1h 30m", "90", "0", "9999999999h"]))
def test_duration_of_any_text_is_seconds_or_refused(text: str) -> None:
    try:
        seconds = units.duration(text)
    except ValueError:
        return
    assert 0 < seconds <= 365 * 86_400


# Hashes

NAMES = st.sampled_from(["A", "B", "C", "PATH"])
TEXT = st.text(alphabet="abc /._-", min_size=1, max_size=6).map(lambda text: f"x{text}x")
CONFIGS = st.fixed_dictionaries(
    {},
    optional={
        "env": st.lists(st.tuples(NAMES, TEXT).map("=".join), max_size=3),
        "setup": st.dictionaries(st.sampled_from(["root", "user", "zoe"]), st.lists(TEXT, max_size=2), max_size=3),
        "hooks": st.lists(
            st.fixed_dictionaries(
                {"commands": st.lists(TEXT, max_size=2), "after": st.just("workdir")},
                optional={"run_as": st.sampled_from(["root", "user", "zoe"]), "description": TEXT},
            ),
            max_size=2,
        ),
        "repos": st.lists(
            st.fixed_dictionaries(
                {"url": st.sampled_from(["u", "v"]), "path": st.sampled_from(["/p", "q"])},
                optional={
                    "branch": st.sampled_from(["b", "1.10"]),
                    "depth": st.integers(0, 3),
                    "submodules": st.booleans(),
                    "lfs": st.booleans(),
                    "writable": st.booleans(),
                    "setup": st.lists(TEXT),
                },
            ),
            max_size=2,
        ),
        "verify-fs": st.fixed_dictionaries({"required_files": st.lists(st.sampled_from(["/a", "b"]), max_size=2)}),
        "entry": st.fixed_dictionaries({}, optional={"command": TEXT, "init_command": TEXT}),
        "caches": st.lists(st.sampled_from(["~/.npm", "/var/cache/apt"]), max_size=2, unique=True),
        "description": TEXT,
        "instructions": TEXT | st.lists(TEXT, max_size=2),
        "debug": st.booleans(),
        "timeouts": st.dictionaries(st.sampled_from(["setup", "test"]), st.sampled_from(["3m", "90s"]), max_size=2),
    },
)

#: The phase that a key belongs to, "" where it means nothing to a build.
OWNER = {
    "env": "env",
    "caches": "setup",
    "setup": "setup",
    "hooks": "workdir",
    "repos": "repos",
    "verify-fs": "verify",
    "entry": "final",
    "description": "",
    "instructions": "",
    "debug": "",
    "timeouts": "",
}
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
    return {phase.NAME: json_types.digest(phase.slice(habitat)) for phase in PHASES[1:]}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    write(folder, "habitats/demo/note", "x")
    return folder


@pytest.mark.guarantee("equal-configs-equal-hashes")
@FEW
@given(config=CONFIGS, seed=st.integers(0, 99))
def test_hashes_of_equal_configs_are_equal_in_any_spelling(root: Path, config: dict[str, Any], seed: int) -> None:
    whole = {"base_image": "debian", **config}
    block = yaml.safe_dump(whole, default_flow_style=False, sort_keys=False)
    flow = yaml.safe_dump(shuffled(whole, random.Random(seed)), default_flow_style=True, sort_keys=False, width=30)
    other = "# a comment\n" + flow.replace("{", "{ ", 1)
    assert hashes(root, block) == hashes(root, other)


def split(value: Any, rng: random.Random) -> tuple[Any, Any]:
    """Two configs that, one laid over the other, are the whole."""
    if isinstance(value, dict):
        pairs = {key: split(part, rng) for key, part in value.items()}
        under, over = ({key: pair[side] for key, pair in pairs.items()} for side in (0, 1))
        return {key: part for key, part in under.items() if part is not None}, over
    if isinstance(value, list):
        at = rng.randint(0, len(value))
        return value[:at], value[at:]
    return None, value


@FEW
@given(config=CONFIGS, seed=st.integers(0, 99), style=st.sampled_from([None, '"', "'"]))
def test_hashes_of_equal_configs_are_equal_in_any_layer(
    root: Path, config: dict[str, Any], seed: int, style: str | None
) -> None:
    write(root, "shared/note", "x")
    write(root, "shared/config.yaml", "")
    whole = hashes(root, yaml.safe_dump({"base_image": "debian", **config}))
    shared, local = split(config, random.Random(seed))
    write(root, "shared/config.yaml", yaml.safe_dump(shared, default_style=style))
    try:
        assert hashes(root, yaml.safe_dump({"base_image": "debian", **local}, default_style=style)) == whole
    finally:
        write(root, "shared/config.yaml", "")


@FEW
@given(CONFIGS)
def test_slices_and_plans_are_deterministic(root: Path, config: dict[str, Any]) -> None:
    """Nothing but the config is in them, and no engine is asked."""
    text = yaml.safe_dump({"base_image": "debian", **config})
    one, other = load(root, text), load(root, text)
    for phase in habitat_phases(one):
        first = phase.plan(one)
        assert json_types.canonical(phase.slice(one)) == json_types.canonical(phase.slice(one))
        assert json_types.canonical(phase.slice(one)) == json_types.canonical(phase.slice(other))
        assert first == phase.plan(one) == phase.plan(other)


@pytest.mark.guarantee("equal-configs-equal-hashes")
@FEW
@given(before=CONFIGS, after=CONFIGS, key=st.sampled_from(list(OWNER)))
def test_config_key_changes_no_hash_before_its_phase(
    root: Path, before: dict[str, Any], after: dict[str, Any], key: str
) -> None:
    """The two configs differ in `key` alone."""
    changed = {name: value for name, value in before.items() if name != key}
    if key in after:
        changed[key] = after[key]
    old = hashes(root, yaml.safe_dump({"base_image": "debian", **before}))
    new = hashes(root, yaml.safe_dump({"base_image": "debian", **changed}))
    first = ORDER.index(OWNER[key]) if OWNER[key] else len(ORDER)
    assert [name for name in ORDER[:first] if old[name] != new[name]] == []


LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=8)


@FEW
@given(st.recursive(LEAVES, lambda v: st.lists(v) | st.dictionaries(st.text(max_size=4), v), max_leaves=8))
def test_canonical_json_depends_only_on_value(value: Any) -> None:
    assert json_types.canonical(value) == json_types.canonical(shuffled(value, random.Random(1)))


@FEW
@given(YAMLISH)
def test_yaml_tree_every_value_has_line_of_its_file(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), "x.yaml")
        path.write_text(text)
        try:
            tree = yaml_tree.load(path, layer="local", shown="x.yaml")
        except HabitatError:
            return
    last = text.count("\n") + 1
    todo = [tree]
    while todo:
        one = todo.pop()
        assert 1 <= one.origin.line <= last
        todo += one.value.values() if isinstance(one.value, dict) else one.value if isinstance(one.value, list) else []


# Patterns of what is left out


_WORDS = st.text(alphabet="ab._-*/!# Ä~?\\", max_size=6)
# Without a newline, which the library's patterns stop at, and git's don't.
_NAMES = st.text(alphabet="ab._-* Ä~#", min_size=1, max_size=5).filter(lambda name: name not in (".", ".."))


@settings(FEW, max_examples=400)
@given(
    st.lists(_WORDS | st.sampled_from([*DEFAULT_IGNORE, "/config.yaml", "/tests/", "build/"]), max_size=4),
    st.lists(
        _NAMES | st.sampled_from(["x.pem", "config.yaml", "tests", ".git", "build", ".x.swp", "#a#", "a~", "~"]),
        min_size=1,
        max_size=3,
    ),
    st.booleans(),
)
def test_ignore_patterns_plain_match_like_those_of_pathspec(
    patterns: list[str], parts: list[str], is_folder: bool
) -> None:
    plain = tuple(pattern for pattern in patterns if ignore._plain_match(pattern))
    path = "/".join(parts) + ("/" if is_folder else "")
    assert ignore._verdict(plain)(path) == ignore._full_verdict(plain)(path)


_PARTS = st.sampled_from(["a", "b", "a*", "*", "?", "[ab]", "**", "x.md", "*.md", "*b", "a*b", ".x*", "?*b"])
_PATTERNS = st.tuples(
    st.sampled_from(["", "", "!"]),
    st.sampled_from(["", "/"]),
    st.lists(_PARTS, min_size=1, max_size=3).map("/".join),
    st.sampled_from(["", "/"]),
).map("".join)
_PATTERNS = _PATTERNS.filter(lambda pattern: not pattern.endswith("**/"))  # pathspec takes `x/**/` for `x/`


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "--quiet", root], check=True)
    for path in itertools.product(["a", "b", "ab", "x.md"], ["a", "ab", "x.md", ".x"], ["a", "b", "x.md"]):
        write(root, "/".join(path))
    return root


@settings(FEW, max_examples=50)
@given(st.lists(_PATTERNS, min_size=1, max_size=4))
def test_habignore_leaves_out_what_git_does(repository: Path, lines: list[str]) -> None:
    for name in (".gitignore", ".habignore"):
        write(repository, name, "\n".join(["/.*ignore", "/.git", *lines, "/.*ignore", "/.git", ""]))
    argv = ["git", "-C", str(repository), "ls-files", "--others", "--exclude-standard"]
    by_git = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()
    items = tree.walk(repository, rules_of_tree(repository, repository))
    assert sorted(item.path for item in items if item.kind == "file") == sorted(by_git)


def test_ignore_patterns_of_program_need_no_pathspec() -> None:
    lines = [*DEFAULT_IGNORE, *ignore.TOOL_FOLDERS, *NOT_IN_PHASE_6]
    assert all(map(ignore._plain_match, lines))
