"""Three config files become one habitat."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from unit_helpers import load, write

from phases.core.config import yaml_tree
from phases.core.config.loader import habitat_names, merge
from phases.core.config.units import duration
from phases.core.origin import Origin
from phases.core.problems import Problems

if TYPE_CHECKING:
    from phases.core.config.yaml_tree import Plain, Tree


def test_config_plan_sample_loads_with_every_key(tmp_path: Path) -> None:
    write(tmp_path, "shared/gitconfig", "[user]\n")
    write(tmp_path, "habitats/discourse/tests/test-discourse-setup.sh", "true\n")
    sample = (Path(__file__).parent / "plan_sample.yaml").read_text()
    habitat = load(tmp_path, sample, "discourse")
    assert habitat.description == "Discourse development environment"
    assert habitat.base_image == "discourse/discourse_dev:release"
    assert (habitat.user, habitat.workdir) == ("node", "/workspace")
    assert habitat.paths == {
        "HABITAT_PATH": "/workspace/habitat",
        "SYSTEM_PATH": "/workspace/habitat/system",
        "SHARED_PATH": "/workspace/habitat/shared",
        "LOCAL_PATH": "/workspace/habitat/local",
    }
    assert habitat.env.values["PATH"] == "/claude-habitat/shared/tools/bin:${PATH}"
    (file,) = habitat.files
    assert (file.source, file.dest, file.owner) == (
        tmp_path / "shared/gitconfig",
        "/home/discourse/.gitconfig",
        "discourse",
    )
    (volume,) = habitat.volumes
    assert volume.source.samefile(tmp_path / "shared")
    assert (volume.dest, volume.readonly, volume.present) == ("/claude-habitat/shared", True, True)
    (command,) = habitat.setup
    assert command.user == "root"
    assert command.script.splitlines()[1] == "apt update && apt install -y curl wget unzip"
    (repo,) = habitat.repos
    assert (repo.url, repo.path, repo.branch, repo.owner) == (
        "https://github.com/discourse/discourse",
        "/discourse",
        "main",
        "discourse",
    )
    assert [path for path, _ in habitat.required] == [
        "/workspace/.git/config",
        "/workspace/CLAUDE.md",
        "/workspace/README.md",
    ]
    (test,) = habitat.tests
    assert test.dest == "/workspace/habitat/local/tests/test-discourse-setup.sh"
    entry = habitat.entry
    assert (entry.init_command, entry.startup_delay) == ("/sbin/boot", 10)
    assert entry.command == "claude --dangerously-skip-permissions"


@pytest.mark.parametrize(
    ("under", "over", "expected"),
    [
        ("a: [1]", "a: [2]", {"a": ["1", "2"]}),
        ("a: {x: 1, y: 2}", "a: {y: 3, z: 4}", {"a": {"x": "1", "y": "3", "z": "4"}}),
        ("a: 1", "a: 2", {"a": "2"}),
        ("a: 1", "b: 2", {"a": "1", "b": "2"}),
        ("a: 1", "a:", {"a": "1"}),
        ("a:", "a: 1", {"a": "1"}),
        ("a: {x: [1]}", "a: {x: [2]}", {"a": {"x": ["1", "2"]}}),
        ("a: 1", "a: ''", {"a": ""}),
        ("", "a: 1", {"a": "1"}),
    ],
    ids=["lists", "mappings", "scalars", "keys", "over nothing", "under nothing", "nested", "empty text", "no file"],
)
def test_config_layers_are_coalesced(tmp_path: Path, under: str, over: str, expected: Plain) -> None:
    assert merge(tree(tmp_path, "under", under), tree(tmp_path, "over", over), "", Problems()).plain() == expected


def tree(root: Path, name: str, text: str) -> Tree:
    return yaml_tree.load(write(root, f"{name}.yaml", text), layer=name, shown=f"{name}.yaml")


LOADERS = [yaml.SafeLoader, *([yaml.CSafeLoader] if hasattr(yaml, "CSafeLoader") else [])]


@pytest.mark.parametrize("loader", LOADERS, ids=[loader.__name__ for loader in LOADERS])
@pytest.mark.parametrize("nothing", ["", " ~", " null", " # - commented out"])
def test_config_key_with_empty_value_equals_absent_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loader: object, nothing: str
) -> None:
    monkeypatch.setattr(yaml_tree, "_Loader", loader)
    keys = (
        "description",
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
    )
    text = "base_image: debian\n" + "".join(f"{key}:{nothing}\n" for key in keys)
    empty, bare = load(tmp_path, text), load(tmp_path, "base_image: debian\n", "bare")
    assert (empty.description, empty.files, empty.setup, empty.entry) == ("", (), (), bare.entry)
    assert empty.env.values == bare.env.values


@pytest.mark.parametrize("loader", LOADERS, ids=[loader.__name__ for loader in LOADERS])
def test_config_quoted_null_is_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loader: object) -> None:
    monkeypatch.setattr(yaml_tree, "_Loader", loader)
    assert load(tmp_path, "base_image: debian\ndescription: 'null'\n").description == "null"


def test_config_value_keeps_layer_and_line_after_coalescing(tmp_path: Path) -> None:
    under = tree(tmp_path, "under", "a:\n  - one\n  - two\nb:\n  x: 1\n  y: 2\nc: 1\n")
    over = tree(tmp_path, "over", "\n\na:\n  - three\nb:\n  y: 3\nd: 4\n")
    both = merge(under, over, "", Problems())
    places = {
        path: both.origin_of(path)
        for path in (("a", 0), ("a", 1), ("a", 2), ("b", "x"), ("b", "y"), ("c",), ("d",), ("d", "nothing"))
    }
    assert {path: str(origin) for path, origin in places.items()} == {
        ("a", 0): "under.yaml:2",
        ("a", 1): "under.yaml:3",
        ("a", 2): "over.yaml:4",
        ("b", "x"): "under.yaml:5",
        ("b", "y"): "over.yaml:6",
        ("c",): "under.yaml:7",
        ("d",): "over.yaml:7",
        ("d", "nothing"): "over.yaml:7",
    }
    assert {path: origin.layer for path, origin in places.items()}["a", 2] == "over"


def test_config_layers_are_system_shared_and_local(tmp_path: Path) -> None:
    write(tmp_path, "shared/config.yaml", "env:\n  - A=shared\n  - B=shared\nbase_image: alpine\n")
    habitat = load(tmp_path, "base_image: debian\nenv:\n  - B=local\n")
    assert habitat.base_image == "debian"
    assert (habitat.env.get("A"), habitat.env.get("B")) == ("shared", "local")
    assert habitat.env.origin("WORKDIR").file == "phases/system/config.yaml"
    assert habitat.env.origin("A") == Origin("shared", "shared/config.yaml", 2)
    assert habitat.env.origin("B") == Origin("local", "habitats/demo/config.yaml", 3)
    assert habitat.base_origin == Origin("local", "habitats/demo/config.yaml", 1)


def test_config_changed_habitat_path_changes_derived_paths(tmp_path: Path) -> None:
    habitat = load(tmp_path, "base_image: debian\nenv:\n  - HABITAT_PATH=/srv/habitat\n")
    assert habitat.paths["LOCAL_PATH"] == "/srv/habitat/local"


def test_config_scalars_keep_text_as_typed(tmp_path: Path) -> None:
    text = """\
        base_image: debian
        description: >
          folded
          text
        files:
          - {source: ., dest: /x, mode: 0600}
        repos:
          - {url: u, path: /p, branch: 1.10, depth: 1}
          - {url: u, path: /q, ref: 0123456}
        entry: {command: yes, startup_delay: 1.5}
        debug: true
    """
    habitat = load(tmp_path, text)
    assert habitat.description == "folded text"
    assert habitat.files[0].mode == "0600"
    assert [(repo.branch, repo.ref, repo.depth) for repo in habitat.repos] == [("1.10", "", 1), ("", "0123456", 0)]
    assert (habitat.entry.command, habitat.entry.startup_delay) == ("yes", 1.5)
    assert habitat.debug


@pytest.mark.parametrize(
    ("setup", "expected"),
    [
        ("{zoe: [c], user: [b], root: [a]}", [("root", "a"), ("agent", "b"), ("zoe", "c")]),
        (
            "[{run_as: root, commands: [a]}, {commands: [b, c]}, {run_as: root, commands: [d]}]",
            [("root", "a"), ("agent", "b"), ("agent", "c"), ("root", "d")],
        ),
        ("{root: []}", []),
    ],
    ids=["map", "list", "nothing"],
)
def test_config_setup_commands_keep_their_order(tmp_path: Path, setup: str, expected: list[tuple[str, str]]) -> None:
    habitat = load(tmp_path, f"base_image: debian\nsetup: {setup}\n")
    assert [(command.user, command.script) for command in habitat.setup] == expected


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("/x", "/x"),
        ("/x/", "/x"),
        ("/", "/"),
        ("x", "/workspace/x"),
        ("./x", "/workspace/x"),
        ("'~'", "~"),
        ("~/x", "~/x"),
        ("~/x/../y/", "~/y"),
        ("/x/../y", "/y"),
        ("x/./y", "/workspace/x/y"),
        ("${WORKDIR}/$USER", "/workspace/agent"),
        ("$$x", "/workspace/$x"),
    ],
)
def test_config_habitat_path_is_absolute_or_below_workdir(tmp_path: Path, written: str, meant: str) -> None:
    habitat = load(tmp_path, f"base_image: debian\nfiles:\n  - source: .\n    dest: {written}\n")
    assert habitat.files[0].dest == meant


def test_config_host_path_is_searched_beside_config_then_in_project(tmp_path: Path) -> None:
    for place in ("habitats/demo/both", "both", "only", "shared/both"):
        write(tmp_path, place)
    entry = "  - {{source: {0}, dest: /{0}}}\n".format
    write(tmp_path, "shared/config.yaml", "files:\n" + entry("both"))
    habitat = load(tmp_path, "base_image: debian\nfiles:\n" + entry("both") + entry("only"))
    actual = [str(file.source.relative_to(tmp_path)) for file in habitat.files]
    assert actual == ["shared/both", "habitats/demo/both", "only"]


def test_config_host_path_tilde_is_home_of_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    write(tmp_path, "home/.gitconfig")
    habitat = load(tmp_path, "base_image: debian\nfiles:\n  - {source: ~/.gitconfig, dest: ~/.gitconfig}\n")
    assert habitat.files[0].source == tmp_path / "home/.gitconfig"


def test_config_optional_volume_may_be_absent(tmp_path: Path) -> None:
    text = "base_image: debian\nvolumes:\n  - {source: nope, dest: /x, optional: true}\n"
    assert [volume.present for volume in load(tmp_path, text).volumes] == [False]


def test_config_test_of_project_is_copied_to_local_tests(tmp_path: Path) -> None:
    write(tmp_path, "common/check.sh")
    habitat = load(tmp_path, "base_image: debian\ntests:\n  - common/check.sh\n")
    assert habitat.tests[0].dest == "/habitat/local/tests/check.sh"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("30m", 1800), ("1h 30m", 5400), ("1h30m15s", 5415), (" 2h ", 7200)],
)
def test_duration_valid_text_returns_seconds(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", " ", "0", "0m", "1.5h", "3d", "m", "-1", "1m 2h", "٣"])
def test_duration_invalid_text_raises_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        duration(text)


def test_habitat_names_are_folder_names_in_order(tmp_path: Path) -> None:
    for name in ("b", "a", ".hidden"):
        (tmp_path / "habitats" / name).mkdir(parents=True)
    write(tmp_path, "habitats/README.md")
    assert habitat_names(tmp_path) == ["a", "b"]
    assert habitat_names(tmp_path / "nowhere") == []


def test_config_dockerfile_replaces_base_image(tmp_path: Path) -> None:
    write(tmp_path, "habitats/demo/Dockerfile", "FROM debian\n")
    habitat = load(tmp_path)
    assert habitat.has_dockerfile
    assert habitat.base_image == ""
