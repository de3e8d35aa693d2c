"""`extends:` lays configs with names between the system layer and the shared one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from unit_helpers import DemoProject, load, make_user, write

from phases import p06_files, p09_tools, p11_test
from phases.core import json_types
from phases.core.config import yaml_tree
from phases.core.config.layers import extends
from phases.core.config.mounts.host_paths import MountTable
from phases.core.config.mounts.own_places import OwnPlaces
from phases.core.errors import ConfigError, HabitatError
from phases.core.origin import ConfigLayer
from phases.core.report.plan import plan
from phases.protocol import Copy, Run, SetImageConfig, SlicePath
from phases.ui.verbs import layer_tests

if TYPE_CHECKING:
    from pathlib import Path

    from phases.core.model import Habitat

BASE = "base_image: base:1\n"


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that stands for the program's own extends."""
    folder = tmp_path / "package"
    folder.mkdir()
    monkeypatch.setattr(extends, "PACKAGE_FOLDER", folder)
    return folder


def extend(root: Path, name: str, text: str) -> None:
    write(root, f"shared/extends/{name}/config.yaml", text)


def names(habitat: Habitat) -> list[str]:
    return [layer.name for layer in habitat.layers]


def errors(root: Path, text: str = f"{BASE}extends: [a]\n") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(root, text)
    return [str(error) for error in (caught.value, *caught.value.others)]


@pytest.mark.guarantee("extends-between-system-and-shared")
def test_extends_are_merged_in_order_between_system_and_shared(tmp_path: Path) -> None:
    extend(tmp_path, "a", "env: [A=a, WHO=a]\nsetup: {root: [one]}\nuid: 1234\n")
    extend(tmp_path, "b", "env: [B=b, WHO=b]\nsetup: {root: [two]}\n")
    write(tmp_path, "shared/config.yaml", "setup: {root: [three]}\n")
    habitat = load(tmp_path, f"{BASE}extends: [a, b]\nsetup: {{root: [four]}}\n")
    assert names(habitat) == ["system", "extends/a", "extends/b", "shared", "local"]
    assert [command.script for command in habitat.setup] == ["one", "two", "three", "four"]
    assert (habitat.env.get("WHO"), habitat.env.get("A"), habitat.env.get("B")) == ("b", "a", "b")


def test_each_value_of_extend_remembers_its_file_and_line(tmp_path: Path) -> None:
    extend(tmp_path, "a", "setup:\n  root:\n    - make\n")
    (command,) = load(tmp_path, f"{BASE}extends: [a]\n").setup
    assert (command.origin.layer, str(command.origin)) == ("extends/a", "shared/extends/a/config.yaml:3")


def test_extends_of_shared_config_come_before_those_of_habitat(tmp_path: Path) -> None:
    for name in "abc":
        extend(tmp_path, name, f"env: [WHO={name}]\n")
    write(tmp_path, "shared/config.yaml", "extends: [b, c]\n")
    habitat = load(tmp_path, f"{BASE}extends: [a, b]\n")
    assert names(habitat) == ["system", "extends/b", "extends/c", "extends/a", "shared", "local"]


def test_extend_that_extends_others_comes_behind_them_and_each_once(tmp_path: Path) -> None:
    extend(tmp_path, "base", "env: [WHO=base]\n")
    extend(tmp_path, "left", "extends: [base]\nenv: [WHO=left]\n")
    extend(tmp_path, "right", "extends: [base]\nenv: [WHO=right]\n")
    habitat = load(tmp_path, f"{BASE}extends: [left, right, base, left]\n")
    assert names(habitat) == ["system", "extends/base", "extends/left", "extends/right", "shared", "local"]


def test_extend_of_project_takes_precedence_over_that_of_program(tmp_path: Path, package: Path) -> None:
    write(package, "a/config.yaml", "env: [WHO=program]\n")
    write(package, "b/config.yaml", "env: [OTHER=program]\n")
    extend(tmp_path, "a", "env: [WHO=project]\n")
    habitat = load(tmp_path, f"{BASE}extends: [a, b]\n")
    assert (habitat.env.get("WHO"), habitat.env.get("OTHER")) == ("project", "program")
    assert [layer.shown for layer in habitat.layers[1:3]] == ["shared/extends/a", "phases/extends/b"]


