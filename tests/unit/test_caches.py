"""`caches:`, on the fake engine: which volume a build has where, who takes turns, and what takes them away."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from fake_files import Node
from msgspec.structs import replace
from unit_helpers import DemoProject, FakeTerminal, make_user, write

from phases.core import json_types
from phases.core.build import cache_volumes
from phases.core.engine.protocol import VolumeMount
from phases.core.errors import HabitatError, Stopped
from phases.core.runtime import clean as build_clean
from phases.core.runtime import debug
from phases.core.runtime import start as runtime_start
from phases.registry import PHASES, named

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from fake_engine import Command

BASE = "base_image: base:1\n"
FILE = "habitats/demo/config.yaml"
WITHIN = "name a folder within it, or another"
HOME = "/home/agent"
SETUP = "setup:\n  root: [touch /var/cache/pkg/a, touch /done]\n"
DEBIAN = 'NAME="Debian"\nID=debian\nVERSION_ID="12"\n'


def habitat(root: Path, *rows: str, more: str = SETUP, files: Mapping[str, str] | None = None) -> DemoProject:
    """A habitat with caches. files: of its base image, root's."""
    site = DemoProject(root, config(*rows, more=more))
    for path, text in {"/etc/os-release": DEBIAN, **(files or {})}.items():
        site.engine.files("base:1").write(path, text)
    site.engine.files("base:1").add(HOME, Node("dir", 0o755, 1000, 1000))
    return site


def config(*rows: str, more: str = SETUP) -> str:
    return BASE + "caches:\n" + "".join(f"  - {row}\n" for row in rows) + more


def volumes(site: DemoProject) -> list[str]:
    return [volume.name for volume in site.engine.volumes(label=cache_volumes.LABEL_CACHES)]


def content(site: DemoProject) -> list[set[str]]:
    """What is in each volume."""
    return [set(nodes) - {"/"} for _, (_, nodes) in sorted(site.engine._volumes.items())]


def made_for(site: DemoProject) -> list[str]:
    return [call[2].rpartition("_")[2] for call in site.engine.called("create")]


# What is where


@pytest.mark.guarantee("cache-files-not-in-image")
def test_cache_files_written_by_command_are_in_volume_and_in_no_image(tmp_path: Path) -> None:
    site = habitat(tmp_path, "/var/cache/pkg")
    site.build()
    assert content(site) == [{"/a"}]
    files = site.engine.files("habitat-demo:final")
    assert (files.find("/done"), files.find("/var/cache/pkg/a")) != (None, None)
    assert files.find("/var/cache/pkg/a") is None


def test_cache_of_rebuilt_phase_contains_files_of_last_build(tmp_path: Path) -> None:
    site = habitat(tmp_path, "/var/cache/pkg")
    site.build()
    write(
        tmp_path, "habitats/demo/config.yaml", config("/var/cache/pkg", more="setup: {root: [cat /var/cache/pkg/a]}\n")
    )
    assert "setup" in site.build()


def test_cache_new_volume_starts_with_files_of_image(tmp_path: Path) -> None:
    site = habitat(tmp_path, "/var/cache/pkg", files={"/var/cache/pkg/partial/x": "1"})
    site.build()
    assert content(site) == [{"/partial", "/partial/x", "/a"}]
    assert site.engine.files("habitat-demo:final").find("/var/cache/pkg/partial/x")


@pytest.mark.parametrize(
    ("path", "owned", "owner"),
    [
        ("~/.cache/a/b", [f"{HOME}/.cache", f"{HOME}/.cache/a", f"{HOME}/.cache/a/b"], 1000),
        ("/workspace/.cache", ["/workspace/.cache"], 1000),
        ("/srv/a/b", ["/srv", "/srv/a", "/srv/a/b"], 0),
    ],
)
def test_cache_missing_folder_is_created_with_owner_of_parent(
    tmp_path: Path, path: str, owned: list[str], owner: int
) -> None:
    """In the image as well: an engine would make it root's."""
    site = habitat(tmp_path, path, more="setup: {root: [touch /done]}\n")
    site.build()
    nodes = site.engine.files("habitat-demo:final").nodes
    assert [(nodes[place].kind, nodes[place].uid, nodes[place].gid) for place in owned] == [
        ("dir", owner, owner)
    ] * len(owned)
    ((_, inside),) = site.engine._volumes.values()
    assert inside["/"].uid == owner


