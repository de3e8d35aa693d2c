"""A container with other settings keeps its files, wherever the run is killed."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import pytest
from fake_engine import FakeEngine
from test_replacement import KilledError, all_names, configure, detach, start, work
from unit_helpers import DemoProject, FakeTerminal, built_demo, write

from phases.core.engine.types import Change, Container, VolumeMount
from phases.core.errors import EngineError, HabitatError
from phases.core.report import plan as report_plan
from phases.core.runtime import destroy as runtime_destroy
from phases.core.runtime import exec as runtime_exec
from phases.core.runtime import start as runtime_start
from phases.core.runtime.carry import carried
from phases.core.runtime.carry.changes import LABEL_CHANGES, UnkeptChanges, changes_since_build, unkept_changes
from phases.core.runtime.own_containers import LABEL_CARRIED
from phases.core.runtime.session import exit_guard

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.guarantee("settings-keep-files")

#: What no engine changes in place.
NETWORK = ", network: none"


@pytest.fixture
def demo(tmp_path: Path) -> DemoProject:
    """A habitat whose container has somebody's work in it."""
    demo = built_demo(tmp_path, "entry: {command: 'true'}\n")
    start(demo)
    demo.engine.files("habitat-demo").write("/work", "of a day")
    return demo


def carried_images(demo: DemoProject) -> list[str]:
    return [image.id for image in demo.engine.images() if image.labels.get(LABEL_CARRIED)]


def unnamed_volumes(demo: DemoProject) -> list[str]:
    return [volume.name for volume in demo.engine.volumes() if len(volume.name) == 64]


SETTINGS = {
    "ports": ", ports: [8080]",
    "network": NETWORK,
    "shm": ", shm_size: 100m",
    "init_command": ", init_command: sleep inf",
    "env of init_command": ", init_command: sleep inf, env: [A=b]",
    "persist": ", persist: [/srv/]",
    "limits and more": f", limits: {{pids: 64}}{NETWORK}",
}


@pytest.mark.parametrize("change", SETTINGS)
def test_changed_setting_keeps_files_and_leaves_one_container(demo: DemoProject, change: str) -> None:
    old = demo.container().id
    configure(demo, SETTINGS[change])
    demo.build()
    reason = report_plan.plan(demo.run_anew(), "demo").replaced
    start(demo)
    assert (work(demo), all_names(demo), demo.container().id != old) == (True, ["habitat-demo"], True)
    size = "the container is made again with its files, less than 1 MB"
    assert [text for text in demo.notices() if not text.startswith("port ")] == [f"{reason}: {size}"]
    assert not report_plan.plan(demo.run_anew(), "demo").replaced
    again = demo.container().id
    start(demo)
    assert demo.container().id == again
    configure(demo, "")
    demo.build()
    start(demo)
    assert (work(demo), all_names(demo)) == (True, ["habitat-demo"])
    assert carried_images(demo) == [demo.container().image]


def test_plan_says_what_becomes_of_files(demo: DemoProject) -> None:
    demo.engine.files("habitat-demo").write("/large", "x" * 12_000_000)
    configure(demo, ", ports: [8080]")
    plan = report_plan.plan(demo.run_anew(), "demo", with_work=True)
    assert (plan.replaced, plan.kept) == (
        "entry.ports changed",
        "the container is made again with its files, 12 MB",
    )
    configure(demo, ", limits: {pids: 7}")
    plan = report_plan.plan(demo.run_anew(), "demo", with_work=True)
    assert (plan.replaced, plan.kept) == ("entry.limits.pids changed", "the container gets that as it is")


def test_carried_image_has_config_of_final_and_says_where_it_comes_from(demo: DemoProject) -> None:
    final = demo.engine.image_config("habitat-demo:final")
    configure(demo, ", init_command: sleep inf, env: [A=canary-77]")
    demo.build()
    start(demo)
    demo.engine.files("habitat-demo").write("/more", "work")
    configure(demo, NETWORK)
    demo.build()
    start(demo)
    image = demo.engine.image_config(demo.container().image)
    assert final is not None
    assert image is not None
    today = demo.engine.image_config("habitat-demo:final")
    assert today is not None
    assert (image.env, image.user, image.workdir, image.command) == (
        today.env,
        today.user,
        today.workdir,
        today.command,
    )
    assert image.labels[LABEL_CARRIED].split()[0] == today.id
    assert json.loads(image.labels[LABEL_CHANGES])[0] == [["added", "/more"], ["added", "/work"]]
    assert "canary" not in str(image)