def test_extend_gives_base_image_user_and_entry_that_habitat_may_replace(tmp_path: Path) -> None:
    extend(tmp_path, "a", f"{BASE}env: [USER=ann]\nentry: {{command: serve, persist: [~/.a/]}}\n")
    habitat = load(tmp_path, "extends: [a]\nentry: {persist: [~/.b/]}\n")
    assert (habitat.base_image, habitat.user, habitat.entry.command) == ("base:1", "ann", "serve")
    assert [path.path for path in habitat.entry.persist] == ["~/.a/", "~/.b/"]
    assert load(tmp_path, "extends: [a]\nentry: {command: other}\n").entry.command == "other"


def test_same_persistent_path_and_cache_in_extend_and_habitat_count_once(tmp_path: Path) -> None:
    paths = "entry: {persist: [~/.a/, ~/.b]}\ncaches: [/c, {path: /d, sharing: locked}]\n"
    extend(tmp_path, "a", paths)
    extend(tmp_path, "b", paths)
    habitat = load(tmp_path, f"{BASE}extends: [a, b]\nentry: {{persist: [~/.a/]}}\ncaches: [/d]\n")
    assert sorted(path.path for path in habitat.entry.persist) == ["~/.a/", "~/.b"]
    assert {cache.path: (cache.locked, cache.origin.layer) for cache in habitat.caches} == {
        "/c": (False, "extends/b"),
        "/d": (False, "local"),
    }


def test_same_persistent_path_twice_in_one_file_is_an_error(tmp_path: Path) -> None:
    (error,) = errors(tmp_path, f"{BASE}entry: {{persist: [~/.a/, ~/.a/]}}\n")
    assert "keep one of them" in error


@pytest.mark.guarantee("extends-cycle")
def test_cycle_of_extends_is_an_error_with_all_lines(tmp_path: Path) -> None:
    extend(tmp_path, "a", "env: []\nextends: [b]\n")
    extend(tmp_path, "b", "extends:\n  - c\n")
    extend(tmp_path, "c", "\n\nextends: [a]\n")
    assert errors(tmp_path) == [
        (
            "shared/extends/c/config.yaml:3: extends: a extends b (shared/extends/a/config.yaml:2), b extends c "
            "(shared/extends/b/config.yaml:2), and c extends a again: remove one of these lines"
        )
    ]


def test_extend_that_extends_itself_is_an_error(tmp_path: Path, package: Path) -> None:
    write(package, "a/config.yaml", "")
    extend(tmp_path, "a", "extends: [a]\n")
    assert errors(tmp_path) == [
        (
            "shared/extends/a/config.yaml:1: extends: 'a' extends itself: remove the line; to build on the program's "
            "extend of this name, give yours another name"
        )
    ]


UNKNOWN = "habitats/demo/config.yaml:2: extends: there is no extend '{}': {}"
CASES = {
    "misspelt": ("extends: [pyhton]", UNKNOWN.format("pyhton", "did you mean 'python'?")),
    "unknown": ("extends: [zzz]", UNKNOWN.format("zzz", "known here: broken, mine, python")),
    "path": ("extends: [../x]", "habitats/demo/config.yaml:2: extends: '../x' is not a name: write "),
    "absolute": ("extends: [/etc]", "habitats/demo/config.yaml:2: extends: '/etc' is not a name: write "),
    "variable": ("extends: [$HOME]", "habitats/demo/config.yaml:2: extends: '$HOME' is not a name: write "),
    "empty": ('extends: [""]', "habitats/demo/config.yaml:2: extends: '' is not a name: write "),
    "text": ("extends: mine", "habitats/demo/config.yaml:2: extends: must be a list, is text: write a list"),
    "mapping": ("extends: [{mine: 1}]", "habitats/demo/config.yaml:2: extends[0]: must be text, is a mapping: quote"),
    "folder without config": ("extends: [empty]", "shared/extends/empty: has no config.yaml: add it, since"),
    "file": ("extends: [file]", "shared/extends/file: has no config.yaml: add it, since"),
    "broken": ("extends: [broken]", "shared/extends/broken/config.yaml:2:1: is not YAML"),
}


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES)
def test_wrong_extends_is_one_error_with_place_and_remedy(
    tmp_path: Path, package: Path, text: str, expected: str
) -> None:
    extend(tmp_path, "mine", "")
    extend(tmp_path, "broken", "env: [")
    write(tmp_path, "shared/extends/empty/x")
    write(tmp_path, "shared/extends/file")
    write(package, "python/config.yaml", "")
    (error,) = errors(tmp_path, f"{BASE}{text}\n")
    assert error.startswith(expected), error


