"""A container is replaced only by one that is ready, and a failed start changes nothing."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest
from unit_helpers import DemoProject, FakeTerminal, built_demo, make_user, write

from phases.core.cache import image_labels
from phases.core.engine.types import PortRefused
from phases.core.errors import EngineError, HabitatError, StateError, Stopped
from phases.core.port import Port
from phases.core.report import plan as report_plan
from phases.core.runtime import own_containers
from phases.core.runtime import start as runtime_start
from phases.core.runtime import stop as runtime_stop
from phases.core.runtime.new_container import ContainerChanged
from phases.core.runtime.session import exit_guard
from phases.core.runtime.session import open as session_open
from phases.core.secrets import delivery, fingerprints

if TYPE_CHECKING:
    from pathlib import Path


CONFIG = "base_image: base:1\nentry: {command: 'true'%s}\n"
HOOK = "hooks: [{%s: final, run_as: %s, commands: [%s]}]\n"
NETWORK = ", network: none"


@pytest.fixture
def demo(tmp_path: Path) -> DemoProject:
    """A habitat whose container has somebody's work in it."""
    demo = built_demo(tmp_path, "entry: {command: 'true'}\n")
    start(demo)
    demo.engine.files("habitat-demo").write("/work", "of a day")
    return demo


def start(demo: DemoProject, *, fresh: bool = False) -> None:
    runtime_start.start(demo.run_anew(), "demo", FakeTerminal(), fresh=fresh)


def detach(demo: DemoProject) -> None:
    runtime_start.start_detached(demo.run_anew(), "demo")


def configure(demo: DemoProject, entry: str, more: str = "") -> None:
    write(demo.root, "habitats/demo/config.yaml", CONFIG % entry + more)


def all_names(demo: DemoProject) -> list[str]:
    return sorted(container.name for container in demo.engine.containers())


def work(demo: DemoProject) -> bool:
    """Whether the habitat's container is the one with the work."""
    return "/work" in demo.engine.files("habitat-demo").nodes


FAILURES = {
    "port taken": (", ports: [8080]", "start", PortRefused("address already in use", Port(8080, "tcp"), taken=True)),
    "engine refuses to create": (NETWORK, "create", EngineError("no space left on device")),
    "engine refuses to start": (NETWORK, "start", EngineError("unknown runtime")),
    "engine refuses to rename": (NETWORK, "rename", EngineError("not implemented")),
    "init command ends": (", init_command: 'exit 3'", "", None),
    "init command ends soon": (", init_command: 'exit 3', startup_delay: 0.1", "", None),
    "never ready": (", ready: {command: 'false', timeout: 1s}", "", None),
    "not ready and other settings": (f"{NETWORK}, ready: {{command: 'exit 7', timeout: 1s}}", "", None),
}


@pytest.mark.guarantee("failed-start-keeps-container")
@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize("failure", FAILURES)
def test_failed_start_leaves_container_in_place(demo: DemoProject, failure: str, detached: bool) -> None:
    entry, method, error = FAILURES[failure]
    if detached:
        detach(demo)
    old = demo.container().id
    configure(demo, entry)
    demo.build()
    if error:
        demo.engine.failures[method] = error
    with pytest.raises(HabitatError):
        start(demo)
    demo.engine.failures.clear()
    assert demo.container().id == old
    if "ready" not in failure:  # readiness is no setting of the container
        assert all_names(demo) == ["habitat-demo"]
        assert demo.container().running is (detached and method != "start")
    configure(demo, "")
    demo.build()
    start(demo)
    assert (work(demo), all_names(demo)) == (True, ["habitat-demo"])


SECRETS = "secrets: [{name: TOKEN, env: TOKEN, start: true}]\n"
TOKEN = b"canary-4f9a71\n\0\xff 0 3\n"


@pytest.fixture
def with_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DemoProject:
    """A habitat that runs detached and holds a secret."""
    monkeypatch.setitem(os.environb, b"TOKEN", b"canary-4f9a71")
    demo = built_demo(tmp_path, f"entry: {{command: 'true'}}\n{SECRETS}")
    detach(demo)
    return demo


