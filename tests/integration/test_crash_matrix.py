"""The plug pulled at every point of every phase: what the next run does, and what is left of the killed one.

One habitat with a Dockerfile, and one without for the phase `base`, stand through the whole matrix. In each
test a knob makes just one phase stale, and doit is killed in that phase (see tests/kill_points.py), at one point
after the other: the run after a kill has to recover, and is then killed itself. The last one is not. The habitat's own
test looks for a mark of every phase.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from conftest import (
    PREFIX,
    Project,
    clear,
    docker,
    failed,
    fresh_name,
    left_containers,
    snapshots,
    untagged,
    wait_until,
)
from kill_points import ARMED, DODO
from measurements import MATRIX

from phases.protocol import slug
from phases.registry import NAMES, PHASES, named

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import CommandResult

    from phases.core.engine.docker_api.client import DockerEngine

pytestmark = pytest.mark.engine

ROWS = [phase.NAME for phase in PHASES if phase.SNAPSHOT]
LOOKING = [phase.NAME for phase in PHASES if not phase.SNAPSHOT]

#: Points of all phases that leave a snapshot, and of some, at which the phase isn't done.
POINTS = ["announced", "made", "before the commit", "committed", "inside"]
MORE_POINTS = {"setup": ["create in flight", "commit in flight"], "final": ["one of two tags"]}

#: A phase, and the points at which one run after the other is killed in it. Only after the last may it be done.
KILLS = [
    *((phase, [*POINTS, *MORE_POINTS.get(phase, []), "tagged"]) for phase in ROWS),
    *((phase, ["stamped"]) for phase in ROWS),
    ("setup", ["before the rename"]),
    *((phase, ["announced", "inside", "before the stamp"]) for phase in LOOKING),
    *((phase, ["stamped"]) for phase in LOOKING),
]
KILLS.sort(key=lambda kills: NAMES.index(kills[0]))

#: From where on the result of the phase is valid.
VALID = ("tagged", "before the rename", "stamped")

CARRY_POINTS = ["before carry", "after carry", "after create", "after start", "after rename", "before remove"]

START_POINTS = ["before create", "made", "started", "inside", "before the stop", "stopped"]

DOCKERFILE = """\
FROM {base}
RUN echo {value} >/mark && sleep 0.2 && echo complete >>/mark
"""

IS = """\
#!/bin/sh
echo begun
is() { [ "$2" = "$3" ] || { echo "$1: '$2' is not '$3'"; exit 1; }; }
"""


class MarkedHabitat:
    """A habitat of which every phase leaves a mark that carries its own value."""

    def __init__(self, root: Path, base: str, *, dockerfile: bool) -> None:
        self.project = Project(root)
        self.project.write("dodo.py", DODO)
        self.name = fresh_name()
        self.base = base
        self.first = "dockerfile" if dockerfile else "base"
        self.phases = [name for name in NAMES if dockerfile or name != "dockerfile"]
        self.values = dict.fromkeys(self.phases, "w0")
        self.failing = ""  # the phase whose script fails
        self.last_built = ""  # the last phase that is up to date
        self._words = (f"w{number}" for number in itertools.count(1))
        upstream = str(root / "upstream")
        git = ("git", "-C", upstream, "-c", "user.name=T", "-c", "user.email=t@example.org")
        subprocess.run(["git", "init", "--quiet", upstream], check=True)
        subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message", "first"], check=True)
        (root / "gate").mkdir()
        if not dockerfile:
            self._move_base()
        self.write()

    def turn(self, phase: str) -> None:
        """Make `phase` stale, and nothing before it."""
        self.values[phase] = next(self._words)
        if phase == "base":
            self._move_base()
        self.write()

    def _move_base(self) -> None:
        script = f"echo {self.values['base']} >/mark; echo complete >>/mark"
        container = docker("run", "--detach", "--user", "0", "--entrypoint", "/bin/sh", self.base, "-c", script)
        docker("container", "wait", container)
        docker("container", "commit", container, self.base)
        docker("container", "rm", container)

    def write(self) -> None:
        """The habitat's files, as the values say."""
        value = self.values
        own = f"habitats/{self.name}"
        if self.first == "dockerfile":
            self.project.write(f"{own}/Dockerfile", DOCKERFILE.format(base=self.base, value=value["dockerfile"]))
        # What the Dockerfile doesn't see makes it no staler.
        self.project.write(f"{own}/.dockerignore", "*\n")
        self.project.write("payload/file", value["files"] + "\n" + "x\n" * 50_000)
        self.project.write(f"{own}/tools/install-tools.sh", self._script("tools", "/tmp/tools"), 0o755)
        self.project.write(f"{own}/tests/complete.sh", self.checks(), 0o755)
        self.project.write(f"{own}/config.yaml", yaml.safe_dump(self._config(), sort_keys=False))

    def _script(self, phase: str, place: str) -> str:
        value = self.values[phase]
        end = "exit 9\n" if phase == self.failing else ""
        return f"#!/bin/sh\necho {value}; echo {value} >{place}; sleep 0.2; echo complete >>{place}\n{end}"

    def _config(self) -> dict[str, Any]:
        value = self.values
        return {
            **({} if self.first == "dockerfile" else {"base_image": self.base}),
            "env": [
                f"USER=user{value['users']}",
                f"WORKDIR=/work{value['workdir']}",
                f"LOCAL_PATH=/opt/{value['habitat']}",
                "SYSTEM_PATH=",
                "SHARED_PATH=",
                "HABITAT_PATH=",
                f"COLOUR={value['env']}",
            ],
            "files": [{"source": "payload", "dest": "/payload"}],
            "volumes": [{"source": s, "dest": f"/{s}", "readonly": True} for s in ("upstream", "gate")],
            "setup": {"root": [self._script("setup", "/setup")]},
            "repos": [{"url": "file:///upstream", "path": "/tmp/app", "setup": [self._script("repos", "mark")]}],
            "verify-fs": {"required_files": ["/setup", *["/mark"] * int(value["verify"][1:])]},
            "tests": ["tests/complete.sh"],
            "entry": {"command": f"echo {value['final']}; while [ -e /gate/closed ]; do sleep 0.1; done"},
        }

    def checks(self) -> str:
        """A script that fails where a mark isn't whole; it gets the last phase whose mark it is to look for."""
        value = self.values
        user, workdir = f"user{value['users']}", f"/work{value['workdir']}"
        own = f"/opt/{value['habitat']}"
        checks = {
            self.first: _whole(value[self.first], "/mark"),
            "users": f'"$(grep -c ^{user}: /etc/passwd) $USER" "1 {user}"',
            "env": f'"$COLOUR" {value["env"]}',
            "workdir": f'"$(stat -c %U {workdir}) $WORKDIR" "{user} {workdir}"',
            "habitat": f'"$(stat -c %U {own}) $LOCAL_PATH" "{user} {own}"',
            "files": f'"$(wc -l </payload/file) $(head -n 1 /payload/file)" "50001 {value["files"]}"',
            "setup": _whole(value["setup"], "/setup"),
            "repos": _whole(value["repos"], "/tmp/app/mark"),
            "tools": _whole(value["tools"], "/tmp/tools"),
        }
        lines = [f'is {phase} {check}\n[ "$1" != {phase} ] || exit 0' for phase, check in checks.items()]
        return "\n".join([IS, *lines, f"sleep 0.2\n: {value['test']}\n"])

    def run(self, task: str = "final", crash: str = "", **more: str) -> CommandResult:
        env = {**ARMED, "CRASH": crash, **more}
        return self.project.doit(f"{task}:{self.name}", env=env, timeout=60)

    def bring_up(self, phase: str) -> None:
        """All before `phase` is up to date, also where a test before this left it undone."""
        before = self.phases[: self.phases.index(phase)]
        if before and self.last_built not in self.phases[len(before) - 1 :]:
            result = self.run(before[-1])
            assert result.code == 0, result.out
        self.last_built = ""

    def builders(self) -> list[int]:
        """The processes that build this habitat's Dockerfile."""
        tag = f"habitat-{self.name}:0-dockerfile-build".encode()
        return [int(p.name) for p in Path("/proc").glob("[0-9]*") if tag in _read(p / "cmdline").split(b"\0")]

    def assert_nothing_is_left(self, result: CommandResult) -> None:
        assert "waiting for another run" not in result
        assert left_containers(self.name) == []
        assert untagged(self.name) == []
        folder = self.project.root / ".stamps" / self.name
        assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []
        assert (folder / "lock").read_text() == ""
        assert docker("volume", "ls", "--quiet", "--filter", f"label=habitat.lock=build {self.name}") == ""

    def assert_snapshots_tell_the_truth(self, upto: str) -> None:
        phases = self.phases[: self.phases.index(upto) + 1]
        kept = [slug(named(phase)) for phase in phases if named(phase).SNAPSHOT]
        tags = snapshots(self.name)
        assert sorted(tags) == sorted([*kept, *(["final"] if upto == "final" else [])])
        assert tags.get("final") == tags.get("12-final")
        folder = self.project.root / ".stamps" / self.name
        hashes = {
            f"{phase}.hash": hashlib.sha256((folder / f"{slug(named(phase))}.json").read_bytes()).hexdigest()
            for phase in phases
        }
        actual = json.loads(docker("image", "inspect", *(f"habitat-{self.name}:{tag}" for tag in kept)))
        parent = ""
        for tag, image in zip(kept, actual, strict=True):
            labels = image["Config"]["Labels"]
            phase = tag.partition("-")[2]
            names = [f"{name}.hash" for name in phases[: phases.index(phase) + 1]]
            assert {key: labels[key] for key in labels if key.endswith(".hash")} == {key: hashes[key] for key in names}
            assert labels["habitat.parent"] == parent or not parent
            parent = image["Id"]

    def assert_marks_are_whole(self, upto: str) -> None:
        """As the habitat's own test does, where the next run doesn't get so far."""
        script = self.project.root / "habitats" / self.name / "tests/complete.sh"
        image = f"habitat-{self.name}:{slug(named(upto))}"
        docker("run", "--rm", "--volume", f"{script}:/complete.sh:ro", "--entrypoint", "/complete.sh", image, upto)


