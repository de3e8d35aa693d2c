"""`doit migrate` of configs in the form of claude-habitat: each key, whole configs, and what is refused or lost."""

from __future__ import annotations

import random
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml
from unit_helpers import DemoProject, load, write

from phases.core.config import older_form, yaml_tree
from phases.core.copied_files import layer_tree
from phases.core.errors import ConfigError
from phases.core.migrate import command
from phases.core.migrate.older_form.convert import convert
from phases.core.report import plan as report_plan

SAMPLES = (Path(__file__).parent / "older_form_samples.txt").read_text()

#: An older config, and what it becomes, with every comment and blank line.
TEXTS = {
    name: tuple(texts.split("->\n")) for name, texts in (sample.split("\n", 1) for sample in SAMPLES.split("---- ")[1:])
}


def converted(text: str) -> str:
    return convert(text, "config.yaml", is_local=True).text


@pytest.mark.guarantee("older-form-converted")
@pytest.mark.parametrize(("before", "after"), TEXTS.values(), ids=TEXTS)
def test_older_form_is_converted_with_comments_in_place(before: str, after: str) -> None:
    assert converted(before) == after
    assert converted(after) == after


@pytest.mark.parametrize("before", [before for before, _ in TEXTS.values()], ids=TEXTS)
def test_older_form_is_gone_from_what_it_is_converted_to(before: str) -> None:
    tree = yaml_tree.parse(converted(before).encode(), layer="local", shown="config.yaml")
    assert older_form.keys(tree) == {}


def sections_of(text: str) -> dict[str, str]:
    """Return the top-level sections of a sample by key, each with the comment above it."""
    sections = re.split(r"(?m)^(?=(?:#.*\n)*[\w-]+:)", text)
    return {match[1]: section for section in sections if (match := re.search(r"(?m)^([\w-]+):", section))}


SECTIONS = [sections_of(before) for before, _ in TEXTS.values()]


@pytest.mark.parametrize("seed", range(60))
def test_older_sections_in_any_order_and_indentation_are_converted(seed: int) -> None:
    rng = random.Random(seed)
    sections: dict[str, str] = {}
    for sample in rng.sample(SECTIONS, 5):
        sections |= {key: section for key, section in sample.items() if key not in sections}
    keys = rng.sample(sorted(sections), len(sections))
    gaps = ["", "\n", "# a comment\n", "\n# another\n\n"]
    text = "".join(rng.choice(gaps) + wider(sections[key], rng.choice([0, 2, 3])) for key in keys)
    after = converted(text)
    assert older_form.keys(yaml_tree.parse(after.encode(), layer="local", shown="x")) == {}
    assert converted(after) == after
    assert [comment for comment in re.findall(r"#.*", text) if comment not in after and "{" not in comment] == []


def wider(text: str, columns: int) -> str:
    """Return a text with its indented lines further to the right."""
    return text if re.search("(?m)^-", text) else re.sub(r"(?m)^(?= )", " " * columns, text)


#: A key that has no counterpart, and the line that names it.
LOST = {
    "image.tag": ("image: {tag: x}", "a habitat's images are called habitat-NAME"),
    "image.dockerfile": ("image:\n  dockerfile: ../d/Dockerfile.x", "../d/Dockerfile.x is not in the habitat's folder"),
    "environment: CI": ("environment: [CI]", "it has no value: write NAME=value"),
    "claude.tty": ("claude: {tty: true}", "a start in a terminal has one, and in a pipe none"),
    "entry.tty": ("entry: {tty: true, command: x}", "a start in a terminal has one, and in a pipe none"),
    "bypass_habitat_construction": ("bypass_habitat_construction: true", "it gets the files of its layers"),
    "claude.instructions_file": ("claude: {instructions_file: x}", "no CLAUDE.md is put together"),
    "container.odd": ("container: {odd: 1}", "entry has no such key"),
    "access": ("repos: [{url: u, path: p, access: read}]", "who may push is decided by the token"),
    "cache:/x": ("volumes:\n  - cache:/x\nscripts:", "a volume with a name"),
    "{config.repositories.0.path}": ("tests: ['{config.repositories.0.path}/t']\nscripts:", "write the value in its"),
    "scripts[0].shell": ("scripts: [{shell: bash, commands: [x]}]", "there is no key shell there"),
    "timeout.env": ("timeout: {env: soon}", "soon is not a time from 1s to 365d"),
    "container.user": ("environment: A=1\ncontainer: {user: x}", "env is not a list: add USER=x to it"),
    "claude": ("entry: {command: a}\nclaude: b", "entry is not of the same kind: write one of them"),
    "timeout.setup": ("timeouts: {setup: 1s}\ntimeout: {setup: 5m}", "timeouts already has it"),
    "environment.A": ("environment: {A: [x]}", "its value is not a text"),
    "setup.root.run_as": ("setup: {user: {run_as: root, commands: [a]}, root: {a: b}}", "it has no list of commands"),
    "claude.command": ("entry: {command: a}\nclaude: {command: b}", "entry already has it"),
}