def held(demo: DemoProject) -> dict[str, tuple[str, bytes]]:
    return demo.engine._container("habitat-demo").memory


@pytest.mark.guarantee("failed-start-keeps-container")
@pytest.mark.parametrize("secrets", [SECRETS, ""], ids=["secret in config", "secret no longer in config"])
@pytest.mark.parametrize("failure", ["port taken", "engine refuses to create", "init command ends", "never ready"])
def test_container_that_runs_again_after_failed_start_has_its_secrets(
    with_secret: DemoProject, failure: str, secrets: str
) -> None:
    demo = with_secret
    held(demo)["/run/secrets/TOKEN"] = ("1000", TOKEN)
    entry, method, error = FAILURES[failure]
    configure(demo, f"{entry}, shm_size: 128m", secrets)
    demo.build()
    if error and method == "start":
        fail_new_containers(demo, error)
    elif error:
        demo.engine.failures[method] = error
    with pytest.raises(HabitatError):
        start(demo)
    assert (demo.container().running, held(demo)) == (True, {"/run/secrets/TOKEN": ("1000", TOKEN)})


def fail_new_containers(demo: DemoProject, error: EngineError) -> None:
    """Let the engine start the container that exists, and no new one."""
    plain, old = demo.engine.start, demo.container().id

    def start(container: str) -> None:
        if container != old:
            raise error
        plain(container)

    demo.engine.start = start  # type: ignore[method-assign]


@pytest.mark.guarantee("failed-start-keeps-container")
def test_container_that_runs_again_after_killed_start_has_secrets_of_host(
    with_secret: DemoProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo = with_secret
    configure(demo, NETWORK, SECRETS)
    kill(demo, monkeypatch, "create", 0)
    assert not demo.container().running
    monkeypatch.setattr(exit_guard, "_end_commands", lambda *_: None)  # it had none
    exit_guard.clean_up(demo.run_anew(), "demo", "agent", "x", "")
    expected = {"/run/secrets/TOKEN": ("agent", b"canary-4f9a71")}
    assert (demo.container().running, held(demo)) == (True, expected)


def test_container_that_runs_again_without_secrets_is_named(with_secret: DemoProject) -> None:
    demo = with_secret
    configure(demo, NETWORK, SECRETS)
    demo.engine.failures["create"] = EngineError("no space left on device")
    plain = demo.engine.on_execute
    demo.engine.on_execute = lambda command: (1, "no tmpfs") if command.script == delivery._RECEIVE.text else None
    with pytest.raises(HabitatError, match="no space left"):
        start(demo)
    demo.engine.on_execute = plain
    (text,) = (text for text in demo.notices() if "ran before" in text)
    assert text.startswith("habitat-demo ran before, and runs again without its secrets (")
    assert "secret TOKEN could not be given to the container (no tmpfs)" in text


@pytest.mark.guarantee("failed-start-keeps-container")
def test_failed_start_with_missing_volume_source_leaves_container_in_place(demo: DemoProject) -> None:
    configure(demo, NETWORK, f"volumes: [{{source: {demo.root}/nowhere, dest: /v}}]\n")
    with pytest.raises(HabitatError, match="nowhere"):
        start(demo)
    assert (work(demo), all_names(demo)) == (True, ["habitat-demo"])


@pytest.mark.guarantee("failed-start-keeps-container")
def test_failed_start_of_fresh_container_leaves_container_in_place(demo: DemoProject) -> None:
    demo.engine.failures["start"] = EngineError("unknown runtime")
    with pytest.raises(HabitatError):
        start(demo, fresh=True)
    assert (work(demo), all_names(demo)) == (True, ["habitat-demo"])


def test_replacement_is_announced_before_anything_is_done(demo: DemoProject) -> None:
    write(demo.root, "habitats/demo/config.yaml", CONFIG % "" + "env: [A=b]\n")
    demo.build()
    demo.engine.failures["create"] = EngineError("no space left on device")
    with pytest.raises(HabitatError):
        start(demo)
    assert demo.notices() == [
        (
            "habitat-demo will be replaced by a new container, since its image is out of date: "
            "the new one will lack 1 changed file outside kept paths; "
            "once that is ready, the old one is kept under another name if it has changes"
        )
    ]


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("", ""),
        (", startup_delay: 1", ""),
        (", limits: {pids: 64}", "entry.limits.pids changed"),
        (", network: none", "entry.network changed"),
        (", ports: [8080, 9090]", "entry.ports changed"),
        (", persist: [/srv/]", "entry.persist changed"),
        (", init_command: sleep inf", "entry.init_command changed"),
        (", startup_delay: 2, ready: {command: echo}", ""),
    ],
)
def test_plan_says_that_container_will_be_replaced(demo: DemoProject, entry: str, reason: str) -> None:
    configure(demo, entry)
    assert report_plan.plan(demo.run_anew(), "demo").replaced == reason