def test_container_without_files_of_its_own_needs_no_image(demo: DemoProject) -> None:
    del demo.engine.files("habitat-demo").nodes["/work"]
    configure(demo, NETWORK)
    start(demo)
    assert demo.notices() == ["entry.network changed: the container is made again; nothing has changed in it"]
    assert (demo.engine.called("carry"), all_names(demo)) == ([], ["habitat-demo"])


@pytest.mark.parametrize("detached", [True, False])
def test_limits_change_in_place(demo: DemoProject, detached: bool) -> None:
    if detached:
        detach(demo)
    old = demo.container().id
    configure(demo, ", limits: {memory: 64m, cpus: 0.5, pids: 64}")
    start(demo)
    assert (demo.container().id, demo.container().running) == (old, detached)
    assert demo.notices() == [
        "entry.limits.cpus and entry.limits.memory and entry.limits.pids changed: habitat-demo has that from now on",
    ]
    assert not report_plan.plan(demo.run_anew(), "demo").replaced
    start(demo)
    assert demo.notices() == []
    configure(demo, ", limits: {pids: 64}")  # no engine takes away a limit of memory
    start(demo)
    assert (demo.container().id != old, work(demo), all_names(demo)) == (True, True, ["habitat-demo"])


def test_limits_that_engine_refuses_are_set_in_a_container_with_the_files(demo: DemoProject) -> None:
    demo.engine.failures["set_limits"] = EngineError("device or resource busy")
    configure(demo, ", limits: {memory: 64m}")
    start(demo)
    assert (work(demo), all_names(demo)) == (True, ["habitat-demo"])
    assert demo.engine._container("habitat-demo").restrictions.memory == 64 << 20
    assert "can't be set while habitat-demo runs (device or resource busy)" in demo.notices()[0]


def test_container_in_use_is_entered_as_it_is(demo: DemoProject) -> None:
    detach(demo)
    old = demo.container().id
    process = demo.engine.exec_piped(old, ["sleep", "inf"], user="root", workdir="/", env={})
    configure(demo, NETWORK)
    start(demo)
    assert (demo.container().id, demo.container().running, all_names(demo)) == (old, True, ["habitat-demo"])
    assert (
        "entry.network changed: habitat-demo is in use by 1 other command, so that takes effect at the first start "
        "after it has stopped"
    ) in demo.notices()
    process.send_signal("KILL")
    process.close()
    start(demo)
    assert (demo.container().id != old, work(demo), all_names(demo)) == (True, True, ["habitat-demo"])


def test_changed_image_and_setting_is_a_rebuild(demo: DemoProject) -> None:
    configure(demo, NETWORK, "env: [A=b]\n")
    demo.build()
    start(demo)
    assert (work(demo), len(all_names(demo))) == (False, 2)


def test_carried_container_is_compared_by_its_final_image(demo: DemoProject) -> None:
    configure(demo, NETWORK)
    start(demo)
    configure(demo, NETWORK, "env: [A=b]\n")
    assert report_plan.plan(demo.run_anew(), "demo").replaced == "its image is out of date"
    demo.build()
    start(demo)
    assert (work(demo), len(all_names(demo))) == (False, 2)
    assert runtime_destroy.destroy(demo.run_anew(), "demo", lambda _: True, keep_volumes=True)
    assert [line.split(": ")[1] for line in demo.lines()] == [
        "nothing has changed in it since its image",
        "1 added",
    ]
    assert carried_images(demo) == []


def test_new_container_on_request_keeps_old_one(demo: DemoProject) -> None:
    configure(demo, NETWORK)
    start(demo, fresh=True)
    assert (work(demo), len(all_names(demo))) == (False, 2)


def test_shell_with_changed_setting_keeps_files(demo: DemoProject) -> None:
    configure(demo, NETWORK)
    runtime_exec.execute(demo.run_anew(), "demo", ("true",), FakeTerminal())
    assert (work(demo), all_names(demo)) == (True, ["habitat-demo"])


def test_chain_of_layers_stays_short(demo: DemoProject) -> None:
    final = demo.engine.image_config("habitat-demo:final")
    assert final is not None
    layers = []
    for number in range(20):
        demo.engine.files("habitat-demo").write(f"/work{number}", "more")
        configure(demo, NETWORK if number % 2 else ", network: bridge, shm_size: 100m")
        start(demo)
        image = demo.engine.image_config(demo.container().image)
        assert image is not None
        layers.append(image.layers - final.layers)
    assert layers == [1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4]
    assert all(f"/work{number}" in demo.engine.files("habitat-demo").nodes for number in range(20))
    assert list((demo.root / ".stamps/demo").glob("passing.*")) == []


