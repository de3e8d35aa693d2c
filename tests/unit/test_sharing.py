"""What one habitat takes over of another: what agrees, as far as it agrees, and nothing that doesn't."""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from unit_helpers import DemoProject, make_user, write

from phases.core import events
from phases.core.build.builder import Builder
from phases.core.build.shared_builds import SharedSnapshots
from phases.core.cache import image_labels
from phases.core.cache.image_labels import snapshot_tag
from phases.core.cache.stamps import task_name
from phases.core.errors import CommandFailed, HabitatError, NotFound, Stopped
from phases.core.project import Project
from phases.core.report import plan as report_plan
from phases.core.runtime import clean
from phases.registry import NAMES, named

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fake_engine import Command

PHASES = list(NAMES[1:])
UP_TO_SETUP = PHASES[: PHASES.index("setup") + 1]
FROM_REPOS = PHASES[PHASES.index("repos") :]

CONFIG: dict[str, Any] = {
    "base_image": "base:1",
    "env": ["USER=dev", "COLOUR=red"],
    "setup": {"root": ["echo one"]},
    "repos": [{"url": "https://example.org/a.git", "path": "app"}],
}


class TwinHabitats(DemoProject):
    """Two habitats, `demo` and `twin`, of configs that agree until a test changes one's."""

    def __init__(self, root: Path) -> None:
        self.shares = True
        self.configs: dict[str, dict[str, Any]] = {name: yaml.safe_load(yaml.safe_dump(CONFIG)) for name in self.names}
        super().__init__(root, yaml.safe_dump(CONFIG))
        self.engine.on_execute = lambda command: make_user(command) or (0, "")
        self.save()

    names = ("demo", "twin")

    def save(self) -> None:
        for name, config in self.configs.items():
            write(self.root, f"habitats/{name}/config.yaml", yaml.safe_dump(config))

    def run_anew(self) -> Project:
        project = super().run_anew()
        project.shares = self.shares
        return project

    def built(self, name: str, until: str = "final") -> tuple[list[str], list[str]]:
        """Run what is stale. Returns the phases that ran, and those that were taken over."""
        self.save()
        project = self.run_anew()
        for phase in project.phases(name)[: PHASES.index(until) + 1]:
            if phase.NAME in project.assess(name).stale:
                values = self.builder.build(name, phase).values()
                project.stamps.write(task_name(phase, name), {"_values_:": values})
        self.builder.close()
        ran = [event.phase for event in self.seen if isinstance(event, events.PhaseStarted)]
        return ran, [event.phase for event in self.shared]

    @property
    def shared(self) -> list[events.PhaseShared]:
        return [event for event in self.seen if isinstance(event, events.PhaseShared)]

    def image(self, name: str, phase: str) -> str:
        return self.engine.tags().get(snapshot_tag(name, named(phase)), "")


@pytest.fixture
def twins(tmp_path: Path) -> TwinHabitats:
    return TwinHabitats(tmp_path)


def other_repo(twins: TwinHabitats) -> None:
    twins.configs["twin"]["repos"][0]["url"] = "https://example.org/b.git"


def test_sharing_equal_phases_are_taken_and_others_built(twins: TwinHabitats) -> None:
    twins.built("demo")
    other_repo(twins)
    before = len(twins.engine.commands)
    assert twins.built("twin") == (FROM_REPOS, UP_TO_SETUP)
    assert {event.shared_with for event in twins.shared} == {"demo"}
    for phase in UP_TO_SETUP:
        assert twins.image("twin", phase) == twins.image("demo", phase)
    assert twins.image("twin", "repos") != twins.image("demo", "repos")
    assert "echo one" not in [command.script for command in twins.engine.commands[before:]]
    assert twins.built("twin") == ([], []), "it is up to date"
    assert twins.built("demo") == ([], []), "the other still is"


def test_sharing_takes_no_final_phase(twins: TwinHabitats) -> None:
    twins.built("demo")
    assert twins.built("twin") == (["verify", "test", "final"], PHASES[: PHASES.index("verify")])
    release = twins.engine.files("habitat-twin:final").nodes["/etc/habitat-release"].content
    assert b"HABITAT=twin" in release


