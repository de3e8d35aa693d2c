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
from msgspec.structs import replace
from unit_helpers import DemoProject, make_user, write

from phases.core import events
from phases.core.build.builder import Builder
from phases.core.cache.image_names import COMMENT
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
def site(tmp_path: Path) -> DemoProject:
    return DemoProject(tmp_path)


def labels(site: DemoProject, tag: str) -> dict[str, str]:
    (image,) = [image for image in site.engine.images() if tag in image.tags]
    return dict(image.labels)


def test_build_runs_every_phase_once(site: DemoProject) -> None:
    assert site.build() == PHASES
    assert site.build() == []


def test_build_tags_each_snapshot_and_final_twice(site: DemoProject) -> None:
    site.build()
    tags = site.engine.tags()
    assert sorted(tags) == sorted([*TAGS, "habitat-demo:final", "base:1"])
    assert tags["habitat-demo:final"] == tags["habitat-demo:12-final"]


def test_snapshot_labels_contain_hashes_parent_and_duration(site: DemoProject) -> None:
    site.build()
    found = labels(site, "habitat-demo:3-env")
    assert {key for key in found if key.endswith(".hash")} == {"base.hash", "users.hash", "env.hash"}
    for name in ("base", "users", "env"):
        slice_file = site.project.slices.path("demo", named(name))
        assert found[f"{name}.hash"] == hashlib.sha256(slice_file.read_bytes()).hexdigest()
    assert (found["habitat.name"], found["habitat.phase"]) == ("demo", "env")
    assert found["habitat.parent"] == site.engine.tags()["habitat-demo:2-users"]
    assert float(found["habitat.seconds"]) >= 0
    assert time.strptime(found["habitat.created"], "%Y-%m-%dT%H:%M:%SZ")


def test_final_labels_contain_hashes_of_all_phases(site: DemoProject) -> None:
    site.build()
    found = labels(site, "habitat-demo:final")
    assert {key for key in found if key.endswith(".hash")} == {f"{name}.hash" for name in PHASES}


def test_base_snapshot_label_names_base_image_as_parent(site: DemoProject) -> None:
    site.build()
    assert labels(site, "habitat-demo:1-base")["habitat.parent"] == site.base


@pytest.mark.parametrize("reference", ["base:1", "far/base@sha256:" + "0" * 64])
def test_first_build_pulls_base_image_and_is_cached_afterwards(tmp_path: Path, reference: str) -> None:
    site = DemoProject(tmp_path, f"base_image: {reference}\n")
    site.engine.registry[reference] = site.engine._images[site.base]
    site.engine.untag("base:1")
    assert site.build() == PHASES
    assert len(site.engine.called("pull")) == 1
    assert site.build() == []


def test_base_image_moved_rebuilds_all_phases(site: DemoProject) -> None:
    site.build()
    site.engine.add_image("base:1")
    assert site.build() == PHASES


def test_final_image_runs_command_as_user_in_workdir(tmp_path: Path) -> None:
    site = DemoProject(tmp_path, "base_image: base:1\nenv: [A=1]\nentry: {command: run it}\n")
    site.build()
    config = site.engine.image_config("habitat-demo:final")
    assert config is not None
    assert (config.user, config.workdir) == ("agent", "/workspace")
    assert (config.entrypoint, config.command) == ((), ("/bin/sh", "-c", "--", "run it"))
    assert (config.env["A"], config.env["USER"]) == ("1", "agent")
    config = site.engine.image_config("habitat-demo:9-tools")
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
def test_config_change_runs_its_phase_and_later_ones(site: DemoProject, change: str, first: str | None) -> None:
    site.build()
    write(site.root, "habitats/demo/config.yaml", change)
    assert site.build() == (PHASES[PHASES.index(first) :] if first else [])


