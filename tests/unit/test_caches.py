"""`caches:`, on the fake engine: which volume a build has where, who takes turns, and what takes them away."""

from __future__ import annotations

import shutil
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from fake_files import Node
from msgspec.structs import replace
from unit_helpers import DemoProject, FakeTerminal, make_user, write

from phases.core import json_types
from phases.core.build import cache_locks, cache_volumes
from phases.core.engine.types import VolumeMount
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
WITHIN = "name a folder below it, or somewhere else"
HOME = "/home/agent"
SETUP = "setup:\n  root: [touch /var/cache/pkg/a, touch /done]\n"
DEBIAN = 'NAME="Debian"\nID=debian\nVERSION_ID="12"\n'


def habitat(root: Path, *rows: str, more: str = SETUP, files: Mapping[str, str] | None = None) -> DemoProject:
    """A habitat with caches. files: of its base image, root's."""
    demo = DemoProject(root, config(*rows, more=more))
    for path, text in {"/etc/os-release": DEBIAN, **(files or {})}.items():
        demo.engine.files("base:1").write(path, text)
    demo.engine.files("base:1").add(HOME, Node("dir", 0o755, 1000, 1000))
    return demo


def config(*rows: str, more: str = SETUP) -> str:
    return BASE + "caches:\n" + "".join(f"  - {row}\n" for row in rows) + more


def volumes(demo: DemoProject) -> list[str]:
    return [volume.name for volume in demo.engine.volumes(label=cache_volumes.LABEL_CACHES)]


def content(demo: DemoProject) -> list[set[str]]:
    """What is in each volume."""
    return [set(nodes) - {"/"} for _, (_, nodes) in sorted(demo.engine._volumes.items())]


# What is where


@pytest.mark.guarantee("cache-files-not-in-image")
def test_cache_files_written_by_command_are_in_volume_and_in_no_image(tmp_path: Path) -> None:
    demo = habitat(tmp_path, "/var/cache/pkg")
    demo.build()
    assert content(demo) == [{"/a"}]
    files = demo.engine.files("habitat-demo:final")
    assert (files.find("/done"), files.find("/var/cache/pkg/a")) != (None, None)
    assert files.find("/var/cache/pkg/a") is None


def test_cache_of_rebuilt_phase_contains_files_of_last_build(tmp_path: Path) -> None:
    demo = habitat(tmp_path, "/var/cache/pkg")
    demo.build()
    write(
        tmp_path, "habitats/demo/config.yaml", config("/var/cache/pkg", more="setup: {root: [cat /var/cache/pkg/a]}\n")
    )
    assert "setup" in demo.build()


def test_cache_new_volume_starts_with_files_of_image(tmp_path: Path) -> None:
    demo = habitat(tmp_path, "/var/cache/pkg", files={"/var/cache/pkg/partial/x": "1"})
    demo.build()
    assert content(demo) == [{"/partial", "/partial/x", "/a"}]
    assert demo.engine.files("habitat-demo:final").find("/var/cache/pkg/partial/x")


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
    demo = habitat(tmp_path, path, more="setup: {root: [touch /done]}\n")
    demo.build()
    nodes = demo.engine.files("habitat-demo:final").nodes
    assert [(nodes[place].kind, nodes[place].uid, nodes[place].gid) for place in owned] == [
        ("dir", owner, owner)
    ] * len(owned)
    ((_, inside),) = demo.engine._volumes.values()
    assert inside["/"].uid == owner


def test_cache_existing_folder_keeps_owner_and_mode_without_commit(tmp_path: Path) -> None:
    demo = habitat(tmp_path, "/var/cache/pkg")
    demo.engine.files("base:1").add("/var/cache/pkg", Node("dir", 0o2770, 7, 8))
    demo.build()
    assert demo.engine.files("habitat-demo:final").nodes["/var/cache/pkg"] == Node("dir", 0o2770, 7, 8)
    # Nothing had to be made, and so nothing was committed for it.
    assert len(demo.engine.called("commit")) == len([phase for phase in PHASES[1:] if phase.SNAPSHOT])