def test_sharing_change_built_by_other_habitat_is_taken(twins: TwinHabitats) -> None:
    twins.built("demo")
    twins.built("twin")
    for name in twins.names:
        twins.configs[name]["setup"]["root"] = ["echo two"]
    assert twins.built("twin")[1] == []
    assert twins.built("demo") == (["verify", "test", "final"], ["setup", "repos", "tools"])


def test_sharing_takes_longest_chain_of_snapshots(twins: TwinHabitats) -> None:
    """Both were built by themselves, so each has a base of its own."""
    twins.shares = False
    twins.configs["twin"]["env"][1] = "COLOUR=blue"
    twins.built("demo")
    twins.built("twin")
    twins.shares = True
    twins.configs["third"] = {**twins.configs["twin"], "repos": []}
    assert twins.built("third") == (FROM_REPOS, UP_TO_SETUP)
    assert twins.image("third", "base") == twins.image("twin", "base")
    twins.configs["fourth"] = {**twins.configs["demo"], "repos": []}
    assert twins.built("fourth") == (FROM_REPOS, UP_TO_SETUP)
    assert twins.image("fourth", "base") == twins.image("demo", "base")


def test_sharing_stamp_has_duration_of_original_build(twins: TwinHabitats) -> None:
    twins.built("demo")
    twins.built("twin")
    (image,) = (image for image in twins.engine.images() if "habitat-twin:7-setup" in image.tags)
    values = twins.project.stamps.read(task_name(named("setup"), "twin"))["_values_:"]
    assert values["seconds"] == float(image.labels[image_labels.LABEL_SECONDS])


# What isn't the same


def own_volume(twins: TwinHabitats) -> None:
    for name in twins.names:
        (twins.root / "habitats" / name / "data").mkdir()
        twins.configs[name]["volumes"] = [{"source": "data", "dest": "/data"}]


def own_secret(twins: TwinHabitats) -> None:
    for name in twins.names:
        secret = {"name": "TOKEN", "command": f"echo {name}", "phases": ["setup"]}
        twins.configs[name]["secrets"] = [secret]


def own_token(twins: TwinHabitats) -> None:
    for name, token in zip(twins.names, ("ONE", "TWO"), strict=True):
        secrets = [{"name": secret, "command": "echo x", "phases": ["repos"]} for secret in ("ONE", "TWO")]
        twins.configs[name] |= {"secrets": secrets, "repos": [{**CONFIG["repos"][0], "token": token}]}


def other_order(twins: TwinHabitats) -> None:
    twins.configs["demo"]["env"] += ["SIZE=1"]
    twins.configs["twin"]["env"] = ["USER=dev", "SIZE=1", "COLOUR=red"]


@pytest.mark.guarantee("sharing-only-equal-results")
@pytest.mark.parametrize(
    ("change", "first"),
    [(own_volume, "files"), (own_secret, "setup"), (own_token, "repos"), (other_order, "env")],
)
def test_sharing_phase_with_other_mount_secret_or_plan_is_built(
    twins: TwinHabitats, change: Callable[[TwinHabitats], None], first: str
) -> None:
    change(twins)
    twins.built("demo")
    demo, twin = (twins.run_anew().assess(name).hashes for name in twins.names)
    assert demo == twin, "by their slices alone they are the same"
    begin = PHASES.index(first)
    assert twins.built("twin") == (PHASES[begin:], PHASES[:begin])


def test_sharing_same_host_volume_is_taken(twins: TwinHabitats) -> None:
    (twins.root / "data").mkdir()
    for name in twins.names:
        twins.configs[name]["volumes"] = [{"source": str(twins.root / "data"), "dest": "/data"}]
    twins.built("demo")
    assert twins.built("twin")[1] == PHASES[: PHASES.index("verify")]