def test_cache_existing_folder_keeps_owner_and_mode_without_commit(tmp_path: Path) -> None:
    site = habitat(tmp_path, "/var/cache/pkg")
    site.engine.files("base:1").add("/var/cache/pkg", Node("dir", 0o2770, 7, 8))
    site.build()
    assert site.engine.files("habitat-demo:final").nodes["/var/cache/pkg"] == Node("dir", 0o2770, 7, 8)
    # Nothing had to be made, and so nothing was committed for it.
    assert len(site.engine.called("commit")) == len([phase for phase in PHASES[1:] if phase.SNAPSHOT])


def test_cache_is_mounted_only_for_setup_repos_and_tools(tmp_path: Path) -> None:
    site = habitat(tmp_path, "/var/cache/pkg", more=SETUP + "tests: [tests/t.sh]\nentry: {command: 'true'}\n")
    write(tmp_path, "habitats/demo/tests/t.sh", "true\n")
    seen: list[tuple[str, bool]] = []

    def look(command: Command) -> tuple[int, str] | None:
        seen.append((command.script, bool(command.container.volumes)))
        return (0, "") if command.args and command.args[0].endswith("t.sh") else make_user(command)

    site.engine.on_execute = look
    site.build()
    runtime_start.start(site.run_anew(), "demo", FakeTerminal())
    assert {script for script, has in seen if has} == {"touch /var/cache/pkg/a", "touch /done"}
    assert {'exec "$1"', "true"} <= {script for script, has in seen if not has}


def test_cache_phases_share_one_build_container(tmp_path: Path) -> None:
    site = habitat(tmp_path, "/var/cache/pkg", "~/.npm")
    site.build()
    assert made_for(site) == ["base", "setup", "final"]
    assert site.engine.containers() == []


def test_cache_probe_container_and_draft_image_are_removed_after_build(tmp_path: Path) -> None:
    site = habitat(tmp_path, "~/.npm")
    site.build(until="files")
    site.engine.calls.clear()
    site.build()
    assert made_for(site) == ["draft", "setup", "final"]
    assert site.engine.containers() == []
    assert [image for image in site.engine.images() if not image.tags] == []


@pytest.mark.parametrize("is_one_run", [False, True])
def test_cache_draft_image_of_killed_run_is_removed_by_next_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_one_run: bool
) -> None:
    """The places are made in a container of their own, or, in one run, in that of the phase before."""
    site = habitat(tmp_path, "~/.npm")
    if is_one_run:
        site.run_anew()
        for phase in ("base", "users", "env", "workdir", "habitat", "files"):
            site._ran(named(phase))
    else:
        site.build(until="files")
        site.run_anew()

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(cache_volumes, "held", die)
        with pytest.raises(KeyboardInterrupt):
            site.builder.build("demo", named("setup"))
    untagged = [image for image in site.engine.images() if not image.tags]
    assert len(untagged) == 1
    site.build()
    assert [image for image in site.engine.images() if not image.tags] == []


def test_cache_in_home_of_user_with_other_uid_is_another_volume(tmp_path: Path) -> None:
    site = habitat(tmp_path, "~/.npm", "/srv/cache", more="setup: {root: [touch /done]}\n")
    site.build()
    before = volumes(site)

    def other(command: Command) -> tuple[int, str] | None:
        made = make_user(command)
        if made:
            files = command.container.files
            files.write("/etc/passwd", files.nodes["/etc/passwd"].content.decode().replace(":1000:1000:", ":7:7:"))
        return made

    site.engine.on_execute = other
    write(tmp_path, "habitats/demo/config.yaml", config("~/.npm", "/srv/cache", more="env: [USER=dev]\n"))
    site.build()
    (new,) = set(volumes(site)) - set(before)
    assert new.startswith("habitat-cache-npm-")