def test_cache_is_mounted_only_for_setup_repos_and_tools(tmp_path: Path) -> None:
    demo = habitat(tmp_path, "/var/cache/pkg", more=SETUP + "tests: [tests/t.sh]\nentry: {command: 'true'}\n")
    write(tmp_path, "habitats/demo/tests/t.sh", "true\n")
    seen: list[tuple[str, bool]] = []

    def look(command: Command) -> tuple[int, str] | None:
        caches = [volume for volume in command.container.volumes if "-workspace-" not in volume]
        seen.append((command.script, bool(caches)))
        return (0, "") if command.args and command.args[0].endswith("t.sh") else make_user(command)

    demo.engine.on_execute = look
    demo.build()
    runtime_start.start(demo.run_anew(), "demo", FakeTerminal())
    assert {script for script, has in seen if has} == {"touch /var/cache/pkg/a", "touch /done"}
    assert {'exec "$1"', "true"} <= {script for script, has in seen if not has}


def test_cache_phases_share_one_build_container(tmp_path: Path) -> None:
    demo = habitat(tmp_path, "/var/cache/pkg", "~/.npm")
    demo.build()
    assert demo.phases_with_new_container() == ["base", "setup", "final"]
    assert demo.engine.containers() == []


def test_cache_probe_container_and_draft_image_are_removed_after_build(tmp_path: Path) -> None:
    demo = habitat(tmp_path, "~/.npm")
    demo.build(until="files")
    demo.engine.calls.clear()
    demo.build()
    assert demo.phases_with_new_container() == ["draft", "setup", "final"]
    assert demo.engine.containers() == []
    assert [image for image in demo.engine.images() if not image.tags] == []


@pytest.mark.parametrize("is_one_run", [False, True])
def test_cache_draft_image_of_killed_run_is_removed_by_next_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_one_run: bool
) -> None:
    """The places are made in a container of their own, or, in one run, in that of the phase before."""
    demo = habitat(tmp_path, "~/.npm")
    if is_one_run:
        demo.run_anew()
        for phase in ("base", "users", "env", "workdir", "habitat", "files"):
            demo._ran(named(phase))
    else:
        demo.build(until="files")
        demo.run_anew()

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(cache_locks, "held", die)
        with pytest.raises(KeyboardInterrupt):
            demo.builder.build("demo", named("setup"))
    untagged = [image for image in demo.engine.images() if not image.tags]
    assert len(untagged) == 1
    demo.build()
    assert [image for image in demo.engine.images() if not image.tags] == []


def test_cache_in_home_of_user_with_other_uid_is_another_volume(tmp_path: Path) -> None:
    demo = habitat(tmp_path, "~/.npm", "/srv/cache", more="setup: {root: [touch /done]}\n")
    demo.build()
    before = volumes(demo)

    def other(command: Command) -> tuple[int, str] | None:
        made = make_user(command)
        if made:
            files = command.container.files
            files.write("/etc/passwd", files.nodes["/etc/passwd"].content.decode().replace(":1000:1000:", ":7:7:"))
        return made

    demo.engine.on_execute = other
    write(tmp_path, "habitats/demo/config.yaml", config("~/.npm", "/srv/cache", more="env: [USER=dev]\n"))
    demo.build()
    (new,) = set(volumes(demo)) - set(before)
    assert new.startswith("habitat-cache-npm-")


@pytest.mark.parametrize(("file", "platform"), [(DEBIAN.replace("12", "13"), "linux/amd64"), (DEBIAN, "linux/arm64")])
def test_cache_of_other_distribution_or_platform_is_another_volume(tmp_path: Path, file: str, platform: str) -> None:
    demo = habitat(tmp_path, "/var/cache/pkg")
    demo.build()
    before = volumes(demo)
    base = demo.engine._image("base:1")
    base.config = replace(base.config, platform=platform)
    base.files.write("/etc/os-release", file)
    build_clean.clean_all(demo.run_anew(), "demo")
    demo.build()
    assert len(set(volumes(demo)) - set(before)) == 1