def test_layers_that_can_not_be_merged_stay(demo: DemoProject) -> None:
    demo.engine.failures["flatten"] = EngineError("no space left on device")
    for number in range(10):
        demo.engine.files("habitat-demo").write(f"/work{number}", "more")
        configure(demo, NETWORK if number % 2 else "")
        start(demo)
    assert (work(demo), all_names(demo)) == (True, ["habitat-demo"])


def test_image_with_most_layers_is_set_aside(demo: DemoProject) -> None:
    config = demo.engine.image_config("habitat-demo:final")
    assert config is not None
    demo.engine.max_layers = config.layers
    configure(demo, NETWORK)
    start(demo)
    assert (work(demo), len(all_names(demo))) == (False, 2)


def test_volumes_of_image_go_along_and_go_with_the_last_container(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path)
    demo.engine.add_image("base:1", volumes=("/data",))
    configure(demo, "")
    demo.build()
    start(demo)
    demo.engine.files("habitat-demo").write("/data/rows", "many")
    configure(demo, NETWORK)
    start(demo)
    assert demo.engine.files("habitat-demo").find("/data/rows")
    assert (all_names(demo), len(unnamed_volumes(demo))) == (["habitat-demo"], 1)
    configure(demo, "")
    start(demo)
    assert demo.engine.files("habitat-demo").find("/data/rows")
    assert runtime_destroy.destroy(demo.run_anew(), "demo", lambda _: True, keep_volumes=True)
    assert (all_names(demo), unnamed_volumes(demo)) == ([], [])


def test_file_that_persists_no_longer_stays_in_container(tmp_path: Path) -> None:
    demo = built_demo(tmp_path, "entry: {command: 'true', persist: [/srv/state.json]}\n")
    start(demo)
    demo.engine.files("habitat-demo").write("/srv/state.json", "mine", uid=1000)
    configure(demo, "")
    start(demo)
    node = demo.engine.files("habitat-demo").find("/srv/state.json", last=False)
    assert node is not None
    assert (node.kind, node.content) == ("file", b"mine")