def _whole(value: str, path: str) -> str:
    return f'"$(cat {path})" "$(echo {value}; echo complete)"'


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.fixture(scope="module")
def habitats(
    engine: DockerEngine, git_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[bool, MarkedHabitat]]:
    """By whether they have a Dockerfile."""
    base = f"{PREFIX}-crash-{os.getpid()}:1"
    engine.tag(git_image, base)
    actual = {
        True: MarkedHabitat(tmp_path_factory.mktemp("crash"), git_image, dockerfile=True),
        False: MarkedHabitat(tmp_path_factory.mktemp("crash-base"), base, dockerfile=False),
    }
    yield actual
    for habitat in actual.values():
        clear(engine, habitat.name)
    engine.untag(base)


@pytest.mark.guarantee("killed-run-resumes", "locks-of-killed-run-are-released")
@pytest.mark.parametrize(
    ("phase", "points"), KILLS, ids=[f"{phase}-{points[-1]}".replace(" ", "_") for phase, points in KILLS]
)
def test_killed_run_next_run_repeats_only_unfinished_phases(
    habitats: dict[bool, MarkedHabitat], phase: str, points: list[str]
) -> None:
    habitat = habitats[phase != "base"]
    habitat.bring_up(phase)
    habitat.turn(phase)
    at = habitat.phases.index(phase)
    looks = not named(phase).SNAPSHOT
    for point in points:
        killed = habitat.run(crash=f"{phase}:{point}")
        assert killed.code == -9, killed.out
        assert set(killed.ran) <= {phase}, f"repeated after the kill before {point}: {killed.out}"
        assert "waiting for another run" not in killed
        wait_until(lambda: habitat.builders() == [], seconds=5)
        MATRIX[phase, point] = f"{len(habitat.phases) - at if looks else 1}"
    first = at + (points[-1] in VALID)
    # Each row is built to its end once; the marks that its other kills are about are looked for from outside.
    at_end = points[-1] == "stamped" or looks
    goal = "final" if at_end else habitat.phases[min(first, len(habitat.phases) - 1)]
    recovered = habitat.run(goal)
    assert recovered.code == 0, recovered.out
    assert recovered.ran == habitat.phases[first : habitat.phases.index(goal) + 1], recovered.out
    if recovered.ran:
        habitat.assert_nothing_is_left(recovered)
    habitat.assert_snapshots_tell_the_truth(goal)
    if not at_end:
        habitat.assert_marks_are_whole(phase)
    habitat.last_built = goal
    MATRIX[phase, points[-1]] = f"{len(recovered.ran)}"