def test_rebuilt_phase_untags_later_snapshots_before_own_tag(site: DemoProject) -> None:
    site.build()
    write(site.root, "habitats/demo/config.yaml", WITH_SETUP.format("true"))
    site.engine.calls.clear()
    site.build(until="setup")
    assert [call[:2] for call in site.engine.called("commit", "untag")][1:] == [
        ("untag", "habitat-demo:final"),
        ("untag", "habitat-demo:12-final"),
        ("untag", "habitat-demo:9-tools"),
        ("untag", "habitat-demo:8-repos"),
    ]
    order = [call[0] for call in site.engine.called("commit", "untag", "tag", "remove_image")]
    assert order == ["commit", *["untag"] * 4, "tag", "remove_image"]
    assert set(site.engine.tags()) == {*TAGS[: TAGS.index("habitat-demo:7-setup") + 1], "base:1"}


def test_rebuilt_phase_removes_stamps_of_later_phases(site: DemoProject) -> None:
    site.build()
    write(site.root, "habitats/demo/config.yaml", WITH_SETUP.format("true"))
    site.build(until="setup")
    stamped = [name for name in PHASES if site.project.stamps.read(task_name(named(name), "demo"))]
    assert stamped == PHASES[: PHASES.index("setup") + 1]


def test_rebuilt_phase_removes_replaced_image(site: DemoProject) -> None:
    site.build()
    old = site.engine.tags()["habitat-demo:7-setup"]
    write(site.root, "habitats/demo/config.yaml", WITH_SETUP.format("true"))
    site.build()
    assert site.engine.image_config(old) is None
    assert all(image.tags for image in site.engine.images())


def test_replaced_image_used_by_container_is_kept(site: DemoProject) -> None:
    site.build()
    site.engine.create("habitat-demo:final", "somebody", ("x",))
    old = site.engine.tags()["habitat-demo:final"]
    write(site.root, "habitats/demo/config.yaml", WITH_SETUP.format("true"))
    assert site.build()[0] == "setup"
    assert site.engine.image_config(old) is not None
    assert site.engine.tags()["habitat-demo:final"] != old


def test_failed_phase_keeps_earlier_snapshots(tmp_path: Path) -> None:
    site = DemoProject(tmp_path)
    site.build()
    before = site.engine.tags()
    write(site.root, "habitats/demo/config.yaml", WITH_SETUP.format("exit 3"))
    with pytest.raises(CommandFailed):
        site.build()
    tags = site.engine.tags()
    del tags["habitat-demo:7-setup-failed"]
    assert tags == before, "the old snapshots are valid for the old config"
    write(site.root, "habitats/demo/config.yaml", "base_image: base:1\n")
    assert site.build() == []


def test_failed_phase_runs_first_in_next_build(tmp_path: Path) -> None:
    site = DemoProject(tmp_path, WITH_SETUP.format("exit 3"))
    with pytest.raises(CommandFailed):
        site.build()
    write(site.root, "habitats/demo/config.yaml", WITH_SETUP.format("true"))
    assert site.build() == PHASES[PHASES.index("setup") :]


def test_test_phase_changes_are_not_in_final_image(tmp_path: Path) -> None:
    write(tmp_path, "habitats/demo/tests/t.sh")
    site = DemoProject(tmp_path, "base_image: base:1\ntests: [tests/t.sh]\n")

    def execute(command: Command) -> tuple[int, str] | None:
        if command.script == 'exec "$1"':
            command.container.files.write("/litter", "")
            return 0, ""
        return make_user(command)

    site.engine.on_execute = execute
    site.build()
    assert any(command.args == ("/habitat/local/tests/t.sh",) for command in site.engine.commands)
    assert "/litter" not in site.engine.files("habitat-demo:final").nodes
    assert "/habitat/local/tests/t.sh" not in site.engine.files("habitat-demo:final").nodes


def test_pruned_intermediate_snapshots_are_not_rebuilt(site: DemoProject) -> None:
    site.build()
    for tag in TAGS[2:-1]:
        site.engine.untag(tag)
    site.engine.calls.clear()
    assert site.build() == []


def test_missing_stamps_with_matching_labels_build_nothing(site: DemoProject) -> None:
    site.build()
    for path in (site.root / ".stamps/demo").glob("*.stamp"):
        path.unlink()
    assert site.build() == []


def test_forgotten_phase_runs_despite_matching_labels(site: DemoProject) -> None:
    site.build()
    site.project.stamps.forget("setup:demo")
    assert site.build() == PHASES[PHASES.index("setup") :]
    assert site.build() == []


