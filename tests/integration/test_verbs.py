"""Living with a built habitat: `doit exec`, `shell`, `logs`, `stop` and `destroy`, and ways to start it."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from conftest import CommandResult, Project, RunningDoit, clear, docker, fresh_name, wait_until
from terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phases.core.engine.client import DockerEngine

pytestmark = pytest.mark.engine

WAIT = "while [ ! -e /tmp/go ]; do sleep 0.1; done"


@dataclass
class BuiltHabitat:
    """A project with a habitat that is built once; nothing in these tests changes its image."""

    project: Project
    name: str

    @property
    def container(self) -> str:
        return f"habitat-{self.name}"

    def task(self, verb: str) -> str:
        return f"{verb}:{self.name}"

    def doit(self, verb: str, *args: str, env: dict[str, str] | None = None) -> CommandResult:
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
def built(engine: DockerEngine, busybox: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BuiltHabitat]:
    flat = BuiltHabitat(Project(tmp_path_factory.mktemp("flat")), fresh_name())
    flat.project.habitat(
        flat.name,
        f"""
        base_image: {busybox}
        env:
          - WORKDIR=/work
        secrets:
          - {{name: T, command: echo s3cret-word, start: true, variable: T}}
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
def flat(built: BuiltHabitat, engine: DockerEngine) -> BuiltHabitat:
    """The habitat without a container of an earlier test."""
    for container in built.containers():
        engine.remove(container)
    return built


def lines(ended: CommandResult) -> list[str]:
    return ended.out.splitlines()


# Ways to start


def test_detached_start_keeps_container_running_until_stop(flat: BuiltHabitat) -> None:
    done = flat.doit("start", "--detach")
    assert done.code == 0, done.out
    assert lines(done)[-1] == (
        f"• {flat.container} is running: doit shell:{flat.name} opens a shell in it, doit stop:{flat.name} stops it"
    )
    assert flat.state() == "running"
    container = flat.state(".Id")
    assert piped(flat, "exec", "--", "touch", "/tmp/go") == (0, b"", b"")
    joined = flat.doit("start")
    assert (joined.code, lines(joined)[-2:]) == (0, ["begun", "ended"]), joined.out
    assert (flat.state(), flat.state(".Id")) == ("running", container)
    stopped = flat.doit("stop")
    assert (stopped.code, flat.state()) == (0, "exited")


def test_start_cmd_option_runs_that_command(flat: BuiltHabitat) -> None:
    done = flat.doit("start", "--cmd", "echo $((6 * 7)) for $(id -un); exit 3")
    assert done.code == 1
    assert lines(done)[-2:] == [
        "42 for agent",
        f"❌ the command of {flat.name} ended with exit code 3: its container {flat.container} is kept",
    ]


def test_start_new_option_keeps_old_container(flat: BuiltHabitat) -> None:
    assert flat.doit("start", "--cmd", "echo work >~/work").code == 0
    old = flat.state(".Id")
    done = flat.doit("start", "--new", "--cmd", "ls ~/work 2>/dev/null || echo fresh")
    assert done.code == 0, done.out
    assert lines(done)[-1] == "fresh"
    (aside,) = [name for name in flat.containers() if name != flat.container]
    assert flat.state(".Id", aside) == old
    assert f"• {flat.container} was created by an earlier start: kept as {aside}; " in done


def test_start_detach_with_cmd_option_is_refused(flat: BuiltHabitat) -> None:
    done = flat.doit("start", "--detach", "--cmd", "true")
    assert done.code == 1
    assert "--detach runs no command, but --cmd gives one" in lines(done)[-1]
    assert flat.containers() == []


# exec


