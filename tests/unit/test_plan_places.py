"""A plan names file and line of a changed value that another layer than the habitat's own gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from unit_helpers import DemoProject, FakeTerminal, built_demo, make_user, write

from phases.core.config.schema import Config
from phases.core.report.plan import plan
from phases.core.runtime import start as runtime_start
from phases.registry import NAMES

if TYPE_CHECKING:
    from pathlib import Path

#: A config with something under every key that a build depends on, a line for each value.
CONFIG = """\
base_image: base:1
uid: 1200
env:
  - USER=dev
  - WORKDIR=/work
  - LOCAL_PATH=/opt/local
  - COLOUR=red
files:
  - source: payload
    dest: /payload
    mode: '0644'
  - source: payload
    dest: /late
    after: env
volumes:
  - gate:/gate
  - source: gate
    dest: /door
    readonly: false
secrets:
  - name: TOKEN
    env: TOKEN
    phases: [setup]
    variable: FIRST
    optional: true
caches:
  - ~/.npm
setup:
  root:
    - echo one
  user:
    - echo mine
hooks:
  - before: repos
    commands:
      - echo before
  - after: env
    run_as: user
    commands:
      - echo after
repos:
  - url: https://example.org/a.git
    path: app
    branch: main
    setup:
      - make deps
verify-fs:
  required_files:
    - /bin/sh
tests:
  - tests/quick.sh
  - run: tests/beside.sh
    init: true
entry:
  command: bash
  init_command: sleep 1000
  ready: test -e /ready
