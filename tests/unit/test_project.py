"""A whole build on the fake engine: tags, labels, what goes when, who waits for whom."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from conftest import clones_of_one_repository
from msgspec.structs import replace
from unit_helpers import DemoProject, make_user, write

from phases.core import events
from phases.core.build.builder import Builder
from phases.core.cache import image_labels
from phases.core.cache.image_labels import COMMENT
from phases.core.cache.stamps import task_name
from phases.core.errors import CommandFailed, EngineError, EngineUnreachable, HabitatError, Stopped
from phases.core.files import atomic
from phases.core.files.locks import FileLock
from phases.core.project import Project
from phases.core.runtime import clean
from phases.registry import NAMES, named

if TYPE_CHECKING:
    from pathlib import Path

    from fake_engine import Command

PHASES = list(NAMES[1:])
SNAPSHOTS = [name for name in PHASES if named(name).SNAPSHOT]
TAGS = [f"habitat-demo:{named(name).ID}-{name}" for name in SNAPSHOTS]
WITH_SETUP = "base_image: base:1\nsetup:\n  root: [{0}]\n"


@pytest.fixture
def demo(tmp_path: Path) -> DemoProject:
    return DemoProject(tmp_path)


def labels(demo: DemoProject, tag: str) -> dict[str, str]:
    (image,) = [image for image in demo.engine.images() if tag in image.tags]
    return dict(image.labels)


def test_build_runs_every_phase_once(demo: DemoProject) -> None:
    assert demo.build() == PHASES
    assert demo.build() == []


def test_build_tags_each_snapshot_and_final_twice(demo: DemoProject) -> None:
    demo.build()
    tags = demo.engine.tags()
    assert sorted(tags) == sorted([*TAGS, "habitat-demo:final", "base:1"])
    assert tags["habitat-demo:final"] == tags["habitat-demo:12-final"]


def test_snapshot_labels_contain_hashes_parent_and_duration(demo: DemoProject) -> None:
    demo.build()
    image_labels = labels(demo, "habitat-demo:3-env")
    assert {key for key in image_labels if key.endswith(".hash")} == {"base.hash", "users.hash", "env.hash"}
    for name in ("base", "users", "env"):
        slice_file = demo.project.slices.path("demo", named(name))
        assert image_labels[f"{name}.hash"] == hashlib.sha256(slice_file.read_bytes()).hexdigest()
    assert (image_labels["habitat.name"], image_labels["habitat.phase"]) == ("demo", "env")
    assert image_labels["habitat.parent"] == demo.engine.tags()["habitat-demo:2-users"]
    assert float(image_labels["habitat.seconds"]) >= 0
    assert time.strptime(image_labels["habitat.created"], "%Y-%m-%dT%H:%M:%SZ")


def test_final_labels_contain_hashes_of_all_phases(demo: DemoProject) -> None:
    demo.build()
    image_labels = labels(demo, "habitat-demo:final")
    assert {key for key in image_labels if key.endswith(".hash")} == {f"{name}.hash" for name in PHASES}


def test_base_snapshot_label_names_base_image_as_parent(demo: DemoProject) -> None:
    demo.build()
    assert labels(demo, "habitat-demo:1-base")["habitat.parent"] == demo.base


@pytest.mark.parametrize("reference", ["base:1", "far/base@sha256:" + "0" * 64])
def test_first_build_pulls_base_image_and_is_cached_afterwards(tmp_path: Path, reference: str) -> None:
    demo = DemoProject(tmp_path, f"base_image: {reference}\n")
    demo.engine.registry[reference] = demo.engine._images[demo.base]
    demo.engine.untag("base:1")
    assert demo.build() == PHASES
    assert len(demo.engine.called("pull")) == 1
    assert demo.build() == []


def test_base_image_moved_rebuilds_all_phases(demo: DemoProject) -> None:
    demo.build()
    demo.engine.add_image("base:1")
    assert demo.build() == PHASES


def test_final_image_runs_command_as_user_in_workdir(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path, "base_image: base:1\nenv: [A=1]\nentry: {command: run it}\n")
    demo.build()
    config = demo.engine.image_config("habitat-demo:final")
    assert config is not None
    assert (config.user, config.workdir) == ("agent", "/workspace")
    assert (config.entrypoint, config.command) == ((), ("/bin/sh", "-c", "--", "run it"))
    assert (config.env["A"], config.env["USER"]) == ("1", "agent")
    config = demo.engine.image_config("habitat-demo:9-tools")
    assert config is not None
    assert config.command == ("serve",), "until then it is the base's own"


@pytest.mark.parametrize(
    ("change", "first"),
    [
        (WITH_SETUP.format("true"), "setup"),
        ("base_image: base:1\nverify-fs: {required_files: [/bin/sh]}\n", "verify"),
        ("base_image: base:1\nentry: {command: x}\n", "final"),
        ("base_image: base:1\nenv: [A=1]\n", "env"),
        ("base_image: base:1\ndescription: x\n", None),
    ],
)
def test_config_change_runs_its_phase_and_later_ones(demo: DemoProject, change: str, first: str | None) -> None:
    demo.build()
    write(demo.root, "habitats/demo/config.yaml", change)
    assert demo.build() == (PHASES[PHASES.index(first) :] if first else [])


def test_rebuilt_phase_untags_later_snapshots_before_own_tag(demo: DemoProject) -> None:
    demo.build()
    write(demo.root, "habitats/demo/config.yaml", WITH_SETUP.format("true"))
    demo.engine.calls.clear()
    demo.build(until="setup")
    calls = [call[:2] for call in demo.engine.called("commit", "untag") if image_labels.REMOVED not in call[1]]
    assert calls[1:] == [
        ("untag", "habitat-demo:final"),
        ("untag", "habitat-demo:12-final"),
        ("untag", "habitat-demo:9-tools"),
        ("untag", "habitat-demo:8-repos"),
    ]
    order = [c[0] for c in demo.engine.called("commit", "untag", "tag") if image_labels.REMOVED not in str(c)]
    assert order == ["commit", *["untag"] * 4, "tag"]
    assert set(demo.engine.tags()) == {*TAGS[: TAGS.index("habitat-demo:7-setup") + 1], "base:1"}


def test_rebuilt_phase_removes_stamps_of_later_phases(demo: DemoProject) -> None:
    demo.build()
    write(demo.root, "habitats/demo/config.yaml", WITH_SETUP.format("true"))
    demo.build(until="setup")
    stamped = [name for name in PHASES if demo.project.stamps.read(task_name(named(name), "demo"))]
    assert stamped == PHASES[: PHASES.index("setup") + 1]


def test_rebuilt_phase_removes_replaced_image(demo: DemoProject) -> None:
    demo.build()
    old = demo.engine.tags()["habitat-demo:7-setup"]
    write(demo.root, "habitats/demo/config.yaml", WITH_SETUP.format("true"))
    demo.build()
    assert demo.engine.image_config(old) is None
    assert all(image.tags for image in demo.engine.images())


def test_replaced_image_used_by_container_is_kept(demo: DemoProject) -> None:
    demo.build()
    demo.engine.create("habitat-demo:final", "somebody", ("x",))
    old = demo.engine.tags()["habitat-demo:final"]
    write(demo.root, "habitats/demo/config.yaml", WITH_SETUP.format("true"))
    assert demo.build()[0] == "setup"
    assert demo.engine.image_config(old) is not None
    assert demo.engine.tags()["habitat-demo:final"] != old


def test_failed_phase_keeps_earlier_snapshots(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path)
    demo.build()
    before = demo.engine.tags()
    write(demo.root, "habitats/demo/config.yaml", WITH_SETUP.format("exit 3"))
    with pytest.raises(CommandFailed):
        demo.build()
    tags = demo.engine.tags()
    del tags["habitat-demo:7-setup-failed"]
    assert tags == before, "the old snapshots are valid for the old config"
    write(demo.root, "habitats/demo/config.yaml", "base_image: base:1\n")
    assert demo.build() == []


def test_failed_phase_runs_first_in_next_build(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path, WITH_SETUP.format("exit 3"))
    with pytest.raises(CommandFailed):
        demo.build()
    write(demo.root, "habitats/demo/config.yaml", WITH_SETUP.format("true"))
    assert demo.build() == PHASES[PHASES.index("setup") :]


def test_test_phase_changes_are_not_in_final_image(tmp_path: Path) -> None:
    write(tmp_path, "habitats/demo/tests/t.sh")
    demo = DemoProject(tmp_path, "base_image: base:1\ntests: [tests/t.sh]\n")

    def execute(command: Command) -> tuple[int, str] | None:
        if command.script == 'exec "$1"':
            command.container.files.write("/litter", "")
            return 0, ""
        return make_user(command)

    demo.engine.on_execute = execute
    demo.build()
    assert any(command.args == ("/habitat/local/tests/t.sh",) for command in demo.engine.commands)
    assert "/litter" not in demo.engine.files("habitat-demo:final").nodes
    assert "/habitat/local/tests/t.sh" not in demo.engine.files("habitat-demo:final").nodes


def test_pruned_intermediate_snapshots_are_not_rebuilt(demo: DemoProject) -> None:
    demo.build()
    for tag in TAGS[2:-1]:
        demo.engine.untag(tag)
    demo.engine.calls.clear()
    assert demo.build() == []


def test_missing_stamps_with_matching_labels_build_nothing(demo: DemoProject) -> None:
    demo.build()
    for path in (demo.root / ".stamps/demo").glob("*.stamp"):
        path.unlink()
    assert demo.build() == []


def test_forgotten_phase_runs_despite_matching_labels(demo: DemoProject) -> None:
    demo.build()
    demo.project.stamps.forget("setup:demo")
    assert demo.build() == PHASES[PHASES.index("setup") :]
    assert demo.build() == []


def test_up_to_date_run_makes_one_engine_request(demo: DemoProject) -> None:
    demo.build()
    demo.engine.calls.clear()
    assert demo.build() == []
    assert demo.engine.calls == [("images",)]


def test_dockerfile_image_is_built_and_used_as_parent(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path, "description: x\n")
    write(tmp_path, "habitats/demo/Dockerfile", "FROM base:1\nUSER root\n")
    assert demo.build() == ["dockerfile", *PHASES]
    image_labels = labels(demo, "habitat-demo:1-base")
    assert image_labels["habitat.parent"] == demo.engine.tags()["habitat-demo:0-dockerfile"]
    assert demo.build() == []
    write(tmp_path, "habitats/demo/Dockerfile", "FROM base:1\nUSER root\nWORKDIR /\n")
    assert demo.build() == ["dockerfile", *PHASES]


def test_phase_events_frame_each_phase(demo: DemoProject) -> None:
    demo.build(until="verify")
    framed = [event for event in demo.seen if isinstance(event, events.PhaseStarted | events.PhaseFinished)]
    base, users = (demo.project.image_index.id_of(f"habitat-demo:{tag}") or "" for tag in ("1-base", "2-users"))
    assert [replace(event, seconds=0) if isinstance(event, events.PhaseFinished) else event for event in framed][
        :4
    ] == [
        events.PhaseStarted("demo", "base"),
        events.PhaseFinished("demo", "base", 0, "habitat-demo:1-base", base),
        events.PhaseStarted("demo", "users"),
        events.PhaseFinished("demo", "users", 0, "habitat-demo:2-users", users),
    ]
    assert isinstance(framed[-1], events.PhaseFinished)
    assert framed[-1].snapshot == ""


def test_broken_habitat_does_not_stop_other_habitats(demo: DemoProject) -> None:
    write(demo.root, "habitats/broken/config.yaml", "nonsense: 1\n")
    project = demo.run_anew()
    assert project.habitats.names == ["broken", "demo"]
    for _ in range(2):
        with pytest.raises(HabitatError, match="unknown key 'nonsense'"):
            project.habitat("broken")
    assert demo.build() == PHASES


def test_project_contacts_engine_only_when_needed(demo: DemoProject) -> None:
    def refuse() -> None:
        raise EngineUnreachable("nobody there")

    project = Project(demo.root, refuse)  # type: ignore[arg-type]
    assert project.habitats.names == ["demo"]
    assert project.habitat("demo").base_image == "base:1"
    assert len(project.phases("demo")) == 12
    with pytest.raises(EngineUnreachable):
        project.assess("demo")


# One at a time


HOLD = """
import sys
from pathlib import Path
from phases.core.files.locks import FileLock
lock = FileLock(Path(sys.argv[1]))
lock.acquire(print)
print("held", flush=True)
sys.stdin.readline()
"""


class LockHolderProcess:
    """Another process that holds the build lock of demo."""

    def __init__(self, root: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(root / ".stamps/demo/lock")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        assert self.process.stdout.readline() == "held\n"

    def let_go(self, *, killed: bool = False) -> None:
        if killed:
            self.process.kill()
        self.process.communicate("\n" if not killed else None)


def waiting(demo: DemoProject) -> list[str]:
    until = time.monotonic() + 10
    while not demo.notices() and time.monotonic() < until:
        time.sleep(0.01)
    return demo.notices()


@pytest.mark.parametrize("killed", [False, True])
def test_second_run_waits_for_build_lock_of_first(demo: DemoProject, killed: bool) -> None:
    holder = LockHolderProcess(demo.root)
    done: list[list[str]] = []
    second = threading.Thread(target=lambda: done.append(demo.build(until="users")))
    second.start()
    (text,) = waiting(demo)
    assert text.startswith(f"waiting for another run that builds demo (pid {holder.process.pid} since ")
    assert not done
    holder.let_go(killed=killed)
    second.join(10)
    assert done == [["base", "users"]]


def test_phase_built_by_other_run_during_wait_is_not_rebuilt(demo: DemoProject) -> None:
    demo.build()
    tags = demo.engine.tags()
    demo.engine.untag("habitat-demo:final")
    holder = LockHolderProcess(demo.root)
    done: list[list[str]] = []
    second = threading.Thread(target=lambda: done.append(demo.build()))
    second.start()
    waiting(demo)
    demo.engine.calls.clear()
    demo.engine.tag(tags["habitat-demo:12-final"], "habitat-demo:final")
    holder.let_go()
    second.join(10)
    assert done == [["final"]]
    assert demo.engine.called("commit") == []
    assert demo.notices()[-1] == "final was built by another run"


def test_file_lock_released_is_free(tmp_path: Path) -> None:
    path = tmp_path / "state" / "lock"
    messages: list[str] = []
    for _ in range(2):
        lock = FileLock(path)
        lock.acquire(messages.append)
        lock.release()
    assert messages == []


def test_build_removes_container_and_images_of_killed_run(demo: DemoProject) -> None:
    demo.build(until="users")
    build_container = demo.project.temporary_containers.build_name("demo", named("users"))
    demo.engine.create("habitat-demo:2-users", build_container, ("x",))
    left = demo.engine.add_image(labels={"habitat.name": "demo"}, comment=COMMENT)
    others = demo.engine.add_image(labels={"habitat.name": "other"}, comment=COMMENT)
    nobodys = demo.engine.add_image()
    persons = demo.engine.add_image(labels={"habitat.name": "demo"})  # a docker commit of the habitat's container
    demo.build()
    assert demo.engine.container(build_container) is None
    assert demo.engine.image_config(left) is None
    assert demo.engine.image_config(others) is not None
    assert demo.engine.image_config(nobodys) is not None
    assert demo.engine.image_config(persons) is not None


def test_replaced_image_with_tag_of_person_is_kept(demo: DemoProject) -> None:
    demo.build()
    demo.engine.tag("habitat-demo:final", "mine:1")
    write(demo.root, "habitats/demo/config.yaml", "base_image: base:1\nentry: {command: other}\n")
    assert demo.build() == ["final"]
    assert demo.engine.image_config("mine:1") is not None


def test_single_phase_with_stale_parent_is_refused(demo: DemoProject) -> None:
    """Another run built in between, or doit was told to run one task alone: the labels would lie."""
    demo.build()
    write(demo.root, "habitats/demo/config.yaml", WITH_SETUP.format("echo other"))
    demo.run_anew()
    before = demo.engine.images()
    with pytest.raises(HabitatError, match="setup has to run first") as excinfo:
        demo.builder.build("demo", named("final"))
    assert excinfo.value.remedy == "run the same command again (without --single, if you gave that)"
    assert demo.engine.images() == before


def test_build_lock_of_one_habitat_is_released_before_waiting_for_another(demo: DemoProject) -> None:
    """Two runs that build the same two habitats, each in its own order, would wait for ever."""
    write(demo.root, "habitats/second/config.yaml", "base_image: base:1\n")
    demo.run_anew()
    demo.builder.build("demo", named("base"))
    demo.builder.build("second", named("base"))
    other = Builder(Project(demo.root, lambda: demo.engine))
    waited: list[events.Event] = []
    other.project.bus.subscribe(waited.append)
    other.build("demo", named("users"))
    other.close()
    assert [event for event in waited if isinstance(event, events.Notice)] == []


def test_build_lock_is_kept_while_parallel_build_begins(demo: DemoProject, monkeypatch: pytest.MonkeyPatch) -> None:
    """With -n: the second one begins when the first has its lock but hasn't begun its phase."""
    write(demo.root, "habitats/second/config.yaml", "base_image: base:1\n")
    project = demo.run_anew()
    sweep = project.store.sweep
    held: list[bool] = []

    def meanwhile(name: str) -> None:
        sweep(name)
        if name == "demo":
            demo.builder.build("second", named("base"))
            held.append(is_locked(demo.root / ".stamps/demo/lock"))

    monkeypatch.setattr(project.store, "sweep", meanwhile)
    demo.builder.build("demo", named("base"))
    assert held == [True]