@pytest.mark.guarantee("failed-phase-not-keepable", "locks-of-killed-run-are-released")
@pytest.mark.parametrize(
    ("point", "kept"), [("before the commit", []), ("committed", []), ("tagged", ["7-setup-failed"])]
)
def test_run_killed_while_keeping_failed_phase_next_run_leaves_nothing(
    habitats: dict[bool, MarkedHabitat], point: str, kept: list[str]
) -> None:
    habitat = habitats[True]
    habitat.bring_up("setup")
    habitat.failing = "setup"
    habitat.turn("setup")
    killed = habitat.run("setup", crash=f"setup:{point}")
    assert killed.code == -9, killed.out
    assert list(failed(habitat.name)) == kept
    habitat.failing = ""
    habitat.write()
    recovered = habitat.run("setup")
    assert recovered.code == 0, recovered.out
    assert recovered.ran == ["setup"], recovered.out
    assert failed(habitat.name) == {}
    habitat.assert_nothing_is_left(recovered)
    habitat.assert_snapshots_tell_the_truth("setup")
    habitat.last_built = "setup"


@pytest.mark.guarantee("locks-of-killed-run-are-released")
def test_run_killed_during_api_dockerfile_build_leaves_nothing(habitats: dict[bool, MarkedHabitat]) -> None:
    """Where there is no docker command. The engine ends the build when nobody listens any more."""
    habitat = habitats[True]
    habitat.turn("dockerfile")
    killed = habitat.run("dockerfile", crash="dockerfile:inside", PATH="/nowhere")
    assert killed.code == -9, killed.out
    used = ("container", "ls", "--all", "--quiet", "--filter", f"ancestor={habitat.base}")
    wait_until(lambda: docker(*used) == "", seconds=10)
    habitat.last_built = ""
    recovered = habitat.run("dockerfile", PATH="/nowhere")
    assert recovered.ran == ["dockerfile"], recovered.out
    habitat.assert_nothing_is_left(recovered)
    habitat.assert_snapshots_tell_the_truth("dockerfile")
    habitat.last_built = "dockerfile"


