"""Commands and files before and after phases: `hooks:`, `files[].before` and `files[].after`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from unit_helpers import DemoProject, load, make_user, write

from phases import p07_setup
from phases.core import json_types
from phases.core.eject import writer
from phases.core.errors import ConfigError, HabitatError
from phases.core.report import plan as report_plan
from phases.protocol import Copy, Run
from phases.registry import NAMES, habitat_phases, named

if TYPE_CHECKING:
    from pathlib import Path

    from fake_engine import Command

BASE = "base_image: base:1\nenv: [USER=dev, SYSTEM_PATH=, HABITAT_PATH=]\n"

#: The phases of a habitat without a Dockerfile.
PHASES = NAMES[1:]


def hashes(root: Path, text: str) -> dict[str, str]:
    habitat = load(root, BASE + text)
    return {phase.NAME: json_types.digest(phase.slice(habitat)) for phase in habitat_phases(habitat)}


def project(root: Path, text: str) -> DemoProject:
    demo = DemoProject(root, BASE + text)
    demo.engine.on_execute = lambda command: make_user(command) or (0, "")
    return demo


def scripts(demo: DemoProject) -> list[tuple[str, str, str]]:
    """Phase, user and script of each command with `say` that ran."""
    ran: list[tuple[str, str, str]] = []

    def run(command: Command) -> tuple[int, str]:
        if command.script.startswith("say "):
            ran.append((command.container.name.rpartition("_")[2], command.user, command.script))
        return make_user(command) or (0, "")

    demo.engine.on_execute = run
    assert demo.build() == list(PHASES)
    return ran


def hooks_around(*phases: str) -> str:
    rows = [
        f"  - {{{when}: {phase}, run_as: root, commands: [say {when} {phase}]}}\n"
        for phase in phases
        for when in ("after", "before")
    ]
    return "hooks:\n" + "".join(rows)


@pytest.mark.guarantee("hooks-belong-to-their-phase")
def test_hooks_of_every_phase_run_in_order_of_phases(tmp_path: Path) -> None:
    text = hooks_around(*PHASES[1:]) + "  - {after: base, run_as: root, commands: [say after base]}\n"
    ran = scripts(project(tmp_path, text + "setup: {user: [say setup]}\n"))
    expected = [f"say {when} {phase}" for phase in PHASES for when in ("before", "after")][1:]
    expected.insert(expected.index("say before setup") + 1, "say setup")
    assert [script for _, _, script in ran] == expected
    assert {user for _, user, script in ran if script != "say setup"} == {"root"}


def test_hooks_of_dockerfile_phase_run_on_its_image(tmp_path: Path) -> None:
    write(tmp_path, "habitats/demo/Dockerfile", "FROM base:1\n")
    habitat = load(tmp_path, f"{BASE}hooks: [{{after: dockerfile, commands: [a]}}, {{before: base, commands: [b]}}]\n")
    assert [type(step).__name__ for step in named("dockerfile").plan(habitat)] == ["FromDockerfile", "Run"]
    assert [type(step).__name__ for step in named("base").plan(habitat)] == ["Run", "RequirePaths"]


def test_hook_without_point_runs_after_commands_of_setup(tmp_path: Path) -> None:
    ran = scripts(project(tmp_path, "hooks: [{commands: [say hook, say again]}]\nsetup: {user: [say setup]}\n"))
    assert [(user, script) for _, user, script in ran] == [
        ("dev", f"say {what}") for what in ("setup", "hook", "again")
    ]


def test_slices_without_hooks_are_those_of_the_phases_alone(tmp_path: Path) -> None:
    habitat = load(tmp_path, f"{BASE}hooks: []\nsetup: {{root: [a]}}\n")
    assert named("setup").slice(habitat) == p07_setup.slice(habitat) == {"commands": [{"script": "a", "user": "root"}]}
    assert hashes(tmp_path, "hooks: []\n") == hashes(tmp_path, "hooks:\n") == hashes(tmp_path, "")


@pytest.mark.guarantee("hooks-belong-to-their-phase")
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("phase", PHASES[1:])
def test_hook_changes_the_hash_of_its_phase_alone(tmp_path: Path, phase: str, when: str) -> None:
    before = hashes(tmp_path, "")
    texts = [f"hooks: [{{{when}: {phase}, run_as: {user}, commands: [{script}]}}]\n" for user, script in HOOKS]
    changed = [hashes(tmp_path, text) for text in texts]
    assert [{name for name in before if before[name] != after[name]} for after in changed] == [{phase}] * len(HOOKS)
    assert len({after[phase] for after in changed}) == len(HOOKS)


HOOKS = [("root", "a"), ("root", "b"), ("bob", "a")]


def test_description_of_hook_changes_no_hash(tmp_path: Path) -> None:
    texts = [f"hooks: [{{after: env, description: {word}, commands: [a]}}]\n" for word in ("one", "two")]
    assert hashes(tmp_path, texts[0]) == hashes(tmp_path, texts[1])


@pytest.mark.guarantee("late-file-keeps-setup")
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("phase", PHASES[1:])
def test_file_at_a_point_changes_the_hash_of_its_phase_alone(tmp_path: Path, phase: str, when: str) -> None:
    text = f"files: [{{source: late, dest: /late, {when}: {phase}}}]\n"
    write(tmp_path, "late/a", "one\n")
    before, without = hashes(tmp_path, text), hashes(tmp_path, "")
    assert {name for name in before if before[name] != without[name]} == {phase}
    write(tmp_path, "late/a", "two\n")
    after = hashes(tmp_path, text)
    assert {name for name in before if before[name] != after[name]} == {phase}


def test_files_at_a_point_are_copied_before_its_commands(tmp_path: Path) -> None:
    write(tmp_path, "late", "one\n")
    text = """\
        hooks: [{before: repos, commands: [cat /late]}]
        files: [{source: late, dest: /late, before: repos, owner: root, mode: 0600}, {source: late, dest: /early}]
        """
    habitat = load(tmp_path, BASE + re.sub("(?m)^ +", "", text))
    copy, run = named("repos").plan(habitat)
    assert isinstance(copy, Copy)
    assert isinstance(run, Run)
    assert [(entry.dest, entry.owner, entry.mode) for entry in copy.entries] == [("/late", "root", 0o600)]
    assert (run.script, run.title) == ("cat /late", "hook before repos, command 1 of 1")
    entries = [entry.dest for step in named("files").plan(habitat) if isinstance(step, Copy) for entry in step.entries]
    assert "/early" in entries
    assert "/late" not in entries


@pytest.mark.guarantee("late-file-keeps-setup")
def test_changed_file_after_setup_runs_no_command_of_setup(tmp_path: Path) -> None:
    write(tmp_path, "late", "one\n")
    demo = project(tmp_path, "files: [{source: late, dest: /late, before: final}]\nsetup: {root: [say setup]}\n")
    assert demo.build() == list(PHASES)
    write(tmp_path, "late", "two\n")
    assert list(report_plan.plan(demo.run_anew(), "demo").reasons["final"]) == ["late: changed"]
    assert demo.build() == ["final"]


def test_hooks_of_layers_run_in_order_of_layers(tmp_path: Path) -> None:
    write(tmp_path, "shared/config.yaml", "hooks: [{after: env, commands: [shared]}]\n")
    habitat = load(tmp_path, f"{BASE}hooks: [{{after: env, commands: [own]}}]\n")
    assert [step.script for step in named("env").plan(habitat) if isinstance(step, Run)] == ["shared", "own"]


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("hooks: [{after: stup, commands: [a]}]", 3, "hooks[0].after: there is no phase 'stup': did you mean 'setup'?"),
        ("hooks:\n  - commands: [a]\n    before: zzz", 5, "hooks[0].before: there is no phase 'zzz': known here: "),
        ("hooks: [{before: base, commands: [a]}]", 3, "hooks[0].before: there is no image before base: write after: b"),
        ("hooks: [{before: dockerfile, commands: [a]}]", 3, "hooks[0].before: the habitat has no Dockerfile: write af"),
        ("hooks: [{after: dockerfile, commands: [a]}]", 3, "hooks[0].after: the habitat has no Dockerfile: write afte"),
        (
            "hooks:\n  - before: env\n    after: env\n    commands: []",
            5,
            "hooks[0] has both before and after: keep one",
        ),
        ("hooks: [{after: env}]", 3, "hooks[0]: 'commands' is missing: add it"),
        ("hooks: [{after: env, commands: a}]", 3, "hooks[0].commands: must be a list, is text"),
        ("hooks: [{after: env, comands: [a]}]", 3, "hooks[0]: unknown key 'comands': did you mean 'commands'?"),
        ("hooks: {after: env}", 3, "hooks: must be a list, is a mapping"),
        ("hooks: [{run_as: a b, commands: [a]}]", 3, "'a b' is not a user name"),
        ("files: [{source: late, dest: /x, after: nope}]", 3, "files[0].after: there is no phase 'nope'"),
        ("files: [{source: late, dest: /x, after: env, before: env}]", 3, "files[0] has both before and after"),
    ],
)
def test_hook_malformed_is_refused_with_line(tmp_path: Path, text: str, line: int, why: str) -> None:
    write(tmp_path, "late")
    with pytest.raises(ConfigError) as excinfo:
        load(tmp_path, f"{BASE}{text}\n")
    assert str(excinfo.value).startswith(f"habitats/demo/config.yaml:{line}: {why}")


def test_hook_before_first_phase_of_dockerfile_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "habitats/demo/Dockerfile", "FROM base:1\n")
    with pytest.raises(ConfigError, match="there is no image before dockerfile: write after: dockerfile"):
        load(tmp_path, f"{BASE}hooks: [{{before: dockerfile, commands: [a]}}]\n")


def test_hook_that_fails_names_its_line_point_and_description(tmp_path: Path) -> None:
    demo = project(tmp_path, "hooks:\n  - after: files\n    description: Find  the socket\n    commands: [a, bad]\n")
    demo.engine.on_execute = lambda command: make_user(command) or (7 if command.script == "bad" else 0, "")
    with pytest.raises(HabitatError) as excinfo:
        demo.build()
    where = "habitats/demo/config.yaml:6"
    assert str(excinfo.value).startswith(f"{where}: hook after files, command 2 of 2 (Find the socket) ")
    assert demo.build(until="habitat") == []


CHANGES = [
    ("a, b", "a, c", ["hooks[1].commands[1]: b → c"]),
    ("a, b", "a, b, c", ["hooks[1].commands[2]: added (c)"]),
    ("a, b", "b", ["hooks, after tools: removed (a)"]),
    ("a", "", ["hooks, after tools: removed (a)"]),
]


@pytest.mark.parametrize(("before", "after", "expected"), CHANGES)
def test_plan_names_the_hook_that_changed(tmp_path: Path, before: str, after: str, expected: list[str]) -> None:
    hook = "hooks:\n  - {after: env, commands: [x]}\n"

    def text(commands: str) -> str:
        return f"{hook}  - {{after: tools, commands: [{commands}]}}\n" if commands else hook

    demo = project(tmp_path, text(before))
    demo.build()
    write(tmp_path, "habitats/demo/config.yaml", BASE + text(after))
    plan = report_plan.plan(demo.run_anew(), "demo")
    assert list(plan.reasons) == list(PHASES[PHASES.index("tools") :])
    assert list(plan.reasons["tools"]) == expected


def test_plan_names_the_user_and_the_file_of_a_hook(tmp_path: Path) -> None:
    write(tmp_path, "early", "x\n")
    write(tmp_path, "late/a", "x\n")
    text = """\
