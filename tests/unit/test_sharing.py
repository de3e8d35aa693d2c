"""What one habitat takes over of another: what agrees, as far as it agrees, and nothing that doesn't."""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from unit_helpers import Site, make_user, write

from phases.core import events
from phases.core.build import clean
from phases.core.build.builder import Builder
from phases.core.build.shared_builds import SharedSnapshots
from phases.core.cache import image_index
from phases.core.cache.image_index import snapshot_tag, task_name
from phases.core.errors import CommandFailed, HabitatError, NotFound, Stopped
from phases.core.project import Project
from phases.core.report import plan as report_plan
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


class Pair(Site):
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
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def other_repo(pair: Pair) -> None:
    pair.configs["twin"]["repos"][0]["url"] = "https://example.org/b.git"


def test_what_agrees_is_taken_over_and_the_rest_is_built(pair: Pair) -> None:
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


def test_final_says_whose_it_is_and_so_is_built(pair: Pair) -> None:
    pair.built("demo")
    assert pair.built("twin") == (["verify", "test", "final"], PHASES[: PHASES.index("verify")])
    release = pair.engine.files("habitat-twin:final").nodes["/etc/habitat-release"].content
    assert b"HABITAT=twin" in release


def test_a_change_that_another_has_made_already_is_taken_over(pair: Pair) -> None:
    pair.built("demo")
    pair.built("twin")
    for name in pair.names:
        pair.configs[name]["setup"]["root"] = ["echo two"]
    assert pair.built("twin")[1] == []
    assert pair.built("demo") == (["verify", "test", "final"], ["setup", "repos", "tools"])


def test_the_way_that_goes_on_longest_is_taken(pair: Pair) -> None:
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


def test_a_stamp_says_how_long_it_took_where_it_was_built(pair: Pair) -> None:
    pair.built("demo")
    pair.built("twin")
    (image,) = (image for image in pair.engine.images() if "habitat-twin:7-setup" in image.tags)
    values = pair.project.stamps.read(task_name(named("setup"), "twin"))["_values_:"]
    assert values["seconds"] == float(image.labels[image_index.LABEL_SECONDS])


# What isn't the same


def own_volume(pair: Pair) -> None:
    for name in pair.names:
        (pair.root / "habitats" / name / "data").mkdir()
        pair.configs[name]["volumes"] = [{"source": "data", "dest": "/data"}]


def own_secret(pair: Pair) -> None:
    for name in pair.names:
        secret = {"name": "TOKEN", "command": f"echo {name}", "phases": ["setup"]}
        pair.configs[name]["secrets"] = [secret]


def own_token(pair: Pair) -> None:
    for name, token in zip(pair.names, ("ONE", "TWO"), strict=True):
        secrets = [{"name": secret, "command": "echo x", "phases": ["repos"]} for secret in ("ONE", "TWO")]
        pair.configs[name] |= {"secrets": secrets, "repos": [{**CONFIG["repos"][0], "token": token}]}


def other_order(pair: Pair) -> None:
    pair.configs["demo"]["env"] += ["SIZE=1"]
    pair.configs["twin"]["env"] = ["USER=dev", "SIZE=1", "COLOUR=red"]


@pytest.mark.parametrize(
    ("change", "first"),
    [(own_volume, "files"), (own_secret, "setup"), (own_token, "repos"), (other_order, "env")],
)
def test_what_no_slice_says_but_a_phase_meets_is_not_shared(
    pair: Pair, change: Callable[[Pair], None], first: str
) -> None:
    change(pair)
    pair.built("demo")
    demo, twin = (pair.run_anew().assess(name).hashes for name in pair.names)
    assert demo == twin, "by their slices alone they are the same"
    begin = PHASES.index(first)
    assert pair.built("twin") == (PHASES[begin:], PHASES[:begin])