@pytest.mark.guarantee("killed-start-resumes", "locks-of-killed-run-are-released")
@pytest.mark.parametrize("point", START_POINTS)
def test_killed_start_is_continued_by_next_start(habitats: dict[bool, MarkedHabitat], point: str) -> None:
    habitat = habitats[True]
    habitat.bring_up("final")
    assert habitat.run().code == 0
    container = f"habitat-{habitat.name}"
    gate = habitat.project.write("gate/closed") if point == "inside" else None
    habitat.project.run("docker", "rm", "--force", container)
    killed = habitat.run("start", crash=f"start:{point}")
    assert killed.code == -9, killed.out
    if gate:
        gate.unlink()
    recovered = habitat.run("start")
    assert recovered.code == 0, recovered.out
    assert recovered.ran == []
    assert "waiting for another run" not in recovered
    assert habitat.values["final"] in recovered.out.splitlines()

    def states() -> list[str]:
        return docker("ps", "--all", "--format", "{{.Names}} {{.State}}", "--filter", f"name={container}").splitlines()

    def visits() -> list[Path]:
        return list((habitat.project.root / ".stamps" / habitat.name).glob("starts.*"))

    # The killed start's guard may be in the container meanwhile, and then it is the one that stops it.
    wait_until(lambda: states() == [f"{container} exited"] and not visits(), 10)
    habitat.last_built = "final"
    MATRIX["start", point] = "0"


@pytest.fixture(scope="module")
def carried(
    engine: DockerEngine, busybox: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Project, str]]:
    """A habitat whose settings change, so that each start gives a new container the files of the one before."""
    project, name = Project(tmp_path_factory.mktemp("carried")), fresh_name()
    project.write("dodo.py", DODO)
    project.habitat(name, f"base_image: {busybox}\n")
    assert project.doit(f"start:{name}", "--cmd", "echo begun >/tmp/day", env=ARMED).code == 0
    yield project, name
    clear(engine, name)


@pytest.mark.guarantee("killed-start-resumes")
@pytest.mark.parametrize("point", CARRY_POINTS)
def test_killed_carry_over_loses_no_work_and_is_continued(
    carried: tuple[Project, str], busybox: str, point: str
) -> None:
    project, name = carried
    port = 3000 + CARRY_POINTS.index(point)
    project.habitat(name, f"base_image: {busybox}\nentry: {{ports: ['0:{port}']}}\n")
    killed = project.doit(f"start:{name}", "--cmd", "true", env={**ARMED, "CRASH": f"any:{point}"})
    assert killed.code == -9, killed.out
    recovered = project.doit(f"start:{name}", "--cmd", f"echo {port} >>/tmp/day; cat /tmp/day", env=ARMED)
    assert recovered.code == 0, recovered.out
    days = ["begun", *map(str, range(3000, port + 1))]
    assert recovered.out.splitlines()[-len(days) :] == days
    containers = ("ps", "--all", "--format", "{{.Names}} {{.State}}", "--filter", f"name=habitat-{name}")
    wait_until(lambda: docker(*containers) == f"habitat-{name} exited", 10)  # the killed start's guard may end later
    assert f"{port}/tcp" in docker("inspect", "--format", "{{json .HostConfig.PortBindings}}", f"habitat-{name}")
    MATRIX["carry-over", point] = "0"