files: [{source: early, dest: /early}, {source: late, dest: /late, after: tools}, {source: early, dest: /b}]
hooks: [{after: tools, run_as: root, commands: [x]}]
"""
    demo = project(tmp_path, text)
    demo.build()
    write(tmp_path, "late/b", "y\n")
    changed = text.replace("run_as: root", "run_as: dev").replace("/late", "/moved").replace("/b}", "/c}")
    write(tmp_path, "habitats/demo/config.yaml", BASE + changed)
    reasons = report_plan.plan(demo.run_anew(), "demo").reasons
    assert list(reasons["files"]) == ["files[2].dest: /b → /c"]
    assert list(reasons["tools"]) == [
        "hooks[0].commands[0].run_as: root → dev",
        "late/b: added",
        "files[1].dest: /late → /moved",
    ]


@pytest.mark.parametrize("phase", ["env", "final", "verify"])
def test_secret_of_any_phase_with_hooks_is_seen_by_them(tmp_path: Path, phase: str) -> None:
    secret = f"secrets: [{{name: T, env: T, phases: [{phase}]}}]\n"
    habitat = load(tmp_path, f"{BASE}hooks: [{{after: {phase}, commands: [a]}}]\n{secret}")
    assert [secret.name for secret in habitat.secrets_of(phase)] == ["T"]
    assert named(phase).slice(habitat)["secrets"] == [{"name": "T", "variable": ""}]
    with pytest.raises(ConfigError, match=f"phase '{phase}' can't have secrets: write .*, or a phase that has hooks"):
        load(tmp_path, f"{BASE}{secret}")


def test_ejected_hooks_stand_at_their_phase_and_leave_user(tmp_path: Path) -> None:
    text = hooks_around("env", "repos", "final")
    rows = writer.write_dockerfile(load(tmp_path, BASE + text)).dockerfile.splitlines()
    printed = [match[1] for row in rows if (match := re.search(r'"(say [a-z ]+)"', row))]
    assert printed == [f"say {when} {phase}" for phase in ("env", "repos", "final") for when in ("before", "after")]
    assert [row for row in rows if row.startswith("USER ")][-1] == "USER dev"


def test_ejected_hooks_of_verify_and_test_are_in_no_stage_of_the_image(tmp_path: Path) -> None:
    text = hooks_around("verify", "test") + "verify-fs: {required_files: [/etc/passwd]}\n"
    dockerfile = writer.write_dockerfile(load(tmp_path, BASE + text)).dockerfile
    image, _, rest = dockerfile.partition("FROM habitat AS test")
    tests, _, final = rest.partition("FROM habitat AS final")
    assert "/etc/passwd" in image
    assert "say " not in image + final
    assert re.findall(r'"say ([a-z ]+)"', tests) == ["before verify", "after verify", "before test", "after test"]


# Files of the engine


def warnings_after_writes(root: Path, text: str, *, path: str = "/etc/hosts") -> list[str]:
    """The notices of a build in which each command of root `add X` adds X to a file that the engine mounts."""
    demo = project(root, text)

    def run(command: Command) -> tuple[int, str]:
        files = command.container.files
        if command.script.startswith("add "):
            files.write(path, files.nodes[path].content.decode() + command.script)
        return make_user(command) or (0, "")

    demo.engine.on_execute = run
    demo.build()
    return demo.notices()


@pytest.mark.parametrize("path", ["/etc/hosts", "/etc/resolv.conf", "/etc/hostname"])
def test_command_that_writes_file_of_engine_is_named_once_in_its_phase(tmp_path: Path, path: str) -> None:
    text = (
        "setup:\n  root:\n    - see it\n    - add a\n    - add b\n"
        "hooks:\n  - {after: setup, run_as: root, commands: [add c]}\n"
        "  - {before: tools, run_as: root, commands: [see it]}\n"
        "  - {after: tools, run_as: root, commands: [see it, add d]}\n"
    )
    rest = (
        f" wrote to {path}, which no image keeps: the engine mounts its own files there. Mount yours instead "
        f"(`volumes: [SOURCE:{path}:ro]`), or let entry.init_command write at each start"
    )
    assert warnings_after_writes(tmp_path, text, path=path) == [
        f"habitats/demo/config.yaml:6: setup command 2 of 3{rest}",
        f"habitats/demo/config.yaml:11: hook after tools, command 2 of 2{rest}",
    ]


def test_command_of_phase_without_snapshot_may_write_file_of_engine(tmp_path: Path) -> None:
    text = "hooks: [{before: test, run_as: root, commands: [add a]}]\n"
    assert warnings_after_writes(tmp_path, text) == []


def test_command_may_write_volume_at_place_of_engines_file(tmp_path: Path) -> None:
    write(tmp_path, "data/hosts")
    text = "volumes: [{source: ../../data/hosts, dest: /etc/hosts}]\nsetup: {root: [add a]}\n"
    assert [text for text in warnings_after_writes(tmp_path, text) if "wrote to" in text] == []