"""

#: What replaces what in the layer's config, the phase, and how the plan's reason begins, with AT for the file.
CHANGES = [
    ("base:1", "base:2", "base", "base_image (AT:1): base:1 → base:2"),
    ("uid: 1200", "uid: 1300", "users", "uid (AT:2): 1200 → 1300"),
    ("USER=dev", "USER=other", "users", "env.USER (AT:4): dev → other"),
    ("COLOUR=red", "COLOUR=green", "env", "env.COLOUR (AT:7): red → green"),
    ("COLOUR=red", "MOOD=good", "env", "env.COLOUR: removed (red)"),
    ("COLOUR=red", "COLOUR=red\n  - MOOD=good", "env", "env.MOOD (AT:8): added (good)"),
    ("WORKDIR=/work", "WORKDIR=/place", "workdir", "env.WORKDIR (AT:5): /work → /place"),
    ("/opt/local", "/opt/other", "habitat", "env.LOCAL_PATH (AT:6): /opt/local → /opt/other"),
    ("dest: /payload", "dest: /other", "files", "files[0].dest (AT:10): /payload → /other"),
    ("'0644'", "'0600'", "files", "files[0].mode (AT:11): 0644 → 0600"),
    ("dest: /late", "dest: /later", "env", "files[1].dest (AT:13): /late → /later"),
    ("gate:/gate", "gate:/gate:ro", "files", "volumes[0].readonly (AT:16): false → true"),
    ("readonly: false", "readonly: true", "files", "volumes[1].readonly (AT:19): false → true"),
    ("FIRST", "SECOND", "setup", "secrets.TOKEN.variable (AT:21): FIRST → SECOND"),
    ("~/.npm", "~/.npm\n  - ~/.cargo", "setup", "caches (AT:28): added (~/.cargo)"),
    ("echo one", "echo two", "setup", "setup.root[0] (AT:30): echo one → echo two"),
    ("echo mine", "echo yours", "setup", "setup.user[0] (AT:32): echo mine → echo yours"),
    ("    - echo mine\n", "    - echo mine\n    - echo more\n", "setup", "setup.user[1] (AT:33): added (echo more)"),
    ("echo before", "echo early", "repos", "hooks[0].commands[0] (AT:36): echo before → echo early"),
    ("echo after", "echo late", "env", "hooks[1].commands[0] (AT:40): echo after → echo late"),
    ("run_as: user", "run_as: root", "env", "hooks[1].commands[0].run_as (AT:40): dev → root"),
    ("branch: main", "branch: stable", "repos", "repos[0].branch (AT:44): main → stable"),
    ("    branch: main\n", "", "repos", 'repos[0].branch (AT:42): main → ""'),
    ("make deps", "make all", "repos", "repos[0].setup[0] (AT:46): make deps → make all"),
    ("path: app", "path: app\n    lfs: true", "repos", "repos[0].lfs (AT:44): added (true)"),
    ("- /bin/sh", "- /bin/sh\n    - /bin/ls", "verify", "verify-fs.required_files[1] (AT:50): added (/bin/ls)"),
    ("- tests/quick.sh\n", "- tests/slow.sh\n", "test", "tests[0] (AT:51): "),
    ("sleep 1000", "sleep 2000", "test", "entry.init_command (AT:56): sleep 1000 → sleep 2000"),
    ("/ready", "/done", "test", "entry.ready (AT:57): test -e /ready → test -e /done"),
    ("command: bash", "command: fish", "final", "entry.command (AT:55): bash → fish"),
]

#: Keys that no build depends on, or that only a habitat's own config may have.
OTHER_KEYS = {
    *("name", "project", "description", "dockerfile", "extends", "instructions", "build", "debug", "timeouts"),
    "take",
    "workspace",
}


def project(root: Path, layer: str, own: str) -> DemoProject:
    """A built project, whose layer in the folder `layer` has CONFIG."""
    (root / "gate").mkdir()
    for path in ("payload", f"{layer}/tests/quick.sh", f"{layer}/tests/slow.sh", f"{layer}/tests/beside.sh"):
        write(root, path, "#!/bin/sh\n", 0o755)
    write(root, f"{layer}/config.yaml", CONFIG)
    demo = DemoProject(root, own)
    demo.engine.add_image("base:2")
    demo.engine.on_execute = lambda command: make_user(command) or (0, "")
    demo.build()
    return demo


@pytest.fixture(scope="module")
def built_on_shared_layer(tmp_path_factory: pytest.TempPathFactory) -> DemoProject:
    return project(tmp_path_factory.mktemp("shared"), "shared", "description: demo\n")


@pytest.fixture(scope="module")
def built_on_extend(tmp_path_factory: pytest.TempPathFactory) -> DemoProject:
    return project(tmp_path_factory.mktemp("extend"), "shared/extends/a", "extends: [a]\n")


def reasons(demo: DemoProject, phase: str) -> list[str]:
    return [reason.text for reason in plan(demo.run_anew(), "demo").why[phase]]


def assert_begins(texts: list[str], expected: str, file: str) -> None:
    assert any(text.startswith(expected.replace("(AT:", f"({file}:")) for text in texts), texts


@pytest.mark.parametrize(("old", "new", "phase", "expected"), CHANGES)
def test_plan_changed_value_of_shared_layer_names_its_line(
    built_on_shared_layer: DemoProject, tmp_path: Path, old: str, new: str, phase: str, expected: str
) -> None:
    demo = built_on_shared_layer.copy_to(tmp_path)
    assert CONFIG.count(old) == 1
    write(tmp_path, "shared/config.yaml", CONFIG.replace(old, new))
    assert_begins(reasons(demo, phase), expected, "shared/config.yaml")


@pytest.mark.parametrize(("old", "new", "phase", "expected"), CHANGES)
def test_plan_changed_value_of_extend_names_its_line(
    built_on_extend: DemoProject, tmp_path: Path, old: str, new: str, phase: str, expected: str
) -> None:
    demo = built_on_extend.copy_to(tmp_path)
    write(tmp_path, "shared/extends/a/config.yaml", CONFIG.replace(old, new))
    assert_begins(reasons(demo, phase), expected, "shared/extends/a/config.yaml")


def test_plan_table_of_places_covers_every_key_and_phase() -> None:
    keys = {expected.partition(" ")[0].partition(".")[0].partition("[")[0] for *_, expected in CHANGES}
    assert keys == {name.replace("_fs", "-fs") for name in Config.__struct_fields__} - OTHER_KEYS
    assert {phase for _, _, phase, _ in CHANGES} == {*NAMES} - {"dockerfile", "tools"}  # their files have their paths


def test_plan_changed_test_script_of_shared_layer_names_line_of_its_entry(
    built_on_shared_layer: DemoProject, tmp_path: Path
) -> None:
    demo = built_on_shared_layer.copy_to(tmp_path)
    write(tmp_path, "shared/tests/quick.sh", "#!/bin/sh\n:\n", 0o755)
    assert reasons(demo, "test") == ["tests/quick.sh (shared/config.yaml:51): changed"]


def test_plan_moved_base_image_of_shared_layer_names_line(built_on_shared_layer: DemoProject, tmp_path: Path) -> None:
    demo = built_on_shared_layer.copy_to(tmp_path)
    demo.engine.tag(demo.engine.add_image("moved:1", command=("other",)), "base:1")
    assert_begins(reasons(demo, "base"), "base image base:1 (AT:1): moved from", "shared/config.yaml")


def test_plan_value_of_own_config_names_no_line(built_on_shared_layer: DemoProject, tmp_path: Path) -> None:
    """The own config replaces one value of the shared layer, and adds an element to a list of it."""
    demo = built_on_shared_layer.copy_to(tmp_path)
    own = "env: [COLOUR=green]\nentry: {command: fish}\nrepos: [{url: https://example.org/b.git, path: b}]\n"
    write(tmp_path, "habitats/demo/config.yaml", own)
    assert reasons(demo, "env") == ["env.COLOUR: red → green"]
    assert reasons(demo, "final") == ["entry.command: bash → fish"]
    assert reasons(demo, "repos") == ["repos[1]: added (https://example.org/b.git)"]


def test_plan_value_removed_from_shared_layer_names_no_line(built_on_shared_layer: DemoProject, tmp_path: Path) -> None:
    demo = built_on_shared_layer.copy_to(tmp_path)
    text = CONFIG.partition("repos:")[0].replace("    - echo mine\n", "    []\n")
    write(tmp_path, "shared/config.yaml", text)
    assert reasons(demo, "setup") == ["setup.user[0]: removed (echo mine)"]
    assert reasons(demo, "repos") == ["repos[0]: removed (https://example.org/a.git)"]
    assert reasons(demo, "final") == ['entry.command: bash → ""', 'entry.init_command: sleep 1000 → ""']


#: What is added to the shared config, and what the plan says of the container.
CONTAINER_CHANGES = [
    ("  init_command: sleep 1000\n", "entry.init_command (shared/config.yaml:3)"),
    ("  ports: [8080, 9090]\n", "entry.ports (shared/config.yaml:3)"),
    ("  network: none\n", "entry.network (shared/config.yaml:3)"),
    ("  shm_size: 64m\n", "entry.shm_size (shared/config.yaml:3)"),
    ("  limits:\n    pids: 64\n", "entry.limits.pids (shared/config.yaml:4)"),
    ("  persist:\n    - /srv/\n    - /opt/\n", "entry.persist (shared/config.yaml:4, shared/config.yaml:5)"),
]


@pytest.mark.parametrize(("more", "expected"), CONTAINER_CHANGES)
def test_plan_container_change_of_shared_layer_names_its_line(tmp_path: Path, more: str, expected: str) -> None:
    write(tmp_path, "shared/config.yaml", "entry: {startup_delay: 0}\n")
    demo = built_demo(tmp_path, "entry: {persist: [/var/mine/]}\n")
    start(demo)
    write(tmp_path, "shared/config.yaml", f"entry:\n  startup_delay: 0\n{more}")
    assert plan(demo.run_anew(), "demo").replaced == f"{expected} changed"


def test_plan_optional_volume_of_shared_layer_that_appears_names_its_line(tmp_path: Path) -> None:
    text = "volumes:\n  - {source: absent, dest: /one, optional: true}\n  - {source: seen, dest: /two}\n"
    write(tmp_path, "shared/config.yaml", text)
    (tmp_path / "seen").mkdir()
    demo = built_demo(tmp_path)
    start(demo)
    (tmp_path / "absent").mkdir()
    assert plan(demo.run_anew(), "demo").replaced == "volumes (shared/config.yaml:2) changed"


def test_plan_container_change_of_personal_config_names_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo = built_demo(tmp_path, "entry: {init_command: sleep 1000, env: [A=1], persist: [/var/mine/]}\n")
    start(demo)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    file = write(tmp_path, "xdg/habitats/config.yaml", "entry:\n  persist:\n    - /srv/\n")
    assert plan(demo.run_anew(), "demo").replaced == f"entry.persist ({file}:3) changed"
    write(tmp_path, "xdg/habitats/config.yaml", "entry:\n  env:\n    - EDITOR=vim\n")
    assert plan(demo.run_anew(), "demo").replaced == "entry.env changed"  # its own config has a variable, too


def start(demo: DemoProject) -> None:
    runtime_start.start(demo.run_anew(), "demo", FakeTerminal())