def rebuild(demo: DemoProject, command: str = "") -> None:
    """Build an image with another command at the last phase. command: "" for none, as at first."""
    demo.engine.on_execute = lambda one: make_user(one) or (0, "")
    write(demo.root, "habitats/demo/config.yaml", CONFIG % "" + (HOOK % ("after", "agent", command) if command else ""))
    demo.build()


@pytest.mark.guarantee("matching-container-used-again")
def test_container_set_aside_is_used_again_when_it_matches(demo: DemoProject) -> None:
    rebuild(demo, "b")
    start(demo)
    assert not work(demo)
    (aside,) = {*all_names(demo)} - {"habitat-demo"}
    rebuild(demo)
    start(demo)
    assert work(demo)
    assert demo.notices()[1:] == [
        f"{aside} was set aside, and matches the image and the config: it is used again",
        "the container that was habitat-demo before is removed: nothing has changed in it since its image",
    ]
    assert all_names(demo) == ["habitat-demo"]


def test_container_that_start_new_put_away_is_not_used_again(demo: DemoProject) -> None:
    start(demo, fresh=True)
    (aside,) = {*all_names(demo)} - {"habitat-demo"}
    assert aside.endswith("-retired")
    demo.engine.remove("habitat-demo")
    start(demo)
    assert (work(demo), aside in all_names(demo), len(all_names(demo))) == (False, True, 2)
    demo.engine.files("habitat-demo").write("/newer", "work")
    rebuild(demo, "b")
    start(demo)  # what a change sets aside is used again
    rebuild(demo)
    start(demo)
    assert (work(demo), len(all_names(demo))) == (False, 2)
    assert {row.name for row in own_containers.containers(demo.run_anew(), "demo")} == {*all_names(demo)}


@pytest.mark.guarantee("matching-container-used-again")
def test_container_set_aside_by_earlier_version_is_used_again_without_current_one(demo: DemoProject) -> None:
    demo.engine.rename("habitat-demo", "habitat-demo-20250102-030405")
    start(demo)
    assert (work(demo), all_names(demo)) == (True, ["habitat-demo"])


def test_container_set_aside_with_other_settings_is_not_used(demo: DemoProject) -> None:
    demo.engine.rename("habitat-demo", "habitat-demo-20250102-030405")
    configure(demo, NETWORK)
    start(demo)
    assert not work(demo)
    assert all_names(demo) == ["habitat-demo", "habitat-demo-20250102-030405"]


@pytest.mark.guarantee("matching-container-used-again")
def test_changed_command_keeps_container(demo: DemoProject) -> None:
    write(demo.root, "habitats/demo/config.yaml", "base_image: base:1\nentry: {command: echo other}\n")
    assert demo.build() == ["final"]
    start(demo)
    assert (work(demo), all_names(demo), demo.notices()) == (True, ["habitat-demo"], [])


def set_last_phase(demo: DemoProject, text: str) -> bool:
    """Write the rest of a config and build. Return whether `plan` said that the container will be replaced."""
    write(demo.root, "habitats/demo/config.yaml", f"base_image: base:1\nentry: {{command: 'true'}}\n{text}")
    is_replaced = bool(report_plan.plan(demo.run_anew(), "demo").replaced)
    assert demo.build()[-1:] in (["final"], [])
    return is_replaced