def test_variable_that_unread_extend_could_set_is_no_second_error(tmp_path: Path) -> None:
    assert len(errors(tmp_path, f"{BASE}extends: [gone]\nentry: {{command: $UNKNOWN}}\n")) == 1


def test_name_in_extend_is_refused_with_its_line(tmp_path: Path) -> None:
    extend(tmp_path, "a", "name: a\n")
    assert errors(tmp_path) == [
        "shared/extends/a/config.yaml:1: name: is allowed only in a habitat's own config: remove it"
    ]


def test_dockerfile_in_extend_is_refused_with_its_line(tmp_path: Path) -> None:
    extend(tmp_path, "a", "dockerfile: Dockerfile\n")
    (error,) = errors(tmp_path)
    assert error.startswith("shared/extends/a/config.yaml:1: dockerfile: is allowed only in a habitat's own config")


def test_errors_of_extends_are_reported_after_those_of_habitat(tmp_path: Path) -> None:
    extend(tmp_path, "a", "zzz: 1\nyyy: 1\n")
    extend(tmp_path, "b", "xxx: 1\n")
    write(tmp_path, "shared/config.yaml", "www: 1\n")
    places = [error.partition(": ")[0] for error in errors(tmp_path, f"{BASE}extends: [b, a]\nvvv: 1\n")]
    expected = ["habitats/demo/config.yaml:3", "shared/config.yaml:1"]
    expected += [f"shared/extends/{place}" for place in ("a/config.yaml:1", "a/config.yaml:2", "b/config.yaml:1")]
    assert places == expected


def test_different_types_in_extend_and_habitat_error_names_both_lines(tmp_path: Path) -> None:
    extend(tmp_path, "a", "setup: {root: [make]}\n")
    (error,) = errors(tmp_path, f"{BASE}extends: [a]\nsetup: [{{commands: [make]}}]\n")
    assert error.startswith("habitats/demo/config.yaml:3: setup is a list here but a mapping in shared/extends/a/")


def test_chain_of_too_many_extends_is_an_error(tmp_path: Path) -> None:
    for number in range(60):
        extend(tmp_path, f"a{number}", f"extends: [a{number + 1}]\n")
    (error,) = errors(tmp_path, f"{BASE}extends: [a0]\n")
    assert error == "shared/extends/a49/config.yaml:1: extends: more than 50 extend each other: use fewer"


def files(root: Path) -> None:
    """Give the extend `a` each kind of file that a layer may have."""
    extend(root, "a", "files: [{source: gitconfig, dest: ~/.gitconfig}]\ntests: [tests/run.sh]\n")
    write(root, "shared/extends/a/gitconfig", "[user]\n")
    write(root, "shared/extends/a/tools/bin/tool", "", 0o755)
    write(root, "shared/extends/a/tools/install-tools.sh", "true\n", 0o755)
    write(root, "shared/extends/a/tests/run.sh", "true\n")


def test_files_of_extend_are_copied_below_habitat_path_as_root(tmp_path: Path) -> None:
    files(tmp_path)
    habitat = load(tmp_path, f"{BASE}extends: [a]\n")
    entries = {
        entry.dest: entry.owner for step in p06_files.plan(habitat) if isinstance(step, Copy) for entry in step.entries
    }
    assert entries["/habitat/extends/a/gitconfig"] == "root"
    assert entries["~/.gitconfig"] == "agent"
    assert not [dest for dest in entries if "config.yaml" in dest or "tools" in dest or "tests" in dest]


def test_tools_of_extend_are_installed_as_root_and_behind_those_of_habitat_on_path(tmp_path: Path) -> None:
    files(tmp_path)
    write(tmp_path, "habitats/demo/tools/x")
    first, *steps = p09_tools.plan(load(tmp_path, f"{BASE}extends: [a]\n"))
    assert isinstance(first, SetImageConfig)
    path = first.env["PATH"][0].split(":")
    assert path.index("/habitat/local/tools/bin") < path.index("/habitat/extends/a/tools/bin")
    assert path.index("/habitat/extends/a/tools/bin") < path.index("/habitat/system/tools/bin")
    (run,) = [step for step in steps if isinstance(step, Run)]
    assert (run.user, run.title) == ("root", "shared/extends/a/tools/install-tools.sh")
    assert run.args == ("/habitat/extends/a/tools/install-tools.sh",)