def test_sharing_phase_with_same_secret_is_taken_without_fetching_secret(twins: TwinHabitats) -> None:
    asked = twins.root / "asked"
    for name in twins.names:
        secret = {"name": "TOKEN", "command": f"echo >>{asked}; echo x", "phases": ["setup"]}
        twins.configs[name]["secrets"] = [secret]
    twins.built("demo")
    assert twins.built("twin")[1] == PHASES[: PHASES.index("verify")]
    assert asked.read_text() == "\n"


@pytest.mark.guarantee("sharing-only-equal-results")
def test_failed_phase_is_not_shared(twins: TwinHabitats) -> None:
    def fail(command: Command) -> tuple[int, str]:
        return make_user(command) or (1 if command.script == "echo one" else 0, "")

    twins.engine.on_execute = fail
    with pytest.raises(CommandFailed):
        twins.built("demo")
    left = twins.engine.tags()["habitat-demo:7-setup-failed"]
    twins.engine.tag(left, "habitat-demo:7-setup")  # even so
    twins.engine.on_execute = lambda command: make_user(command) or (0, "")
    ran, shared = twins.built("twin", "setup")
    assert (ran, shared) == (["setup"], UP_TO_SETUP[:-1])


@pytest.mark.guarantee("sharing-only-equal-results")
def test_sharing_snapshot_of_earlier_version_is_not_taken(twins: TwinHabitats, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_labels, "LABEL_ENVIRONMENT_DIGEST", "habitat.other")
    twins.built("demo")
    monkeypatch.undo()
    assert twins.built("twin") == (PHASES, [])


@pytest.mark.guarantee("sharing-only-equal-results")
def test_sharing_image_committed_by_person_is_not_taken(twins: TwinHabitats) -> None:
    twins.built("demo")
    container = twins.engine.create("habitat-demo:1-base", "mine", ("true",))
    twins.engine.tag(twins.engine.commit(container, []), "mine:1")
    for tag in [tag for tag in twins.engine.tags() if tag.startswith("habitat-demo:")]:
        twins.engine.untag(tag)
    assert twins.built("twin") == (PHASES, [])


def test_sharing_disabled_builds_everything(twins: TwinHabitats) -> None:
    twins.built("demo")
    twins.shares = False
    assert twins.built("twin") == (PHASES, [])


# Who wants it built


@pytest.mark.guarantee("sharing-removal-leaves-other-habitat")
def test_sharing_forgotten_phase_is_built(twins: TwinHabitats) -> None:
    twins.built("demo")
    twins.built("twin")
    twins.project.stamps.forget("setup:twin")
    ran, shared = twins.built("twin")
    assert (ran, shared) == (PHASES[PHASES.index("setup") :], [])
    assert twins.image("twin", "setup") != twins.image("demo", "setup")
    assert twins.built("demo") == ([], [])


def test_sharing_phase_forgotten_before_first_build_is_built(twins: TwinHabitats) -> None:
    twins.built("demo")
    twins.project.stamps.forget("env:twin")
    assert twins.built("twin") == (PHASES[2:], PHASES[:2])


def test_sharing_of_two_equal_snapshots_newest_is_taken(twins: TwinHabitats, monkeypatch: pytest.MonkeyPatch) -> None:
    twins.built("demo")
    twins.built("twin")
    twins.project.stamps.forget("setup:twin")
    later = time.gmtime(time.time() + 60)
    monkeypatch.setattr("phases.core.cache.image_index.time.gmtime", lambda: later)
    twins.built("twin")
    twins.configs["third"] = twins.configs["demo"]
    twins.built("third")
    assert twins.image("third", "setup") == twins.image("twin", "setup")


# What goes when


@pytest.mark.guarantee("sharing-removal-leaves-other-habitat")
def test_sharing_clean_of_one_habitat_keeps_snapshots_of_other(twins: TwinHabitats) -> None:
    twins.built("demo")
    other_repo(twins)
    twins.built("twin")
    assert clean.clean_from(twins.run_anew(), "demo", named("setup")) == 3, "repos, tools, final, and no setup"
    assert not twins.image("demo", "setup")
    assert twins.built("twin") == ([], [])
    assert twins.built("demo", "setup") == ([], ["setup"]), "and takes it back"
    clean.clean_all(twins.run_anew(), "demo")
    assert twins.built("twin") == ([], [])
    clean.clean_all(twins.run_anew(), "twin")
    assert list(twins.engine.tags()) == ["base:1"]
    assert [image.id for image in twins.engine.images()] == [twins.base]


