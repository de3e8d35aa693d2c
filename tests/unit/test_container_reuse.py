"""A phase goes on in the container of the one before where nobody could tell the difference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace
from unit_helpers import DemoProject, make_user, write

from phases.core.container import side_effects
from phases.core.errors import HabitatError
from phases.registry import NAMES, PHASES, named

if TYPE_CHECKING:
    from pathlib import Path

    from fake_engine import Command

CONFIG = """
    base_image: base:1
    env: [A=1, 'B=a "b" $$x \\', WORKDIR=/work]
    files: [{source: notes, dest: /etc/notes, owner: root}]
    setup:
      root: [echo root >/root-was-here]
      user: [echo "$A" >/tmp/a]
    verify-fs: {required_files: [/root-was-here]}
    tests: [tests/t.sh]
    entry: {command: 'true'}
"""


def habitat(root: Path, more: str = "") -> DemoProject:
    write(root, "habitats/demo/notes", "n")
    write(root, "habitats/demo/tests/t.sh", "touch /tested\n")
    demo = DemoProject(root, CONFIG + more)
    demo.engine.on_execute = answer
    return demo


def answer(command: Command) -> tuple[int, str] | None:
    """What the fake shell doesn't know: phase 2's script, and the habitat's own test."""
    if any(word.endswith("tests/t.sh") for word in command.args):
        command.container.files.write("/tested", "")
        return 0, ""
    return make_user(command)


def one_by_one(demo: DemoProject) -> None:
    """Each phase in a run of its own, so that each has a container of its own."""
    for phase in PHASES[1:]:
        demo.build(until=phase.NAME)


def test_build_uses_one_container_until_tests_and_another_for_final(tmp_path: Path) -> None:
    demo = habitat(tmp_path)
    demo.build()
    assert demo.phases_with_new_container() == ["base", "final"]
    assert demo.engine.containers() == []


def test_build_from_scratch_makes_expected_number_of_engine_requests(tmp_path: Path) -> None:
    """Counted, since seconds lie. Each costs the engine tens of milliseconds; put and get are calls of its file API."""
    demo = habitat(tmp_path)
    demo.build()
    counted = ("create", "start", "commit", "exec", "put_archive", "read_file")
    assert {method: len(demo.engine.called(method)) for method in counted} == {
        "create": 2,  # the second for final, as the tests leave theirs behind
        "start": 1,
        "commit": 10,  # one for each snapshot
        "exec": 4,  # users, setup (2), and the test
        "put_archive": 7,  # env, workdir, habitat, files, tools, the tests, final
        "read_file": 2,  # who is in the image, before its users were made and after
    }


def test_image_files_read_once_are_known_in_next_run(tmp_path: Path) -> None:
    """Whatever became of the file that says so."""
    demo = habitat(tmp_path)
    demo.build()
    remembered = tmp_path / ".stamps/demo/contents"

    def read_for(branch: str) -> list[str]:
        write(
            tmp_path,
            "habitats/demo/config.yaml",
            f"{CONFIG}\n    repos: [{{url: 'https://h/{branch}.git', path: p, branch: main}}]\n",
        )
        before = len(demo.engine.called("read_file"))
        demo.engine.on_execute = lambda command: answer(command) or (0, "")
        assert demo.build() == ["repos", "tools", "verify", "test", "final"]
        return [path for _, _, path in demo.engine.called("read_file")[before:]]

    assert read_for("a") == []
    remembered.write_text("nonsense")
    assert read_for("b") == ["/etc/passwd", "/etc/profile.d/habitat.sh"]
    assert "/etc/passwd" not in read_for("c")


@pytest.mark.guarantee("reused-container-same-snapshot")
def test_snapshots_are_equal_to_those_of_one_container_per_phase(tmp_path: Path) -> None:
    """Labels, environment, user, command and every file."""
    at_once, apart = habitat(tmp_path / "at-once"), habitat(tmp_path / "apart")
    at_once.build()
    one_by_one(apart)
    assert len(apart.phases_with_new_container()) == 12
    tags = at_once.engine.tags()
    assert tags.keys() == apart.engine.tags().keys()
    for tag in tags:
        ours, theirs = (demo.engine._image(tag) for demo in (at_once, apart))
        assert ours.files.nodes == theirs.files.nodes, tag
        assert replace(ours.config, id="", layers=0) == replace(theirs.config, id="", layers=0), tag
        varying = {"habitat.parent", "habitat.created", "habitat.seconds", "habitat.project", "habitat.project.id"}
        assert {k: v for k, v in ours.labels.items() if k not in varying} == {
            k: v for k, v in theirs.labels.items() if k not in varying
        }, tag