LATE = "files: [{source: late, dest: /late, %s: final}]\n"
CHANGES_OF_LAST_PHASE = {
    "new hook": ("", HOOK % ("after", "agent", "a")),
    "other command": (HOOK % ("after", "agent", "a"), HOOK % ("after", "agent", "b")),
    "other user": (HOOK % ("before", "agent", "a"), HOOK % ("before", "root", "a")),
    "other side": (HOOK % ("before", "agent", "a"), HOOK % ("after", "agent", "a")),
    "no hook": (HOOK % ("after", "agent", "a"), ""),
    "new file": ("", LATE % "before"),
    "other mode": (LATE % "after", "files: [{source: late, dest: /late, mode: '0600', after: final}]\n"),
    "no file": (LATE % "after", ""),
}


@pytest.mark.guarantee("changed-hook-replaces-container")
@pytest.mark.parametrize("change", CHANGES_OF_LAST_PHASE)
def test_changed_hook_or_file_of_last_phase_replaces_container(demo: DemoProject, change: str) -> None:
    demo.engine.on_execute = lambda command: make_user(command) or (0, "")
    write(demo.root, "late", "one\n")
    before, after = CHANGES_OF_LAST_PHASE[change]
    set_last_phase(demo, before)
    start(demo)
    demo.engine.files("habitat-demo").write("/newer", "work")
    assert set_last_phase(demo, after)
    start(demo)
    assert "/newer" not in demo.engine.files("habitat-demo").nodes
    assert set_last_phase(demo, before)
    start(demo)  # the one that was set aside matches again
    assert "/newer" in demo.engine.files("habitat-demo").nodes


@pytest.mark.guarantee("changed-hook-replaces-container")
@pytest.mark.parametrize("when", ["before", "after"])
def test_changed_content_of_file_at_last_phase_replaces_container(demo: DemoProject, when: str) -> None:
    write(demo.root, "late", "one\n")
    set_last_phase(demo, LATE % when)
    start(demo)
    write(demo.root, "late", "two\n")
    assert set_last_phase(demo, LATE % when)
    start(demo)
    assert demo.engine.files("habitat-demo").nodes["/late"].content == b"two\n"


@pytest.mark.guarantee("matching-container-used-again")
@pytest.mark.parametrize("text", ["", LATE % "after"])
def test_changed_command_beside_same_file_at_last_phase_keeps_container(demo: DemoProject, text: str) -> None:
    write(demo.root, "late", "one\n")
    set_last_phase(demo, text)
    start(demo)
    demo.engine.files("habitat-demo").write("/newer", "work")
    write(demo.root, "habitats/demo/config.yaml", f"base_image: base:1\nentry: {{command: echo other}}\n{text}")
    assert report_plan.plan(demo.run_anew(), "demo").replaced == ""
    assert demo.build() == ["final"]
    start(demo)
    assert "/newer" in demo.engine.files("habitat-demo").nodes


def test_image_without_hooks_at_last_phase_has_no_label_of_them(demo: DemoProject) -> None:
    """So images of earlier versions, which have none, are like those of today."""
    assert image_labels.LABEL_HOOKS not in demo.project.image_index.labels_of(demo.container().image)