@pytest.mark.parametrize(("key", "text", "why"), [(key, *row) for key, row in LOST.items()], ids=LOST)
def test_older_key_without_counterpart_is_named_with_its_line(key: str, text: str, why: str) -> None:
    rows = convert(f"# A comment\n{text}\n", "config.yaml", is_local=True).rows
    lost = {row.text: row for row in rows if not row.place}
    assert lost[key].why.startswith(why)
    line = (text.splitlines()[lost[key].line - 2]).strip()
    assert key.rpartition(".")[2].split(":")[0].strip("}") in line or "image" in line


#: Values of another kind than the older tool expected.
ODD = [
    "scripts: x",
    "scripts: {a: b}",
    "scripts:\n  -\n  - {}\n  - [x]\n  - {commands: {a: b}}\n  - {run_as: [a], before: {a: b}, commands: [x]}",
    "files: [x, {src: [a], description: {a: b}}]\nrepositories: [x, [y]]",
    "environment: x",
    "environment: [[a], {b: c}, 5]\nenv: {A: 1}",
    "container: [a]\nclaude: b\nentry: c",
    "container: {user: [a], work_dir: {a: b}}",
    "timeout: [a]",
    "timeout: {setup: [a], test: {a: b}, repos: }",
    "volumes: [5, 'a:b:c:d', [x]]\nimage: [a]",
    "image: {dockerfile: [a], build_args: x}",
    "setup: {user: {commands: {a: b}}, root: {run_as: [a], commands: [b]}}",
    "setup: {user: {}}\nrepositories: [{url: u, path: p}]",
]


@pytest.mark.parametrize("text", ODD)
def test_older_value_of_another_kind_is_converted_once_and_breaks_nothing(text: str) -> None:
    after = converted(f"{text}\n")
    assert isinstance(yaml.safe_load(after) or {}, dict)
    assert converted(after) == after


def test_config_of_today_has_nothing_of_the_older_form(tmp_path: Path) -> None:
    text = """\
        base_image: base:1
        env: [A=x, "B=${A}", "C={a}"]
        files: [{source: note, dest: /x, after: setup}]
        setup: {root: ["echo {env} ${env.X} {}"]}
        hooks: [{before: env, commands: [a]}]
        repos: [{url: u, path: p, depth: 1}]
        timeouts: {setup: 3m}
        entry: {command: x}
        """
    tree = yaml_tree.parse(textwrap.dedent(text).encode(), layer="local", shown="x")
    assert older_form.keys(tree) == {}


def test_anchor_in_older_form_is_refused_with_its_line() -> None:
    with pytest.raises(ConfigError, match=r"^config\.yaml:2: the anchor &a can't be converted: write the value at"):
        converted("scripts:\n  - &a {commands: [x]}\n  - *a\n")


@pytest.mark.parametrize("text", ["? environment\n: {A: 1}\n", "? setup\n: ? user\n  : {run_as: x, commands: [a]}\n"])
def test_older_config_that_cannot_be_edited_is_refused_with_its_file(text: str) -> None:
    yaml.safe_load(text)
    with pytest.raises(ConfigError) as excinfo:
        converted(text)
    assert str(excinfo.value).startswith("config.yaml: can't be converted (")
    assert excinfo.value.remedy.startswith(
        "write its lists and mappings without brackets, one element a line, then run"
    )


