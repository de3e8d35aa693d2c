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
from phases.core.cache import image_names
from phases.core.cache.image_names import snapshot_tag
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
def pair(tmp_path: Path) -> TwinHabitats:
    return TwinHabitats(tmp_path)


def other_repo(pair: TwinHabitats) -> None:
    pair.configs["twin"]["repos"][0]["url"] = "https://example.org/b.git"


def test_sharing_equal_phases_are_taken_and_others_built(pair: TwinHabitats) -> None:
    pair.built("demo")
    other_repo(pair)
    before = len(pair.engine.commands)
    assert pair.built("twin") == (FROM_REPOS, UP_TO_SETUP)
    assert {event.shared_with for event in pair.shared} == {"demo"}
    for phase in UP_TO_SETUP:
        assert pair.image("twin", phase) == pair.image("demo", phase)
    assert pair.image("twin", "repos") != pair.image("demo", "repos")
    assert "echo one" not in [command.script for command in pair.engine.commands[before:]]
    assert pair.built("twin") == ([], []), "it is up to date"
    assert pair.built("demo") == ([], []), "the other still is"


def test_sharing_takes_no_final_phase(pair: TwinHabitats) -> None:
    pair.built("demo")
    assert pair.built("twin") == (["verify", "test", "final"], PHASES[: PHASES.index("verify")])
    release = pair.engine.files("habitat-twin:final").nodes["/etc/habitat-release"].content
    assert b"HABITAT=twin" in release


def test_sharing_change_built_by_other_habitat_is_taken(pair: TwinHabitats) -> None:
    pair.built("demo")
    pair.built("twin")
    for name in pair.names:
        pair.configs[name]["setup"]["root"] = ["echo two"]
    assert pair.built("twin")[1] == []
    assert pair.built("demo") == (["verify", "test", "final"], ["setup", "repos", "tools"])


def test_sharing_takes_longest_chain_of_snapshots(pair: TwinHabitats) -> None:
    """Both were built by themselves, so each has a base of its own."""
    pair.shares = False
    pair.configs["twin"]["env"][1] = "COLOUR=blue"
    pair.built("demo")
    pair.built("twin")
    pair.shares = True
    pair.configs["third"] = {**pair.configs["twin"], "repos": []}
    assert pair.built("third") == (FROM_REPOS, UP_TO_SETUP)
    assert pair.image("third", "base") == pair.image("twin", "base")
    pair.configs["fourth"] = {**pair.configs["demo"], "repos": []}
    assert pair.built("fourth") == (FROM_REPOS, UP_TO_SETUP)
    assert pair.image("fourth", "base") == pair.image("demo", "base")


def test_sharing_stamp_has_duration_of_original_build(pair: TwinHabitats) -> None:
    pair.built("demo")
    pair.built("twin")
    (image,) = (image for image in pair.engine.images() if "habitat-twin:7-setup" in image.tags)
    values = pair.project.stamps.read(task_name(named("setup"), "twin"))["_values_:"]
    assert values["seconds"] == float(image.labels[image_names.LABEL_SECONDS])


# What isn't the same


def own_volume(pair: TwinHabitats) -> None:
    for name in pair.names:
        (pair.root / "habitats" / name / "data").mkdir()
        pair.configs[name]["volumes"] = [{"source": "data", "dest": "/data"}]


def own_secret(pair: TwinHabitats) -> None:
    for name in pair.names:
        secret = {"name": "TOKEN", "command": f"echo {name}", "phases": ["setup"]}
        pair.configs[name]["secrets"] = [secret]


def own_token(pair: TwinHabitats) -> None:
    for name, token in zip(pair.names, ("ONE", "TWO"), strict=True):
        secrets = [{"name": secret, "command": "echo x", "phases": ["repos"]} for secret in ("ONE", "TWO")]
        pair.configs[name] |= {"secrets": secrets, "repos": [{**CONFIG["repos"][0], "token": token}]}


def other_order(pair: TwinHabitats) -> None:
    pair.configs["demo"]["env"] += ["SIZE=1"]
    pair.configs["twin"]["env"] = ["USER=dev", "SIZE=1", "COLOUR=red"]