def is_locked(path: Path) -> bool:
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_run_stopped_during_wait_keeps_container_of_other_run(demo: DemoProject) -> None:
    project = demo.run_anew()
    lock = FileLock(demo.root / ".stamps/demo/lock")
    lock.acquire(lambda _: None)
    theirs = demo.engine.create("base:1", project.temporary_containers.build_name("demo", named("users")), ("x",))
    stopped: list[Stopped] = []

    def wait() -> None:
        try:
            demo.builder.build("demo", named("base"))
        except Stopped as error:
            stopped.append(error)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    deadline = time.monotonic() + 10
    while not demo.notices():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    demo.builder.close()
    lock.release()
    waiting.join(10)
    assert stopped
    assert demo.engine.container(theirs) is not None


def test_base_image_removed_does_not_rebuild(demo: DemoProject) -> None:
    demo.build()
    demo.engine.untag("base:1")
    assert demo.build() == []


def test_dockerfile_removed_image_is_removed_by_next_build(demo: DemoProject) -> None:
    write(demo.root, "habitats/demo/Dockerfile", "FROM base:1\n")
    demo.build()
    (demo.root / "habitats/demo/Dockerfile").unlink()
    demo.build()
    assert not any(tag.endswith("0-dockerfile") for image in demo.engine.images() for tag in image.tags)