def test_one_folder_of_the_host_is_the_same_for_both(pair: Pair) -> None:
    (pair.root / "data").mkdir()
    for name in pair.names:
        pair.configs[name]["volumes"] = [{"source": str(pair.root / "data"), "dest": "/data"}]
    pair.built("demo")
    assert pair.built("twin")[1] == PHASES[: PHASES.index("verify")]


def test_one_secret_is_the_same_for_both_and_is_not_asked_for(pair: Pair) -> None:
    asked = pair.root / "asked"
    for name in pair.names:
        secret = {"name": "TOKEN", "command": f"echo >>{asked}; echo x", "phases": ["setup"]}
        pair.configs[name]["secrets"] = [secret]
    pair.built("demo")
    assert pair.built("twin")[1] == PHASES[: PHASES.index("verify")]
    assert asked.read_text() == "\n"


def test_a_failure_is_not_taken_over(pair: Pair) -> None:
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


def test_what_an_earlier_version_built_is_not_taken_over(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_index, "LABEL_ENVIRONMENT_DIGEST", "habitat.other")
    pair.built("demo")
    monkeypatch.undo()
    assert pair.built("twin") == (PHASES, [])


def test_what_a_person_made_of_a_snapshot_is_not_taken_over(pair: Pair) -> None:
    pair.built("demo")
    made = pair.engine.create("habitat-demo:1-base", "mine", ("true",))
    pair.engine.tag(pair.engine.commit(made, []), "mine:1")
    for tag in [tag for tag in pair.engine.tags() if tag.startswith("habitat-demo:")]:
        pair.engine.untag(tag)
    assert pair.built("twin") == (PHASES, [])


def test_it_is_off_where_that_is_said(pair: Pair) -> None:
    pair.built("demo")
    pair.shares = False
    assert pair.built("twin") == (PHASES, [])


# Whoever wants it built


def test_what_was_forgotten_is_built(pair: Pair) -> None:
    pair.built("demo")
    pair.built("twin")
    pair.project.stamps.forget("setup:twin")
    ran, shared = pair.built("twin")
    assert (ran, shared) == (PHASES[PHASES.index("setup") :], [])
    assert pair.image("twin", "setup") != pair.image("demo", "setup")
    assert pair.built("demo") == ([], [])


def test_what_was_forgotten_before_it_was_ever_built_is_built(pair: Pair) -> None:
    pair.built("demo")
    pair.project.stamps.forget("env:twin")
    assert pair.built("twin") == (PHASES[2:], PHASES[:2])


