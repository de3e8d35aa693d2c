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

    from phases.core.engine.docker_api.client import DockerEngine

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

    def build(self, name: str, goal: str = "setup") -> str:
        """Returns the log of setup."""
        result = self.project.doit(f"{goal}:{name}")
        assert result.code == 0, result.out
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
def cache_project(engine: DockerEngine, busybox: str, tmp_path: Path) -> Iterator[CacheProject]:
    cache_project = CacheProject(Project(tmp_path), busybox)
    yield cache_project
    for name in cache_project.names:
        clear(engine, name)
    for volume in cache_project.volumes():
        engine.remove_volume(volume)


@pytest.mark.guarantee("cache-files-not-in-image")
def test_cache_of_rebuilt_setup_contains_earlier_download(cache_project: CacheProject) -> None:
    place = f"~/.cache/{cache_project.word}"
    name = cache_project.habitat(f"echo one >{place}/file")
    cache_project.build(name)
    cache_project.habitat(f"cat {place}/file", f"ls -ld ~/.cache {place}", name=name)
    log = cache_project.build(name, "final")
    assert "one\n" in log
    assert log.count(" agent ") == 4
    assert cache_project.in_image(name, f"ls -A {place} /var/cache/{cache_project.word}").split() == [
        f"/home/agent/.cache/{cache_project.word}:",
        f"/var/cache/{cache_project.word}:",
    ]
    # USER can write in the running habitat to what is the place of a cache.
    assert (
        cache_project.in_image(name, f"touch {place}/x; stat -c %U ~/.cache {place} {place}/x").split() == ["agent"] * 3
    )
    assert "null" in docker("image", "inspect", f"habitat-{name}:final", "--format", "{{json .Config.Volumes}}")
    assert untagged(name) == left_containers(name) == []


def test_cache_is_shared_with_other_habitat(cache_project: CacheProject) -> None:
    cache_project.build(cache_project.habitat(f"echo one >~/.cache/{cache_project.word}/file"))
    assert "one\n" in cache_project.build(cache_project.habitat(f"cat ~/.cache/{cache_project.word}/file"))
    assert len(cache_project.volumes()) == 2


def test_cache_starts_with_files_of_image_which_stay_in_image(
    cache_project: CacheProject, engine: DockerEngine
) -> None:
    base = f"{PREFIX}-{uuid.uuid4().hex[:8]}:1"
    place = f"/var/cache/{cache_project.word}"
    container = docker(
        "container", "create", cache_project.image, "sh", "-c", f"mkdir -p {place}/partial; chmod 2775 {place}"
    )
    docker("container", "start", "--attach", container)
    docker("container", "commit", container, base)
    docker("container", "rm", container)
    try:
        cache_project.image = base
        name = cache_project.habitat(f"stat -c '%a %n' {place}")
        assert f"2775 {place}\n" in cache_project.build(name, "final")
        assert cache_project.in_image(name, f"stat -c %a {place}; ls {place}").split() == ["2775", "partial"]
    finally:
        clear(engine, name)
        engine.untag(base)


def test_locked_cache_build_of_other_habitat_waits(cache_project: CacheProject) -> None:
    cache_project.gate.touch()
    first = cache_project.habitat(f"{GATE}; echo done >>/var/cache/{cache_project.word}/x || true", sharing="locked")
    second = cache_project.habitat("true", sharing="locked")
    with RunningDoit(cache_project.project, f"setup:{first}") as one:
        cache_project.wait_in_setup(first)
        with RunningDoit(cache_project.project, f"setup:{second}") as other:
            other.wait_for(f"waiting for another run that uses the cache /var/cache/{cache_project.word} (pid ")
            cache_project.gate.unlink()
            assert (one.end().code, other.end().code) == (0, 0)


def test_locked_cache_waiting_run_stops_at_once_on_signal(cache_project: CacheProject) -> None:
    cache_project.gate.touch()
    first, second = cache_project.habitat(GATE, sharing="locked"), cache_project.habitat("true", sharing="locked")
    with RunningDoit(cache_project.project, f"setup:{first}") as one:
        cache_project.wait_in_setup(first)
        with RunningDoit(cache_project.project, f"setup:{second}") as other:
            other.wait_for("waiting for another run")
            other.process.terminate()
            assert other.end(5).code == 143
        cache_project.gate.unlink()
        assert one.end().code == 0
    assert left_containers(second) == []


@pytest.mark.guarantee("locked-cache-one-build-at-a-time")
def test_locked_cache_of_killed_run_is_released_after_its_command(cache_project: CacheProject) -> None:
    """Nor does what it has left running, once that is at its end."""
    cache_project.gate.touch()
    first, second = cache_project.habitat(GATE, sharing="locked"), cache_project.habitat("true", sharing="locked")
    with RunningDoit(cache_project.project, f"setup:{first}") as one:
        cache_project.wait_in_setup(first)
        one.process.kill()
        one.end()
    with RunningDoit(cache_project.project, f"setup:{second}") as other:
        other.wait_for(f"waiting for container habitat_build_{first}_")
        cache_project.gate.unlink()
        assert other.end().code == 0
    assert cache_project.project.doit(f"setup:{first}").code == 0
    assert left_containers(first) == untagged(first) == []


def test_debug_shell_finds_cache_of_failed_command(cache_project: CacheProject) -> None:
    name = cache_project.habitat(f"echo one >~/.cache/{cache_project.word}/file; exit 3")
    assert cache_project.project.doit(f"setup:{name}").code != 0
    typed = f"echo 'cat ~/.cache/{cache_project.word}/file' | {sys.executable} -m doit debug:{name}"
    result = cache_project.project.run("sh", "-c", typed)
    assert "one\n" in result.out


def test_clean_removes_unused_caches_only_when_cleaning_all(cache_project: CacheProject) -> None:
    name = cache_project.habitat("true")
    cache_project.build(name)
    both = cache_project.volumes()
    assert len(both) == 2
    assert cache_project.project.doit("clean", f"setup:{name}").code == 0
    assert cache_project.volumes() == both
    guest = docker("container", "create", "--volume", f"{both[0]}:/x", cache_project.image, "true")
    try:
        assert "would remove 1 cache\n" in cache_project.project.doit("clean", "--dry-run").out
        assert cache_project.volumes() == both
        assert "removed 1 cache\n" in cache_project.project.doit("clean").out
        assert cache_project.volumes() == both[:1]
    finally:
        docker("container", "rm", guest)