def test_two_clones_use_different_build_container_names(tmp_path: Path) -> None:
    one, two = (
        DemoProject(tmp_path / name).project.temporary_containers.build_name("demo", named("users"))
        for name in ("one", "two")
    )
    assert one != two


@pytest.fixture
def two_clones(tmp_path: Path) -> tuple[DemoProject, DemoProject]:
    """Two clones of a project on one engine."""
    clones_of_one_repository(tmp_path / "one", tmp_path / "two")
    one, two = DemoProject(tmp_path / "one"), DemoProject(tmp_path / "two")
    two.engine = one.engine
    two.run_anew()
    return one, two


@pytest.mark.parametrize("method", ["create", "commit", "tag"])
def test_two_clones_take_turns_and_build_once(two_clones: tuple[DemoProject, DemoProject], method: str) -> None:
    """The second comes while the first is in its first phase."""
    one, two = two_clones
    begun = threading.Event()
    done: list[list[str]] = []
    second = threading.Thread(target=lambda: done.append(two.build()))
    plain = getattr(one.engine, method)

    def call_and_let_the_other_begin(*args: object, **options: object) -> object:
        if not begun.is_set():
            begun.set()
            second.start()
            assert waiting(two)[0].startswith(f"waiting for another run that builds demo (pid {os.getpid()} on ")
        return plain(*args, **options)

    setattr(one.engine, method, call_and_let_the_other_begin)
    assert one.build() == PHASES
    second.join(10)
    assert len(one.engine.called("commit")) == len(SNAPSHOTS)
    assert one.engine.volumes() == []


