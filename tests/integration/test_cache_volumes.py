"""`caches:` on the real engine: what a build finds again, what is in the image, and who waits for whom."""

from __future__ import annotations

import sys
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from conftest import PREFIX, Project, RunningDoit, clear, docker, fresh_name, left_containers, untagged, wait_until

from phases.core.build.cache_volumes import LABEL_CACHES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from phases.core.engine.client import DockerEngine

pytestmark = pytest.mark.engine

GATE = "echo at the gate; while [ -e /gate/closed ]; do sleep 0.05; done"


@dataclass
class CacheProject:
    """A project whose habitats have caches that no other has. word: in the names of their volumes."""

    project: Project
    image: str
    word: str = field(default_factory=lambda: f"{PREFIX}{uuid.uuid4().hex[:8]}")
    names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate = self.project.root / "gate/closed"
        self.gate.parent.mkdir()

    def habitat(self, *setup: str, name: str = "", sharing: str = "shared", more: str = "") -> str:
        """Its caches are /var/cache/WORD and ~/.cache/WORD; setup runs as USER."""
        name = name or fresh_name()
        self.names.append(name)
        rows = "".join(f"    - {script!r}\n" for script in setup)
        text = f"""\
base_image: {self.image}
uid: 1500
volumes:
  - {{source: gate, dest: /gate, readonly: true}}
caches:
  - {{path: /var/cache/{self.word}, sharing: {sharing}}}
  - ~/.cache/{self.word}
setup:
  user:
{rows}{more}"""
        return self.project.habitat(name, text)

    def build(self, name: str) -> str:
        done = self.project.doit(f"final:{name}")
        assert done.code == 0, done.out
        return (self.project.root / ".stamps" / name / "7-setup.log").read_text()

    def volumes(self) -> list[str]:
        rows = docker("volume", "ls", "--quiet", "--filter", f"label={LABEL_CACHES}", "--filter", f"name={self.word}")
        return sorted(rows.split())

    def in_image(self, name: str, script: str) -> str:
        return docker("run", "--rm", f"habitat-{name}:final", "sh", "-c", script)

    def wait_in_setup(self, name: str) -> None:
        log = self.project.root / ".stamps" / name / "7-setup.log"
        wait_until(lambda: log.exists() and "at the gate\n" in log.read_text())


@pytest.fixture
def yard(engine: DockerEngine, busybox: str, tmp_path: Path) -> Iterator[CacheProject]:
    yard = CacheProject(Project(tmp_path), busybox)
    yield yard
    for name in yard.names:
        clear(engine, name)
    for volume in yard.volumes():
        engine.remove_volume(volume)


@pytest.mark.guarantee("cache-files-not-in-image")
def test_cache_of_rebuilt_setup_contains_earlier_download(yard: CacheProject) -> None:
    place = f"~/.cache/{yard.word}"
    name = yard.habitat(f"echo one >{place}/file")
    yard.build(name)
    log = yard.build(yard.habitat(f"cat {place}/file", f"ls -ld ~/.cache {place}", name=name))
    assert "one\n" in log
    assert log.count(" agent ") == 4
    assert yard.in_image(name, f"ls -A {place} /var/cache/{yard.word}").split() == [
        f"/home/agent/.cache/{yard.word}:",
        f"/var/cache/{yard.word}:",
    ]
    # USER can write in the running habitat to what is the place of a cache.
    assert yard.in_image(name, f"touch {place}/x; stat -c %U ~/.cache {place} {place}/x").split() == ["agent"] * 3
    assert "null" in docker("image", "inspect", f"habitat-{name}:final", "--format", "{{json .Config.Volumes}}")
    assert untagged(name) == left_containers(name) == []


def test_cache_is_shared_with_other_habitat(yard: CacheProject) -> None:
    yard.build(yard.habitat(f"echo one >~/.cache/{yard.word}/file"))
    assert "one\n" in yard.build(yard.habitat(f"cat ~/.cache/{yard.word}/file"))
    assert len(yard.volumes()) == 2