@pytest.mark.parametrize(("file", "platform"), [(DEBIAN.replace("12", "13"), "linux/amd64"), (DEBIAN, "linux/arm64")])
def test_cache_of_other_distribution_or_platform_is_another_volume(tmp_path: Path, file: str, platform: str) -> None:
    site = habitat(tmp_path, "/var/cache/pkg")
    site.build()
    before = volumes(site)
    base = site.engine._image("base:1")
    base.config = replace(base.config, platform=platform)
    base.files.write("/etc/os-release", file)
    build_clean.clean_all(site.run_anew(), "demo")
    site.build()
    assert len(set(volumes(site)) - set(before)) == 1


@pytest.mark.guarantee("cache-files-not-in-image")
def test_cache_is_shared_by_habitats_of_two_projects(tmp_path: Path) -> None:
    one, other = habitat(tmp_path / "one", "/var/cache/pkg"), habitat(tmp_path / "other", "/var/cache/pkg")
    one.build()
    other.engine._volumes = one.engine._volumes
    other.build()
    assert len(volumes(one)) == 1


def test_cache_volume_label_describes_path_user_platform_and_distribution(tmp_path: Path) -> None:
    site = habitat(tmp_path, "~/.npm")
    site.build()
    (volume,) = site.engine.volumes()
    assert volume.labels == {cache_volumes.LABEL_CACHES: "~/.npm of 1000:1000, linux/amd64, debian 12"}


def test_cache_of_image_without_os_release_is_created(tmp_path: Path) -> None:
    site = habitat(tmp_path, "/var/cache/pkg", files={"/etc/os-release": ""})
    site.build()
    assert site.engine.volumes()[0].labels[cache_volumes.LABEL_CACHES].endswith("no distribution")


@pytest.mark.parametrize(
    ("rows", "files", "message"),
    [
        (["/srv/x"], {"/srv/x": "text"}, ":3: caches: /srv/x is a file in the image: name a folder, or another"),
        (
            ["/home"],
            {},
            ":3: caches: /home can't be a cache: /home/agent is in it, and the build puts files there: {WITHIN}",
        ),
        (
            ["~/.npm", "/home/agent/.npm/x"],
            {},
            ":4: caches: /home/agent/.npm/x can't be a cache: ~/.npm is a cache ({FILE}:3): keep one of them",
        ),
    ],
)
def test_cache_path_invalid_in_image_error_names_config_line(
    tmp_path: Path, rows: list[str], files: dict[str, str], message: str
) -> None:
    site = habitat(tmp_path, *rows, files=files)
    with pytest.raises(HabitatError) as caught:
        site.build()
    assert str(caught.value) == FILE + message.format(FILE=FILE, WITHIN=WITHIN)
    assert site.engine.containers() == []


# Hashes


def digests(site: DemoProject) -> dict[str, str]:
    loaded = site.run_anew().habitat("demo")
    return {phase.NAME: json_types.digest(phase.slice(loaded)) for phase in PHASES[1:]}


def test_cache_paths_change_setup_digest_only_and_sharing_mode_changes_none(tmp_path: Path) -> None:
    site = habitat(tmp_path, "~/.npm", "/srv/x")
    before = digests(site)
    write(tmp_path, "habitats/demo/config.yaml", config("{path: /srv/x, sharing: locked}", "~/.npm"))
    assert digests(site) == before
    write(tmp_path, "habitats/demo/config.yaml", config("/srv/x"))
    assert [name for name, digest in digests(site).items() if digest != before[name]] == ["setup"]