def test_interrupted_build_leaves_no_container_and_names_its_phase(demo: DemoProject) -> None:
    demo.build(until="files")
    write(demo.root, "habitats/demo/config.yaml", WITH_SETUP.format("sleep 1"))

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    demo.engine.on_execute = interrupt
    with pytest.raises(KeyboardInterrupt):
        demo.build()
    assert demo.builder.close() == ["setup:demo"]
    assert demo.engine.containers() == []
    messages: list[str] = []
    lock = FileLock(demo.root / ".stamps/demo/lock")
    lock.acquire(messages.append)
    assert messages == []
    lock.release()


def test_interrupted_build_with_failing_removal_releases_lock(demo: DemoProject) -> None:
    demo.build(until="files")
    write(demo.root, "habitats/demo/config.yaml", WITH_SETUP.format("sleep 1"))

    def interrupt(_: object) -> None:
        demo.engine.failures["remove"] = EngineError("device is busy")
        raise KeyboardInterrupt

    demo.engine.on_execute = interrupt
    with pytest.raises(KeyboardInterrupt):
        demo.build()
    assert demo.builder.close() == ["setup:demo"]
    assert "device is busy" in demo.notices()
    lock = FileLock(demo.root / ".stamps/demo/lock")
    lock.acquire(pytest.fail)
    lock.release()