def test_up_to_date_run_makes_one_engine_request(site: DemoProject) -> None:
    site.build()
    site.engine.calls.clear()
    assert site.build() == []
    assert site.engine.calls == [("images",)]


def test_dockerfile_image_is_built_and_used_as_parent(tmp_path: Path) -> None:
    site = DemoProject(tmp_path, "description: x\n")
    write(tmp_path, "habitats/demo/Dockerfile", "FROM base:1\nUSER root\n")
    assert site.build() == ["dockerfile", *PHASES]
    found = labels(site, "habitat-demo:1-base")
    assert found["habitat.parent"] == site.engine.tags()["habitat-demo:0-dockerfile"]
    assert site.build() == []
    write(tmp_path, "habitats/demo/Dockerfile", "FROM base:1\nUSER root\nWORKDIR /\n")
    assert site.build() == ["dockerfile", *PHASES]


def test_phase_events_frame_each_phase(site: DemoProject) -> None:
    site.build(until="verify")
    framed = [event for event in site.seen if isinstance(event, events.PhaseStarted | events.PhaseFinished)]
    base, users = (site.project.inventory.id_of(f"habitat-demo:{tag}") or "" for tag in ("1-base", "2-users"))
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


def test_broken_habitat_does_not_stop_other_habitats(site: DemoProject) -> None:
    write(site.root, "habitats/broken/config.yaml", "nonsense: 1\n")
    project = site.run_anew()
    assert project.names == ["broken", "demo"]
    for _ in range(2):
        with pytest.raises(HabitatError, match="unknown key 'nonsense'"):
            project.habitat("broken")
    assert site.build() == PHASES


def test_project_contacts_engine_only_when_needed(site: DemoProject) -> None:
    def refuse() -> None:
        raise EngineUnreachable("nobody there")

    project = Project(site.root, refuse)  # type: ignore[arg-type]
    assert project.names == ["demo"]
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


def waiting(site: DemoProject) -> list[str]:
    until = time.monotonic() + 10
    while not site.notices() and time.monotonic() < until:
        time.sleep(0.01)
    return site.notices()


@pytest.mark.parametrize("killed", [False, True])
def test_second_run_waits_for_build_lock_of_first(site: DemoProject, killed: bool) -> None:
    holder = LockHolderProcess(site.root)
    done: list[list[str]] = []
    second = threading.Thread(target=lambda: done.append(site.build(until="users")))
    second.start()
    (text,) = waiting(site)
    assert text.startswith(f"waiting for another run that builds demo (pid {holder.process.pid} since ")
    assert not done
    holder.let_go(killed=killed)
    second.join(10)
    assert done == [["base", "users"]]


def test_phase_built_by_other_run_during_wait_is_not_rebuilt(site: DemoProject) -> None:
    site.build()
    tags = site.engine.tags()
    site.engine.untag("habitat-demo:final")
    holder = LockHolderProcess(site.root)
    done: list[list[str]] = []
    second = threading.Thread(target=lambda: done.append(site.build()))
    second.start()
    waiting(site)
    site.engine.calls.clear()
    site.engine.tag(tags["habitat-demo:12-final"], "habitat-demo:final")
    holder.let_go()
    second.join(10)
    assert done == [["final"]]
    assert site.engine.called("commit") == []
    assert site.notices()[-1] == "final was built by another run"


def test_file_lock_released_is_free(tmp_path: Path) -> None:
    path = tmp_path / "state" / "lock"
    told: list[str] = []
    for _ in range(2):
        lock = FileLock(path)
        lock.acquire(told.append)
        lock.release()
    assert told == []


def test_build_removes_container_and_images_of_killed_run(site: DemoProject) -> None:
    site.build(until="users")
    build_container = site.project.scratch.build_name("demo", named("users"))
    site.engine.create("habitat-demo:2-users", build_container, ("x",))
    left = site.engine.add_image(labels={"habitat.name": "demo"}, comment=COMMENT)
    others = site.engine.add_image(labels={"habitat.name": "other"}, comment=COMMENT)
    nobodys = site.engine.add_image()
    persons = site.engine.add_image(labels={"habitat.name": "demo"})  # a docker commit of the habitat's container
    site.build()
    assert site.engine.container(build_container) is None
    assert site.engine.image_config(left) is None
    assert site.engine.image_config(others) is not None
    assert site.engine.image_config(nobodys) is not None
    assert site.engine.image_config(persons) is not None