def test_cache_starts_with_files_of_image_which_stay_in_image(yard: CacheProject, engine: DockerEngine) -> None:
    base = f"{PREFIX}-{uuid.uuid4().hex[:8]}:1"
    place = f"/var/cache/{yard.word}"
    made = docker("container", "create", yard.image, "sh", "-c", f"mkdir -p {place}/partial; chmod 2775 {place}")
    docker("container", "start", "--attach", made)
    docker("container", "commit", made, base)
    docker("container", "rm", made)
    try:
        yard.image = base
        name = yard.habitat(f"stat -c '%a %n' {place}")
        assert f"2775 {place}\n" in yard.build(name)
        assert yard.in_image(name, f"stat -c %a {place}; ls {place}").split() == ["2775", "partial"]
    finally:
        clear(engine, name)
        engine.untag(base)


def test_locked_cache_build_of_other_habitat_waits(yard: CacheProject) -> None:
    yard.gate.touch()
    first = yard.habitat(f"{GATE}; echo done >>/var/cache/{yard.word}/x || true", sharing="locked")
    second = yard.habitat("true", sharing="locked")
    with RunningDoit(yard.project, f"setup:{first}") as one:
        yard.wait_in_setup(first)
        with RunningDoit(yard.project, f"setup:{second}") as other:
            other.wait_for(f"waiting for another run that uses the cache /var/cache/{yard.word} (pid ")
            yard.gate.unlink()
            assert (one.end().code, other.end().code) == (0, 0)


def test_locked_cache_waiting_run_stops_at_once_on_signal(yard: CacheProject) -> None:
    yard.gate.touch()
    first, second = yard.habitat(GATE, sharing="locked"), yard.habitat("true", sharing="locked")
    with RunningDoit(yard.project, f"setup:{first}") as one:
        yard.wait_in_setup(first)
        with RunningDoit(yard.project, f"setup:{second}") as other:
            other.wait_for("waiting for another run")
            other.process.terminate()
            assert other.end(5).code == 143
        yard.gate.unlink()
        assert one.end().code == 0
    assert left_containers(second) == []


@pytest.mark.guarantee("locked-cache-one-build-at-a-time")
def test_locked_cache_of_killed_run_is_released_after_its_command(yard: CacheProject) -> None:
    """Nor does what it has left running, once that is at its end."""
    yard.gate.touch()
    first, second = yard.habitat(GATE, sharing="locked"), yard.habitat("true", sharing="locked")
    with RunningDoit(yard.project, f"setup:{first}") as one:
        yard.wait_in_setup(first)
        one.process.kill()
        one.end()
    with RunningDoit(yard.project, f"setup:{second}") as other:
        other.wait_for(f"waiting for container habitat_build_{first}_")
        yard.gate.unlink()
        assert other.end().code == 0
    assert yard.project.doit(f"setup:{first}").code == 0
    assert left_containers(first) == untagged(first) == []


def test_debug_shell_finds_cache_of_failed_command(yard: CacheProject) -> None:
    name = yard.habitat(f"echo one >~/.cache/{yard.word}/file; exit 3")
    assert yard.project.doit(f"setup:{name}").code != 0
    typed = f"echo 'cat ~/.cache/{yard.word}/file' | {sys.executable} -m doit debug:{name}"
    done = yard.project.run("sh", "-c", typed)
    assert "one\n" in done.out


def test_clean_removes_unused_caches_only_when_cleaning_all(yard: CacheProject) -> None:
    name = yard.habitat("true")
    yard.build(name)
    both = yard.volumes()
    assert len(both) == 2
    assert yard.project.doit("clean", f"setup:{name}").code == 0
    assert yard.volumes() == both
    guest = docker("container", "create", "--volume", f"{both[0]}:/x", yard.image, "true")
    try:
        assert "would remove 1 cache\n" in yard.project.doit("clean", "--dry-run").out
        assert yard.volumes() == both
        assert "removed 1 cache\n" in yard.project.doit("clean").out
        assert yard.volumes() == both[:1]
    finally:
        docker("container", "rm", guest)