def test_container_requested_when_run_is_stopped_is_removed(demo: DemoProject, monkeypatch: pytest.MonkeyPatch) -> None:
    """With -n: the signal comes to the main thread, the request is another's."""
    demo.build(until="base")
    demo.run_anew()
    create, asked, go = demo.engine.create, threading.Event(), threading.Event()

    def slowly(*args: Any, **wishes: Any) -> str:
        asked.set()
        assert go.wait(10)
        return create(*args, **wishes)

    monkeypatch.setattr(demo.engine, "create", slowly)

    def build() -> None:
        with contextlib.suppress(HabitatError):  # it may be done before its container is taken away
            demo.builder.build("demo", named("users"))

    building = threading.Thread(target=build, daemon=True)
    building.start()
    assert asked.wait(10)
    threading.Timer(0.1, go.set).start()
    demo.builder.close()
    assert go.is_set(), "it was waited for"
    assert demo.engine.containers() == []
    building.join(10)
    assert len(demo.engine.called("create")) == 2, "one for base, and the one on its way"
    assert demo.engine.containers() == []


def test_run_killed_between_final_tags_leaves_no_untagged_image(demo: DemoProject) -> None:
    demo.build()
    write(demo.root, "habitats/demo/config.yaml", "base_image: base:1\nentry: {command: new}\n")
    tag = demo.engine.tag

    def tag_one(image: str, reference: str) -> None:
        if reference.endswith(":final"):
            raise KeyboardInterrupt
        tag(image, reference)

    demo.engine.tag = tag_one  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        demo.build()
    demo.engine.tag = tag  # type: ignore[method-assign]
    assert demo.build() == ["final"]
    assert [image for image in demo.engine.images() if not image.tags] == []