def test_replaced_image_with_tag_of_person_is_kept(site: DemoProject) -> None:
    site.build()
    site.engine.tag("habitat-demo:final", "mine:1")
    write(site.root, "habitats/demo/config.yaml", "base_image: base:1\nentry: {command: other}\n")
    assert site.build() == ["final"]
    assert site.engine.image_config("mine:1") is not None


def test_single_phase_with_stale_parent_is_refused(site: DemoProject) -> None:
    """Another run built in between, or doit was told to run one task alone: the labels would lie."""
    site.build()
    write(site.root, "habitats/demo/config.yaml", WITH_SETUP.format("echo other"))
    site.run_anew()
    before = site.engine.images()
    with pytest.raises(HabitatError, match="setup has to run first") as caught:
        site.builder.build("demo", named("final"))
    assert caught.value.remedy == "run the same command again, without --single"
    assert site.engine.images() == before


def test_build_lock_of_one_habitat_is_released_before_waiting_for_another(site: DemoProject) -> None:
    """Two runs that build the same two habitats, each in its own order, would wait for ever."""
    write(site.root, "habitats/second/config.yaml", "base_image: base:1\n")
    site.run_anew()
    site.builder.build("demo", named("base"))
    site.builder.build("second", named("base"))
    other = Builder(Project(site.root, lambda: site.engine))
    waited: list[events.Event] = []
    other.project.bus.subscribe(waited.append)
    other.build("demo", named("users"))
    other.close()
    assert [event for event in waited if isinstance(event, events.Notice)] == []


def test_build_lock_is_kept_while_parallel_build_begins(site: DemoProject, monkeypatch: pytest.MonkeyPatch) -> None:
    """With -n: the second one begins when the first has its lock but hasn't begun its phase."""
    write(site.root, "habitats/second/config.yaml", "base_image: base:1\n")
    project = site.run_anew()
    sweep = project.store.sweep
    held: list[bool] = []

    def meanwhile(name: str) -> None:
        sweep(name)
        if name == "demo":
            site.builder.build("second", named("base"))
            held.append(is_locked(site.root / ".stamps/demo/lock"))

    monkeypatch.setattr(project.store, "sweep", meanwhile)
    site.builder.build("demo", named("base"))
    assert held == [True]


def is_locked(path: Path) -> bool:
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_run_stopped_during_wait_keeps_container_of_other_run(site: DemoProject) -> None:
    project = site.run_anew()
    lock = FileLock(site.root / ".stamps/demo/lock")
    lock.acquire(lambda _: None)
    theirs = site.engine.create("base:1", project.scratch.build_name("demo", named("users")), ("x",))
    stopped: list[Stopped] = []

    def wait() -> None:
        try:
            site.builder.build("demo", named("base"))
        except Stopped as error:
            stopped.append(error)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    deadline = time.monotonic() + 10
    while not site.notices():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    site.builder.close()
    lock.release()
    waiting.join(10)
    assert stopped
    assert site.engine.container(theirs) is not None


def test_base_image_removed_does_not_rebuild(site: DemoProject) -> None:
    site.build()
    site.engine.untag("base:1")
    assert site.build() == []


def test_dockerfile_removed_its_image_goes_with_next_build(site: DemoProject) -> None:
    write(site.root, "habitats/demo/Dockerfile", "FROM base:1\n")
    site.build()
    (site.root / "habitats/demo/Dockerfile").unlink()
    site.build()
    assert not any(tag.endswith("0-dockerfile") for image in site.engine.images() for tag in image.tags)


def test_two_clones_use_different_build_container_names(tmp_path: Path) -> None:
    one, two = (
        DemoProject(tmp_path / name).project.scratch.build_name("demo", named("users")) for name in ("one", "two")
    )
    assert one != two