# Whole projects

OWN = """\
name: demo
base_image: base:1

environment:
  - USER=ann
  - WORKDIR=/work

repositories:
  - url: https://example.org/a
    path: "{env.WORKDIR}"
    shallow: true

# Copied late
files:
  - src: note
    dest: ~/note
    mode: 600
    after: repos
    description: "A note"

scripts:
  - run_as: root
    after: files
    description: Early
    commands:
      - |
        echo early
  - run_as: ann
    commands:
      - echo late

timeout:
  per-phase: 2m

container:
  init_command: /sbin/init

claude:
  command: agent --fast
  tty: true
"""

SHARED = """\
# Mine
name: shared-setup
env:
  # own
  - EDITOR=vi
files:
  - src: ./shared/gitconfig
    dest: /etc/gitconfig
    description: "git"
setup:
  user:
    run_as: "{container_user}"
    commands:
      - echo shared
"""

SYSTEM = """\
name: system-setup
# Everybody's
env:
  - TOOLS=/tools
files:
  - src: motd
    dest: /etc/motd
setup:
  root:
    - echo system
  user:
    run_as: "{container.user}"
    commands:
      - echo before
tests:
  - tests/core.sh
"""


@pytest.fixture
def demo(tmp_path: Path) -> DemoProject:
    demo = DemoProject(tmp_path, OWN)
    write(tmp_path, "habitats/demo/note", "x")
    write(tmp_path, "shared/config.yaml", SHARED)
    write(tmp_path, "shared/gitconfig", "x")
    return demo


def migrated(demo: DemoProject, **build_args: str) -> command.Migration:
    migration = command.migrate(demo.run_anew(), "demo", build_args)
    assert migration
    return migration


