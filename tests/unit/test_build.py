"""Carrying out the steps of a phase, on the fake engine."""

from __future__ import annotations

import errno
import os
import sys
import tarfile
import tempfile
import threading
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fake_engine import Command, FakeEngine
from fake_files import Files, Node
from msgspec.structs import replace
from unit_helpers import SOMEWHERE, load, write

from phases.core import events
from phases.core.build.container.pool import ContainerPool
from phases.core.build.context import SHOWN_OUTPUT, PhaseContext
from phases.core.build.executor import run_phase
from phases.core.build.image_config import PROFILE
from phases.core.container import init_process
from phases.core.container.init_process import IDLE_FOR_PROBE as IDLE
from phases.core.container.users import NO_USER, UserDatabase
from phases.core.copied_files import dockerfile_context
from phases.core.engine.background import BackgroundRemover
from phases.core.engine.types import Bind
from phases.core.errors import (
    CommandFailed,
    ConfigError,
    Conflict,
    EngineError,
    HabitatError,
    PathsMissing,
    PhaseTimeout,
    ShellError,
    StateError,
    StepError,
)
from phases.core.model import Value
from phases.core.variables import DEFAULT_PATH
from phases.entries import folder
from phases.protocol import (
    Copy,
    Entry,
    FromDockerfile,
    FromImage,
    RequirePaths,
    Run,
    SetImageConfig,
    Step,
    slug,
)
from phases.registry import named

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from phases.core.files.tar import DockerfileArchive

BASE = "base:1"


@dataclass
class PhaseUnderTest:
    """A habitat's phase at work on a fake engine that has a base image with the user ada."""

    root: Path
    phase: str = "setup"
    config: str = ""
    binds: tuple[Bind, ...] = ()
    engine: FakeEngine = field(default_factory=FakeEngine)
    seen: list[events.Event] = field(default_factory=list)
    complaints: list[HabitatError] = field(default_factory=list)

    def __post_init__(self) -> None:
        files = base_with_ada()
        self.base = self.engine.add_image(
            BASE, files, env={"KEPT": "1"}, entrypoint=("/init",), command=("serve",), user="ada", workdir="/home/ada"
        )
        remover = BackgroundRemover(
            lambda container, on_sent: self.engine.remove(container, on_sent=on_sent), self.complaints.append
        )
        self.work = PhaseContext(
            habitat=load(self.root, f"base_image: {BASE}\n{self.config}"),
            phase=named(self.phase),
            engine=self.engine,
            emit=self.seen.append,
            log=self.root / ".stamps/demo" / f"{slug(named(self.phase))}.log",
            engine_name="demo",
            container_name="build",
            remover=remover,
            pool=ContainerPool(remover.remove),
            binds=self.binds,
        )

    def run_phase(self, *steps: Step, parent: str = BASE) -> str:
        def labels(parent: str, seconds: float) -> dict[str, str]:
            return {"of": parent, "took": f"{seconds:.0f}"}

        image = run_phase(self.work, parent, steps, labels)
        return image.id if image else ""

    def files(self, *steps: Step) -> Files:
        return self.engine.files(self.run_phase(*steps))

    def end(self) -> None:
        """The run does nothing else with the habitat."""
        self.work.pool.clear()
        self.work.remover.wait()

    def fails(self, *steps: Step) -> HabitatError:
        """The error of steps that fail; nothing was committed, and no container is left."""
        with pytest.raises(HabitatError) as excinfo:
            self.run_phase(*steps)
        self.end()
        assert self.engine.called("commit") == []
        assert self.engine.containers() == []
        return excinfo.value

    @property
    def log(self) -> list[str]:
        return self.work.log.read_text().splitlines()


def base_with_ada() -> Files:
    files = Files()
    files.write("/bin/sh", "", 0o755)
    files.write("/etc/passwd", "root:x:0:0::/root:/bin/sh\nada:x:7:8::/home/ada:/bin/sh\nnomad:x:9:9:::\n")
    files.write("/etc/group", "root:x:0:\nada:x:8:\nstaff:x:50:\n")
    files.add("/home/ada", Node("dir", 0o750, 7, 8))
    files.add("/tmp", Node("dir", 0o1777))
    return files


@pytest.fixture
def phase_under_test(tmp_path: Path) -> PhaseUnderTest:
    return PhaseUnderTest(tmp_path)


def run(script: str, user: str = "root", **wishes: object) -> Run:
    return Run(user, script, SOMEWHERE, "the command", **wishes)  # type: ignore[arg-type]


def file(dest: str, owner: str = "root", mode: int = 0o644, content: bytes = b"x") -> Entry:
    return Entry(dest, "file", owner, mode, SOMEWHERE, content=content)


def directory(dest: str, owner: str = "root") -> Entry:
    """As a copied tree has it: one that is there keeps owner and mode."""
    return Entry(dest, "dir", owner, 0o755, SOMEWHERE)


def env(**values: str) -> SetImageConfig:
    return SetImageConfig(env={name: (template, SOMEWHERE) for name, template in values.items()})


# What is read


def test_passwd_file_changed_by_command_is_read_again(phase_under_test: PhaseUnderTest) -> None:
    def add_eve(command: Command) -> tuple[int, str] | None:
        if command.script == "adduser eve":
            command.container.files.write("/etc/passwd", "ada:x:7:8::/home/ada:/bin/sh\neve:x:5:5::/e:/bin/sh\n")
            return 0, ""
        return None

    phase_under_test.engine.on_execute = add_eve
    steps = [run("true", "ada"), run("true", "ada"), run("adduser eve"), run("true", "eve"), run("true", "eve")]
    phase_under_test.run_phase(*steps)
    assert [call[2] for call in phase_under_test.engine.called("read_file")] == ["/etc/passwd", "/etc/passwd"]