@pytest.mark.guarantee("cache-files-not-in-image")
def test_cache_is_shared_by_habitats_of_two_projects(tmp_path: Path) -> None:
    one, other = habitat(tmp_path / "one", "/var/cache/pkg"), habitat(tmp_path / "other", "/var/cache/pkg")
    one.build()
    other.engine._volumes = one.engine._volumes
    other.build()
    assert len(volumes(one)) == 1


def test_cache_volume_label_describes_path_user_platform_and_distribution(tmp_path: Path) -> None:
    demo = habitat(tmp_path, "~/.npm")
    demo.build()
    (volume,) = demo.engine.volumes()
    assert volume.labels == {cache_volumes.LABEL_CACHES: "~/.npm of 1000:1000, linux/amd64, debian 12"}


def test_cache_of_image_without_os_release_is_created(tmp_path: Path) -> None:
    demo = habitat(tmp_path, "/var/cache/pkg", files={"/etc/os-release": ""})
    demo.build()
    assert demo.engine.volumes()[0].labels[cache_volumes.LABEL_CACHES].endswith("no distribution")


@pytest.mark.parametrize(
    ("rows", "files", "message"),
    [
        (["/srv/x"], {"/srv/x": "text"}, ":3: caches: /srv/x is a file in the image: name a folder, or another path"),
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
    demo = habitat(tmp_path, *rows, files=files)
    with pytest.raises(HabitatError) as excinfo:
        demo.build()
    assert str(excinfo.value) == FILE + message.format(FILE=FILE, WITHIN=WITHIN)
    assert demo.engine.containers() == []


# Hashes


def digests(demo: DemoProject) -> dict[str, str]:
    loaded = demo.run_anew().habitat("demo")
    return {phase.NAME: json_types.digest(phase.slice(loaded)) for phase in PHASES[1:]}


def test_cache_sharing_mode_changes_no_slice(tmp_path: Path) -> None:
    demo = habitat(tmp_path, "~/.npm", "/srv/x")
    before = digests(demo)
    write(tmp_path, "habitats/demo/config.yaml", config("{path: /srv/x, sharing: locked}", "~/.npm"))
    assert digests(demo) == before


def test_cache_path_removed_changes_slice_of_setup_only(tmp_path: Path) -> None:
    demo = habitat(tmp_path, "~/.npm", "/srv/x")
    before = digests(demo)
    write(tmp_path, "habitats/demo/config.yaml", config("/srv/x"))
    assert [name for name, digest in digests(demo).items() if digest != before[name]] == ["setup"]


def test_build_without_caches_makes_no_extra_container_or_file(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path, BASE + "setup: {root: [touch /done]}\n")
    demo.build()
    assert demo.phases_with_new_container() == ["base"]
    assert demo.project.slices.today(demo.project.habitat("demo"), named("setup")).keys() == {"commands"}
    assert not (tmp_path / ".stamps/demo/caches").exists()


# Turns


def locked(demo: DemoProject) -> cache_volumes.CacheMount:
    return cache_volumes.CacheMount("/x", "/x", f"v-{demo.engine.address}", "x", locked=True)


def in_thread(work: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def wait_until(seen: list[str]) -> None:
    deadline = time.monotonic() + 10
    while not seen and time.monotonic() < deadline:
        time.sleep(0.01)


def test_locked_cache_second_build_waits_and_names_holder(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path)
    messages: list[str] = []
    order: list[str] = []

    def second() -> None:
        with cache_locks.held(demo.project.locks, [locked(demo)], messages.append):
            order.append("second")

    with cache_locks.held(demo.project.locks, [locked(demo)], messages.append):
        thread = in_thread(second)
        wait_until(messages)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert messages[0].startswith("waiting for another run that uses the cache /x (pid ")


def test_shared_cache_is_used_by_several_runs_and_waits_for_exclusive_use(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path)
    shared = replace(locked(demo), locked=False)
    messages: list[str] = []
    with (
        cache_locks.held(demo.project.locks, [shared], messages.append),
        cache_locks.held(demo.project.locks, [shared], messages.append),
    ):
        assert messages == []
    with cache_locks.held(demo.project.locks, [locked(demo)], messages.append):
        thread = in_thread(lambda: cache_locks.held(demo.project.locks, [shared], messages.append).__enter__())
        wait_until(messages)
    thread.join(10)
    assert len(messages) == 1


@pytest.mark.guarantee("locked-cache-one-build-at-a-time")
def test_cache_locks_taken_in_different_order_do_not_deadlock(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path)
    both = [replace(locked(demo), volume=f"{name}-{demo.engine.address}") for name in "ab"]
    done: list[int] = []

    def use(mounted: list[cache_volumes.CacheMount]) -> None:
        for number in range(50):
            with cache_locks.held(demo.project.locks, mounted, lambda _: None):
                done.append(number)

    threads = [in_thread(lambda order=order: use(order)) for order in (both, both[::-1])]  # type: ignore[misc]
    for thread in threads:
        thread.join(30)
    assert len(done) == 100


@pytest.mark.guarantee("locked-cache-one-build-at-a-time")
def test_locked_cache_waits_for_command_left_by_killed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lock ended with it, its command in the container didn't."""
    demo = DemoProject(tmp_path)
    cache = locked(demo)
    left = demo.engine.create("base:1", "habitat_build_other_setup", ("x",), mounts=[cache.mount])
    demo.engine._container(left).running = True
    monkeypatch.setattr(cache_locks, "_PAUSE", 0)
    answers = [2, 1, 0]
    monkeypatch.setattr(demo.engine, "running_execs", lambda _: answers.pop(0))
    messages: list[str] = []
    with cache_locks.held(demo.project.locks, [cache], messages.append):
        assert answers == []
    (line,) = messages
    assert line.startswith("waiting for container habitat_build_other_setup that uses the cache /x: ")
    assert line.endswith("docker rm -f habitat_build_other_setup ends it")


def test_locked_cache_wait_stops_on_shutdown_and_releases_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo = DemoProject(tmp_path)
    cache = locked(demo)
    left = demo.engine.create("base:1", "guest", ("x",), mounts=[cache.mount])
    demo.engine._container(left).running = True
    monkeypatch.setattr(cache_locks, "_PAUSE", 0)
    monkeypatch.setattr(demo.engine, "running_execs", lambda _: 1)
    demo.project.maker.close()
    with pytest.raises(Stopped), cache_locks.held(demo.project.locks, [cache], lambda _: None):
        pass
    # And has given back what it had.
    demo.engine.remove(left)
    with cache_locks.held(demo.run_anew().locks, [cache], pytest.fail):
        pass


def test_locked_cache_failed_build_releases_lock(tmp_path: Path) -> None:
    demo = habitat(tmp_path, "{path: /var/cache/pkg, sharing: locked}", more="setup: {root: ['false']}\n")
    for _ in range(2):
        with pytest.raises(HabitatError):
            demo.build()
    assert demo.notices() == []
    assert demo.engine.containers() == []


def test_locked_cache_waiting_time_does_not_count_for_phase_timeout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo = habitat(tmp_path, "{path: /var/cache/pkg, sharing: locked}", more=SETUP + "timeouts: {setup: 1s}\n")
    demo.build(until="files")
    wait = cache_locks.held

    def late(*args: Any) -> Any:
        time.sleep(1.1)
        return wait(*args)

    monkeypatch.setattr(cache_locks, "held", late)
    assert "setup" in demo.build()


# When a phase fails


def test_debug_container_has_caches_of_failed_phase(tmp_path: Path) -> None:
    demo = habitat(tmp_path, "/var/cache/pkg", more="setup: {root: [touch /var/cache/pkg/a, 'false']}\n")
    with pytest.raises(HabitatError):
        demo.build()
    seen: list[tuple[str, ...]] = []
    demo.engine.on_execute = lambda command: seen.append(command.container.volumes)
    debug.debug(demo.run_anew(), "demo", FakeTerminal(piped=True, typed=b"cat /var/cache/pkg/a\n"))
    assert seen[-1] == tuple(volumes(demo))
    assert len(seen[-1]) == 1


# Clean


def clean(demo: DemoProject) -> int:
    project = demo.run_anew()
    count = build_clean.clean_caches(project)
    build_clean.clean_all(project, "demo")
    return count


def test_clean_all_removes_caches_of_project_habitats_only(tmp_path: Path) -> None:
    demo = habitat(tmp_path, "/var/cache/pkg", "~/.npm")
    demo.engine.create(
        "base:1",
        "guest",
        ("x",),
        mounts=[VolumeMount("mine", "/x"), VolumeMount("c", "/y", {cache_volumes.LABEL_CACHES: "of another project"})],
    )
    demo.engine.remove("guest")
    demo.build()
    assert build_clean.count_caches(demo.project) == 2
    assert clean(demo) == 2
    assert [volume.name for volume in demo.engine.volumes()] == ["c", "mine"]
    assert clean(demo) == 0


def test_clean_all_keeps_cache_used_by_container(tmp_path: Path) -> None:
    demo = habitat(tmp_path, "/var/cache/pkg", "~/.npm")
    demo.build()
    demo.engine.create("base:1", "guest", ("x",), mounts=[VolumeMount(volumes(demo)[0], "/x")])
    assert clean(demo) == 1
    assert len(volumes(demo)) == 1
    demo.engine.remove("guest")
    assert clean(demo) == 1
    assert not volumes(demo)
    assert not (tmp_path / ".stamps/demo").exists()


def test_clean_of_one_habitat_keeps_caches_which_clean_of_all_removes(tmp_path: Path) -> None:
    demo = habitat(tmp_path, "/var/cache/pkg", "~/.npm")
    demo.build()
    build_clean.clean_all(demo.run_anew(), "demo")
    assert len(volumes(demo)) == 2
    assert clean(demo) == 2
    assert not volumes(demo)


def test_clean_of_removed_habitat_keeps_caches_which_clean_of_all_removes(tmp_path: Path) -> None:
    demo = habitat(tmp_path, "~/.npm")
    demo.build()
    shutil.rmtree(tmp_path / "habitats/demo")
    build_clean.clean_all(demo.run_anew(), "demo")
    assert build_clean.cleanable(demo.run_anew()) == ["demo"]
    assert clean(demo) == 1
    assert not build_clean.cleanable(demo.run_anew())


def test_clean_of_all_removes_cache_that_left_over_container_uses(tmp_path: Path) -> None:
    demo = habitat(tmp_path, "~/.npm")
    demo.build()
    name = demo.project.temporary_containers.build_name("demo", named("setup"))
    demo.engine.create("base:1", name, ("x",), mounts=[VolumeMount(volumes(demo)[0], "/x")])
    assert clean(demo) == 1


def test_clean_of_one_phase_keeps_all_caches(tmp_path: Path) -> None:
    demo = habitat(tmp_path, "/var/cache/pkg")
    demo.build()
    build_clean.clean_from(demo.run_anew(), "demo", named("setup"))
    assert len(volumes(demo)) == 1


def test_cache_volume_removed_is_created_again(tmp_path: Path) -> None:
    demo = habitat(tmp_path, "~/.npm")
    demo.build()
    (name,) = volumes(demo)
    demo.engine.remove_volume(name)
    write(tmp_path, "habitats/demo/config.yaml", config("~/.npm", more="setup: {root: [touch /other]}\n"))
    demo.build()
    assert volumes(demo) == [name]