def test_tests_of_extend_run_from_its_folder_and_by_layer(tmp_path: Path) -> None:
    files(tmp_path)
    habitat = load(tmp_path, f"{BASE}extends: [a]\n")
    (test,) = habitat.tests
    assert (test.dest, test.layer.name) == ("/habitat/extends/a/tests/run.sh", "extends/a")
    assert list(p11_test.slice(habitat)["helpers"]) == ["extends/a"]
    layer_tests.check("demo", "extends/a")
    with pytest.raises(HabitatError, match="there is no layer 'extend'"):
        layer_tests.check("demo", "extend")


def test_extend_without_files_changes_no_slice_of_files_and_tools(tmp_path: Path) -> None:
    extend(tmp_path, "a", "description: Nothing\n")
    before = load(tmp_path, BASE)
    after = load(tmp_path, f"{BASE}extends: [a]\n")
    for phase in (p06_files, p09_tools, p11_test):
        assert json_types.canonical(phase.slice(after)) == json_types.canonical(phase.slice(before))


def test_extends_folder_is_not_copied_with_shared_layer(tmp_path: Path) -> None:
    files(tmp_path)
    write(tmp_path, "shared/profile", "umask 022\n")
    files_slice = json.dumps(p06_files.slice(load(tmp_path, BASE)))
    assert "extends" not in files_slice
    assert "profile" in files_slice


def test_order_of_extends_with_tools_changes_slice_of_tools(tmp_path: Path) -> None:
    for name in "ab":
        extend(tmp_path, name, "")
        write(tmp_path, f"shared/extends/{name}/tools/bin/tool", name, 0o755)
    one = load(tmp_path, f"{BASE}extends: [a, b]\n")
    assert p09_tools.slice(one) != p09_tools.slice(load(tmp_path, f"{BASE}extends: [b, a]\n"))


def test_changes_in_removed_extend_are_described(tmp_path: Path) -> None:
    habitat = load(tmp_path, BASE)
    for phase, key, name in (
        (p06_files, ("layers", "extends/a", "content", "x"), "extends/a/x"),
        (p09_tools, ("tools", "extends/a", "content", "bin/x"), "extends/a/tools/bin/x"),
        (p11_test, ("helpers", "extends/a", ""), "extends/a/tests"),
        (p11_test, ("helpers", "extends/a", "x"), "extends/a/tests/x"),
        (p09_tools, ("order", 0), "extends"),
    ):
        change = phase.describe_change(SlicePath(habitat, {}, key))
        assert change is not None
        assert change.name == name


@pytest.mark.parametrize("key", ["volumes: [.:/habitat/extends]", "entry: {persist: [/habitat/extends/]}"])
def test_nothing_is_mounted_over_files_of_extends(tmp_path: Path, key: str) -> None:
    files(tmp_path)
    write(tmp_path, "data/x")
    (error,) = errors(tmp_path, f"{BASE}extends: [a]\n{key.replace('.:', 'data:')}\n")
    assert "/habitat/extends" in error


@pytest.mark.parametrize("path", ["shared/extends", "shared/extends/a", "shared/extends/a/tools"])
def test_folder_of_extends_is_config_that_is_not_mounted_writable(tmp_path: Path, path: str) -> None:
    write(tmp_path, "shared/extends/a/tools/x")
    write(tmp_path, "shared/extends/a/data/x")
    write(tmp_path, "shared/data/x")
    (tmp_path / "habitats").mkdir()
    own = OwnPlaces(tmp_path, [], MountTable())
    assert "reads as config" in own.flaw((tmp_path / path).resolve())
    for data in ("shared/data", "shared/extends/a/data"):
        assert own.flaw((tmp_path / data).resolve()) == ""


def test_changed_extend_rebuilds_from_its_phase_with_reason(tmp_path: Path) -> None:
    extend(tmp_path, "a", "setup: {root: [one]}\n")
    demo = DemoProject(tmp_path, f"{BASE}extends: [a]\n")
    demo.engine.on_execute = lambda command: make_user(command) or (0, "")
    demo.build()
    extend(tmp_path, "a", "setup: {root: [two]}\n")
    text = "setup.root[0] (shared/extends/a/config.yaml:1): one → two"
    assert plan(demo.run_anew(), "demo").why["setup"][0].text == text
    assert demo.build()[0] == "setup"


def test_config_layer_knows_its_role() -> None:
    layers = [ConfigLayer(name, extends.PACKAGE_FOLDER, "") for name in ("system", "extends/shared", "shared", "local")]
    assert [layer.role for layer in layers] == ["system", "extends", "shared", "local"]
    assert yaml_tree.parse(b"a: 1", layer="extends/local", shown="x").origin.role == "extends"