def test_of_two_that_agree_the_later_is_taken(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_what_one_cleans_the_other_keeps(pair: Pair) -> None:
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


def test_who_had_it_first_is_named_as_long_as_he_has_it(pair: Pair) -> None:
    pair.built("twin")
    pair.built("demo")
    pair.configs["third"] = pair.configs["demo"]
    pair.built("third", "base")
    assert pair.shared[0].shared_with == "twin"
    clean.clean_all(pair.run_anew(), "twin")
    pair.configs["fourth"] = pair.configs["demo"]
    pair.built("fourth", "base")
    assert pair.shared[0].shared_with == "demo"


def test_what_goes_meanwhile_is_built(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_kill_between_tag_and_stamp_costs_nothing(pair: Pair) -> None:
    pair.built("demo")
    pair.built("twin", "setup")
    for path in (pair.root / ".stamps/twin").glob("*.stamp"):
        path.unlink()
    assert pair.built("twin", "setup") == ([], [])


def test_the_container_of_a_build_on_it_is_not_the_other_habitats(pair: Pair) -> None:
    """It inherits the label that says whose image it was made from."""
    pair.built("demo")
    pair.built("twin")
    project = pair.run_anew()
    pair.engine.create("habitat-twin:7-setup", project.scratch.build_name("twin", named("repos")), ("x",))
    pair.engine.create("habitat-twin:7-setup", "mine", ("x",))
    assert clean.containers_of(project, "demo") == ["mine"]


# What is said before, and of it


def test_a_plan_says_what_is_taken_over(pair: Pair) -> None:
    pair.built("demo")
    other_repo(pair)
    pair.save()
    calls = len(pair.engine.calls)
    plan = report_plan.plan(pair.run_anew(), "twin")
    assert plan.shared == dict.fromkeys(UP_TO_SETUP, "demo")
    assert pair.engine.calls[calls:] == [("images",)]
    assert not (pair.root / ".stamps/twin").exists()


def test_a_phase_that_was_taken_over_has_a_log_that_says_so(pair: Pair) -> None:
    pair.built("demo")
    pair.built("twin")
    assert (pair.root / ".stamps/twin/7-setup.log").read_text() == "nothing was run: the snapshot is that of demo\n"


def test_nothing_is_looked_for_where_all_is_up_to_date(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.built("demo")
    monkeypatch.setattr(SharedSnapshots, "environment_digest_of", None)
    assert report_plan.plan(pair.run_anew(), "demo").shared == {}


# At once


class Gate:
    """A setup that goes on when it is let; `at` is how many are in it, or were."""

    def __init__(self, pair: Pair) -> None:
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


class Beside:
    """A run of its own, in a thread, as another process is: it shares the engine and the disk."""

    def __init__(self, pair: Pair, name: str) -> None:
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


def told(run: Beside) -> list[str]:
    return [event.text for event in run.seen if isinstance(event, events.Notice)]


def test_who_wants_what_another_is_building_waits_and_takes_it_over(pair: Pair) -> None:
    gate = Gate(pair)
    first = Beside(pair, "demo")
    until(lambda: gate.at)
    second = Beside(pair, "twin")
    until(lambda: told(second))
    (text,) = told(second)
    assert re.fullmatch(r"waiting for another run that builds the same setup \(pid \d+ on \S+ since [\d:]+\)", text)
    gate.opened.set()
    first.end()
    second.end()
    assert gate.at == 1
    assert second.of(events.PhaseShared) == UP_TO_SETUP
    assert pair.image("twin", "setup") == pair.image("demo", "setup")


def test_where_he_fails_it_is_built(pair: Pair) -> None:
    gate = Gate(pair)
    gate.code = 1
    first = Beside(pair, "demo")
    until(lambda: gate.at)
    second = Beside(pair, "twin")
    until(lambda: told(second))
    gate.opened.set()
    first.end()
    second.end()
    assert isinstance(first.error, CommandFailed)
    assert isinstance(second.error, CommandFailed)
    assert gate.at == 2


def test_many_at_once_build_each_phase_once(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(pair)
    gate.opened.set()
    commit = pair.engine.commit

    def slowly(*arguments: Any, **wishes: Any) -> str:
        time.sleep(0.1)  # as long as it takes an engine
        return commit(*arguments, **wishes)

    monkeypatch.setattr(pair.engine, "commit", slowly)
    for name in ("third", "fourth"):
        pair.configs[name] = pair.configs["demo"]
    pair.save()
    runs = [Beside(pair, name) for name in pair.configs]
    for run in runs:
        run.end()
        assert run.error is None
    assert gate.at == 1
    assert sorted(phase for run in runs for phase in run.of(events.PhaseStarted)) == sorted(UP_TO_SETUP)


def test_who_is_told_to_stop_waits_no_longer(pair: Pair) -> None:
    gate = Gate(pair)
    first = Beside(pair, "demo")
    until(lambda: gate.at)
    second = Beside(pair, "twin")
    until(lambda: told(second))
    assert second.builder.close() == ["setup:twin"]
    second.end()
    assert isinstance(second.error, Stopped)
    gate.opened.set()
    first.end()


def test_others_build_side_by_side(pair: Pair) -> None:
    gate = Gate(pair)
    first = Beside(pair, "demo")
    until(lambda: gate.at)
    pair.configs["twin"]["setup"]["root"] = ["echo two"]
    pair.save()
    second = Beside(pair, "twin")
    second.end()
    assert second.error is None
    gate.opened.set()
    first.end()