def test_reading_passwd_leaves_unrelated_pending_files_unsent(phase_under_test: PhaseUnderTest) -> None:
    """Unless it is that which is read."""
    phase_under_test.run_phase(env(A="1"), Copy((directory("/x", "ada"), file("/y", "ada"))), env(B="2"))
    assert len(phase_under_test.engine.called("put_archive")) == 1


def test_copied_passwd_sets_owner_of_later_files(phase_under_test: PhaseUnderTest, tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("eve:x:5:6::/e:/bin/sh\n")
    copied = Entry("/etc/passwd", "file", "ada", 0o644, SOMEWHERE, source=tmp_path / "passwd")
    node = phase_under_test.files(Copy((copied,)), Copy((file("/of-eve", "eve"),))).find("/of-eve")
    assert node
    assert (node.uid, node.gid) == (5, 6)


# What the image carries


def test_intermediate_image_keeps_config_of_base_image(phase_under_test: PhaseUnderTest) -> None:
    config = phase_under_test.engine.image_config(phase_under_test.run_phase(run("true")))
    assert config is not None
    assert (config.entrypoint, config.command) == (("/init",), ("serve",))
    assert (config.user, config.workdir) == ("ada", "/home/ada")
    assert config.env == {"KEPT": "1"}


@pytest.mark.parametrize(
    ("entrypoint", "command", "kept"),
    [((), (), ((), ("/bin/sh",))), (("/init",), (), (("/init",), ())), ((), ("serve",), ((), ("serve",)))],
)
def test_build_container_init_command_is_in_no_image(
    phase_under_test: PhaseUnderTest, entrypoint: tuple[str, ...], command: tuple[str, ...], kept: object
) -> None:
    phase_under_test.engine.add_image("other:1", base_with_ada(), entrypoint=entrypoint, command=command)
    config = phase_under_test.engine.image_config(phase_under_test.run_phase(run("true"), parent="other:1"))
    assert config is not None
    assert (config.entrypoint, config.command) == kept


def test_image_labels_name_parent_and_duration(phase_under_test: PhaseUnderTest) -> None:
    phase_under_test.run_phase(run("true"))
    (image,) = [image for image in phase_under_test.engine.images() if image.id != phase_under_test.base]
    assert image.labels == {"of": BASE, "took": "0"}


def test_build_container_has_no_labels(phase_under_test: PhaseUnderTest) -> None:
    labels: list[dict[str, str]] = []

    def look(command: Command) -> None:
        labels.append(command.container.labels)

    phase_under_test.engine.on_execute = look
    phase_under_test.run_phase(run("true"))
    assert labels == [{}]


def test_env_variables_are_in_image_config_and_login_profile(phase_under_test: PhaseUnderTest) -> None:
    image = phase_under_test.run_phase(env(A="a b", B="$$5", PATH="/x:${PATH}"), env(PATH="/y:${PATH}", C="'"))
    config = phase_under_test.engine.image_config(image)
    assert config is not None
    assert config.env == {"KEPT": "1", "A": "a b", "B": "$5", "PATH": f"/y:/x:{DEFAULT_PATH}", "C": "'"}
    assert phase_under_test.engine.files(image).nodes[PROFILE].content.decode().splitlines() == [
        "export A='a b'",
        "export B='$5'",
        f"export PATH=/x:{DEFAULT_PATH}",
        f"export PATH=/y:/x:{DEFAULT_PATH}",
        "export C=''\"'\"''",
    ]


def test_env_of_later_phase_extends_env_of_earlier_phase(phase_under_test: PhaseUnderTest) -> None:
    first = phase_under_test.run_phase(env(A="1"))
    second = phase_under_test.run_phase(env(B="${A}2"), parent=first)
    config = phase_under_test.engine.image_config(second)
    assert config is not None
    assert (config.env["A"], config.env["B"]) == ("1", "12")
    assert phase_under_test.engine.files(second).nodes[PROFILE].content == b"export A=1\nexport B=12\n"


def test_env_reference_to_unset_variable_is_error_with_suggestion(phase_under_test: PhaseUnderTest) -> None:
    error = phase_under_test.fails(env(A="${KEPTT}"))
    assert str(error) == f"{SOMEWHERE}: ${{KEPTT}} is set neither in env nor by the base image: did you mean 'KEPT'?"


def test_set_image_config_sets_user_workdir_entrypoint_and_command(phase_under_test: PhaseUnderTest) -> None:
    image = phase_under_test.run_phase(
        SetImageConfig(user="root", workdir="/srv $x\\", entrypoint=(), command=("/bin/sh", "-c", 'a "b"'))
    )
    config = phase_under_test.engine.image_config(image)
    assert config is not None
    assert (config.entrypoint, config.command) == ((), ("/bin/sh", "-c", 'a "b"'))
    assert (config.user, config.workdir) == ("root", "/srv $x\\")


# The container


@pytest.mark.parametrize("code", [126, 127])
def test_first_command_in_container_whose_shell_cannot_run_names_the_shell(
    phase_under_test: PhaseUnderTest, code: int
) -> None:
    """The engine may start it before the main process has ended for the same reason."""

    def end(command: Command) -> tuple[int, str | bytes] | None:
        command.container.running = False
        command.container.log = ["/bin/sh: error while loading shared libraries: libc.so.6"]
        return code, ""

    phase_under_test.engine.on_execute = end
    with pytest.raises(ShellError, match=r"can't run \(error while loading shared libraries: libc\.so\.6\)"):
        phase_under_test.run_phase(run("true"))


def test_first_command_that_ends_with_127_in_running_container_is_its_own_failure(
    phase_under_test: PhaseUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phases.core.container.init_process.time.sleep", lambda _: None)
    phase_under_test.engine.on_execute = lambda _: (127, "")
    with pytest.raises(CommandFailed, match="ended with exit code 127"):
        phase_under_test.run_phase(run("nosuch"))


def test_build_container_is_started_only_for_commands(phase_under_test: PhaseUnderTest) -> None:
    phase_under_test.run_phase(Copy((file("/x"),)))
    assert phase_under_test.engine.called("start") == []
    phase_under_test.run_phase(run("true"))
    assert len(phase_under_test.engine.called("start")) == 1


def test_build_container_of_finished_phase_is_kept_for_next_phase(phase_under_test: PhaseUnderTest) -> None:
    phase_under_test.run_phase(run("true"))
    parked = phase_under_test.work.pool.take()
    assert parked
    assert [container.id for container in phase_under_test.engine.containers()] == [parked.id]
    assert phase_under_test.work.pool.take() is None


def test_replaced_build_containers_at_most_one_remains_until_end(phase_under_test: PhaseUnderTest) -> None:
    """It goes once there is another, or the habitat is through."""
    for _ in range(3):
        with pytest.raises(CommandFailed):
            phase_under_test.run_phase(run("false"))
        phase_under_test.work.remover.wait()
        assert len(phase_under_test.engine.containers()) == 1
    phase_under_test.end()
    assert phase_under_test.engine.containers() == []


def test_build_container_with_secrets_is_removed_after_its_phase(tmp_path: Path) -> None:
    phase_under_test = PhaseUnderTest(tmp_path, phase="test")
    phase_under_test.work = replace(phase_under_test.work, secrets=(Value("TOKEN", b"abc"),))
    phase_under_test.run_phase(run("true"))
    phase_under_test.work.remover.wait()
    assert phase_under_test.engine.containers() == []


@pytest.mark.parametrize("fails", [False, True])
def test_background_remover_can_wait_until_requests_are_sent(fails: bool) -> None:
    """A run that is through ends while the engine is at it."""
    sure, done, complaints = threading.Event(), threading.Event(), list[HabitatError]()

    def remove(_: str, sent: Callable[[], None]) -> None:
        sure.wait()
        if fails:
            raise EngineError("device is busy")
        sent()
        done.wait()

    remover = BackgroundRemover(remove, complaints.append)
    remover.remove("c")
    waiting = threading.Thread(target=lambda: remover.wait(until_gone=False), daemon=True)
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    sure.set()
    waiting.join(10)
    assert not waiting.is_alive()
    assert len(complaints) == fails
    done.set()


def test_container_removal_failure_does_not_hide_command_error(phase_under_test: PhaseUnderTest) -> None:
    phase_under_test.engine.on_execute = lambda _: (
        phase_under_test.engine.failures.update(remove=EngineError("device is busy")) or (3, "")
    )
    with pytest.raises(CommandFailed, match="the command ended with exit code 3"):
        phase_under_test.run_phase(run("exit 3"))


def test_container_removal_failure_is_reported(phase_under_test: PhaseUnderTest) -> None:
    error = EngineError("device is busy")
    phase_under_test.engine.on_execute = lambda _: phase_under_test.engine.failures.update(remove=error) or (3, "")
    with pytest.raises(CommandFailed):
        phase_under_test.run_phase(run("false"))
    phase_under_test.end()
    assert phase_under_test.complaints == [error]


def test_build_container_left_by_killed_run_is_replaced(phase_under_test: PhaseUnderTest) -> None:
    left = phase_under_test.engine.create(BASE, "build", IDLE)
    phase_under_test.run_phase(run("true"))
    assert left not in {container.id for container in phase_under_test.engine.containers()}


def test_build_container_of_killed_run_created_late_is_replaced(
    phase_under_test: PhaseUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its request was still on its way when this run looked whether it left one."""
    create, late = phase_under_test.engine.create, ["between remove and create", "and again"]

    def arrive(image: str, name: str, command: Sequence[str], **wishes: Any) -> str:
        if late:
            late.pop()
            create(image, name, command)
        return create(image, name, command, **wishes)

    monkeypatch.setattr(phase_under_test.engine, "create", arrive)
    phase_under_test.run_phase(run("touch /x"))
    assert not late
    assert len(phase_under_test.engine.containers()) == 1


def test_build_container_name_taken_repeatedly_is_error_with_remedy(
    phase_under_test: PhaseUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(init_process, "_PAUSE", 0)
    phase_under_test.engine.failures["create"] = Conflict("creating container build: the name is already in use")
    error = phase_under_test.fails(run("true"))
    assert "in use" in str(error)
    assert error.remedy


def test_phase_without_snapshot_commits_nothing(tmp_path: Path) -> None:
    phase_under_test = PhaseUnderTest(tmp_path, phase="test")
    assert phase_under_test.run_phase(run("touch /tmp/x")) == ""
    assert phase_under_test.engine.called("commit") == []
    phase_under_test.end()
    assert phase_under_test.engine.containers() == []


def test_build_container_mounts_host_volumes(tmp_path: Path) -> None:
    write(tmp_path, "data/note", "from the host")
    phase_under_test = PhaseUnderTest(tmp_path, binds=(Bind(str(tmp_path / "data"), "/data", readonly=True),))
    phase_under_test.run_phase(run("cat /data/note"))
    assert phase_under_test.log[-1] == "from the host"


def test_build_container_that_cannot_start_error_names_phase(phase_under_test: PhaseUnderTest) -> None:
    phase_under_test.engine.failures["start"] = EngineError("no such runtime")
    error = phase_under_test.fails(run("true"))
    assert str(error) == (
        "demo: setup: the build container can't be started (no such runtime): see that its image and volumes are whole"
    )


def test_parent_image_removed_error_says_to_run_again(phase_under_test: PhaseUnderTest) -> None:
    with pytest.raises(EngineError, match="the snapshot that it starts from is gone: run the same command again"):
        phase_under_test.run_phase(run("true"), parent="gone:1")


# Commands


def test_command_runs_with_errexit_as_its_user_in_its_workdir(phase_under_test: PhaseUnderTest) -> None:
    phase_under_test.run_phase(run("pwd", user="ada", args=("a b", "c"), workdir="/tmp", env={"X": "1"}))
    (command,) = phase_under_test.engine.commands
    assert command.argv == ("/bin/sh", "-e", "-c", "--", "pwd", "sh", "a b", "c")
    assert (command.user, command.workdir, command.env["X"], command.env["USER"]) == ("ada", "/tmp", "1", "ada")


def test_command_without_workdir_runs_in_workdir_of_image(phase_under_test: PhaseUnderTest) -> None:
    phase_under_test.run_phase(run("true"), SetImageConfig(workdir="/etc"), run("true"))
    assert [command.workdir for command in phase_under_test.engine.commands] == ["/home/ada", "/etc"]


def test_command_output_is_written_to_log_and_output_events(phase_under_test: PhaseUnderTest) -> None:
    phase_under_test.run_phase(run("echo one; echo two >&2"), run("echo three", user="ada"))
    assert phase_under_test.log == ["$ the command (as root)", "one", "two", "$ the command (as ada)", "three"]
    assert [
        (event.lines, event.stream) for event in phase_under_test.seen if isinstance(event, events.OutputBlock)
    ] == [
        (("one",), "stdout"),
        (("two",), "stderr"),
        (("three",), "stdout"),
    ]


def test_output_flood_is_one_event_per_block_and_complete_in_log(phase_under_test: PhaseUnderTest) -> None:
    phase_under_test.engine.on_execute = lambda _: (0, "y\n" * 5000)
    phase_under_test.run_phase(run("yes"))
    assert [len(event.lines) for event in phase_under_test.seen if isinstance(event, events.OutputBlock)] == [5000]
    assert not [event for event in phase_under_test.seen if isinstance(event, events.Output)]
    assert phase_under_test.log == ["$ the command (as root)", *["y"] * 5000]


def test_output_flood_with_debug_is_shown_line_by_line(tmp_path: Path) -> None:
    phase_under_test = PhaseUnderTest(tmp_path, config="debug: true\n")
    phase_under_test.engine.on_execute = lambda _: (0, "y\n" * 500)
    phase_under_test.run_phase(run("yes"))
    assert phase_under_test.seen == [events.Output("demo", "setup", "y", stream="stdout")] * 500


def test_output_with_debug_is_shown_immediately(tmp_path: Path) -> None:
    phase_under_test = PhaseUnderTest(tmp_path, config="debug: true\n")
    phase_under_test.run_phase(run("echo one"))
    assert phase_under_test.seen == [events.Output("demo", "setup", "one", stream="stdout")]


def test_phase_log_contains_only_last_run(phase_under_test: PhaseUnderTest) -> None:
    phase_under_test.run_phase(run("echo one"))
    phase_under_test.run_phase(run("echo two"))
    assert phase_under_test.log == ["$ the command (as root)", "two"]


def test_output_with_invalid_utf8_is_logged_with_replacement_character(phase_under_test: PhaseUnderTest) -> None:
    phase_under_test.engine.on_execute = lambda _: (0, b"caf\xe9\n")
    phase_under_test.run_phase(run("x"))
    assert phase_under_test.log[-1] == "caf\N{REPLACEMENT CHARACTER}"


def test_failed_command_error_shows_exit_code_log_and_output(phase_under_test: PhaseUnderTest) -> None:
    error = phase_under_test.fails(run("echo one\nexit 3\necho never"), run("echo later"))
    assert isinstance(error, CommandFailed)
    assert error.exit_code == 3
    assert str(error) == (
        f"{SOMEWHERE}: the command ended with exit code 3: "
        "fix it, then run the same command; log: .stamps/demo/7-setup.log"
    )
    assert error.output == ("$ echo one", "> exit 3", "> echo never", "one")
    assert len(phase_under_test.engine.commands) == 1
    assert phase_under_test.log == ["$ the command (as root)", "one"]


@pytest.mark.guarantee("tap-failure-fails-build")
def test_test_with_not_ok_fails_though_its_exit_code_is_0(phase_under_test: PhaseUnderTest) -> None:
    phase_under_test.engine.on_execute = lambda _: (0, "1..2\nok 1 - a\nnot ok 2 - b\n")
    error = phase_under_test.fails(run("test", tests="x.sh"))
    assert str(error) == (
        f"{SOMEWHERE}: the command failed: 1 of 2 failed: 2 b: "
        "fix it, then run the same command; log: .stamps/demo/7-setup.log"
    )
    assert error.output == ("$ test", "1..2", "ok 1 - a", "not ok 2 - b")


def test_test_with_exit_code_names_its_failed_results(phase_under_test: PhaseUnderTest) -> None:
    phase_under_test.engine.on_execute = lambda _: (1, "1..1\nnot ok 1 - b\n")
    error = phase_under_test.fails(run("test", tests="x.sh"))
    assert isinstance(error, CommandFailed)
    assert "the command ended with exit code 1 (1 of 1 failed: 1 b): " in str(error)


def test_test_that_prints_tap_shows_counts(phase_under_test: PhaseUnderTest) -> None:
    phase_under_test.engine.on_execute = lambda _: (0, "1..2\nok 1\nok 2 # SKIP\n")
    phase_under_test.run_phase(run("test", tests="x.sh"))
    assert events.Notice("demo", "x.sh: 1 of 2 passed, 1 skipped") in phase_under_test.seen


@pytest.mark.parametrize("text", ["not ok yet, retrying\n", "1..3\n", "ok  \tpkg\t0.003s\n"])
def test_test_that_prints_no_tap_is_judged_by_exit_code(phase_under_test: PhaseUnderTest, text: str) -> None:
    phase_under_test.engine.on_execute = lambda _: (0, text)
    phase_under_test.run_phase(run("test", tests="x.sh"))
    assert not [event for event in phase_under_test.seen if isinstance(event, events.Notice)]


@pytest.mark.parametrize("code", [0, 1])
def test_test_that_prints_tap_without_its_package_is_judged_by_exit_code(
    phase_under_test: PhaseUnderTest, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tap.parser", None)
    phase_under_test.engine.on_execute = lambda _: (code, "1..1\nnot ok 1 - b\n")
    if code:
        assert "the command ended with exit code 1: " in str(phase_under_test.fails(run("test", tests="x.sh")))
        return
    phase_under_test.run_phase(run("test", tests="x.sh"))
    text = "the command printed TAP, and the package tap.py is not installed: only its exit code counts: "
    assert events.Notice("demo", f"{text}run script/bootstrap", warning=True) in phase_under_test.seen


def test_command_that_is_no_test_may_print_not_ok(phase_under_test: PhaseUnderTest) -> None:
    phase_under_test.engine.on_execute = lambda _: (0, "not ok 1\n")
    assert phase_under_test.run_phase(run("setup"))


@pytest.mark.parametrize("removed", [True, False])
def test_build_container_ended_during_command_is_not_reported_as_command_failure(
    phase_under_test: PhaseUnderTest, removed: bool
) -> None:
    def end(command: Command) -> tuple[int, str]:
        phase_under_test.engine.remove(command.container.id) if removed else phase_under_test.engine.stop(
            command.container.id
        )
        return 137, "so far\n"

    phase_under_test.engine.on_execute = end
    error = phase_under_test.fails(run("sleep 9"))
    assert not isinstance(error, CommandFailed)
    assert str(error) == (
        f"{SOMEWHERE}: the build container was stopped or removed while the command ran: "
        "run the same command again, unless the command itself did that; log: .stamps/demo/7-setup.log"
    )
    assert error.output == ("$ sleep 9", "so far")


def test_build_container_ended_between_commands_error_suspects_earlier_command(
    phase_under_test: PhaseUnderTest,
) -> None:
    def end(command: Command) -> tuple[int, str]:
        phase_under_test.engine.stop(command.container.id)
        return 0, ""

    phase_under_test.engine.on_execute = end
    error = phase_under_test.fails(run("kill -9 -1"), run("true"))
    assert str(error) == (
        f"{SOMEWHERE}: the build container ended before the command could run: an earlier command of this phase may "
        "have killed its process 1; log: .stamps/demo/7-setup.log"
    )


def test_command_exit_code_137_with_running_container_is_command_failure(phase_under_test: PhaseUnderTest) -> None:
    error = phase_under_test.fails(run("exit 137"))
    assert isinstance(error, CommandFailed)
    assert error.exit_code == 137


def test_command_failing_without_disk_space_remedy_names_engine_disk(phase_under_test: PhaseUnderTest) -> None:
    error = phase_under_test.fails(run("echo cp: write error: No space left on device >&2; exit 1"))
    assert error.remedy.startswith("the engine's disk is full: make room there (docker system df)")


def test_phase_log_write_failure_stops_phase_with_remedy(
    phase_under_test: PhaseUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("phases.core.files.phase_log.os.write", refuse)
    error = phase_under_test.fails(run("echo one"))
    assert isinstance(error, StateError)
    assert str(error).endswith("can't be written (No space left on device): make room on the disk")


def test_failed_internal_script_error_hides_its_text(phase_under_test: PhaseUnderTest) -> None:
    error = phase_under_test.fails(run("echo $1; exit 1", args=("a",)))
    assert error.output == ("a",)


def test_failed_command_with_known_exit_code_shows_remedy(phase_under_test: PhaseUnderTest) -> None:
    error = phase_under_test.fails(run("echo no git >&2; exit 127", args=("a",), remedies={127: "install git"}))
    assert str(error) == (
        f"{SOMEWHERE}: the command ended with exit code 127 (no git): install git; log: .stamps/demo/7-setup.log"
    )


def test_failed_command_with_long_output_shows_its_end_and_logs_all(phase_under_test: PhaseUnderTest) -> None:
    lines = [f"line {number}" for number in range(200)]
    phase_under_test.engine.on_execute = lambda _: (1, "\n".join(lines))
    error = phase_under_test.fails(run("x", args=("a",)))
    assert list(error.output) == lines[-SHOWN_OUTPUT:]
    assert phase_under_test.log[1:] == lines


def test_command_of_missing_user_is_refused_before_any_command_runs(phase_under_test: PhaseUnderTest) -> None:
    error = phase_under_test.fails(run("true", user="bob"))
    assert isinstance(error, StepError)
    assert str(error) == (f"{SOMEWHERE}: there is no user 'bob' in the image: {NO_USER}")
    assert phase_under_test.engine.commands == []


def test_user_created_by_command_is_known_to_later_steps(phase_under_test: PhaseUnderTest) -> None:
    def add_user(command: Command) -> tuple[int, str] | None:
        if command.script == "adduser bob":
            command.container.files.write("/etc/passwd", "root:x:0:0::/root:/bin/sh\nbob:x:5:5::/home/bob:/bin/sh\n")
            return 0, ""
        return None

    phase_under_test.engine.on_execute = add_user
    files = phase_under_test.files(run("adduser bob"), run("touch /tmp/x", user="bob"), Copy((file("/tmp/y", "bob"),)))
    assert (files.nodes["/tmp/x"].uid, files.nodes["/tmp/y"].uid) == (5, 5)


def test_phase_timeout_stops_command_and_error_names_setting(tmp_path: Path) -> None:
    phase_under_test = PhaseUnderTest(tmp_path, config="timeouts: {setup: 90s}\n")
    error = phase_under_test.fails(run("echo working; sleep 100"))
    assert isinstance(error, PhaseTimeout)
    assert str(error) == (
        f"{SOMEWHERE}: the command was stopped: setup took longer than 90s: "
        "raise timeouts.setup, or see the log: .stamps/demo/7-setup.log"
    )
    assert error.output == ("$ echo working; sleep 100", "working")


def test_phase_timeout_does_not_apply_to_other_phases(tmp_path: Path) -> None:
    phase_under_test = PhaseUnderTest(tmp_path, config="timeouts: {repos: 1s}\n")
    assert phase_under_test.run_phase(run("sleep 100"))


def test_phase_timeout_covers_all_its_commands_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    phase_under_test = PhaseUnderTest(tmp_path, config="timeouts: {setup: 90s}\n")
    now = [0.0]
    monkeypatch.setattr("phases.core.build.executor.time.monotonic", lambda: now[0])

    def take_a_minute(_: Command) -> None:
        now[0] += 60

    phase_under_test.engine.on_execute = take_a_minute
    error = phase_under_test.fails(run("true"), run("true"), run("true"))
    assert isinstance(error, PhaseTimeout)
    assert len(phase_under_test.engine.commands) == 3


# Files


def test_copied_files_have_content_owner_and_mode(phase_under_test: PhaseUnderTest) -> None:
    source = write(phase_under_test.root, "source", "from the host")
    files = phase_under_test.files(
        Copy(
            (
                file("/a", "ada", 0o600),
                file("/b", "ada:staff"),
                file("/c", "12:34"),
                Entry("/d", "file", "root", 0o755, SOMEWHERE, source=source),
                Entry("/e", "link", "ada", 0o777, SOMEWHERE, target="a"),
            )
        )
    )
    nodes = files.nodes
    assert nodes["/a"] == Node("file", 0o600, 7, 8, b"x")
    assert (nodes["/b"].uid, nodes["/b"].gid) == (7, 50)
    assert (nodes["/c"].uid, nodes["/c"].gid) == (12, 34)
    assert nodes["/d"] == Node("file", 0o755, 0, 0, b"from the host")
    assert (nodes["/e"].kind, nodes["/e"].target, nodes["/e"].uid) == ("link", "a", 7)


@pytest.mark.parametrize(
    ("dest", "owner", "place"),
    [
        ("~/x", "ada", "/home/ada/x"),
        ("~/x", "ada:staff", "/home/ada/x"),
        ("~/x", "root", "/root/x"),
        ("/~/x", "ada", "/~/x"),
    ],
)
def test_copy_destination_tilde_is_home_of_owner(
    phase_under_test: PhaseUnderTest, dest: str, owner: str, place: str
) -> None:
    assert place in phase_under_test.files(Copy((file(dest, owner),))).nodes


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            file("/x", "bob"),
            f"there is no user 'bob' in the image: {NO_USER}",
        ),
        (
            file("/x", "ada:cats"),
            f"there is no group 'cats' in the image: {NO_USER}",
        ),
        (file("~/x", "nomad"), "user 'nomad' has no home: write the whole path"),
        (file("~/x", "12"), "user '12' has no home: write the whole path"),
    ],
)
def test_copy_with_unknown_owner_or_group_is_config_error(
    phase_under_test: PhaseUnderTest, entry: Entry, message: str
) -> None:
    error = phase_under_test.fails(Copy((entry,)))
    assert isinstance(error, ConfigError)
    assert str(error) == f"{SOMEWHERE}: {message}"


def test_copy_missing_parent_folders_belong_to_owner_below_home(phase_under_test: PhaseUnderTest) -> None:
    nodes = phase_under_test.files(Copy((file("/home/ada/a/b/c", "ada"), file("/srv/x")))).nodes
    for path in ("/home/ada/a", "/home/ada/a/b"):
        assert nodes[path] == Node("dir", 0o755, 7, 8), path
    assert nodes["/srv"] == Node("dir", 0o755, 0, 0)
    assert nodes["/home/ada"] == Node("dir", 0o750, 7, 8), "it was there"


def test_copied_folder_that_exists_keeps_owner_and_mode(phase_under_test: PhaseUnderTest) -> None:
    nodes = phase_under_test.files(
        Copy((directory("/tmp", "ada"), directory("/home/ada"), directory("/new", "ada")))
    ).nodes
    assert nodes["/tmp"] == Node("dir", 0o1777)
    assert nodes["/home/ada"] == Node("dir", 0o750, 7, 8)
    assert nodes["/new"] == Node("dir", 0o755, 7, 8)


def test_configured_folder_that_exists_changes_owner_but_keeps_mode(phase_under_test: PhaseUnderTest) -> None:
    nodes = phase_under_test.files(Copy((folder("/tmp", "ada", SOMEWHERE),))).nodes
    assert nodes["/tmp"] == Node("dir", 0o1777, 7, 8)


def test_copied_folder_over_link_keeps_link(phase_under_test: PhaseUnderTest) -> None:
    phase_under_test.engine.files(BASE).add("/lib", Node("link", 0o777, target="/usr/lib"))
    phase_under_test.engine.files(BASE).add("/usr/lib", Node("dir"))
    nodes = phase_under_test.files(Copy((directory("/lib", "ada"), file("/lib/x", "ada")))).nodes
    assert nodes["/lib"].kind == "link"
    assert "/usr/lib/x" in nodes


def test_copied_file_replaces_existing_file(phase_under_test: PhaseUnderTest) -> None:
    nodes = phase_under_test.files(Copy((file("/x", content=b"one"),)), Copy((file("/x", content=b"two"),))).nodes
    assert nodes["/x"].content == b"two"


def test_copied_file_over_folder_is_refused(phase_under_test: PhaseUnderTest) -> None:
    """`{source: motd, dest: /etc/}` must not take /etc away."""
    error = phase_under_test.fails(Copy((file("/etc"),)))
    assert "/etc" in str(error)


def test_copy_refused_by_engine_error_names_phase(phase_under_test: PhaseUnderTest) -> None:
    phase_under_test.engine.failures["put_archive"] = EngineError("no space left on device")
    assert str(phase_under_test.fails(Copy((file("/x"),)))) == (
        "demo: setup: no space left on device: run the same command again; log: .stamps/demo/7-setup.log"
    )


def test_folder_copied_twice_keeps_first_owner_and_mode(phase_under_test: PhaseUnderTest) -> None:
    secret = Entry("/opt/s", "dir", "root", 0o700, SOMEWHERE)
    again = Entry("/opt/s", "dir", "ada", 0o755, SOMEWHERE)
    node = phase_under_test.files(Copy((secret,)), Copy((again,))).nodes["/opt/s"]
    assert (node.uid, node.mode) == (0, 0o700)


def test_copy_below_link_copied_before_follows_link(phase_under_test: PhaseUnderTest) -> None:
    real = Entry("/opt/real", "dir", "root", 0o755, SOMEWHERE)
    link = Entry("/opt/cur", "link", "root", 0o777, SOMEWHERE, target="real")
    file = Entry("/opt/cur/f", "file", "root", 0o644, SOMEWHERE, content=b"x")
    files = phase_under_test.files(Copy((real, link)), Copy((file,)))
    assert files.nodes["/opt/real/f"].content == b"x"


# What must be there


def test_required_paths_missing_are_all_named_in_one_error(phase_under_test: PhaseUnderTest) -> None:
    paths = (("/etc/passwd", SOMEWHERE), ("/one", SOMEWHERE), ("/two", SOMEWHERE))
    error = phase_under_test.fails(RequirePaths(paths, hint="make them"))
    assert isinstance(error, PathsMissing)
    assert str(error) == f"{SOMEWHERE}: 2 required paths are missing: /one, /two: make them"
    assert str(phase_under_test.fails(RequirePaths(paths[:2], hint="make it"))) == (
        f"{SOMEWHERE}: 1 required path is missing: /one: make it"
    )


@pytest.mark.parametrize(
    ("path", "exists"),
    [("/good", True), ("/chain", True), ("/dangling", False), ("/circle", False), ("/folder", True), ("/tmp", True)],
)
def test_required_path_that_is_link_exists_if_its_target_exists(
    phase_under_test: PhaseUnderTest, path: str, exists: bool
) -> None:
    links = {"/good": "etc/passwd", "/chain": "/good", "/dangling": "/no", "/circle": "/elcric", "/elcric": "/circle"}
    for name, target in {**links, "/folder": "/tmp"}.items():
        phase_under_test.engine.files(BASE).add(name, Node("link", 0o777, target=target))
    require = RequirePaths(((path, SOMEWHERE),))
    if exists:
        assert phase_under_test.run_phase(require)
    else:
        assert isinstance(phase_under_test.fails(require), PathsMissing)


# Where a build begins


def test_base_image_present_is_not_pulled(tmp_path: Path) -> None:
    phase_under_test = PhaseUnderTest(tmp_path, phase="base")
    new_image = phase_under_test.run_phase(FromImage(BASE, SOMEWHERE), parent="")
    assert phase_under_test.engine.called("pull") == []
    (image,) = [image for image in phase_under_test.engine.images() if image.id == new_image]
    assert image.labels["of"] == phase_under_test.base


def test_base_image_absent_is_pulled_with_progress_events(tmp_path: Path) -> None:
    phase_under_test = PhaseUnderTest(tmp_path, phase="base")
    other = FakeEngine()
    other._made = 1000
    phase_under_test.engine.registry["far:1"] = other._images[other.add_image("far:1", base_with_ada())]
    phase_under_test.run_phase(FromImage("far:1", SOMEWHERE), parent="")
    assert phase_under_test.engine.called("pull") == [("pull", "far:1")]
    assert phase_under_test.seen == [
        events.Pull("demo", "far:1", "Downloading", "abc123", 50, 100),
        events.Pull("demo", "far:1", "Pull complete", "abc123"),
    ]
    assert phase_under_test.log == ["abc123 Pull complete"]


def test_base_image_in_no_registry_error_names_config_line(tmp_path: Path) -> None:
    phase_under_test = PhaseUnderTest(tmp_path, phase="base")
    with pytest.raises(EngineError) as excinfo:
        phase_under_test.run_phase(FromImage("no:1", SOMEWHERE), parent="")
    assert str(excinfo.value) == (
        f"{SOMEWHERE}: base image no:1 can't be pulled (manifest unknown): "
        "check its name and the network, or bring it with docker load"
    )


@pytest.mark.parametrize(
    ("reference", "login"),
    [
        ("team/base:1", "docker login"),
        ("base", "docker login"),
        ("ghcr.io/team/base:1", "docker login ghcr.io"),
        ("localhost/base", "docker login localhost"),
        ("10.0.0.1:5000/base@sha256:1", "docker login 10.0.0.1:5000"),
    ],
)
def test_base_image_access_denied_remedy_names_docker_login_of_registry(
    tmp_path: Path, reference: str, login: str
) -> None:
    phase_under_test = PhaseUnderTest(tmp_path, phase="base")
    phase_under_test.engine.failures["pull"] = EngineError(f"pulling {reference}: pull access denied for base")
    with pytest.raises(EngineError) as excinfo:
        phase_under_test.run_phase(FromImage(reference, SOMEWHERE), parent="")
    assert excinfo.value.remedy == f"check its name, or {login}, then run the same command again"


@pytest.mark.parametrize(
    ("line", "is_refusal"),
    [
        ("ERROR: pulling from host 10.0.0.1 failed with status code [manifests 1]: 401 Unauthorized", True),
        ("pull access denied, repository does not exist or may require authorization", True),
        ("Get https://10.0.0.1/v2/base/manifests/1: no basic auth credentials", True),
        ("/bin/sh: /root/setup: Permission denied", False),
    ],
)
def test_dockerfile_base_access_denied_remedy_names_docker_login(tmp_path: Path, line: str, is_refusal: bool) -> None:
    phase_under_test = PhaseUnderTest(tmp_path, phase="dockerfile")
    with pytest.raises(StepError) as excinfo:  # the fake shows its lines
        phase_under_test.run_phase(
            from_dockerfile(phase_under_test, f"FROM {BASE}\nRUN echo '{line}'; exit 1\n"), parent=""
        )
    assert ("docker login to the registry" in excinfo.value.remedy) is is_refusal


def from_dockerfile(phase_under_test: PhaseUnderTest, text: str) -> FromDockerfile:
    write(phase_under_test.root, "habitats/demo/Dockerfile", text)
    write(phase_under_test.root, "habitats/demo/note", "hello")
    return FromDockerfile(dockerfile_context(load(phase_under_test.root)))


def test_base_image_pull_without_disk_space_remedy_names_engine_disk(tmp_path: Path) -> None:
    phase_under_test = PhaseUnderTest(tmp_path, phase="base")
    phase_under_test.engine.failures["pull"] = EngineError("pulling far:1: write /layer: no space left on device")
    with pytest.raises(EngineError) as excinfo:
        phase_under_test.run_phase(FromImage("far:1", SOMEWHERE), parent="")
    assert excinfo.value.remedy.startswith("the engine's disk is full: ")


def test_dockerfile_build_without_disk_space_remedy_names_engine_disk(tmp_path: Path) -> None:
    phase_under_test = PhaseUnderTest(tmp_path, phase="dockerfile")
    text = f"FROM {BASE}\nRUN echo No space left on device; exit 1\n"  # the fake shows its lines
    with pytest.raises(StepError) as excinfo:
        phase_under_test.run_phase(from_dockerfile(phase_under_test, text), parent="")
    assert excinfo.value.remedy.startswith("the engine's disk is full: ")


def test_temporary_file_write_failure_error_says_make_room(
    phase_under_test: PhaseUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.TemporaryFile", partial(Path.open, Path("/dev/full"), "w+b"))
    failed = phase_under_test.fails(Copy((file("/x", content=bytes(1 << 20)),)))
    assert str(failed) == f"{tempfile.gettempdir()}: can't be written (No space left on device): make room on the disk"


@pytest.mark.parametrize(
    ("dest", "kind", "text"),
    [
        ("/etc", "file", "/etc is a folder in the image, and a file is to be copied there: write /etc/ to copy it"),
        ("/etc", "link", "/etc is a folder in the image, and a link is to be copied there: write /etc/ to copy it"),
        ("/etc/passwd", "dir", "/etc/passwd is a file in the image, and a folder is to be copied there: write"),
        ("/etc/passwd/x", "file", "/etc/passwd is a file in the image, and /etc/passwd/x is to be copied below it: "),
        ("/etc/passwd/x/y", "dir", "/etc/passwd is a file in the image, and /etc/passwd/x is to be copied below it: "),
    ],
)
def test_copied_entry_of_another_kind_than_image_has_is_error_with_its_line(
    phase_under_test: PhaseUnderTest, dest: str, kind: Any, text: str
) -> None:
    entry = Entry(dest, kind, "root", 0o755, SOMEWHERE, target="/x" if kind == "link" else "")
    assert str(phase_under_test.fails(Copy((file("/srv/fine"), entry)))).startswith(f"{SOMEWHERE}: {text}")


def test_dockerfile_build_copies_from_its_context_and_shows_output(tmp_path: Path) -> None:
    phase_under_test = PhaseUnderTest(tmp_path, phase="dockerfile")
    image = phase_under_test.run_phase(
        from_dockerfile(phase_under_test, f"FROM {BASE}\nCOPY note /note\nUSER root\n"), parent=""
    )
    assert phase_under_test.engine.files(image).nodes["/note"].content == b"hello"
    config = phase_under_test.engine.image_config(image)
    assert config is not None
    assert (config.user, config.entrypoint) == ("root", ("/init",))
    shown = [event for event in phase_under_test.seen if isinstance(event, events.Output)]
    assert [event.text for event in shown][:2] == [f"FROM {BASE}", "COPY note /note"]


def test_dockerfile_build_context_has_modes_and_times_of_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    phase_under_test = PhaseUnderTest(tmp_path, phase="dockerfile")
    modes = {"key": 0o600, "readonly": 0o440, "tool": 0o4755, "shared": 0o664, "d/tmp": 0o1777, "d/team": 0o2775}
    for name, mode in modes.items():
        path = write(tmp_path, f"habitats/demo/{name}{'' if mode < 0o1000 or mode & 0o4000 else '/x'}")
        path = path.parent if path.name == "x" else path
        path.chmod(mode)
        os.utime(path, (1, 981_173_106))
    sent: dict[str, tarfile.TarInfo] = {}

    def build(context: DockerfileArchive, *_: object) -> str:
        with tarfile.open(fileobj=context.tar) as members:
            sent.update({member.name: member for member in members})
        raise EngineError("enough")

    monkeypatch.setattr(phase_under_test.engine, "build", build)
    with pytest.raises(StepError, match="enough"):
        phase_under_test.run_phase(from_dockerfile(phase_under_test, f"FROM {BASE}\n"), parent="")
    assert {name: sent[name].mode for name in modes} == modes
    assert {sent[name].mtime for name in modes} == {981_173_106}
    assert {(member.uid, member.gid) for member in sent.values()} == {(0, 0)}


def test_dockerfile_build_failure_error_names_dockerfile(tmp_path: Path) -> None:
    phase_under_test = PhaseUnderTest(tmp_path, phase="dockerfile")
    with pytest.raises(StepError) as excinfo:
        phase_under_test.run_phase(from_dockerfile(phase_under_test, f"FROM {BASE}\nRUN exit 3\n"), parent="")
    assert str(excinfo.value).startswith("habitats/demo/Dockerfile: docker build ended with exit code 1: fix it")
    assert phase_under_test.engine.called("commit") == []


@pytest.mark.parametrize("number", ["²", "9" * 5000])
def test_passwd_row_with_invalid_uid_is_no_user(number: str) -> None:
    """A command of the image may have written its passwd."""
    accounts = UserDatabase(lambda _: f"ada:x:{number}:7::/home/ada:/bin/sh\n".encode())
    with pytest.raises(ConfigError, match="there is no user 'ada' in the image"):
        accounts.ids("ada", SOMEWHERE)