def test_build_without_caches_makes_no_extra_container_or_file(tmp_path: Path) -> None:
    site = DemoProject(tmp_path, BASE + "setup: {root: [touch /done]}\n")
    site.build()
    assert made_for(site) == ["base"]
    assert site.project.slices.today(site.project.habitat("demo"), named("setup")).keys() == {"commands"}
    assert not (tmp_path / ".stamps/demo/caches").exists()


# Turns


def locked(site: DemoProject) -> cache_volumes.CacheMount:
    return cache_volumes.CacheMount("/x", "/x", f"v-{site.engine.address}", "x", locked=True)


def in_thread(work: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def wait_until(seen: list[str]) -> None:
    deadline = time.monotonic() + 10
    while not seen and time.monotonic() < deadline:
        time.sleep(0.01)


def test_locked_cache_second_build_waits_and_names_holder(tmp_path: Path) -> None:
    site = DemoProject(tmp_path)
    told: list[str] = []
    order: list[str] = []

    def second() -> None:
        with cache_volumes.held(site.project.locks, [locked(site)], told.append):
            order.append("second")

    with cache_volumes.held(site.project.locks, [locked(site)], told.append):
        thread = in_thread(second)
        wait_until(told)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert told[0].startswith("waiting for another run that uses the cache /x (pid ")


def test_shared_cache_is_used_by_several_runs_and_waits_for_exclusive_use(tmp_path: Path) -> None:
    site = DemoProject(tmp_path)
    shared = replace(locked(site), locked=False)
    told: list[str] = []
    with (
        cache_volumes.held(site.project.locks, [shared], told.append),
        cache_volumes.held(site.project.locks, [shared], told.append),
    ):
        assert told == []
    with cache_volumes.held(site.project.locks, [locked(site)], told.append):
        thread = in_thread(lambda: cache_volumes.held(site.project.locks, [shared], told.append).__enter__())
        wait_until(told)
    thread.join(10)
    assert len(told) == 1


@pytest.mark.guarantee("locked-cache-one-build-at-a-time")
def test_cache_locks_taken_in_different_order_do_not_deadlock(tmp_path: Path) -> None:
    site = DemoProject(tmp_path)
    both = [replace(locked(site), volume=f"{name}-{site.engine.address}") for name in "ab"]
    done: list[int] = []

    def use(mounted: list[cache_volumes.CacheMount]) -> None:
        for number in range(50):
            with cache_volumes.held(site.project.locks, mounted, lambda _: None):
                done.append(number)

    threads = [in_thread(lambda order=order: use(order)) for order in (both, both[::-1])]  # type: ignore[misc]
    for thread in threads:
        thread.join(30)
    assert len(done) == 100


@pytest.mark.guarantee("locked-cache-one-build-at-a-time")
def test_locked_cache_waits_for_command_left_by_killed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lock ended with it, its command in the container didn't."""
    site = DemoProject(tmp_path)
    cache = locked(site)
    left = site.engine.create("base:1", "habitat_build_other_setup", ("x",), mounts=[cache.mount])
    site.engine._container(left).running = True
    monkeypatch.setattr(cache_volumes, "_PAUSE", 0)
    answers = [2, 1, 0]
    monkeypatch.setattr(site.engine, "running_execs", lambda _: answers.pop(0))
    told: list[str] = []
    with cache_volumes.held(site.project.locks, [cache], told.append):
        assert answers == []
    (line,) = told
    assert line.startswith("waiting for container habitat_build_other_setup that uses the cache /x: ")
    assert line.endswith("docker rm -f habitat_build_other_setup ends it")


def test_locked_cache_wait_stops_on_shutdown_and_releases_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = DemoProject(tmp_path)
    cache = locked(site)
    left = site.engine.create("base:1", "guest", ("x",), mounts=[cache.mount])
    site.engine._container(left).running = True
    monkeypatch.setattr(cache_volumes, "_PAUSE", 0)
    monkeypatch.setattr(site.engine, "running_execs", lambda _: 1)
    site.project.maker.close()
    with pytest.raises(Stopped), cache_volumes.held(site.project.locks, [cache], lambda _: None):
        pass
    # And has given back what it had.
    site.engine.remove(left)
    with cache_volumes.held(site.run_anew().locks, [cache], pytest.fail):
        pass


def test_locked_cache_failed_build_releases_lock(tmp_path: Path) -> None:
    site = habitat(tmp_path, "{path: /var/cache/pkg, sharing: locked}", more="setup: {root: ['false']}\n")
    for _ in range(2):
        with pytest.raises(HabitatError):
            site.build()
    assert site.notices() == []
    assert site.engine.containers() == []


def test_locked_cache_waiting_time_does_not_count_for_phase_timeout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = habitat(tmp_path, "{path: /var/cache/pkg, sharing: locked}", more=SETUP + "timeouts: {setup: 1s}\n")
    site.build(until="files")
    wait = cache_volumes.held

    def late(*args: Any) -> Any:
        time.sleep(1.1)
        return wait(*args)

    monkeypatch.setattr(cache_volumes, "held", late)
    assert "setup" in site.build()


# When a phase fails


def test_debug_container_has_caches_of_failed_phase(tmp_path: Path) -> None:
    site = habitat(tmp_path, "/var/cache/pkg", more="setup: {root: [touch /var/cache/pkg/a, 'false']}\n")
    with pytest.raises(HabitatError):
        site.build()
    seen: list[tuple[str, ...]] = []
    site.engine.on_execute = lambda command: seen.append(command.container.volumes)
    debug.debug(site.run_anew(), "demo", FakeTerminal(piped=True, typed=b"cat /var/cache/pkg/a\n"))
    assert seen[-1] == tuple(volumes(site))
    assert len(seen[-1]) == 1


# Clean


def clean(site: DemoProject) -> int:
    project = site.run_anew()
    names = build_clean.caches_of(project, "demo")
    build_clean.clean_all(project, "demo")
    return build_clean.clean_caches(project, names)


def test_clean_all_removes_caches_of_project_habitats_only(tmp_path: Path) -> None:
    site = habitat(tmp_path, "/var/cache/pkg", "~/.npm")
    site.engine.create(
        "base:1",
        "guest",
        ("x",),
        mounts=[VolumeMount("mine", "/x"), VolumeMount("c", "/y", {cache_volumes.LABEL_CACHES: "of another project"})],
    )
    site.engine.remove("guest")
    site.build()
    assert build_clean.count_caches(site.project, build_clean.caches_of(site.project, "demo")) == 2
    assert clean(site) == 2
    assert [volume.name for volume in site.engine.volumes()] == ["c", "mine"]
    assert clean(site) == 0


def test_clean_all_keeps_cache_used_by_container(tmp_path: Path) -> None:
    site = habitat(tmp_path, "/var/cache/pkg", "~/.npm")
    site.build()
    site.engine.create("base:1", "guest", ("x",), mounts=[VolumeMount(volumes(site)[0], "/x")])
    assert clean(site) == 1
    assert len(volumes(site)) == 1


def test_clean_of_one_phase_keeps_all_caches(tmp_path: Path) -> None:
    site = habitat(tmp_path, "/var/cache/pkg")
    site.build()
    build_clean.clean_from(site.run_anew(), "demo", named("setup"))
    assert len(volumes(site)) == 1


def test_cache_volume_removed_is_created_again(tmp_path: Path) -> None:
    site = habitat(tmp_path, "~/.npm")
    site.build()
    (name,) = volumes(site)
    site.engine.remove_volume(name)
    write(tmp_path, "habitats/demo/config.yaml", config("~/.npm", more="setup: {root: [touch /other]}\n"))
    site.build()
    assert volumes(site) == [name]