@pytest.fixture
def rivals(tmp_path: Path) -> tuple[DemoProject, DemoProject]:
    """Two clones of a project on one engine."""
    one, two = DemoProject(tmp_path / "one"), DemoProject(tmp_path / "two")
    two.engine = one.engine
    two.run_anew()
    return one, two


@pytest.mark.parametrize("method", ["create", "commit", "tag"])
def test_two_clones_take_turns_and_build_once(rivals: tuple[DemoProject, DemoProject], method: str) -> None:
    """The second comes while the first is in its first phase."""
    one, two = rivals
    begun = threading.Event()
    done: list[list[str]] = []
    second = threading.Thread(target=lambda: done.append(two.build()))
    plain = getattr(one.engine, method)

    def call_and_let_the_other_begin(*args: object, **how: object) -> object:
        if not begun.is_set():
            begun.set()
            second.start()
            assert waiting(two)[0].startswith(f"waiting for another run that builds demo (pid {os.getpid()} on ")
        return plain(*args, **how)

    setattr(one.engine, method, call_and_let_the_other_begin)
    assert one.build() == PHASES
    second.join(10)
    assert len(one.engine.called("commit")) == len(SNAPSHOTS)
    assert one.engine.volumes() == []


def test_interrupted_build_leaves_no_container_and_names_its_phase(site: DemoProject) -> None:
    site.build(until="files")
    write(site.root, "habitats/demo/config.yaml", WITH_SETUP.format("sleep 1"))

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    site.engine.on_execute = interrupt
    with pytest.raises(KeyboardInterrupt):
        site.build()
    assert site.builder.close() == ["setup:demo"]
    assert site.engine.containers() == []
    told: list[str] = []
    lock = FileLock(site.root / ".stamps/demo/lock")
    lock.acquire(told.append)
    assert told == []
    lock.release()


def test_interrupted_build_with_failing_removal_releases_lock(site: DemoProject) -> None:
    site.build(until="files")
    write(site.root, "habitats/demo/config.yaml", WITH_SETUP.format("sleep 1"))

    def interrupt(_: object) -> None:
        site.engine.failures["remove"] = EngineError("device is busy")
        raise KeyboardInterrupt

    site.engine.on_execute = interrupt
    with pytest.raises(KeyboardInterrupt):
        site.build()
    assert site.builder.close() == ["setup:demo"]
    assert "device is busy" in site.notices()
    lock = FileLock(site.root / ".stamps/demo/lock")
    lock.acquire(pytest.fail)
    lock.release()


def test_container_requested_when_run_is_stopped_is_removed(site: DemoProject, monkeypatch: pytest.MonkeyPatch) -> None:
    """With -n: the signal comes to the main thread, the request is another's."""
    site.build(until="base")
    site.run_anew()
    create, asked, go = site.engine.create, threading.Event(), threading.Event()

    def slowly(*args: Any, **wishes: Any) -> str:
        asked.set()
        assert go.wait(10)
        return create(*args, **wishes)

    monkeypatch.setattr(site.engine, "create", slowly)

    def build() -> None:
        with contextlib.suppress(HabitatError):  # it may be done before its container is taken away
            site.builder.build("demo", named("users"))

    building = threading.Thread(target=build, daemon=True)
    building.start()
    assert asked.wait(10)
    threading.Timer(0.1, go.set).start()
    site.builder.close()
    assert go.is_set(), "it was waited for"
    assert site.engine.containers() == []
    building.join(10)
    assert len(site.engine.called("create")) == 2, "one for base, and the one on its way"
    assert site.engine.containers() == []


def test_run_killed_between_final_tags_leaves_no_untagged_image(site: DemoProject) -> None:
    site.build()
    write(site.root, "habitats/demo/config.yaml", "base_image: base:1\nentry: {command: new}\n")
    tag = site.engine.tag

    def tag_one(image: str, reference: str) -> None:
        if reference.endswith(":final"):
            raise KeyboardInterrupt
        tag(image, reference)

    site.engine.tag = tag_one  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        site.build()
    site.engine.tag = tag  # type: ignore[method-assign]
    assert site.build() == ["final"]
    assert [image for image in site.engine.images() if not image.tags] == []