def config_at(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


@pytest.mark.guarantee("older-form-converted")
def test_older_project_loads_once_migrated(demo: DemoProject) -> None:
    write(demo.root, "system/config.yaml", SYSTEM)
    write(demo.root, "system/motd", "x")
    write(demo.root, "system/tests/core.sh", "x")
    migration = migrated(demo)
    assert migration.problems == ()
    assert [warning.partition(" ")[0] for warning in migration.warnings] == ["bash"]
    command.write(demo.project, migration)
    habitat = load(demo.root)
    assert (habitat.user, habitat.workdir, habitat.timeouts) == ("ann", "/work", dict.fromkeys(TIMED, 120))
    assert [(copy.shown, copy.dest) for copy in habitat.files] == [
        ("system/motd", "/etc/motd"),
        ("./shared/gitconfig", "/etc/gitconfig"),
        ("note", "~/note"),
    ]
    assert [(command.user, command.script) for command in habitat.setup] == [
        ("root", "echo system"),
        ("ann", "echo before"),
        ("ann", "echo shared"),
    ]
    hooks = [(hook.point.when, hook.point.phase, hook.command.user, hook.description) for hook in habitat.hooks]
    assert hooks == [("after", "files", "root", "Early"), ("after", "tools", "ann", "")]
    assert [(repo.path, repo.depth) for repo in habitat.repos] == [("/work", 1)]
    assert [test.shown for test in habitat.tests] == ["system/tests/core.sh"]
    assert (habitat.entry.init_command, habitat.entry.command) == ("/sbin/init", "agent --fast")
    assert {"TOOLS", "EDITOR"} <= set(habitat.env.values)
    assert command.migrate(demo.run_anew(), "demo", {}) is None


TIMED = ("setup", "repos", "tools", "test")


def test_older_layers_are_kept_and_comments_stay(demo: DemoProject) -> None:
    write(demo.root, "system/config.yaml", SYSTEM)
    command.write(demo.project, migrated(demo))
    for layer, old in (("habitats/demo", OWN), ("shared", SHARED), ("system", SYSTEM)):
        assert (demo.root / layer / "config.yaml.before-migration").read_text() == old
    assert not (demo.root / "system/config.yaml").exists()
    shared = (demo.root / "shared/config.yaml").read_text()
    assert "# Mine\nenv:\n  - TOOLS=/tools\n  # own\n  - EDITOR=vi\n" in shared
    assert "  - source: ./shared/gitconfig  # git\n" in shared
    own = (demo.root / "habitats/demo/config.yaml").read_text()
    assert "# Copied late\nfiles:\n  - source: note  # A note\n" in own


@pytest.mark.guarantee("migration-loses-nothing")
def test_older_config_migrated_again_keeps_every_old_file(demo: DemoProject) -> None:
    write(demo.root, "system/motd", "x")
    write(demo.root, "system/tests/core.sh", "x")
    for number in (1, 2, 3):
        write(demo.root, "habitats/demo/config.yaml", OWN + f"# {number}\n")
        write(demo.root, "shared/config.yaml", SHARED + f"# {number}\n")
        write(demo.root, "system/config.yaml", SYSTEM + f"# {number}\n")
        migration = migrated(demo)
        command.write(demo.project, migration)
        suffix = "" if number == 1 else f"-{number}"
        assert migration.backup == f"config.yaml.before-migration{suffix}"
        assert [layer.backup for layer in migration.layers] == [migration.backup] * 2
    for layer, text in (("habitats/demo", OWN), ("shared", SHARED), ("system", SYSTEM)):
        kept = [(demo.root / layer / f"config.yaml.before-migration{end}").read_text() for end in ("", "-2", "-3")]
        assert kept == [f"{text}# {number}\n" for number in (1, 2, 3)]
    habitat = load(demo.root)
    assert [item.path for item in layer_tree(habitat, habitat.layer("shared"))] == ["", "gitconfig"]


def test_older_config_migrated_again_with_same_text_has_one_backup(demo: DemoProject) -> None:
    for _ in range(2):
        write(demo.root, "habitats/demo/config.yaml", OWN)
        command.write(demo.project, migrated(demo))
    folder = demo.root / "habitats/demo"
    assert [path.name for path in folder.glob("*before*")] == ["config.yaml.before-migration"]


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_backup_of_older_config_avoids_what_has_its_name(demo: DemoProject, kind: str) -> None:
    taken, other = demo.root / "habitats/demo/config.yaml.before-migration", demo.root / "other"
    if kind == "folder":
        taken.mkdir()
    else:
        taken.symlink_to(other)
    command.write(demo.project, migrated(demo))
    assert not other.exists()
    assert (demo.root / "habitats/demo/config.yaml.before-migration-2").read_text() == OWN


def test_older_system_layer_alone_leaves_no_backup_of_missing_shared_layer(demo: DemoProject) -> None:
    (demo.root / "shared/config.yaml").unlink()
    write(demo.root, "system/config.yaml", "name: system-setup\nenv: [A=1]\n")
    command.write(demo.project, migrated(demo))
    assert sorted(path.name for path in (demo.root / "shared").iterdir()) == ["config.yaml", "gitconfig"]


@pytest.mark.parametrize(
    "shared", ["{}", "{env: [A=1]}", "env: [A=1]", "env:\n  - A=1", "env: {}", "env:", "# A=1", ""]
)
def test_older_system_layer_is_put_before_shared_layer_in_any_form(demo: DemoProject, shared: str) -> None:
    write(demo.root, "shared/config.yaml", f"{shared}\n")
    write(demo.root, "system/config.yaml", "name: system-setup\nenv: [B=2,  # two\n  C=3]\n")
    layer = migrated(demo).layers[-1]
    own = ["A=1"] if "env: [A" in shared or "- A" in shared else []
    assert layer.text
    assert yaml.safe_load(layer.text)["env"] == ["B=2", "C=3", *own]
    assert "# two" in layer.text
    assert [row for row in layer.rows if not row.place] == []


def test_older_shared_layer_of_config_of_today_is_migrated_alone(demo: DemoProject) -> None:
    text = "# today\nbase_image: base:1\n"
    write(demo.root, "habitats/demo/config.yaml", text)
    migration = migrated(demo)
    command.write(demo.project, migration)
    assert (demo.root / "habitats/demo/config.yaml").read_text() == text
    assert not (demo.root / "habitats/demo/config.yaml.before-migration").exists()
    assert config_at(demo.root / "shared/config.yaml")["setup"] == {"user": ["echo shared"]}
    assert command.migrate(demo.run_anew(), "demo", {}) is None


@pytest.mark.guarantee("older-form-converted")
def test_migrate_lists_all_problems_of_an_older_config_at_once(demo: DemoProject) -> None:
    text = """\
        base_image: base:1
        environment: [USER=ann, HOME=/home/ann]
        files:
          - {src: missing, dest: /a}
          - {src: note, dest: /b, after: nothing}
          - {src: note, dest: /c}
        tests: [gone.sh]
        oddity: 1
        repositories:
          - {url: https://example.org/a, path: a, branhc: b}
        container: {startup_delay: -1}
        """
    write(demo.root, "habitats/demo/config.yaml", text)
    migration = migrated(demo)
    places = [(str(problem.where), problem.message.partition(":")[0]) for problem in migration.problems]
    assert places == [
        ("habitats/demo/config.yaml:4", "files"),
        ("habitats/demo/config.yaml:5", "files[2].after"),
        ("habitats/demo/config.yaml:7", "tests"),
        ("habitats/demo/config.yaml:8", "unknown key 'oddity'"),
        ("habitats/demo/config.yaml:10", "repos[0]"),
        ("habitats/demo/config.yaml:11", "entry.startup_delay"),
    ]
    command.write(demo.project, migration)
    assert (demo.root / "habitats/demo/config.yaml.before-migration").exists()
    with pytest.raises(ConfigError) as excinfo:
        load(demo.root)
    assert str(excinfo.value) in {str(problem) for problem in migration.problems}


def test_older_config_with_dockerfile_gives_its_arguments_to_it(demo: DemoProject) -> None:
    text = "image:\n  dockerfile: Dockerfile\n  tag: x\n  build_args:\n    - FROM_IMAGE=base:1\n    - COLOUR=red\n"
    write(demo.root, "shared/config.yaml")
    write(demo.root, "habitats/demo/config.yaml", f"{text}container: {{user: root, work_dir: /w}}\n")
    write(demo.root, "habitats/demo/Dockerfile", "ARG FROM_IMAGE\nFROM $FROM_IMAGE\nARG COLOUR\nRUN echo $COLOUR\n")
    config = yaml.safe_load(migrated(demo).config)
    assert (config["base_image"], config["dockerfile"]) == ("base:1", False)
    assert "red" in str(config["setup"])
    assert "blue" in str(yaml.safe_load(migrated(demo, COLOUR="blue").config)["setup"])


def test_older_config_with_problems_leaves_its_dockerfile_for_later(demo: DemoProject) -> None:
    write(demo.root, "habitats/demo/config.yaml", "container: {user: root}\noddity: 1\n")
    write(demo.root, "habitats/demo/Dockerfile", "FROM base:1\nRUN a\n")
    migration = migrated(demo)
    assert [problem.message for problem in migration.problems] == ["unknown key 'oddity'"]
    assert migration.warnings[-1].startswith("the Dockerfile stays as it is until the config loads; then run the same")
    command.write(demo.project, migration)
    write(demo.root, "habitats/demo/config.yaml", "env: [USER=root]\n")
    assert migrated(demo).rows


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("scripts:\n", "scripts"),
        ("repositories: []\n", "repositories"),
        ("files: [{src: a, dest: b}]\n", "files[].src"),
        ("entry: {tty: true}\n", "entry.tty"),
        ("setup: {user: {run_as: x, commands: [y]}}\n", "setup.user"),
        (OWN, "environment"),
    ],
)
def test_older_config_refused_by_plan_names_migrate(demo: DemoProject, text: str, key: str) -> None:
    write(demo.root, "shared/config.yaml", "")
    write(demo.root, "habitats/demo/config.yaml", f"base_image: base:1\n{text.replace('base_image: base:1', '')}")
    with pytest.raises(ConfigError) as excinfo:
        report_plan.plan(demo.run_anew(), "demo")
    assert str(excinfo.value).startswith("habitats/demo/config.yaml:")
    assert excinfo.value.remedy == f"{key} is of claude-habitat: `doit migrate:demo` converts the config"