def test_stopped_run_emits_no_events(demo: DemoProject) -> None:
    demo.builder.close()
    demo.project.bus.emit(events.Output("demo", "setup", "of a thread that goes on"))
    assert demo.seen == []


def test_stopped_run_starts_no_phase(demo: DemoProject) -> None:
    demo.builder.close()
    with pytest.raises(Stopped):
        demo.builder.build("demo", named("base"))
    assert demo.engine.calls == []


@pytest.mark.parametrize("next_step", ["a build", "a clean of all", "a clean of a phase"])
def test_next_run_or_clean_removes_leftovers_of_killed_run(demo: DemoProject, next_step: str) -> None:
    demo.build(until="users")
    project = demo.run_anew()
    demo.engine.create("base:1", project.temporary_containers.build_name("demo", named("users")), ("x",))
    demo.engine.tag("base:1", "habitat-demo:0-dockerfile-build")
    left = write(demo.root, f".stamps/demo/.3-env.json.{os.getpid()}")
    writing = atomic.draft_file(demo.root / ".stamps/demo/3-env.json")
    written_now, _ = writing.__enter__()
    match next_step:
        case "a build":
            demo.builder.build("demo", named("env"))
            demo.builder.close()
            assert written_now.exists()
        case "a clean of all":
            clean.clean_all(project, "demo")
        case "a clean of a phase":
            clean.clean_from(project, "demo", named("env"))
            assert written_now.exists()
    assert demo.engine.containers() == []
    assert "habitat-demo:0-dockerfile-build" not in demo.engine.tags()
    assert not left.exists()