def piped(flat: BuiltHabitat, verb: str, *args: str, put: bytes = b"") -> tuple[int, bytes, bytes]:
    """Exit code and the two outputs of a `doit` that is put something in."""
    argv = (sys.executable, "-m", "doit", flat.task(verb), *args)
    done = subprocess.run(argv, cwd=flat.project.root, input=put, capture_output=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def test_exec_returns_exit_code_and_outputs_of_command(flat: BuiltHabitat) -> None:
    script = "id -un; pwd; cat; echo err >&2; exit 7"
    assert piped(flat, "exec", "--", "sh", "-c", script, put=b"put in\n") == (7, b"agent\n/work\nput in\n", b"err\n")
    assert flat.state() == "exited"


def test_exec_arguments_arrive_unchanged(flat: BuiltHabitat) -> None:
    words = ("a=b", "", "*", "x  y", "--", "-z", "$HOME", "`id`", "'", '"', "\\", "\n", "ü☃", "exec:x", "--help")
    told = "".join(f"<{word}>" for word in words).encode()
    assert piped(flat, "exec", "--", "printf", "<%s>", *words) == (0, told, b"")


@pytest.mark.parametrize("args", [(), ("--at", "users")])
def test_secrets_in_shell_are_readable_by_user_only_and_masked(flat: BuiltHabitat, args: tuple[str, ...]) -> None:
    script = b'cat /run/secrets/T; printf " %s " "$T"; stat -c "%U %a" /run/secrets/T; cat /run/secrets/T >&2\n'
    assert piped(flat, "shell", *args, put=script) == (0, b"*** *** agent 400\n", b"***")


def test_secrets_in_exec_output_are_masked(flat: BuiltHabitat) -> None:
    assert piped(flat, "exec", "--", "cat", "/run/secrets/T") == (0, b"***", b"")
    assert piped(flat, "exec", "--", "sh", "-c", "echo ${#T} $T >&2") == (0, b"", b"11 ***\n")


def test_exec_large_binary_data_arrives_completely(flat: BuiltHabitat) -> None:
    data = bytes(range(256)) * 20000
    assert piped(flat, "exec", "--", "cat", put=data) == (0, data, b"")


def test_exec_unread_input_does_not_block(flat: BuiltHabitat) -> None:
    assert piped(flat, "exec", "--", "true", put=b"x" * 10_000_000) == (0, b"", b"")


def test_exec_input_arrives_before_its_end(flat: BuiltHabitat) -> None:
    argv = (sys.executable, "-m", "doit", flat.task("exec"), "--", "sh", "-c", "read -r x; echo got $x; cat")
    with subprocess.Popen(argv, cwd=flat.project.root, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"one\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"got one\n"
        process.stdin.close()
        assert process.wait(20) == 0


def test_exec_messages_of_program_are_not_in_stdout(flat: BuiltHabitat) -> None:
    with RunningDoit(flat.project, flat.task("start")) as running:
        running.wait_for("begun\n")
        code, out, err = piped(flat, "exec", "--", "touch", "/tmp/go")
        assert (code, out) == (0, b"")
        assert running.end().code == 0
    assert err in (b"", f"• {flat.container} stays running: another session is using it\n".encode())
    code, out, err = piped(flat, "exec")
    assert (code, out) == (1, b"")
    assert err.decode().splitlines() == [
        f"❌ {flat.name}: no command is given: write it like doit exec:{flat.name} -- ls -l"
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_exec_signal_is_passed_to_command(flat: BuiltHabitat, number: signal.Signals) -> None:
    script = "trap 'echo caught; exit 5' INT TERM; echo up; while :; do sleep 0.1; done"
    with RunningDoit(flat.project, flat.task("exec"), "--", "sh", "-c", script) as running:
        running.wait_for("up\n")
        running.process.send_signal(number)
        ended = running.end()
    assert ended.code == 5, ended.out
    assert {"up", "caught"} <= set(lines(ended))
    assert "stopped" not in ended
    assert flat.state() == "exited"


def test_exec_second_signal_ends_command_that_ignores_first(flat: BuiltHabitat) -> None:
    script = "trap 'echo no' INT; echo up; while :; do sleep 0.1; done"
    with RunningDoit(flat.project, flat.task("exec"), "--", "sh", "-c", script) as running:
        running.wait_for("up\n")
        running.process.send_signal(signal.SIGINT)
        running.wait_for("no\n")
        running.process.send_signal(signal.SIGINT)
        ended = running.end()
    assert ended.code == 130
    assert "Traceback" not in ended
    assert flat.state() == "exited"


def test_exec_command_ends_when_reader_closes_pipe(flat: BuiltHabitat) -> None:
    assert flat.doit("start", "--detach").code == 0
    argv = (sys.executable, "-m", "doit", flat.task("exec"), "--", "yes", "forever")
    with subprocess.Popen(argv, cwd=flat.project.root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == b"forever\n"
            process.stdout.close()
            assert process.wait(20) == 1
        finally:
            process.kill()
    wait_until(lambda: "yes" not in docker("top", flat.container, "-o", "pid,comm").split(), seconds=10)
    assert flat.state() == "running"


def test_exec_on_terminal_passes_ctrl_c_to_command(flat: BuiltHabitat) -> None:
    script = """
        trap 'echo caught; c=1' INT
        test -t 0 && test -t 1 && echo a terminal
        until [ $c ]; do sleep 0.1; done
        exit 5
    """
    with Terminal(flat.project, flat.task("exec"), "--", "sh", "-c", script) as terminal:
        terminal.wait_for("a terminal\n")
        terminal.type("\x03")
        assert terminal.end() == 5, terminal.shown
        assert "caught\n" in terminal.shown
        assert "❌" not in terminal.shown
        assert terminal.now == terminal.before


def test_exec_joins_running_container_and_last_session_stops_container(flat: BuiltHabitat) -> None:
    with RunningDoit(flat.project, flat.task("start")) as running:
        running.wait_for("begun\n")
        container = flat.state(".Id")
        with RunningDoit(flat.project, flat.task("exec"), "--", "sh", "-c", "echo in; sleep 3; echo out") as joined:
            joined.wait_for("in\n")
            docker("exec", flat.container, "touch", "/tmp/go")
            assert running.end().code == 0
            assert flat.state() == "running"
            ended = joined.end()
        assert (ended.code, lines(ended)) == (0, ["in", "out"])
    assert (flat.state(), flat.state(".Id")) == ("exited", container)


def test_exec_habitat_not_built_is_error(project: Project, name: str, busybox: str) -> None:
    project.habitat(name, f"base_image: {busybox}\n")
    done = project.doit(f"exec:{name}", "--", "true")
    assert (done.code, lines(done)) == (1, [f"❌ {name}: it isn't built yet: doit start:{name} builds and starts it"])


def test_empty_task_argument_is_one_line_error(project: Project) -> None:
    done = project.doit("")
    assert (done.code, lines(done)) == (3, ["ERROR: there is no task '': `doit list --all` shows all tasks"])


# shell


def test_shell_reads_commands_from_pipe_and_returns_exit_code(flat: BuiltHabitat) -> None:
    assert piped(flat, "shell", put=b"id -un; pwd; echo err >&2\nexit 5\n") == (5, b"agent\n/work\n", b"err\n")
    assert flat.state() == "exited"


def test_shell_without_terminal_or_pipe_is_refused(flat: BuiltHabitat) -> None:
    done = flat.doit("shell")
    told = "a shell needs a terminal, or commands from a pipe"
    remedy = f"doit exec:{flat.name} -- COMMAND runs a command without one"
    assert (done.code, lines(done)) == (1, [f"❌ {flat.name}: {told}: {remedy}"])
    assert flat.containers() == []


def test_shell_on_terminal_stops_container_at_end(flat: BuiltHabitat) -> None:
    with Terminal(flat.project, flat.task("shell")) as terminal:
        terminal.wait_for("/work $ ")
        terminal.type("echo $((6 * 7)) in $PWD; exit 4\r")
        assert terminal.end() == 4, terminal.shown
        assert "42 in /work\n" in terminal.shown
        assert terminal.now == terminal.before
    assert flat.state() == "exited"


def test_shell_in_snapshot_runs_as_phase_user_and_leaves_nothing(flat: BuiltHabitat) -> None:
    script = b"id -un; pwd; touch /tmp/mine; test -d /work && echo with it; exit 6\n"
    assert piped(flat, "shell", "--at", "users", put=script) == (6, b"agent\n/\n", b"")
    assert piped(flat, "shell", "--at", "workdir", put=script)[:2] == (6, b"agent\n/work\nwith it\n")
    assert flat.containers() == []


def test_shell_in_snapshot_ended_by_signal_leaves_nothing(flat: BuiltHabitat) -> None:
    with Terminal(flat.project, flat.task("shell"), "--at", "base") as terminal:
        terminal.wait_for("/ # ")
        assert len(flat.containers()) == 1
        terminal.process.terminate()
        assert terminal.end() == 128 + signal.SIGTERM, terminal.shown
    assert flat.containers() == []


def test_shell_in_missing_snapshot_is_error(project: Project, name: str, busybox: str) -> None:
    project.habitat(name, f"base_image: {busybox}\n")
    argv = (sys.executable, "-m", "doit", f"shell:{name}", "--at", "setup")
    done = subprocess.run(argv, cwd=project.root, input=b"", capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode() == f"❌ {name}: there is no snapshot of setup: doit setup:{name} builds it\n"


# logs


def test_logs_show_phase_and_container_output_without_terminal_control(flat: BuiltHabitat) -> None:
    assert flat.doit("start", "--detach").code == 0
    docker("exec", flat.container, "sh", "-c", "printf 'from main \\033[2J\\n' >/proc/1/fd/1")
    done = flat.doit("logs")
    assert done.code == 0
    assert lines(done)[-5:] == [
        f"── setup (.stamps/{flat.name}/7-setup.log)",
        "$ setup command 1 of 1 (as root)",
        "setting up",
        f"── {flat.container} (running)",
        "from main \\x1b[2J",
    ]
    assert lines(flat.doit("logs", "--phase", "setup")) == lines(done)[-5:-2]


def test_logs_follow_ends_on_signal(flat: BuiltHabitat) -> None:
    assert flat.doit("start", "--detach").code == 0
    with RunningDoit(flat.project, flat.task("logs"), "--follow") as following:
        following.wait_for("(running)\n")
        following.process.send_signal(signal.SIGINT)
        ended = following.end()
    assert (ended.code, lines(ended)[-1]) == (130, "stopped")
    assert flat.state() == "running"


def test_logs_follow_ends_when_container_stops(flat: BuiltHabitat) -> None:
    assert flat.doit("start", "--detach").code == 0
    with RunningDoit(flat.project, flat.task("logs"), "--follow") as following:
        following.wait_for("(running)\n")
        docker("exec", flat.container, "sh", "-c", "echo word >/proc/1/fd/1")
        following.wait_for("word\n")
        assert following.process.poll() is None
        assert flat.doit("stop").code == 0
        assert following.end().code == 0


# stop


def test_stop_refuses_container_with_session_unless_forced(flat: BuiltHabitat) -> None:
    with RunningDoit(flat.project, flat.task("start")) as running:
        running.wait_for("begun\n")
        refused = flat.doit("stop")
        assert refused.code == 1
        (told,) = lines(refused)
        assert told.startswith(
            f"❌ {flat.container} stays running: it is in use by doit with pid {running.process.pid} since "
        )
        assert told.endswith(f": doit {flat.task('stop')} --force stops it anyway")
        assert flat.state() == "running"
        forced = flat.doit("stop", "--force")
        assert (forced.code, len(lines(forced))) == (0, 1), forced.out
        assert forced.out.startswith(
            f"• {flat.container} is stopped; it was in use by doit with pid {running.process.pid}"
        )
        ended = running.end()
    assert ended.code == 1
    assert f"container {flat.container} was stopped" in ended
    assert "Traceback" not in ended


def test_stop_without_running_container_is_no_error(flat: BuiltHabitat) -> None:
    never = flat.doit("stop")
    assert (never.code, lines(never)) == (0, [f"• {flat.container} isn't running"])
    with RunningDoit(flat.project, flat.task("start")) as running:
        running.wait_for("begun\n")
        docker("exec", flat.container, "touch", "/tmp/go")
        assert running.end().code == 0
    flat.is_up()
    stopped = flat.doit("stop")
    assert (stopped.code, lines(stopped)) == (0, [f"• {flat.container} is stopped"])
    assert flat.state() == "exited"
    assert flat.doit("stop").out == never.out


def test_unknown_option_is_one_line_error(flat: BuiltHabitat) -> None:
    done = flat.doit("stop", "--frce")
    assert done.code == 3
    assert lines(done) == ["ERROR: option --frce not recognized: `doit help VERB:NAME` lists the options"]


# destroy


def test_destroy_removes_containers_of_habitat_only(flat: BuiltHabitat) -> None:
    assert flat.doit("start", "--cmd", "echo work >~/work; touch /tmp/passing").code == 0
    assert flat.doit("start", "--new", "--detach").code == 0
    (aside,) = [name for name in flat.containers() if name != flat.container]
    other = f"{flat.container}-other"
    docker("container", "create", "--name", other, f"habitat-{flat.name}:final")
    shown = [
        f"{flat.container} (running): nothing has changed in it since its image",
        f"{aside} (stopped): 1 added: /home/agent/work",
    ]
    refused = flat.doit("destroy")
    told = f"❌ {flat.name}: nothing was removed, since there is no terminal to ask on"
    assert (refused.code, lines(refused)) == (1, [*shown, f"{told}: doit destroy:{flat.name} --yes removes them"])
    assert flat.containers() == sorted([flat.container, aside, other])
    done = flat.doit("destroy", "--yes")
    assert (done.code, lines(done)) == (0, [*shown, f"• removed {flat.container}, {aside}; its snapshots are kept"])
    assert flat.containers() == [other]
    again = flat.doit("start", "--cmd", "ls ~")
    assert (again.code, again.ran) == (0, [])


@pytest.mark.parametrize(("answer", "goes"), [("y\r", True), ("\r", False), ("no\r", False), ("\x04", False)])
def test_destroy_on_terminal_removes_only_after_yes(flat: BuiltHabitat, answer: str, goes: bool) -> None:
    assert flat.doit("start", "--cmd", "echo work >~/work").code == 0
    with Terminal(flat.project, flat.task("destroy")) as terminal:
        terminal.wait_for("Remove the container, with all changes in it? [y/N] ")
        terminal.type(answer)
        assert terminal.end() == (0 if goes else 1), terminal.shown
        assert ("nothing was removed" in terminal.shown) is not goes
    assert flat.containers() == ([] if goes else [flat.container])
