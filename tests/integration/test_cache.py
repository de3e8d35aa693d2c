"""The cache's specification: for each change, the first phase that runs again.

One habitat is built once, and each test changes it from where the test before left it. Whether
something was built is read from the images as well: what is cached keeps its id, and what is built
again rests on the layers of the last snapshot that was not.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from conftest import (
    PREFIX,
    ROOT,
    Project,
    RunningDoit,
    build_containers,
    clear,
    docker,
    fresh_name,
    inspect,
    left_containers,
    snapshots,
    untagged,
    wait_until,
)

from phases.registry import PHASES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import CommandResult

    from phases.core.engine.client import DockerEngine

pytestmark = pytest.mark.engine

NAMES = [phase.NAME for phase in PHASES[1:]]

#: Phase to tag, for those that leave a snapshot.
TAGS = {phase.NAME: f"{phase.ID}-{phase.NAME}" for phase in PHASES[1:] if phase.SNAPSHOT}

#: What the project's files hold to begin with; below habitats/NAME where HABITAT stands.
FILES = {
    "payload/a.txt": "first\n",
    "payload/run.sh": "#!/bin/sh\n",
    "shared/banner": "welcome\n",
    "HABITAT/notes.md": "notes\n",
    "HABITAT/tools/bin/greet": "#!/bin/sh\necho hi # 0\n",
    "HABITAT/tests/passes.sh": "#!/bin/sh\nexit 0 # 0\n",
}


class FullHabitat:
    """A habitat with something in every section of its config."""

    def __init__(self, root: Path, name: str, base: str) -> None:
        self.project = Project(root)
        self.name = name
        self.base = base
        self.done = ""  # the last phase that is up to date, and all before it
        self._words = (f"w{number}" for number in itertools.count())
        git = ("git", "-C", str(root / "upstream"))
        subprocess.run(["git", "init", "--quiet", "--initial-branch=main", str(root / "upstream")], check=True)
        self.git = (*git, "-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
        self.commit_upstream()
        subprocess.run([*git, "branch", "dev"], check=True)
        (root / "gate").mkdir()
        self.begin()

    def begin(self) -> None:
        """All as it is at first."""
        for path, text in FILES.items():
            self.project.write(self.place(path), text, mode=0o755 if text.startswith("#!") else 0o644)
        (self.project.root / "gate/closed").unlink(missing_ok=True)
        self.config: dict[str, Any] = {
            "description": "changed in every way",
            "base_image": self.base,
            "env": [
                "USER=root",
                "WORKDIR=/work",
                "LOCAL_PATH=/opt/local",
                "SHARED_PATH=/opt/shared",
                # Copied nowhere, which saves time.
                "SYSTEM_PATH=",
                "HABITAT_PATH=",
                "COLOUR=green",
            ],
            "files": [{"source": "payload", "dest": "/payload"}],
            "volumes": [
                {"source": "gate", "dest": "/gate", "readonly": True},
                {"source": "upstream", "dest": "/upstream", "readonly": True},
            ],
            "setup": {"root": ["echo one >/etc/mark"]},
            "repos": [{"url": "file:///upstream", "path": "app", "branch": "main"}],
            "verify-fs": {"required_files": ["/work/app/README.md"]},
            "tests": ["tests/passes.sh"],
            "entry": {"command": "cat /etc/mark"},
        }
        self.save()

    def save(self) -> None:
        self.save_text(yaml.safe_dump(self.config, sort_keys=False))

    def save_text(self, text: str) -> None:
        (self.folder / "config.yaml").write_text(text)

    def word(self) -> str:
        """One that was never used before."""
        return next(self._words)

    @property
    def folder(self) -> Path:
        return self.project.root / "habitats" / self.name

    def place(self, path: str) -> str:
        return path.replace("HABITAT", f"habitats/{self.name}")

    def path(self, path: str) -> Path:
        return self.project.root / self.place(path)

    def flip(self, path: str) -> None:
        """Change the last byte but one of a file, and nothing else that can be seen from outside."""
        file = self.path(path)
        info, data = file.stat(), bytearray(file.read_bytes())
        data[-2] ^= 1
        file.write_bytes(data)
        os.utime(file, ns=(info.st_atime_ns, info.st_mtime_ns))

    def commit_upstream(self) -> None:
        readme = self.project.root / "upstream" / "README.md"
        readme.write_text(self.word())
        subprocess.run([*self.git, "add", "."], check=True)
        subprocess.run([*self.git, "commit", "--quiet", "--message", "a change"], check=True)

    def task(self, phase: str) -> str:
        return f"{phase}:{self.name}"

    def run(self, goal: str = "final") -> CommandResult:
        self.done = ""
        return self.project.doit(self.task(goal))

    def build(self, goal: str = "final") -> CommandResult:
        result = self.run(goal)
        assert result.code == 0, result.out
        self.done = goal
        return result

    def bring_to(self, phase: str) -> None:
        """All phases up to `phase` are up to date; as at first if a test before left it otherwise."""
        if not self.done or NAMES.index(self.done) < NAMES.index(phase):
            self.begin()
            self.build(phase)

    def images(self) -> dict[str, str]:
        """Phase to image id."""
        tags = snapshots(self.name)
        return {phase: tags[tag] for phase, tag in TAGS.items() if tag in tags}

    def prune(self, *phases: str) -> None:
        """Take snapshots away by hand."""
        tags = [TAGS[phase] for phase in phases] + (["final"] if "final" in phases else [])
        docker("image", "rm", "--no-prune", *(f"habitat-{self.name}:{tag}" for tag in tags))

    @contextmanager
    def pruned(self, *phases: str) -> Iterator[None]:
        """Without some snapshots, on which later ones rest that stay; they are back afterwards."""
        gone = {f"habitat-{self.name}:{TAGS[phase]}": f"{self.name}-kept:{TAGS[phase]}" for phase in phases}
        for tag, elsewhere in gone.items():
            docker("image", "tag", tag, elsewhere)
        self.prune(*phases)
        try:
            yield
        finally:
            for tag, elsewhere in gone.items():
                docker("image", "tag", elsewhere, tag)
                docker("image", "rm", elsewhere)

    @contextmanager
    def building_setup(self, goal: str) -> Iterator[RunningDoit]:
        """A run that is at a setup command which lasts until gate/closed is gone."""
        word = self.word()
        self.config["setup"]["root"] = [f"echo {word}; while [ -e /gate/closed ]; do sleep 0.05; done"]
        self.save()
        self.project.write("gate/closed")
        log = self.project.root / ".stamps" / self.name / "7-setup.log"
        self.done = ""
        with RunningDoit(self.project, self.task(goal)) as running:
            wait_until(lambda: log.exists() and word in log.read_text().splitlines())
            yield running

    def assert_builds_from(self, first: str, goal: str = "final") -> None:
        """The next run builds `first` and all after it up to `goal`, on what was there."""
        before = self.images()
        result = self.build(goal)
        after = self.images()
        at = NAMES.index(first)
        assert result.ran == NAMES[at : NAMES.index(goal) + 1], result.out
        kept = [phase for phase in TAGS if NAMES.index(phase) < at]
        new = [phase for phase in TAGS if at <= NAMES.index(phase) <= NAMES.index(goal)]
        assert {phase: after[phase] for phase in kept} == {phase: before[phase] for phase in kept}
        assert not {after[phase] for phase in new} & set(before.values())
        if kept and new:
            layers = inspect(after[kept[-1]])["RootFS"]["Layers"]
            assert inspect(after[new[-1]])["RootFS"]["Layers"][: len(layers)] == layers

    def assert_builds_nothing(self) -> None:
        before = snapshots(self.name)
        assert self.build().ran == []
        assert snapshots(self.name) == before


@pytest.fixture(scope="module")
def built_habitat(
    engine: DockerEngine, git_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FullHabitat]:
    name = fresh_name()
    base = f"{PREFIX}-base-{name[-8:]}:1"
    engine.tag(git_image, base)
    yield FullHabitat(tmp_path_factory.mktemp("subject"), name, base)
    clear(engine, name)
    engine.untag(base)


@pytest.fixture
def habitat(built_habitat: FullHabitat) -> FullHabitat:
    """The habitat, up to date."""
    built_habitat.bring_to("final")
    return built_habitat


def test_build_without_change_runs_nothing(habitat: FullHabitat) -> None:
    habitat.assert_builds_nothing()


# The table


def env(habitat: FullHabitat) -> None:
    habitat.config["env"][-1] = f"COLOUR={habitat.word()}"


def user(habitat: FullHabitat) -> None:
    habitat.config["env"][0] = f"USER={habitat.word()}"


def workdir(habitat: FullHabitat) -> None:
    habitat.config["env"][1] = f"WORKDIR=/{habitat.word()}"
    habitat.config["verify-fs"]["required_files"] = ["app/README.md"]


def own_path(habitat: FullHabitat) -> None:
    habitat.config["env"][2] = f"LOCAL_PATH=/opt/{habitat.word()}"


def copied_file(habitat: FullHabitat) -> None:
    habitat.flip("payload/a.txt")


def executable_bit(habitat: FullHabitat) -> None:
    file = habitat.path("payload/run.sh")
    file.chmod(file.stat().st_mode ^ 0o111)


def own_folder(habitat: FullHabitat) -> None:
    habitat.flip("HABITAT/notes.md")


def shared_folder(habitat: FullHabitat) -> None:
    habitat.flip("shared/banner")


def setup(habitat: FullHabitat) -> None:
    habitat.config["setup"]["root"] = [f"echo {habitat.word()} >/etc/mark"]


def repos(habitat: FullHabitat) -> None:
    repo = habitat.config["repos"][0]
    repo["branch"] = "dev" if repo["branch"] == "main" else "main"


def tools(habitat: FullHabitat) -> None:
    habitat.flip("HABITAT/tools/bin/greet")


def required_path(habitat: FullHabitat) -> None:
    habitat.config["verify-fs"]["required_files"].append("/etc/passwd")


def script_of_a_test(habitat: FullHabitat) -> None:
    habitat.flip("HABITAT/tests/passes.sh")


def command(habitat: FullHabitat) -> None:
    habitat.config["entry"]["command"] = f"echo {habitat.word()}"


def base_image(habitat: FullHabitat) -> None:
    """Move its tag to an image that differs in nothing but its id, as a pull may do."""
    container = docker("container", "create", habitat.base)
    docker("container", "commit", "--message", habitat.word(), container, habitat.base)
    docker("container", "rm", container)


# The last phases first, so that each needs no more of the others than is there.
TABLE = [
    (command, "final"),
    (script_of_a_test, "test"),
    (required_path, "verify"),
    (tools, "tools"),
    (repos, "repos"),
    (setup, "setup"),
    (copied_file, "files"),
    (executable_bit, "files"),
    (own_folder, "files"),
    (shared_folder, "files"),
    (own_path, "habitat"),
    (workdir, "workdir"),
    (env, "env"),
    (user, "users"),
    (base_image, "base"),
]


@pytest.mark.parametrize(("change", "first"), TABLE, ids=[change.__name__ for change, _ in TABLE])
def test_change_runs_first_dependent_phase(
    built_habitat: FullHabitat, change: Callable[[FullHabitat], None], first: str
) -> None:
    built_habitat.bring_to(first)
    change(built_habitat)
    built_habitat.save()
    built_habitat.assert_builds_from(first, goal=first)


@pytest.mark.parametrize(("change", "first"), [(repos, "repos"), (env, "env")])
def test_change_runs_all_phases_after_first_dependent_one(
    habitat: FullHabitat, change: Callable[[FullHabitat], None], first: str
) -> None:
    change(habitat)
    habitat.save()
    habitat.assert_builds_from(first)
    assert list(habitat.images()) == list(TAGS)


def description(habitat: FullHabitat) -> None:
    habitat.config["description"] = f"described as {habitat.word()}"
    habitat.save()


def comments(habitat: FullHabitat) -> None:
    text = yaml.safe_dump(habitat.config, sort_keys=False)
    habitat.save_text(f"# {habitat.word()}\n" + text.replace("\nsetup:", "\n# and here\nsetup: # and there"))


def order_of_keys(habitat: FullHabitat) -> None:
    def reverse(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: reverse(value[key]) for key in reversed(value)}
        return [reverse(element) for element in value] if isinstance(value, list) else value

    habitat.save_text(yaml.safe_dump(reverse(habitat.config), sort_keys=False))


def whitespace(habitat: FullHabitat) -> None:
    text = yaml.safe_dump(habitat.config, sort_keys=False, indent=8)
    habitat.save_text(text.replace("\n", "\n\n").replace(": ", ":   "))


def debug_and_timeouts(habitat: FullHabitat) -> None:
    habitat.config |= {"debug": True, "timeouts": {"setup": "5m"}}
    habitat.save()


def times_of_files(habitat: FullHabitat) -> None:
    for path in [habitat.project.root, *habitat.project.root.rglob("*")]:
        if ".stamps" not in path.parts:
            os.utime(path)


def modes_that_an_umask_gives(habitat: FullHabitat) -> None:
    for top in ("payload", "shared", f"habitats/{habitat.name}"):
        for path in (habitat.project.root / top).rglob("*"):
            path.chmod(path.stat().st_mode & 0o700)


def secret_that_is_never_copied(habitat: FullHabitat) -> None:
    habitat.project.write(habitat.place("HABITAT/.env"), habitat.word())


def commit_upstream(habitat: FullHabitat) -> None:
    habitat.commit_upstream()


def stamps_folder(habitat: FullHabitat) -> None:
    shutil.rmtree(habitat.project.root / ".stamps")


def slices(habitat: FullHabitat) -> None:
    for path in (habitat.project.root / ".stamps" / habitat.name).glob("*.json"):
        path.write_text("{}")


NOTHING = [
    description,
    comments,
    order_of_keys,
    whitespace,
    debug_and_timeouts,
    times_of_files,
    modes_that_an_umask_gives,
    secret_that_is_never_copied,
    commit_upstream,
    stamps_folder,
    slices,
]


@pytest.mark.parametrize("change", NOTHING, ids=[change.__name__ for change in NOTHING])
def test_change_without_dependent_phase_runs_nothing(
    habitat: FullHabitat, change: Callable[[FullHabitat], None]
) -> None:
    change(habitat)
    habitat.assert_builds_nothing()


# Snapshots taken away by hand


@pytest.mark.parametrize(
    ("gone", "first"),
    [
        (("repos", "tools", "final"), "repos"),
        (("final",), "final"),
    ],
)
def test_snapshot_removed_without_valid_successor_is_rebuilt(
    habitat: FullHabitat, gone: tuple[str, ...], first: str
) -> None:
    habitat.prune(*gone)
    habitat.assert_builds_from(first)
    habitat.assert_builds_nothing()


def test_snapshots_removed_before_valid_one_are_not_rebuilt(habitat: FullHabitat) -> None:
    with habitat.pruned(*(phase for phase in TAGS if phase != "final")):
        habitat.assert_builds_nothing()
        assert list(habitat.images()) == ["final"]


def test_change_after_removed_snapshot_builds_on_nearest_valid_one(habitat: FullHabitat) -> None:
    before = habitat.images()
    with habitat.pruned("env", "workdir", "files"):
        repos(habitat)
        habitat.save()
        assert habitat.build().ran == NAMES[NAMES.index("repos") :]
    assert habitat.images()["setup"] == before["setup"]


def test_change_directly_after_removed_snapshot_rebuilds_that_snapshot(habitat: FullHabitat) -> None:
    habitat.prune("setup")
    repos(habitat)
    habitat.save()
    before = habitat.images()
    assert habitat.build().ran == NAMES[NAMES.index("setup") :]
    assert habitat.images()["files"] == before["files"]


def test_final_and_stamps_removed_runs_verify_and_test_again(habitat: FullHabitat) -> None:
    habitat.prune("final")
    shutil.rmtree(habitat.project.root / ".stamps")
    habitat.assert_builds_from("verify")


# Elsewhere, interrupted, forgotten, taken back


def test_copied_project_builds_nothing(habitat: FullHabitat, tmp_path: Path) -> None:
    shutil.copytree(habitat.project.root, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".stamps"))
    before = snapshots(habitat.name)
    result = Project(tmp_path).doit(habitat.task("final"))
    assert result.code == 0, result.out
    assert result.ran == []
    assert snapshots(habitat.name) == before

    def slices_below(root: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (root / ".stamps" / habitat.name).glob("*.json")}

    assert len(slices_below(tmp_path)) == len(NAMES)
    assert slices_below(tmp_path) == slices_below(habitat.project.root)


def test_slices_contain_no_host_path(habitat: FullHabitat) -> None:
    for path in (habitat.project.root / ".stamps" / habitat.name).glob("*.json"):
        text = path.read_text()
        assert str(habitat.project.root) not in text, path.name
        assert str(ROOT) not in text, path.name


def test_killed_run_next_run_continues_with_unfinished_phase(habitat: FullHabitat) -> None:
    own_path(habitat)
    with habitat.building_setup("final") as running:
        running.process.send_signal(signal.SIGKILL)
        assert running.end().ran == NAMES[NAMES.index("habitat") : NAMES.index("setup")]
    assert build_containers(habitat.name), "the kill came while setup ran"
    habitat.path("gate/closed").unlink()
    habitat.assert_builds_from("setup")
    assert left_containers(habitat.name) == []
    assert untagged(habitat.name) == []


def test_forgotten_phase_and_later_ones_run_once(habitat: FullHabitat) -> None:
    forgotten = habitat.project.doit("forget", habitat.task("setup"))
    assert forgotten.code == 0, forgotten.out
    habitat.assert_builds_from("setup")
    habitat.assert_builds_nothing()


def test_forgotten_phase_without_stamp_runs(habitat: FullHabitat) -> None:
    shutil.rmtree(habitat.project.root / ".stamps")
    assert habitat.project.doit("forget", habitat.task("tools")).code == 0
    habitat.assert_builds_from("tools")
    habitat.assert_builds_nothing()


def test_forgotten_phase_stays_forgotten_until_built(habitat: FullHabitat) -> None:
    assert habitat.project.doit("forget", habitat.task("verify")).code == 0
    good = deepcopy(habitat.config)
    habitat.config["verify-fs"]["required_files"] = ["/nowhere"]
    habitat.save()
    assert habitat.run().code != 0
    habitat.config = good
    habitat.save()
    habitat.assert_builds_from("verify")


def test_failed_change_taken_back_runs_nothing(habitat: FullHabitat) -> None:
    good = deepcopy(habitat.config)
    habitat.config["setup"]["root"] = ["exit 1"]
    habitat.save()
    assert habitat.run().code != 0
    habitat.config = good
    habitat.save()
    habitat.assert_builds_nothing()


def test_earlier_config_restored_builds_its_image(habitat: FullHabitat) -> None:
    earlier = deepcopy(habitat.config)
    command(habitat)
    habitat.save()
    habitat.assert_builds_from("final")
    habitat.config = earlier
    habitat.save()
    habitat.assert_builds_from("final")
    final = inspect(f"habitat-{habitat.name}:final")
    assert final["Config"]["Cmd"][-1] == earlier["entry"]["command"]


def test_config_edited_during_build_is_built_by_next_run(habitat: FullHabitat) -> None:
    with habitat.building_setup("setup") as running:
        setup(habitat)
        habitat.save()
        habitat.path("gate/closed").unlink()
        assert running.end().code == 0
    habitat.assert_builds_from("setup", goal="setup")


def test_failure_in_earlier_phase_keeps_results_of_verify_and_test(project: Project, busybox: str, name: str) -> None:
    """verify and test leave no image: what they said of the tools snapshot holds while that does."""
    config = f"base_image: {busybox}\nenv: [USER=root]\nentry: {{command: echo COMMAND}}\n"
    project.habitat(name, config)
    assert project.doit(f"final:{name}").code == 0
    project.habitat(name, config + "repos: [{url: 'file:///nowhere', path: app}]\n")
    assert project.doit(f"final:{name}").code != 0
    project.habitat(name, config.replace("COMMAND", "other"))
    assert project.doit(f"final:{name}").ran == ["final"]