@pytest.mark.parametrize("line", ["", "RUN false\n"])
def test_dockerfile_build_tag_is_removed_after_its_phase(demo: DemoProject, line: str) -> None:
    write(demo.root, "habitats/demo/Dockerfile", f"FROM base:1\n{line}")
    if line:
        with pytest.raises(HabitatError):
            demo.build(until="dockerfile")
    else:
        demo.build(until="dockerfile")
    assert demo.engine.called("build") == [("build", "habitat-demo:0-dockerfile-build")]
    assert set(demo.engine.tags()) - {"base:1"} == (set() if line else {"habitat-demo:0-dockerfile"})


@pytest.mark.parametrize("method", ["commit", "tag", "untag", "create", "put_archive"])
def test_engine_error_in_phase_reruns_only_from_that_phase(demo: DemoProject, method: str) -> None:
    demo.build()
    write(demo.root, "habitats/demo/config.yaml", "base_image: base:1\nenv: [A=1]\n")
    demo.engine.failures[method] = EngineError("out of order")
    with pytest.raises(EngineError):
        demo.build()
    demo.engine.failures.clear()
    assert demo.build()[0] == "env"
    assert demo.build() == []


# Cleaning


def test_clean_all_removes_only_images_of_habitat(demo: DemoProject) -> None:
    demo.build()
    count = clean.clean_all(demo.run_anew(), "demo")
    assert count == len(SNAPSHOTS)
    assert list(demo.engine.tags()) == ["base:1"]
    assert not (demo.root / ".stamps/demo").exists()
    assert demo.build() == PHASES


def test_clean_from_phase_keeps_earlier_phases(demo: DemoProject) -> None:
    demo.build()
    assert clean.clean_from(demo.run_anew(), "demo", named("repos")) == 3
    assert set(demo.engine.tags()) == {*TAGS[: TAGS.index("habitat-demo:8-repos")], "base:1"}
    assert demo.build() == PHASES[PHASES.index("repos") :]


def test_clean_all_keeps_image_used_by_container(demo: DemoProject) -> None:
    demo.build()
    final = demo.engine.tags()["habitat-demo:final"]
    demo.engine.create("habitat-demo:final", "mine", ("x",))
    project = demo.run_anew()
    assert clean.containers_of(project, "demo") == ([], ["mine"])
    clean.clean_all(project, "demo")
    assert list(demo.engine.tags()) == ["base:1"]
    assert demo.engine.image_config(final) is not None


def test_cleanable_includes_habitat_with_deleted_folder(demo: DemoProject) -> None:
    demo.build(until="base")
    (demo.root / "habitats/demo/config.yaml").unlink()
    (demo.root / "habitats/demo").rmdir()
    assert clean.cleanable(demo.run_anew()) == ["demo"]