def test_stopped_run_emits_no_events(site: DemoProject) -> None:
    site.builder.close()
    site.project.bus.emit(events.Output("demo", "setup", "of a thread that goes on"))
    assert site.seen == []


def test_stopped_run_starts_no_phase(site: DemoProject) -> None:
    site.builder.close()
    with pytest.raises(Stopped):
        site.builder.build("demo", named("base"))
    assert site.engine.calls == []


@pytest.mark.parametrize("next_step", ["a build", "a clean of all", "a clean of a phase"])
def test_next_run_or_clean_removes_leftovers_of_killed_run(site: DemoProject, next_step: str) -> None:
    site.build(until="users")
    project = site.run_anew()
    site.engine.create("base:1", project.scratch.build_name("demo", named("users")), ("x",))
    site.engine.tag("base:1", "habitat-demo:0-dockerfile-build")
    left = write(site.root, f".stamps/demo/.3-env.json.{os.getpid()}")
    writing = atomic.draft_file(site.root / ".stamps/demo/3-env.json")
    written_now, _ = writing.__enter__()
    match next_step:
        case "a build":
            site.builder.build("demo", named("env"))
            site.builder.close()
            assert written_now.exists()
        case "a clean of all":
            clean.clean_all(project, "demo")
        case "a clean of a phase":
            clean.clean_from(project, "demo", named("env"))
            assert written_now.exists()
    assert site.engine.containers() == []
    assert "habitat-demo:0-dockerfile-build" not in site.engine.tags()
    assert not left.exists()


@pytest.mark.parametrize("line", ["", "RUN false\n"])
def test_dockerfile_build_tag_is_removed_after_its_phase(site: DemoProject, line: str) -> None:
    write(site.root, "habitats/demo/Dockerfile", f"FROM base:1\n{line}")
    if line:
        with pytest.raises(HabitatError):
            site.build(until="dockerfile")
    else:
        site.build(until="dockerfile")
    assert site.engine.called("build") == [("build", "habitat-demo:0-dockerfile-build")]
    assert set(site.engine.tags()) - {"base:1"} == (set() if line else {"habitat-demo:0-dockerfile"})


@pytest.mark.parametrize("method", ["commit", "tag", "untag", "create", "put_archive"])
def test_engine_error_in_phase_reruns_only_from_that_phase(site: DemoProject, method: str) -> None:
    site.build()
    write(site.root, "habitats/demo/config.yaml", "base_image: base:1\nenv: [A=1]\n")
    site.engine.failures[method] = EngineError("out of order")
    with pytest.raises(EngineError):
        site.build()
    site.engine.failures.clear()
    assert site.build()[0] == "env"
    assert site.build() == []


# Cleaning


def test_clean_all_removes_only_images_of_habitat(site: DemoProject) -> None:
    site.build()
    count = clean.clean_all(site.run_anew(), "demo")
    assert count == len(SNAPSHOTS)
    assert list(site.engine.tags()) == ["base:1"]
    assert not (site.root / ".stamps/demo").exists()
    assert site.build() == PHASES


def test_clean_from_phase_keeps_earlier_phases(site: DemoProject) -> None:
    site.build()
    assert clean.clean_from(site.run_anew(), "demo", named("repos")) == 3
    assert set(site.engine.tags()) == {*TAGS[: TAGS.index("habitat-demo:8-repos")], "base:1"}
    assert site.build() == PHASES[PHASES.index("repos") :]


def test_clean_all_keeps_image_used_by_container(site: DemoProject) -> None:
    site.build()
    final = site.engine.tags()["habitat-demo:final"]
    site.engine.create("habitat-demo:final", "mine", ("x",))
    project = site.run_anew()
    assert clean.containers_of(project, "demo") == ["mine"]
    clean.clean_all(project, "demo")
    assert list(site.engine.tags()) == ["base:1"]
    assert site.engine.image_config(final) is not None


def test_cleanable_includes_habitat_with_deleted_folder(site: DemoProject) -> None:
    site.build(until="base")
    (site.root / "habitats/demo/config.yaml").unlink()
    (site.root / "habitats/demo").rmdir()
    assert clean.cleanable(site.run_anew()) == ["demo"]