def test_older_config_with_other_mistakes_keeps_their_remedies(demo: DemoProject) -> None:
    write(demo.root, "shared/config.yaml", "")
    text = "base_image: base:1\nuid: x\nimage: y\nentry: {network: foo}\nscripts: []\n"
    write(demo.root, "habitats/demo/config.yaml", text)
    with pytest.raises(ConfigError) as excinfo:
        report_plan.plan(demo.run_anew(), "demo")
    hint = "image is of claude-habitat: `doit migrate:demo` converts the config"
    remedies = {str(error.where): error.remedy for error in (excinfo.value, *excinfo.value.others)}
    shown = "habitats/demo/config.yaml"
    assert list(remedies) == [f"{shown}:{line}" for line in (2, 3, 4, 5)]
    assert remedies[f"{shown}:5"] == hint.replace("image", "scripts")
    assert remedies[f"{shown}:2"].startswith("write host")
    assert remedies[f"{shown}:2"].endswith(f"; {hint}")
    assert remedies[f"{shown}:3"] == hint
    assert "claude-habitat" not in remedies[f"{shown}:4"]


#: Texts of programs that look like a reference, and a mistake that an older config doesn't have either.
TODAY = [
    """setup: {root: ["awk '{env.X}' f"]}""",
    "hooks: [{before: env, commands: ['echo {container.user}']}]",
    "env: ['FORMAT={env.NAME}']",
    "entry: {command: 'print {env.X}'}",
    "description: 'about {env.X}'",
    "setup: {root: {a: b}}",
]


