"""Several users of one engine, who share no files: other clones, other spellings of its address, other namespaces."""

from __future__ import annotations

import subprocess
import sys
import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from conftest import (
    PREFIX,
    Project,
    RunningDoit,
    clear,
    clones_of_one_repository,
    docker,
    fresh_name,
    left_containers,
    snapshots,
    wait_until,
)

from phases.core.engine import lock_volumes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from phases.core.engine.docker_api.client import DockerEngine

pytestmark = pytest.mark.engine

CONFIG = """
    base_image: {base}
    env: [USER=root, SYSTEM_PATH=, SHARED_PATH=, HABITAT_PATH=]
    volumes:
      - {{source: ../gate, dest: /gate, readonly: true}}
    {more}
    setup:
      root:
        - {setup}
    entry:
      command: {command}
      persist: {persist}
"""

WAIT = "echo at the gate; while [ -e /gate/closed ]; do sleep 0.05; done"

#: A process namespace, and files, of its own: only what is below the clone's .stamps/ is another's.
APART = ("unshare", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c")

# Enters a critical section so many times; two in there at once is an error. Its parent may kill it there.
CONTENDER = """
import os, sys, time
from phases.core.engine.background import ContainerCreator
from phases.core.engine.select import connect
from phases.core.engine.locks import EngineLocks

key, place, times, dies = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "dies"
locks = EngineLocks(connect(), ContainerCreator())
for turn in range(times):
    lock = locks.lock(key)
    lock.acquire(lambda who: None)
    inside = os.open(place, os.O_CREAT | os.O_EXCL)
    time.sleep(0.005)
    lock.check()
    os.unlink(place)
    if dies and turn == times // 2:
        os.kill(os.getpid(), 9)
    lock.release()
locks.close()
"""


class TwoClones:
    """Clones of a project in folders of their own, with one habitat of the same name."""

    def __init__(self, root: Path, base: str, count: int = 2) -> None:
        self.name = fresh_name()
        self.base = base
        self.container = f"habitat-{self.name}"
        self.gate = root / "gate/closed"
        self.gate.parent.mkdir()
        self.clones = []
        for number in range(count):
            place = root / f"clone{number}"
            place.mkdir()
            self.clones.append(Project(place))
        clones_of_one_repository(*(clone.root for clone in self.clones))
        self.write()

    def write(
        self, setup: str = "touch /made", command: str = "echo hello", persist: str = "[]", more: str = ""
    ) -> None:
        for clone in self.clones:
            text = CONFIG.format(base=self.base, setup=setup, command=command, persist=persist, more=more)
            clone.habitat(self.name, text)

    def wait_in_setup(self) -> None:
        logs = [clone.root / ".stamps" / self.name / "7-setup.log" for clone in self.clones]
        wait_until(lambda: any(log.exists() and "at the gate\n" in log.read_text() for log in logs))


@pytest.fixture
def clones(engine: DockerEngine, tmp_path: Path, busybox: str) -> Iterator[TwoClones]:
    clones = TwoClones(tmp_path, busybox)
    yield clones
    clear(engine, clones.name)


def locks_of(engine: DockerEngine, *words: str) -> list[str]:
    volumes = engine.volumes(label=lock_volumes.LABEL_LOCK)
    return [volume.name for volume in volumes if any(word in str(volume.labels) for word in words)]


@pytest.mark.guarantee("engine-lock-has-one-holder")
def test_engine_lock_of_many_processes_some_killed_never_has_two_holders(engine: DockerEngine, tmp_path: Path) -> None:
    key = f"{PREFIX} {uuid.uuid4().hex}"
    argv = (sys.executable, "-c", CONTENDER, key, str(tmp_path / "inside"))
    with ExitStack() as stack:
        runs = [
            stack.enter_context(
                subprocess.Popen([*argv, "12", "dies" if number % 3 == 0 else ""], stderr=subprocess.PIPE)
            )
            for number in range(6)
        ]
        output = [run.communicate(timeout=120)[1] for run in runs]
    codes = [run.returncode for run in runs]
    assert codes == [-9, 0, 0, -9, 0, 0], output
    subprocess.run([*argv, "1", ""], check=True)  # one of the killed may have been the last
    assert (locks_of(engine, key), list(tmp_path.iterdir())) == ([], [])


@pytest.mark.guarantee("engine-lock-has-one-holder")
def test_build_in_two_clones_with_other_engine_address_takes_turns(clones: TwoClones, tmp_path: Path) -> None:
    """`unset DOCKER_HOST` and its default spelled out are one engine."""
    clones.write(setup=WAIT)
    clones.gate.touch()
    one, two = clones.clones
    first = {"DOCKER_HOST": "unix:///var/run/docker.sock", "TMPDIR": str(clones.gate.parent)}
    with RunningDoit(one, f"final:{clones.name}", env=first) as building:
        clones.wait_in_setup()
        with RunningDoit(two, f"final:{clones.name}", env={"TMPDIR": str(tmp_path)}) as waiting:
            waiting.wait_for(f"waiting for another run that builds {clones.name} (pid {building.process.pid} on ")
            clones.gate.unlink()
            results = [building.end(), waiting.end()]
    assert [result.code for result in results] == [0, 0], results
    assert results[1].ran == []


@pytest.mark.guarantee("engine-lock-has-one-holder")
def test_cache_lock_with_two_spellings_of_engine_address_takes_turns(clones: TwoClones, engine: DockerEngine) -> None:
    word = f"{PREFIX}{uuid.uuid4().hex[:8]}"
    other = fresh_name()
    one, two = clones.clones
    more = f"caches: [{{path: /var/cache/{word}, sharing: locked}}]"
    clones.write(setup=WAIT, more=more)
    two.habitat(other, CONFIG.format(base=clones.base, setup="touch /b", command="x", persist="[]", more=more))
    clones.gate.touch()
    try:
        with RunningDoit(one, f"setup:{clones.name}", env={"DOCKER_HOST": "unix:///var/run/docker.sock"}) as building:
            clones.wait_in_setup()
            with RunningDoit(two, f"setup:{other}") as waiting:
                waiting.wait_for(f"waiting for another run that uses the cache /var/cache/{word} (pid ")
                clones.gate.unlink()
                assert (building.end().code, waiting.end().code) == (0, 0)
    finally:
        clear(engine, other)
        for volume in engine.volumes(label="habitat.caches"):
            if word in volume.name:
                engine.remove_volume(volume.name)


@pytest.mark.guarantee("same-path-on-one-engine")
def test_build_in_two_namespaces_at_same_path_takes_turns(
    clones: TwoClones, engine: DockerEngine, tmp_path: Path
) -> None:
    """As two jobs of a CI system, each in a container, with the project at the same path: their build containers have
    the same names.
    """
    clones.write(setup=WAIT)
    clones.gate.touch()
    clone = clones.clones[0]
    argv = f"exec {sys.executable} -m doit final:{clones.name}"
    with ExitStack() as stack:
        runs = []
        for number in range(2):
            own = tmp_path / f"stamps{number}"
            own.mkdir()
            script = f"mount --bind {own} {clone.root}/.stamps && {argv}"
            run = subprocess.Popen(
                (*APART, script), cwd=clone.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            runs.append(stack.enter_context(run))
            log = own / clones.name / "7-setup.log"
            if number == 0:
                wait_until(lambda log=log: log.exists() and "at the gate\n" in log.read_text())  # type: ignore[misc]
        assert runs[1].stdout
        expected = ""
        while "waiting for another run" not in expected:
            line = runs[1].stdout.readline()
            assert line, expected
            expected += line
        clones.gate.unlink()
        result = [run.communicate(timeout=60)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], result
    assert left_containers(clones.name) == []
    assert locks_of(engine, clones.name) == []


@pytest.mark.guarantee("lost-lock-publishes-nothing")
def test_build_lock_volume_pruned_meanwhile_build_succeeds(clones: TwoClones, engine: DockerEngine) -> None:
    """`docker volume prune` takes it: no container has it."""
    clones.write(setup=WAIT)
    clones.gate.touch()
    one, two = clones.clones
    with RunningDoit(one, f"final:{clones.name}") as building:
        clones.wait_in_setup()
        for name in locks_of(engine, f"build {clones.name}"):
            engine.remove_volume(name)
        clones.gate.unlink()
        result = building.end()
    assert result.code == 0, result.out
    assert two.doit(f"final:{clones.name}").ran == []


@pytest.mark.guarantee("lost-lock-publishes-nothing")
def test_build_lock_pruned_and_taken_meanwhile_publishes_nothing(clones: TwoClones, engine: DockerEngine) -> None:
    clones.write(setup=WAIT)
    clones.gate.touch()
    one, two = clones.clones
    two.habitat(clones.name, CONFIG.format(base=clones.base, setup="sleep 4", command="x", persist="[]", more=""))
    with RunningDoit(one, f"final:{clones.name}") as building:
        clones.wait_in_setup()
        for name in locks_of(engine, f"build {clones.name}"):
            engine.remove_volume(name)
        with RunningDoit(two, f"final:{clones.name}") as other:
            wait_until(lambda: locks_of(engine, f"build {clones.name}"))
            clones.gate.unlink()
            results = [building.end(), other.end()]
    assert [result.code for result in results] == [2, 0], results
    assert "another run has it by now (pid " in results[0]
    assert "Traceback" not in results[0]
    assert two.doit(f"final:{clones.name}").ran == []


@pytest.mark.guarantee("locks-of-killed-run-are-released")
def test_build_killed_leaves_no_lock_for_next_run(clones: TwoClones, engine: DockerEngine) -> None:
    clones.write(setup=WAIT)
    clones.gate.touch()
    one, two = clones.clones
    with RunningDoit(one, f"final:{clones.name}", env={"HABITATS_SHARING": "on"}) as building:
        clones.wait_in_setup()
        building.process.kill()
        building.end()
        of_killed = f"'habitat.lock.process': '{building.process.pid} "
        assert len(locks_of(engine, of_killed)) == 2, "that of the build, and that of its turn"
    clones.gate.unlink()
    result = two.doit(f"final:{clones.name}")
    assert result.code == 0, result.out
    assert "waiting" not in result
    assert locks_of(engine, of_killed, clones.name) == []


@pytest.mark.guarantee("two-users-share-one-container")
@pytest.mark.parametrize("persist", ["[]", "[/root/kept/, /root/file]"])
def test_start_in_two_clones_at_once_shares_one_container(clones: TwoClones, persist: str) -> None:
    """Four times, each time with no container to begin with."""
    clones.write(persist=persist, command="sleep 0.1; echo hello")
    assert all(clone.doit(f"final:{clones.name}").code == 0 for clone in clones.clones)
    for _ in range(4):
        clones.clones[0].run("docker", "rm", "--force", clones.container)
        with ExitStack() as stack:
            runs = [stack.enter_context(RunningDoit(clone, f"start:{clones.name}")) for clone in clones.clones]
            results = [run.end() for run in runs]
        for result in results:
            assert result.code == 0, result.out
            assert "hello" in result.out.splitlines(), result.out
            assert "kept as" not in result, result.out
        names = docker("ps", "--all", "--format", "{{.Names}} {{.State}}", "--filter", f"name={clones.name}")
        assert names.splitlines() == [f"{clones.container} exited"]


@pytest.mark.guarantee("two-users-share-one-container")
def test_start_while_other_clone_leaves_runs_its_command(clones: TwoClones) -> None:
    """One that is found running may be stopped before the command has begun."""
    clones.write(command="echo hello")
    one, two = clones.clones
    assert all(clone.doit(f"final:{clones.name}").code == 0 for clone in clones.clones)
    assert one.doit(f"start:{clones.name}").code == 0
    for _ in range(5):
        with RunningDoit(one, f"start:{clones.name}") as first, RunningDoit(two, f"start:{clones.name}") as second:
            for result in (first.end(), second.end()):
                assert result.code == 0, result.out
                assert "hello" in result.out.splitlines(), result.out


@pytest.mark.guarantee("projects-apart-on-one-engine")
def test_two_projects_with_habitat_of_same_name_leave_each_other_alone(
    tmp_path: Path, engine: DockerEngine, busybox: str
) -> None:
    name, folder = fresh_name(), fresh_name()
    qualified = f"{folder}.{name}"
    projects = []
    for number, place in enumerate((tmp_path / "one", tmp_path / folder)):
        place.mkdir()
        projects.append(Project(place))
        more = f"entry: {{persist: [/srv/]}}\nsetup: {{root: [echo {number} >/made]}}\n"
        projects[-1].habitat(name, f"base_image: {busybox}\nenv: [USER=root]\n{more}")
    one, two = projects
    try:
        for project in projects:
            result = project.doit(f"start:{name}", "--detach")
            assert result.code == 0, result.out
        assert f"habitat-{name} is of the project in {one.root}: images, containers and volumes" in result.out
        before = snapshots(name)
        for number, container in enumerate((f"habitat-{name}", f"habitat-{qualified}")):
            assert docker("exec", container, "cat", "/made").strip() == str(number)
        assert two.doit("destroy", "--yes", name).code == 0
        assert two.doit("clean", name).code == 0
        assert snapshots(qualified) == {}
        assert snapshots(name) == before
        assert [row.running for row in engine.containers(name_prefix=f"habitat-{name}")] == [True]
        assert one.doit(f"final:{name}").ran == []
    finally:
        clear(engine, name)
        clear(engine, qualified)


@pytest.mark.guarantee("only-leftovers-of-ended-processes")
def test_temporary_container_of_other_namespace_is_kept(clones: TwoClones, engine: DockerEngine) -> None:
    """Whose number means nothing here, or another process."""
    clones.write()
    clone = clones.clones[0]
    assert clone.doit(f"final:{clones.name}").code == 0
    argv = f"exec {sys.executable} -m doit shell:{clones.name} --at setup"
    shell = subprocess.Popen((*APART, argv), cwd=clone.root, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert shell.stdin
    assert shell.stdout
    try:
        shell.stdin.write(b"echo a shell\n")
        shell.stdin.flush()
        while b"a shell" not in shell.stdout.readline():
            pass
        result = subprocess.run(
            (sys.executable, "-m", "doit", f"shell:{clones.name}", "--at", "setup"),
            cwd=clone.root,
            input=b"echo hello\n",
            capture_output=True,
            check=True,
        )
        assert b"hello" in result.stdout
        shell.stdin.write(b"echo still there\n")
        shell.stdin.flush()
        assert b"still there" in shell.stdout.readline()
        shell.stdin.close()
        assert shell.wait(30) == 0
    finally:
        shell.kill()
        shell.wait()
    assert engine.containers(name_prefix=f"habitat_shell_{clones.name}") == []