def test_command_in_shared_container_has_environment_of_its_phase(tmp_path: Path) -> None:
    demo = habitat(tmp_path)
    seen: dict[str, dict[str, str]] = {}

    def look(command: Command) -> Any:
        if "root-was-here" in command.script:
            seen["setup"] = {**command.container.env, **command.env}
        return answer(command)

    demo.engine.on_execute = look
    demo.build()
    assert seen["setup"]["A"] == "1"
    assert seen["setup"]["B"] == 'a "b" $x \\'
    assert seen["setup"]["WORKDIR"] == "/work"


@pytest.mark.guarantee("reused-container-same-snapshot")
@pytest.mark.parametrize(
    ("more", "own"),
    [
        ("secrets: [{name: T, command: echo x, phases: [setup]}]", ["base", "setup", "repos", "final"]),
        ("volumes: [{source: /data, dest: /data}]", ["base", "setup", "final"]),
    ],
)
def test_phase_with_other_mounts_has_its_own_container(tmp_path: Path, more: str, own: list[str]) -> None:
    (tmp_path / "data").mkdir()
    demo = habitat(tmp_path, f"    {more.replace('/data,', f'{tmp_path}/data,')}\n")
    demo.build()
    assert demo.phases_with_new_container() == own


@pytest.mark.guarantee("reused-container-same-snapshot")
def test_phase_after_process_left_running_has_its_own_container(tmp_path: Path) -> None:
    demo = habitat(tmp_path)

    def leave_something(command: Command) -> Any:
        if "root-was-here" in command.script:
            command.container.left_running = True
        return answer(command)

    demo.engine.on_execute = leave_something
    demo.build()
    assert demo.phases_with_new_container() == ["base", "repos", "final"]


def test_test_phase_skips_side_effect_probe(tmp_path: Path) -> None:
    """No phase goes on after it, so nothing need be looked at. It may kill all that it finds."""
    demo = habitat(tmp_path)
    demo.build()
    watched = [side_effects._WATCH.text in call for call in demo.engine.called("exec")]
    assert watched == [False, True, True, False]  # the user is made by a script of ours; setup; the test


def test_phase_after_large_image_has_its_own_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo = habitat(tmp_path)
    look = demo.engine.image_config
    large = {f"habitat-demo:{named(name).ID}-{name}" for name in NAMES[NAMES.index("setup") :]}

    def sized(reference: str) -> Any:
        report = look(reference)
        ids = {image for tag, image in demo.engine.tags().items() if tag in large}
        return replace(report, size=2_000_000_000 if report.id in ids else 1_000) if report else None

    monkeypatch.setattr(demo.engine, "image_config", sized)
    demo.build()
    assert demo.phases_with_new_container() == ["base", "repos", "final"]


def test_image_with_own_volumes_has_one_container_per_phase(tmp_path: Path) -> None:
    """What is written there is in no commit."""
    demo = habitat(tmp_path)
    demo.engine.add_image("base:1", command=("serve",), volumes=("/var/lib/data",))
    demo.build()
    assert demo.phases_with_new_container() == PHASES_WITH_CONTAINER


PHASES_WITH_CONTAINER = [phase.NAME for phase in PHASES[1:]]


@pytest.mark.parametrize("value", ["two\nlines", "x" * 70_000])
def test_env_value_not_committable_is_set_by_new_container(tmp_path: Path, value: str) -> None:
    demo = habitat(tmp_path)
    text = (tmp_path / "habitats/demo/config.yaml").read_text()
    escaped = value.replace("\n", "\\n")
    write(tmp_path, "habitats/demo/config.yaml", text.replace("[A=1,", f'["A={escaped}",'))
    demo.build()
    assert demo.phases_with_new_container() == ["base", "env", "final"]
    actual = demo.engine.image_config("habitat-demo:final")
    assert actual
    assert actual.env["A"] == value


def test_failed_phase_leaves_no_container(tmp_path: Path) -> None:
    demo = habitat(tmp_path)

    def fail(command: Command) -> Any:
        return (3, "") if "root-was-here" in command.script else answer(command)

    demo.engine.on_execute = fail
    with pytest.raises(HabitatError):
        demo.build()
    assert demo.engine.containers() == []


def test_build_until_earlier_phase_leaves_no_container(tmp_path: Path) -> None:
    demo = habitat(tmp_path)
    demo.build(until="env")
    assert demo.engine.containers() == []


def test_builder_release_removes_container_kept_for_next_phase(tmp_path: Path) -> None:
    demo = habitat(tmp_path)
    demo.run_anew()
    demo.builder.build("demo", named("base"))
    assert len(demo.engine.containers()) == 1
    demo.builder.release("demo")
    demo.builder.close()
    assert demo.engine.containers() == []
