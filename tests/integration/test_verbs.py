"""Living with a built habitat: `doit exec`, `shell`, `logs`, `stop` and `destroy`, and ways to start it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from conftest import Ended, Project, Running, clear, docker, fresh_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phases.core.docker_engine import DockerEngine

pytestmark = pytest.mark.engine

WAIT = "while [ ! -e /tmp/go ]; do sleep 0.1; done"


@dataclass
class Flat:
    """A project with a habitat that is built once; nothing in these tests changes its image."""

    project: Project
    name: str

    @property
    def container(self) -> str:
        return f"habitat-{self.name}"

    def task(self, verb: str) -> str:
        return f"{verb}:{self.name}"

    def doit(self, verb: str, *args: str, env: dict[str, str] | None = None) -> Ended:
        return self.project.doit(self.task(verb), *args, env=env)

    def state(self, what: str = ".State.Status", container: str = "") -> str:
        return docker("container", "inspect", "--format", f"{{{{{what}}}}}", container or self.container)

    def containers(self) -> list[str]:
        """All of the habitat's containers, whatever they are for."""
        rows = docker("container", "ls", "--all", "--format", "{{.Names}}", "--filter", f"name={self.name}")
        return sorted(rows.split())

    def is_up(self) -> None:
        """Make it run, with nobody in it."""
        docker("container", "start", self.container)


@pytest.fixture(scope="module")
def built(engine: DockerEngine, busybox: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flat]:
    flat = Flat(Project(tmp_path_factory.mktemp("flat")), fresh_name())
    flat.project.habitat(
        flat.name,
        f"""
        base_image: {busybox}
        env:
          - WORKDIR=/work
        setup:
          root:
            - echo setting up
        entry:
          command: echo begun; {WAIT}; echo ended
        """,
    )
    done = flat.project.doit(f"final:{flat.name}")
    assert done.code == 0, done.out
    yield flat
    clear(engine, flat.name)


@pytest.fixture
def flat(built: Flat) -> Flat:
    """The habitat without a container of an earlier test."""
    for container in built.containers():
        docker("container", "rm", "--force", container)
    return built


def lines(ended: Ended) -> list[str]:
    return ended.out.splitlines()


# stop


def test_stop_leaves_alone_whom_it_would_interrupt_unless_it_is_forced(flat: Flat) -> None:
    with Running(flat.project, flat.task("start")) as running:
        running.wait_for("begun\n")
        refused = flat.doit("stop")
        assert refused.code == 1
        (told,) = lines(refused)
        assert told.startswith(f"❌ {flat.container} goes on: in it is doit with pid {running.process.pid} since ")
        assert told.endswith(f": doit {flat.task('stop')} --force stops it all the same")
        assert flat.state() == "running"
        forced = flat.doit("stop", "--force")
        assert (forced.code, len(lines(forced))) == (0, 1), forced.out
        assert forced.out.startswith(f"• {flat.container} is stopped; in it was doit with pid {running.process.pid}")
        ended = running.end()
    assert ended.code == 1
    assert f"container {flat.container} was stopped" in ended
    assert "Traceback" not in ended


def test_stop_needs_nothing_to_be_running_nor_built(flat: Flat) -> None:
    never = flat.doit("stop")
    assert (never.code, lines(never)) == (0, [f"• {flat.container} isn't running"])
    with Running(flat.project, flat.task("start")) as running:
        running.wait_for("begun\n")
        docker("exec", flat.container, "touch", "/tmp/go")
        assert running.end().code == 0
    flat.is_up()
    stopped = flat.doit("stop")
    assert (stopped.code, lines(stopped)) == (0, [f"• {flat.container} is stopped"])
    assert flat.state() == "exited"
    assert flat.doit("stop").out == never.out


def test_an_option_that_there_is_not_is_one_line(flat: Flat) -> None:
    done = flat.doit("stop", "--frce")
    assert done.code == 3
    assert lines(done) == ["ERROR: option --frce not recognized: `doit help VERB:NAME` shows what it knows"]