@pytest.mark.guarantee("failed-start-keeps-container")
def test_second_rename_fails_first_is_undone(demo: DemoProject, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(demo, NETWORK)
    rename = demo.engine.rename

    def fail_for_new(container: str, name: str) -> None:
        if name == "habitat-demo" and container != old:
            raise EngineError("the engine is out of luck")
        rename(container, name)

    old = demo.container().id
    monkeypatch.setattr(demo.engine, "rename", fail_for_new)
    with pytest.raises(EngineError):
        start(demo)
    assert (work(demo), all_names(demo)) == (True, ["habitat-demo"])


@pytest.mark.parametrize("error", [EngineError("no space left on device"), Stopped("the run was told to stop")])
def test_session_that_can_not_reenter_raises_its_error_and_dismisses_guard(
    demo: DemoProject, monkeypatch: pytest.MonkeyPatch, error: HabitatError
) -> None:
    """Another run has put its own container in place, and then this one can't start one."""
    guards: list[exit_guard.Guard] = []

    def let_other_run_win(*_: object) -> None:
        guards.append(steps_of(demo).guard)
        demo.engine.failures["create"] = error
        raise ContainerChanged

    monkeypatch.setattr(session_open, "put_in_place", let_other_run_win)
    configure(demo, NETWORK)
    with pytest.raises(type(error), match=str(error)):
        start(demo)
    assert [guard._writing for guard in guards] == [-1]
    assert (work(demo), all_names(demo), demo.container().running) == (True, ["habitat-demo"], False)


def steps_of(demo: DemoProject) -> session_open._SessionSteps:
    """The steps of the session that the run has open."""
    (call,) = demo.project.cleanups._calls.values()
    steps = call.__self__  # type: ignore[attr-defined]
    assert isinstance(steps, session_open._SessionSteps)
    return steps


def test_session_whose_secrets_can_not_be_recorded_leaves_its_container(
    with_secret: DemoProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo = with_secret
    runtime_stop.stop(demo.run_anew(), "demo")
    monkeypatch.setattr(fingerprints, "note", fail_to_write)
    with pytest.raises(StateError):
        start(demo)
    assert not demo.container().running


def fail_to_write(*_: object) -> None:
    raise StateError("delivered.1 can't be written (No space left on device)")


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("memory: 536870912", "memory: 536870913", "entry.limits.memory changed"),
        ("cpus: 1.2345678", "cpus: 1.2345679", "entry.limits.cpus changed"),
        ("cpus: 1.23457", "cpus: 1.2345678", "entry.limits.cpus changed"),
        ("pids: 1000001", "pids: 1000002", "entry.limits.pids changed"),
        ("memory: 512m", "memory: 536870912", ""),
    ],
)
def test_limits_that_differ_in_seventh_digit_are_another_container(
    demo: DemoProject, before: str, after: str, reason: str
) -> None:
    configure(demo, f", limits: {{{before}}}")
    start(demo)
    configure(demo, f", limits: {{{after}}}")
    assert report_plan.plan(demo.run_anew(), "demo").replaced == reason


@pytest.mark.parametrize("limits", ["memory: 536870912, cpus: 1.2345678, pids: 1000001", ""])
def test_container_of_earlier_version_without_label_of_limits_matches(demo: DemoProject, limits: str) -> None:
    configure(demo, f", shm_size: 100000001, limits: {{{limits}}}")
    start(demo)
    del demo.engine._container("habitat-demo").labels["habitat.limits"]
    assert report_plan.plan(demo.run_anew(), "demo").replaced == ""
    configure(demo, f", shm_size: 2m, limits: {{{limits}}}")
    assert report_plan.plan(demo.run_anew(), "demo").replaced == "entry.shm_size changed"


@pytest.mark.parametrize("label", ["", "privileges=1 network=1 memory=0 cpus=0 pids=4096"])
def test_container_with_restrictions_of_earlier_version_is_replaced_with_reason(demo: DemoProject, label: str) -> None:
    demo.engine._container("habitat-demo").labels["habitat.confinement"] = label
    reason = report_plan.plan(demo.run_anew(), "demo").replaced
    assert reason == "the program's own restrictions changed"


class KilledError(BaseException):
    """Stands for SIGKILL: nothing catches it, and nothing runs after it."""


def kill(demo: DemoProject, monkeypatch: pytest.MonkeyPatch, method: str, number: int) -> None:
    """Start the habitat, and kill the run right before its call `number` of a method of the engine."""
    with monkeypatch.context() as patch:
        plain = getattr(demo.engine, method)
        calls: list[object] = []

        def call(*args: object, **options: object) -> object:
            calls.append(args)
            if len(calls) > number or dead:
                dead.append(True)
                raise KilledError
            return plain(*args, **options)

        dead: list[bool] = []
        patch.setattr(demo.engine, method, call)
        for other in ("remove", "stop", "start", "rename", "create"):
            if other != method:
                patch.setattr(demo.engine, other, _unless(dead, getattr(demo.engine, other)))
        with contextlib.suppress(KilledError):
            start(demo)
        assert dead, f"{method} is called more often"