@pytest.mark.guarantee("sharing-only-equal-results")
@pytest.mark.parametrize(
    ("change", "first"),
    [(own_volume, "files"), (own_secret, "setup"), (own_token, "repos"), (other_order, "env")],
)
def test_sharing_phase_with_other_mount_secret_or_plan_is_built(
    pair: TwinHabitats, change: Callable[[TwinHabitats], None], first: str
) -> None:
    change(pair)
    pair.built("demo")
    demo, twin = (pair.run_anew().assess(name).hashes for name in pair.names)
    assert demo == twin, "by their slices alone they are the same"
    begin = PHASES.index(first)
    assert pair.built("twin") == (PHASES[begin:], PHASES[:begin])


def test_sharing_same_host_volume_is_taken(pair: TwinHabitats) -> None:
    (pair.root / "data").mkdir()
    for name in pair.names:
        pair.configs[name]["volumes"] = [{"source": str(pair.root / "data"), "dest": "/data"}]
    pair.built("demo")
    assert pair.built("twin")[1] == PHASES[: PHASES.index("verify")]


def test_sharing_phase_with_same_secret_is_taken_without_fetching_secret(pair: TwinHabitats) -> None:
    asked = pair.root / "asked"
    for name in pair.names:
        secret = {"name": "TOKEN", "command": f"echo >>{asked}; echo x", "phases": ["setup"]}
        pair.configs[name]["secrets"] = [secret]
    pair.built("demo")
    assert pair.built("twin")[1] == PHASES[: PHASES.index("verify")]
    assert asked.read_text() == "\n"


@pytest.mark.guarantee("sharing-only-equal-results")
def test_sharing_failed_phase_is_built(pair: TwinHabitats) -> None:
    def fail(command: Command) -> tuple[int, str]:
        return make_user(command) or (1 if command.script == "echo one" else 0, "")

    pair.engine.on_execute = fail
    with pytest.raises(CommandFailed):
        pair.built("demo")
    left = pair.engine.tags()["habitat-demo:7-setup-failed"]
    pair.engine.tag(left, "habitat-demo:7-setup")  # even so
    pair.engine.on_execute = lambda command: make_user(command) or (0, "")
    ran, shared = pair.built("twin", "setup")
    assert (ran, shared) == (["setup"], UP_TO_SETUP[:-1])


@pytest.mark.guarantee("sharing-only-equal-results")
def test_sharing_snapshot_of_earlier_version_is_not_taken(pair: TwinHabitats, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_names, "LABEL_ENVIRONMENT_DIGEST", "habitat.other")
    pair.built("demo")
    monkeypatch.undo()
    assert pair.built("twin") == (PHASES, [])


@pytest.mark.guarantee("sharing-only-equal-results")
def test_sharing_image_committed_by_person_is_not_taken(pair: TwinHabitats) -> None:
    pair.built("demo")
    made = pair.engine.create("habitat-demo:1-base", "mine", ("true",))
    pair.engine.tag(pair.engine.commit(made, []), "mine:1")
    for tag in [tag for tag in pair.engine.tags() if tag.startswith("habitat-demo:")]:
        pair.engine.untag(tag)
    assert pair.built("twin") == (PHASES, [])


def test_sharing_disabled_builds_everything(pair: TwinHabitats) -> None:
    pair.built("demo")
    pair.shares = False
    assert pair.built("twin") == (PHASES, [])


# Whoever wants it built


@pytest.mark.guarantee("sharing-removal-leaves-other-habitat")
def test_sharing_forgotten_phase_is_built(pair: TwinHabitats) -> None:
    pair.built("demo")
    pair.built("twin")
    pair.project.stamps.forget("setup:twin")
    ran, shared = pair.built("twin")
    assert (ran, shared) == (PHASES[PHASES.index("setup") :], [])
    assert pair.image("twin", "setup") != pair.image("demo", "setup")
    assert pair.built("demo") == ([], [])


def test_sharing_phase_forgotten_before_first_build_is_built(pair: TwinHabitats) -> None:
    pair.built("demo")
    pair.project.stamps.forget("env:twin")
    assert pair.built("twin") == (PHASES[2:], PHASES[:2])