@pytest.mark.parametrize("text", TODAY)
def test_braces_in_config_of_today_are_no_older_form(demo: DemoProject, text: str) -> None:
    write(demo.root, "shared/config.yaml", "")
    write(demo.root, "habitats/demo/config.yaml", f"base_image: base:1\nuid: x\n{text}\n")
    with pytest.raises(ConfigError) as excinfo:
        report_plan.plan(demo.run_anew(), "demo")
    assert "claude-habitat" not in "".join(error.remedy for error in (excinfo.value, *excinfo.value.others))
    assert command.migrate(demo.run_anew(), "demo", {}) is None


def test_braces_in_script_of_today_stay_when_its_paths_are_converted(demo: DemoProject) -> None:
    text = """env: [A=/a]\nfiles: [{source: note, dest: "{env.A}/x"}]\nsetup: {root: ["awk '{env.X}' f"]}\n"""
    write(demo.root, "habitats/demo/config.yaml", f"base_image: base:1\n{text}")
    assert migrated(demo).config == f"base_image: base:1\n{text}".replace("{env.A}", "${A}")


@pytest.mark.guarantee("migrated-habitat-equals-dockerfile")
def test_braces_in_script_of_today_stay_when_its_dockerfile_is_converted(demo: DemoProject) -> None:
    write(demo.root, "shared/config.yaml", "")
    write(demo.root, "habitats/demo/config.yaml", """setup: {root: ["awk '{env.X}' f"]}\n""")
    write(demo.root, "habitats/demo/Dockerfile", "FROM base:1\nRUN a\n")
    assert "awk '{env.X}' f" in yaml.safe_load(migrated(demo).config)["setup"]["root"]


def test_broken_config_of_today_is_refused_without_migrate(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as excinfo:
        load(tmp_path, "base_image: b\noddity: 1\n")
    assert "migrate" not in str(excinfo.value)


def test_copy_of_older_shared_config_is_in_no_image(demo: DemoProject) -> None:
    command.write(demo.project, migrated(demo))
    habitat = load(demo.root)
    assert [item.path for item in layer_tree(habitat, habitat.layer("shared"))] == ["", "gitconfig"]