class Dying:
    """Lets the calls of an engine that change something work up to one, and ends the run there."""

    METHODS = ("create", "start", "stop", "remove", "rename", "carry", "flatten", "remove_image", "put_archive", "exec")

    def __init__(self, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, last: int, at: str = "") -> None:
        self.calls = 0
        self._last = last
        self._at = at
        for method in self.METHODS:
            monkeypatch.setattr(engine, method, self._wrapped(method, getattr(engine, method)))

    @property
    def is_dead(self) -> bool:
        return self.calls > self._last

    def _wrapped(self, method: str, plain: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            self.calls += 1
            if method == self._at:
                self._last = 0
            if self.is_dead:
                raise KilledError
            return plain(*arguments, **options)

        return call


@pytest.mark.parametrize("back", [True, False], ids=["settings as before", "settings still changed"])
@pytest.mark.parametrize("guarded", [True, False], ids=["guard", "no guard"])
@pytest.mark.parametrize("detached", [True, False], ids=["detached", "stopped"])
def test_start_killed_at_any_request_keeps_files_and_leaves_nothing(
    demo: DemoProject, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, *, back: bool,
    guarded: bool, detached: bool
) -> None:  # fmt: skip
    if detached:
        detach(demo)
    monkeypatch.setattr(exit_guard, "_end_commands", lambda *_: None)  # it had none
    for last in range(100):
        copy = demo.copy_to(tmp_path_factory.mktemp("copy"))
        configure(copy, NETWORK)
        with monkeypatch.context() as patch:
            run = Dying(copy.engine, patch, last)
            with contextlib.suppress(KilledError):
                start(copy)
        if not run.is_dead:
            break
        copy.project.locks.close()
        if guarded:
            exit_guard.clean_up(copy.run_anew(), "demo", "agent", "x", "")
            assert work(copy), f"the container has no work after a kill at request {last}"
            assert all_names(copy) == ["habitat-demo"]
        else:  # the machine lost its power
            for name in all_names(copy):
                copy.engine.stop(name)
        if back:
            configure(copy, "")
        start(copy)
        restrictions = copy.engine._container("habitat-demo").restrictions
        assert (work(copy), all_names(copy)) == (True, ["habitat-demo"]), last
        assert restrictions.network == ("bridge" if back else "none"), last
        image = copy.container().image
        copy.build()
        leftover = {*carried_images(copy)} - {image}
        assert leftover == set(), f"images are left after a kill at request {last}"
    assert last > 8


def test_work_done_after_kill_is_not_lost_to_the_copy(demo: DemoProject, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run was killed before the new container was in place, and somebody worked in the old one with docker's help."""
    configure(demo, NETWORK)
    with monkeypatch.context() as patch:
        Dying(demo.engine, patch, 1000, "rename")
        with contextlib.suppress(KilledError):
            start(demo)
    assert len(all_names(demo)) == 2
    demo.engine.start("habitat-demo")
    demo.engine.files("habitat-demo").write("/later", "work")
    demo.engine.stop("habitat-demo")
    for name in all_names(demo):
        demo.engine.stop(name)
    start(demo)
    assert demo.engine.files("habitat-demo").find("/later")
    assert all_names(demo) == ["habitat-demo"]


def test_failed_carry_over_leaves_container_and_no_image(demo: DemoProject) -> None:
    old = demo.container().id
    configure(demo, NETWORK)
    demo.engine.failures["create"] = EngineError("no space left on device")
    with pytest.raises(HabitatError):
        start(demo)
    assert (demo.container().id, all_names(demo), carried_images(demo)) == (old, ["habitat-demo"], [])


def _container(changes: list[Change], label: str) -> UnkeptChanges:
    engine = FakeEngine()
    engine.changes = lambda container: changes  # type: ignore[method-assign]
    labels = {LABEL_CHANGES: label} if label else {}
    return changes_since_build(engine, Container("id", "c", "image", running=False, labels=labels))


def test_changes_of_carried_and_own_layers_are_merged() -> None:
    before = UnkeptChanges(
        (
            Change("/added", "added"),
            Change("/added-gone", "added"),
            Change("/d/x", "added"),
            Change("/deleted", "deleted"),
            Change("/edited", "changed"),
        )
    ).label
    after = [
        Change("/added", "changed"),
        Change("/added-gone", "deleted"),
        Change("/d", "deleted"),
        Change("/deleted", "added"),
        Change("/edited", "deleted"),
        Change("/fresh", "added"),
    ]
    assert [(change.kind, change.path) for change in _container(after, before).changes] == [
        ("added", "/added"),
        ("deleted", "/d"),
        ("changed", "/deleted"),
        ("deleted", "/edited"),
        ("added", "/fresh"),
    ]


def test_mount_of_secrets_is_no_change_and_temporary_files_count_if_asked() -> None:
    """As Docker lists them for a container in which nothing was done but a file in /tmp."""
    changes = [Change("/run", "changed"), Change("/run/secrets", "added"), Change("/tmp", "changed")]
    container = Container("id", "c", "image", running=False)
    assert unkept_changes(changes[:2], container, with_temporary=True) == []
    assert unkept_changes([*changes, Change("/tmp/x", "added")], container) == []
    assert unkept_changes([*changes, Change("/tmp/x", "added")], container, with_temporary=True) == [
        Change("/tmp/x", "added")
    ]


def test_label_of_changes_is_limited_and_counts_the_others() -> None:
    many = UnkeptChanges(tuple(Change(f"/{number:04}", "added") for number in range(1000)))
    again = _container([], many.label)
    assert (len(again.changes), again.more) == (200, 800)
    assert again.summary == "200 added, 800 more: /0000, /0001, /0002, /0003, /0004, …"
    long = UnkeptChanges(tuple(Change(f"/{'x' * 4000}{number}", "added") for number in range(100)))
    assert len(long.label) < 25_000
    assert _container([], "no JSON") == UnkeptChanges(more=1)


def test_anonymous_volumes_are_told_from_named_ones() -> None:
    mounts = (VolumeMount("a" * 64, "/data"), VolumeMount("habitat-demo-srv", "/srv"))
    container = Container("id", "c", "image", running=False, volumes=mounts)
    assert carried.image_volumes(container) == [mounts[0]]


def test_start_after_carry_over_gets_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "canary-4f9a71")
    secrets = "secrets: [{name: TOKEN, env: TOKEN, start: true}]\n"
    demo = built_demo(tmp_path, f"entry: {{command: 'true'}}\n{secrets}")
    runtime_start.start_detached(demo.run_anew(), "demo")
    demo.engine.files("habitat-demo").write("/work", "of a day")
    write(demo.root, "habitats/demo/config.yaml", f"base_image: base:1\nentry: {{command: 'true'{NETWORK}}}\n{secrets}")
    runtime_start.start_detached(demo.run_anew(), "demo")
    assert demo.engine._container("habitat-demo").memory["/run/secrets/TOKEN"][1] == b"canary-4f9a71"
    assert "canary" not in str(demo.engine._images[demo.container().image])