def test_sharing_of_two_equal_snapshots_newest_is_taken(pair: TwinHabitats, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.built("demo")
    pair.built("twin")
    pair.project.stamps.forget("setup:twin")
    later = time.gmtime(time.time() + 60)
    monkeypatch.setattr("phases.core.cache.image_index.time.gmtime", lambda: later)
    pair.built("twin")
    pair.configs["third"] = pair.configs["demo"]
    pair.built("third")
    assert pair.image("third", "setup") == pair.image("twin", "setup")


# What goes when


@pytest.mark.guarantee("sharing-removal-leaves-other-habitat")
def test_sharing_clean_of_one_habitat_keeps_snapshots_of_other(pair: TwinHabitats) -> None:
    pair.built("demo")
    other_repo(pair)
    pair.built("twin")
    assert clean.clean_from(pair.run_anew(), "demo", named("setup")) == 3, "repos, tools, final, and no setup"
    assert not pair.image("demo", "setup")
    assert pair.built("twin") == ([], [])
    assert pair.built("demo", "setup") == ([], ["setup"]), "and takes it back"
    clean.clean_all(pair.run_anew(), "demo")
    assert pair.built("twin") == ([], [])
    clean.clean_all(pair.run_anew(), "twin")
    assert list(pair.engine.tags()) == ["base:1"]
    assert [image.id for image in pair.engine.images()] == [pair.base]


def test_sharing_names_first_owner_until_its_snapshot_is_removed(pair: TwinHabitats) -> None:
    pair.built("twin")
    pair.built("demo")
    pair.configs["third"] = pair.configs["demo"]
    pair.built("third", "base")
    assert pair.shared[0].shared_with == "twin"
    clean.clean_all(pair.run_anew(), "twin")
    pair.configs["fourth"] = pair.configs["demo"]
    pair.built("fourth", "base")
    assert pair.shared[0].shared_with == "demo"


@pytest.mark.guarantee("sharing-source-disappears")
def test_sharing_source_image_removed_phase_is_built(pair: TwinHabitats, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has the lock of the habitat that has it."""
    pair.built("demo")
    tag = pair.engine.tag

    def goes(image: str, reference: str) -> None:
        if reference == "habitat-twin:7-setup" and image == pair.image("demo", "setup"):
            monkeypatch.undo()
            clean.clean_from(Project(pair.root, lambda: pair.engine), "demo", named("setup"))
            raise NotFound(f"No such image: {image}")
        tag(image, reference)

    monkeypatch.setattr(pair.engine, "tag", goes)
    assert pair.built("twin", "setup") == (["setup"], UP_TO_SETUP[:-1])


@pytest.mark.guarantee("sharing-source-disappears")
def test_sharing_kill_between_tag_and_stamp_rebuilds_nothing(pair: TwinHabitats) -> None:
    pair.built("demo")
    pair.built("twin", "setup")
    for path in (pair.root / ".stamps/twin").glob("*.stamp"):
        path.unlink()
    assert pair.built("twin", "setup") == ([], [])


def test_sharing_build_container_belongs_to_its_habitat_only(pair: TwinHabitats) -> None:
    """It inherits the label that says whose image it was made from."""
    pair.built("demo")
    pair.built("twin")
    project = pair.run_anew()
    pair.engine.create("habitat-twin:7-setup", project.scratch.build_name("twin", named("repos")), ("x",))
    pair.engine.create("habitat-twin:7-setup", "mine", ("x",))
    assert clean.containers_of(project, "demo") == ["mine"]


# What is said before, and of it


def test_sharing_plan_lists_snapshots_to_be_taken(pair: TwinHabitats) -> None:
    pair.built("demo")
    other_repo(pair)
    pair.save()
    calls = len(pair.engine.calls)
    plan = report_plan.plan(pair.run_anew(), "twin")
    assert plan.shared == dict.fromkeys(UP_TO_SETUP, "demo")
    assert pair.engine.calls[calls:] == [("images",)]
    assert not (pair.root / ".stamps/twin").exists()


def test_sharing_log_of_taken_phase_names_source_habitat(pair: TwinHabitats) -> None:
    pair.built("demo")
    pair.built("twin")
    assert (pair.root / ".stamps/twin/7-setup.log").read_text() == "nothing was run: the snapshot is that of demo\n"


def test_sharing_search_is_skipped_when_all_is_up_to_date(pair: TwinHabitats, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.built("demo")
    monkeypatch.setattr(SharedSnapshots, "environment_digest_of", None)
    assert report_plan.plan(pair.run_anew(), "demo").shared == {}


# At once


class BlockedSetup:
    """A setup that goes on when it is let; `at` is how many are in it, or were."""

    def __init__(self, pair: TwinHabitats) -> None:
        self.opened = threading.Event()
        self.at = 0
        self.code = 0
        pair.engine.on_execute = self.execute

    def execute(self, command: Command) -> tuple[int, str]:
        if command.script != "echo one":
            return make_user(command) or (0, "")
        self.at += 1
        assert self.opened.wait(10)
        return self.code, ""


class ParallelRun:
    """A run of its own, in a thread, as another process is: it shares the engine and the disk."""

    def __init__(self, pair: TwinHabitats, name: str) -> None:
        self.project = Project(pair.root, lambda: pair.engine, shares=True)
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


def told(run: ParallelRun) -> list[str]:
    return [event.text for event in run.seen if isinstance(event, events.Notice)]


def test_sharing_second_run_waits_for_same_phase_and_takes_snapshot(pair: TwinHabitats) -> None:
    gate = BlockedSetup(pair)
    first = ParallelRun(pair, "demo")
    until(lambda: gate.at)
    second = ParallelRun(pair, "twin")
    until(lambda: told(second))
    (text,) = told(second)
    assert re.fullmatch(r"waiting for another run that builds the same setup \(pid \d+ on \S+ since [\d:]+\)", text)
    gate.opened.set()
    first.end()
    second.end()
    assert gate.at == 1
    assert second.of(events.PhaseShared) == UP_TO_SETUP
    assert pair.image("twin", "setup") == pair.image("demo", "setup")


@pytest.mark.guarantee("sharing-parallel-builds")
def test_sharing_other_run_fails_phase_is_built(pair: TwinHabitats) -> None:
    gate = BlockedSetup(pair)
    gate.code = 1
    first = ParallelRun(pair, "demo")
    until(lambda: gate.at)
    second = ParallelRun(pair, "twin")
    until(lambda: told(second))
    gate.opened.set()
    first.end()
    second.end()
    assert isinstance(first.error, CommandFailed)
    assert isinstance(second.error, CommandFailed)
    assert gate.at == 2


def test_sharing_many_parallel_runs_build_each_phase_once(pair: TwinHabitats, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = BlockedSetup(pair)
    gate.opened.set()
    commit = pair.engine.commit

    def slowly(*arguments: Any, **wishes: Any) -> str:
        time.sleep(0.1)  # as long as it takes an engine
        return commit(*arguments, **wishes)

    monkeypatch.setattr(pair.engine, "commit", slowly)
    for name in ("third", "fourth"):
        pair.configs[name] = pair.configs["demo"]
    pair.save()
    runs = [ParallelRun(pair, name) for name in pair.configs]
    for run in runs:
        run.end()
        assert run.error is None
    assert gate.at == 1
    assert sorted(phase for run in runs for phase in run.of(events.PhaseStarted)) == sorted(UP_TO_SETUP)


@pytest.mark.guarantee("sharing-parallel-builds")
def test_sharing_wait_stops_on_shutdown(pair: TwinHabitats) -> None:
    gate = BlockedSetup(pair)
    first = ParallelRun(pair, "demo")
    until(lambda: gate.at)
    second = ParallelRun(pair, "twin")
    until(lambda: told(second))
    assert second.builder.close() == ["setup:twin"]
    second.end()
    assert isinstance(second.error, Stopped)
    gate.opened.set()
    first.end()


def test_sharing_different_phases_are_built_in_parallel(pair: TwinHabitats) -> None:
    gate = BlockedSetup(pair)
    first = ParallelRun(pair, "demo")
    until(lambda: gate.at)
    pair.configs["twin"]["setup"]["root"] = ["echo two"]
    pair.save()
    second = ParallelRun(pair, "twin")
    second.end()
    assert second.error is None
    gate.opened.set()
    first.end()