def _unless(dead: list[bool], plain: object) -> object:
    def call(*args: object, **options: object) -> object:
        if dead:
            raise KilledError
        return plain(*args, **options)  # type: ignore[operator]

    return call


@pytest.mark.guarantee("failed-start-keeps-container")
@pytest.mark.parametrize("back", [True, False], ids=["image as before", "image still changed"])
@pytest.mark.parametrize(("method", "number"), [("create", 0), ("start", 0), ("rename", 0), ("rename", 1), ("stop", 0)])
def test_start_killed_while_container_is_replaced_loses_nothing(
    demo: DemoProject, monkeypatch: pytest.MonkeyPatch, method: str, number: int, back: bool
) -> None:
    rebuild(demo, "a")
    kill(demo, monkeypatch, method, number)
    monkeypatch.setattr(exit_guard, "_end_commands", lambda *_: None)  # it had none
    exit_guard.clean_up(demo.run_anew(), "demo", "agent", "x", "")
    if back:
        rebuild(demo)
    start(demo)
    assert work(demo) is back
    names = all_names(demo)
    assert not [name for name in names if name.endswith("-new")]
    with_work = [name for name in names if "/work" in demo.engine.files(name).nodes]
    assert len(with_work) == 1
    assert len(names) == 1 + (not back)


def test_guard_of_unknown_container_leaves_those_that_the_session_did_not_start(
    demo: DemoProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One was started by `docker start`, and another one was set aside while its server runs."""
    rebuild(demo, "a")
    start(demo)
    for name in all_names(demo):
        demo.engine.start(name)
    rebuild(demo)
    kill(demo, monkeypatch, "stop", 0)
    exit_guard.clean_up(demo.run_anew(), "demo", "agent", "x", "")
    assert [container.running for container in demo.engine.containers()] == [True, True]


@pytest.mark.parametrize("entry", ["", NETWORK], ids=["same container", "new container"])
def test_guard_of_unknown_container_stops_the_one_that_the_session_had_just_started(
    demo: DemoProject, monkeypatch: pytest.MonkeyPatch, entry: str
) -> None:
    configure(demo, entry)
    plain = demo.engine.start

    def start_and_die(container: str) -> None:
        plain(container)
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(demo.engine, "start", start_and_die)
        with contextlib.suppress(KilledError):
            start(demo)
    exit_guard.clean_up(demo.run_anew(), "demo", "agent", "x", "")
    assert [container.running for container in demo.engine.containers()] == [False]
    start(demo)
    assert demo.container().running is False


def test_failed_start_leaves_no_record_that_a_container_is_started(demo: DemoProject) -> None:
    demo.engine.failures["start"] = EngineError("unknown runtime")
    with pytest.raises(HabitatError):
        start(demo)
    demo.engine.failures.clear()
    demo.engine.start("habitat-demo")
    exit_guard.clean_up(demo.run_anew(), "demo", "agent", "x", "")
    assert demo.container().running


def test_port_of_container_in_use_is_refused_and_container_stays(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "entry: {command: 'true', ports: [8080]}\n")
    detach(demo)
    old = demo.container().id
    process = demo.engine.exec_piped(old, ["sleep", "inf"], user="root", workdir="/", env={})
    demo.engine.on_execute = lambda one: make_user(one) or (0, "")
    configure(demo, ", ports: [8080]", HOOK % ("after", "agent", "a"))
    demo.build()
    with pytest.raises(HabitatError, match=r"port .*8080 is taken by habitat-demo: `doit stop:demo` frees it"):
        start(demo)
    assert (demo.container().id, demo.container().running, all_names(demo)) == (old, True, ["habitat-demo"])
    process.send_signal("KILL")
    process.close()
    detach(demo)
    assert demo.container().id != old


def test_port_of_unused_container_goes_to_its_replacement(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "entry: {command: 'true', ports: [8080]}\n")
    detach(demo)
    old = demo.container().id
    configure(demo, ", ports: [8080], network: bridge, shm_size: 100m")
    detach(demo)
    assert (demo.container().id != old, demo.container().running) == (True, True)
    assert all_names(demo) == ["habitat-demo"]