def test_sharing_names_first_owner_until_its_snapshot_is_removed(twins: TwinHabitats) -> None:
    twins.built("twin")
    twins.built("demo")
    twins.configs["third"] = twins.configs["demo"]
    twins.built("third", "base")
    assert twins.shared[0].shared_with == "twin"
    clean.clean_all(twins.run_anew(), "twin")
    twins.configs["fourth"] = twins.configs["demo"]
    twins.built("fourth", "base")
    assert twins.shared[0].shared_with == "demo"


@pytest.mark.guarantee("sharing-source-disappears")
def test_sharing_source_image_removed_phase_is_built(twins: TwinHabitats, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has the lock of the habitat that has it."""
    twins.built("demo")
    tag = twins.engine.tag

    def goes(image: str, reference: str) -> None:
        if reference == "habitat-twin:7-setup" and image == twins.image("demo", "setup"):
            monkeypatch.undo()
            clean.clean_from(Project(twins.root, lambda: twins.engine), "demo", named("setup"))
            raise NotFound(f"No such image: {image}")
        tag(image, reference)

    monkeypatch.setattr(twins.engine, "tag", goes)
    assert twins.built("twin", "setup") == (["setup"], UP_TO_SETUP[:-1])


@pytest.mark.guarantee("sharing-source-disappears")
def test_sharing_kill_between_tag_and_stamp_rebuilds_nothing(twins: TwinHabitats) -> None:
    twins.built("demo")
    twins.built("twin", "setup")
    for path in (twins.root / ".stamps/twin").glob("*.stamp"):
        path.unlink()
    assert twins.built("twin", "setup") == ([], [])


def test_sharing_build_container_belongs_to_its_habitat_only(twins: TwinHabitats) -> None:
    """It inherits the label that says whose image it was made from."""
    twins.built("demo")
    twins.built("twin")
    project = twins.run_anew()
    twins.engine.create("habitat-twin:7-setup", project.temporary_containers.build_name("twin", named("repos")), ("x",))
    twins.engine.create("habitat-twin:7-setup", "mine", ("x",))
    assert clean.containers_of(project, "demo") == ([], ["mine"])


# What a plan and a build print of it


def test_sharing_plan_lists_snapshots_to_be_taken(twins: TwinHabitats) -> None:
    twins.built("demo")
    other_repo(twins)
    twins.save()
    calls = len(twins.engine.calls)
    plan = report_plan.plan(twins.run_anew(), "twin")
    assert plan.shared == dict.fromkeys(UP_TO_SETUP, "demo")
    assert twins.engine.calls[calls:] == [("images",)]
    assert not (twins.root / ".stamps/twin").exists()


def test_sharing_log_of_taken_phase_names_source_habitat(twins: TwinHabitats) -> None:
    twins.built("demo")
    twins.built("twin")
    assert (twins.root / ".stamps/twin/7-setup.log").read_text() == "nothing was run: the snapshot is that of demo\n"


def test_sharing_search_is_skipped_when_all_is_up_to_date(twins: TwinHabitats, monkeypatch: pytest.MonkeyPatch) -> None:
    twins.built("demo")
    monkeypatch.setattr(SharedSnapshots, "environment_digest_of", None)
    assert report_plan.plan(twins.run_anew(), "demo").shared == {}


# At once


class BlockedSetup:
    """A setup that goes on when it is let; `at` is how many are in it, or were."""

    def __init__(self, twins: TwinHabitats) -> None:
        self.opened = threading.Event()
        self.at = 0
        self.code = 0
        twins.engine.on_execute = self.execute

    def execute(self, command: Command) -> tuple[int, str]:
        if command.script != "echo one":
            return make_user(command) or (0, "")
        self.at += 1
        assert self.opened.wait(10)
        return self.code, ""


class ParallelRun:
    """A run of its own, in a thread, as another process is: it shares the engine and the disk."""

    def __init__(self, twins: TwinHabitats, name: str) -> None:
        self.project = Project(twins.root, lambda: twins.engine, shares=True)
        self.builder = Builder(self.project)
        self.seen: list[events.Event] = []
        self.project.bus.subscribe(self.seen.append)
        self.name = name
        self.error: HabitatError | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for phase in self.project.phases(self.name)[: len(UP_TO_SETUP)]:
                self.builder.build(self.name, phase)
        except HabitatError as error:
            self.error = error
        self.builder.close()

    def of(self, kind: type[events.PhaseStarted | events.PhaseShared]) -> list[str]:
        return [event.phase for event in self.seen if isinstance(event, kind)]

    def end(self) -> None:
        self._thread.join(10)
        assert not self._thread.is_alive()


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def notices(run: ParallelRun) -> list[str]:
    return [event.text for event in run.seen if isinstance(event, events.Notice)]


def test_sharing_second_run_waits_for_same_phase_and_takes_snapshot(twins: TwinHabitats) -> None:
    gate = BlockedSetup(twins)
    first = ParallelRun(twins, "demo")
    until(lambda: gate.at)
    second = ParallelRun(twins, "twin")
    until(lambda: notices(second))
    (text,) = notices(second)
    assert re.fullmatch(r"waiting for another run that builds the same setup \(pid \d+ on \S+ since [\d:]+\)", text)
    gate.opened.set()
    first.end()
    second.end()
    assert gate.at == 1
    assert second.of(events.PhaseShared) == UP_TO_SETUP
    assert twins.image("twin", "setup") == twins.image("demo", "setup")


@pytest.mark.guarantee("sharing-parallel-builds")
def test_sharing_run_builds_phase_that_failed_in_the_run_it_waited_for(twins: TwinHabitats) -> None:
    gate = BlockedSetup(twins)
    gate.code = 1
    first = ParallelRun(twins, "demo")
    until(lambda: gate.at)
    second = ParallelRun(twins, "twin")
    until(lambda: notices(second))
    gate.opened.set()
    first.end()
    second.end()
    assert isinstance(first.error, CommandFailed)
    assert isinstance(second.error, CommandFailed)
    assert gate.at == 2


def test_sharing_many_parallel_runs_build_each_phase_once(twins: TwinHabitats, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = BlockedSetup(twins)
    gate.opened.set()
    commit = twins.engine.commit

    def slowly(*arguments: Any, **wishes: Any) -> str:
        time.sleep(0.1)  # as long as it takes an engine
        return commit(*arguments, **wishes)

    monkeypatch.setattr(twins.engine, "commit", slowly)
    for name in ("third", "fourth"):
        twins.configs[name] = twins.configs["demo"]
    twins.save()
    runs = [ParallelRun(twins, name) for name in twins.configs]
    for run in runs:
        run.end()
        assert run.error is None
    assert gate.at == 1
    assert sorted(phase for run in runs for phase in run.of(events.PhaseStarted)) == sorted(UP_TO_SETUP)


@pytest.mark.guarantee("sharing-parallel-builds")
def test_sharing_wait_stops_on_shutdown(twins: TwinHabitats) -> None:
    gate = BlockedSetup(twins)
    first = ParallelRun(twins, "demo")
    until(lambda: gate.at)
    second = ParallelRun(twins, "twin")
    until(lambda: notices(second))
    assert second.builder.close() == ["setup:twin"]
    second.end()
    assert isinstance(second.error, Stopped)
    gate.opened.set()
    first.end()


def test_sharing_different_phases_are_built_in_parallel(twins: TwinHabitats) -> None:
    gate = BlockedSetup(twins)
    first = ParallelRun(twins, "demo")
    until(lambda: gate.at)
    twins.configs["twin"]["setup"]["root"] = ["echo two"]
    twins.save()
    second = ParallelRun(twins, "twin")
    second.end()
    assert second.error is None
    gate.opened.set()
    first.end()
