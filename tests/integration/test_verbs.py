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

    from phases.core.engine.docker_api.client import DockerEngine

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

    def state(self, query: str = ".State.Status", container: str = "") -> str:
        return docker("container", "inspect", "--format", f"{{{{{query}}}}}", container or self.container)

    def containers(self) -> list[str]:
        """All of the habitat's containers, whatever they are for."""
        rows = docker("container", "ls", "--all", "--format", "{{.Names}}", "--filter", f"name={self.name}")
        return sorted(rows.split())

    def is_up(self) -> None:
        """Make it run, with nobody in it."""
        docker("container", "start", self.container)


@pytest.fixture(scope="module")
def built_habitat(
    engine: DockerEngine, busybox: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BuiltHabitat]:
    habitat = BuiltHabitat(Project(tmp_path_factory.mktemp("project")), fresh_name())
    habitat.project.habitat(
        habitat.name,
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
    result = habitat.project.doit(f"final:{habitat.name}")
    assert result.code == 0, result.out
    yield habitat
    clear(engine, habitat.name)


@pytest.fixture
def habitat(built_habitat: BuiltHabitat, engine: DockerEngine) -> BuiltHabitat:
    """The habitat without a container of an earlier test."""
    for container in built_habitat.containers():
        engine.remove(container)
    return built_habitat


def lines(result: CommandResult) -> list[str]:
    return result.out.splitlines()


# Ways to start


def test_detached_start_keeps_container_running_until_stop(habitat: BuiltHabitat) -> None:
    result = habitat.doit("start", "--detach")
    assert result.code == 0, result.out
    assert lines(result)[-1] == (
        f"• {habitat.container} is running: `doit shell:{habitat.name}` opens a shell in it, "
        f"`doit stop:{habitat.name}` stops it"
    )
    assert habitat.state() == "running"
    container = habitat.state(".Id")
    assert piped(habitat, "exec", "--", "touch", "/tmp/go") == (0, b"", b"")
    joined = habitat.doit("start")
    assert (joined.code, lines(joined)[-2:]) == (0, ["begun", "ended"]), joined.out
    assert (habitat.state(), habitat.state(".Id")) == ("running", container)
    stopped = habitat.doit("stop")
    assert (stopped.code, habitat.state()) == (0, "exited")


@pytest.mark.guarantee("exec-passes-bytes-unchanged")
def test_start_cmd_option_runs_that_command_and_stdout_is_its_own(habitat: BuiltHabitat) -> None:
    code, out, err = piped(habitat, "start", "--cmd", "echo $((6 * 7)) for $(id -un) $T; exit 3")
    assert (code, out) == (3, b"42 for agent s3cret-word\n")
    failure = f"❌ the command of {habitat.name} ended with exit code 3: its container {habitat.container} is kept"
    assert err.decode().splitlines()[-1] == failure


def test_start_new_option_keeps_old_container(habitat: BuiltHabitat) -> None:
    assert habitat.doit("start", "--cmd", "echo work >~/work").code == 0
    old = habitat.state(".Id")
    result = habitat.doit("start", "--new", "--cmd", "ls ~/work 2>/dev/null || echo fresh")
    assert result.code == 0, result.out
    assert lines(result)[-1] == "fresh"
    (aside,) = [name for name in habitat.containers() if name != habitat.container]
    assert habitat.state(".Id", aside) == old
    assert f"• the container that was {habitat.container} before is kept as {aside}: " in result


def test_start_detach_with_cmd_option_is_refused(habitat: BuiltHabitat) -> None:
    result = habitat.doit("start", "--detach", "--cmd", "true")
    assert result.code == 1
    assert "--detach runs no command, but --cmd gives one" in lines(result)[-1]
    assert habitat.containers() == []


# exec


def piped(habitat: BuiltHabitat, verb: str, *args: str, put: bytes = b"") -> tuple[int, bytes, bytes]:
    """Exit code and the two outputs of a `doit` that is put something in."""
    argv = (sys.executable, "-m", "doit", habitat.task(verb), *args)
    result = subprocess.run(argv, cwd=habitat.project.root, input=put, capture_output=True, timeout=60, check=False)
    return result.returncode, result.stdout, result.stderr


@pytest.mark.guarantee("exec-passes-bytes-unchanged")
def test_exec_returns_exit_code_and_outputs_of_command(habitat: BuiltHabitat) -> None:
    script = "id -un; pwd; cat; echo err >&2; exit 7"
    assert piped(habitat, "exec", "--", "sh", "-c", script, put=b"put in\n") == (7, b"agent\n/work\nput in\n", b"err\n")
    assert habitat.state() == "exited"


@pytest.mark.guarantee("exec-passes-bytes-unchanged")
def test_exec_arguments_arrive_unchanged(habitat: BuiltHabitat) -> None:
    words = ("a=b", "", "*", "x  y", "--", "-z", "$HOME", "`id`", "'", '"', "\\", "\n", "ü☃", "exec:x", "--help")
    expected = "".join(f"<{word}>" for word in words).encode()
    assert piped(habitat, "exec", "--", "printf", "<%s>", *words) == (0, expected, b"")


@pytest.mark.parametrize("args", [(), ("--at", "users")])
def test_secrets_in_shell_are_readable_by_user_only(habitat: BuiltHabitat, args: tuple[str, ...]) -> None:
    script = b'cat /run/secrets/T; printf " %s " "$T"; stat -c "%U %a" /run/secrets/T; cat /run/secrets/T >&2\n'
    assert piped(habitat, "shell", *args, put=script) == (
        0,
        b"s3cret-word s3cret-word agent 400\n",
        b"s3cret-word",
    )


@pytest.mark.guarantee("exec-passes-bytes-unchanged")
def test_exec_large_binary_data_with_secret_arrives_completely(habitat: BuiltHabitat) -> None:
    data = bytes(range(256)) * 20000 + b"s3cret-word"
    assert piped(habitat, "exec", "--", "cat", put=data) == (0, data, b"")


def test_exec_unread_input_does_not_block(habitat: BuiltHabitat) -> None:
    assert piped(habitat, "exec", "--", "true", put=b"x" * 10_000_000) == (0, b"", b"")


def test_exec_input_arrives_before_its_end(habitat: BuiltHabitat) -> None:
    argv = (sys.executable, "-m", "doit", habitat.task("exec"), "--", "sh", "-c", "read -r x; echo got $x; cat")
    with subprocess.Popen(argv, cwd=habitat.project.root, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"one\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"got one\n"
        process.stdin.close()
        assert process.wait(20) == 0


def test_exec_messages_of_program_are_not_in_stdout(habitat: BuiltHabitat) -> None:
    with RunningDoit(habitat.project, habitat.task("start")) as running:
        running.wait_for("begun\n")
        code, out, err = piped(habitat, "exec", "--", "touch", "/tmp/go")
        assert (code, out) == (0, b"")
        assert running.end().code == 0
    assert err in (b"", f"• {habitat.container} stays running: another session is using it\n".encode())
    code, out, err = piped(habitat, "exec")
    assert (code, out) == (3, b"")
    assert err.decode() == f"ERROR: exec needs a command, as in `doit exec:{habitat.name} -- make test`\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_exec_signal_is_passed_to_command(habitat: BuiltHabitat, number: signal.Signals) -> None:
    script = "trap 'echo caught; exit 5' INT TERM; echo up; while :; do sleep 0.1; done"
    with RunningDoit(habitat.project, habitat.task("exec"), "--", "sh", "-c", script) as running:
        running.wait_for("up\n")
        running.process.send_signal(number)
        result = running.end()
    assert result.code == 5, result.out
    assert {"up", "caught"} <= set(lines(result))
    assert "stopped" not in result
    assert habitat.state() == "exited"


def test_exec_second_signal_ends_command_that_ignores_first(habitat: BuiltHabitat) -> None:
    script = "trap 'echo no' INT; echo up; while :; do sleep 0.1; done"
    with RunningDoit(habitat.project, habitat.task("exec"), "--", "sh", "-c", script) as running:
        running.wait_for("up\n")
        running.process.send_signal(signal.SIGINT)
        running.wait_for("no\n")
        running.process.send_signal(signal.SIGINT)
        result = running.end()
    assert result.code == 130
    assert "Traceback" not in result
    assert habitat.state() == "exited"


def test_exec_command_ends_when_reader_closes_pipe(habitat: BuiltHabitat) -> None:
    assert habitat.doit("start", "--detach").code == 0
    argv = (sys.executable, "-m", "doit", habitat.task("exec"), "--", "yes", "forever")
    with subprocess.Popen(argv, cwd=habitat.project.root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == b"forever\n"
            process.stdout.close()
            assert process.wait(20) == 1
        finally:
            process.kill()
    wait_until(lambda: "yes" not in docker("top", habitat.container, "-o", "pid,comm").split(), seconds=10)
    assert habitat.state() == "running"


def test_exec_on_terminal_passes_ctrl_c_to_command(habitat: BuiltHabitat) -> None:
    script = """
        trap 'echo caught; c=1' INT
        test -t 0 && test -t 1 && echo a terminal
        until [ $c ]; do sleep 0.1; done
        exit 5
    """
    with Terminal(habitat.project, habitat.task("exec"), "--", "sh", "-c", script) as terminal:
        terminal.wait_for("a terminal\n")
        terminal.type("\x03")
        assert terminal.end() == 5, terminal.shown
        assert "caught\n" in terminal.shown
        assert "❌" not in terminal.shown
        assert terminal.now == terminal.before


@pytest.mark.guarantee("session-keeps-container-running")
def test_exec_joins_running_container_and_last_session_stops_container(habitat: BuiltHabitat) -> None:
    with RunningDoit(habitat.project, habitat.task("start")) as running:
        running.wait_for("begun\n")
        container = habitat.state(".Id")
        with RunningDoit(
            habitat.project, habitat.task("exec"), "--", "sh", "-c", "echo in; sleep 3; echo out"
        ) as joined:
            joined.wait_for("in\n")
            docker("exec", habitat.container, "touch", "/tmp/go")
            assert running.end().code == 0
            assert habitat.state() == "running"
            result = joined.end()
        assert (result.code, lines(result)) == (0, ["in", "out"])
    assert (habitat.state(), habitat.state(".Id")) == ("exited", container)


def test_exec_habitat_not_built_is_error(project: Project, name: str, busybox: str) -> None:
    project.habitat(name, f"base_image: {busybox}\n")
    result = project.doit(f"exec:{name}", "--", "true")
    assert (result.code, lines(result)) == (
        1,
        [f"❌ {name}: it isn't built yet: `doit start:{name}` builds and starts it"],
    )


def test_empty_task_argument_is_one_line_error(project: Project) -> None:
    result = project.doit("")
    (line,) = lines(result)
    assert (result.code, line.startswith("ERROR: there is no task '': `doit help` lists")) == (3, True)


# shell


def test_shell_reads_commands_from_pipe_and_returns_exit_code(habitat: BuiltHabitat) -> None:
    assert piped(habitat, "shell", put=b"id -un; pwd; echo err >&2\nexit 5\n") == (5, b"agent\n/work\n", b"err\n")
    assert habitat.state() == "exited"


def test_shell_without_terminal_or_pipe_is_refused(habitat: BuiltHabitat) -> None:
    result = habitat.doit("shell")
    expected = "a shell needs a terminal, or commands from a pipe"
    remedy = f"`doit exec:{habitat.name} -- COMMAND` runs a command without one"
    assert (result.code, lines(result)) == (1, [f"❌ {habitat.name}: {expected}: {remedy}"])
    assert habitat.containers() == []


def test_shell_on_terminal_stops_container_at_end(habitat: BuiltHabitat) -> None:
    with Terminal(habitat.project, habitat.task("shell")) as terminal:
        terminal.wait_for("/work $ ")
        terminal.type("echo $((6 * 7)) in $PWD; exit 4\r")
        assert terminal.end() == 4, terminal.shown
        assert "42 in /work\n" in terminal.shown
        assert terminal.now == terminal.before
    assert habitat.state() == "exited"


def test_shell_in_snapshot_runs_as_phase_user_and_leaves_nothing(habitat: BuiltHabitat) -> None:
    script = b"id -un; pwd; touch /tmp/mine; test -d /work && echo with it; exit 6\n"
    assert piped(habitat, "shell", "--at", "users", put=script) == (6, b"agent\n/\n", b"")
    assert piped(habitat, "shell", "--at", "workdir", put=script)[:2] == (6, b"agent\n/work\nwith it\n")
    assert habitat.containers() == []


def test_shell_in_snapshot_ended_by_signal_leaves_nothing(habitat: BuiltHabitat) -> None:
    with Terminal(habitat.project, habitat.task("shell"), "--at", "base") as terminal:
        terminal.wait_for("/ # ")
        assert len(habitat.containers()) == 1
        terminal.process.terminate()
        assert terminal.end() == 128 + signal.SIGTERM, terminal.shown
    assert habitat.containers() == []


def test_shell_in_missing_snapshot_is_error(project: Project, name: str, busybox: str) -> None:
    project.habitat(name, f"base_image: {busybox}\n")
    argv = (sys.executable, "-m", "doit", f"shell:{name}", "--at", "setup")
    result = subprocess.run(argv, cwd=project.root, input=b"", capture_output=True, check=False)
    assert (result.returncode, result.stdout) == (1, b"")
    assert result.stderr.decode() == f"❌ {name}: there is no snapshot of setup: `doit setup:{name}` builds it\n"


# logs


def test_logs_show_phase_and_container_output_without_terminal_control(habitat: BuiltHabitat) -> None:
    assert habitat.doit("start", "--detach").code == 0
    docker("exec", habitat.container, "sh", "-c", "printf 'from main \\033[2J\\n' >/proc/1/fd/1")
    result = habitat.doit("logs")
    assert result.code == 0
    assert lines(result)[-5:] == [
        f"── setup (.stamps/{habitat.name}/7-setup.log)",
        "$ setup command 1 of 1 (as root)",
        "setting up",
        f"── {habitat.container} (running)",
        "from main \\x1b[2J",
    ]
    assert lines(habitat.doit("logs", "--phase", "setup")) == lines(result)[-5:-2]


def test_logs_follow_ends_on_signal(habitat: BuiltHabitat) -> None:
    assert habitat.doit("start", "--detach").code == 0
    with RunningDoit(habitat.project, habitat.task("logs"), "--follow") as following:
        following.wait_for("(running)\n")
        following.process.send_signal(signal.SIGINT)
        result = following.end()
    assert (result.code, lines(result)[-1]) == (130, "stopped")
    assert habitat.state() == "running"


def test_logs_follow_ends_when_container_stops(habitat: BuiltHabitat) -> None:
    assert habitat.doit("start", "--detach").code == 0
    with RunningDoit(habitat.project, habitat.task("logs"), "--follow") as following:
        following.wait_for("(running)\n")
        docker("exec", habitat.container, "sh", "-c", "echo word >/proc/1/fd/1")
        following.wait_for("word\n")
        assert following.process.poll() is None
        assert habitat.doit("stop").code == 0
        assert following.end().code == 0


# stop


@pytest.mark.guarantee("session-keeps-container-running")
def test_stop_refuses_container_with_session_unless_forced(habitat: BuiltHabitat) -> None:
    with RunningDoit(habitat.project, habitat.task("start")) as running:
        running.wait_for("begun\n")
        refused = habitat.doit("stop")
        assert refused.code == 1
        (messages,) = lines(refused)
        assert messages.startswith(
            f"❌ {habitat.container} stays running: it is in use by doit with pid {running.process.pid} since "
        )
        assert messages.endswith(f": `doit {habitat.task('stop')} --force` stops it anyway")
        assert habitat.state() == "running"
        forced = habitat.doit("stop", "--force")
        assert (forced.code, len(lines(forced))) == (0, 1), forced.out
        assert forced.out.startswith(
            f"• {habitat.container} is stopped; it was in use by doit with pid {running.process.pid}"
        )
        result = running.end()
    assert result.code == 1
    assert f"container {habitat.container} was stopped" in result
    assert "Traceback" not in result


def test_stop_without_running_container_is_no_error(habitat: BuiltHabitat) -> None:
    never = habitat.doit("stop")
    assert (never.code, lines(never)) == (0, [f"• {habitat.container} isn't running"])
    with RunningDoit(habitat.project, habitat.task("start")) as running:
        running.wait_for("begun\n")
        docker("exec", habitat.container, "touch", "/tmp/go")
        assert running.end().code == 0
    habitat.is_up()
    stopped = habitat.doit("stop")
    assert (stopped.code, lines(stopped)) == (0, [f"• {habitat.container} is stopped"])
    assert habitat.state() == "exited"
    assert habitat.doit("stop").out == never.out


def test_unknown_option_is_one_line_error(habitat: BuiltHabitat) -> None:
    result = habitat.doit("stop", "--frce")
    assert result.code == 3
    assert lines(result) == ["ERROR: option --frce not recognized: `doit help stop` lists the options"]


# destroy


@pytest.mark.guarantee("started-container-kept")
def test_destroy_removes_containers_of_habitat_only(habitat: BuiltHabitat) -> None:
    assert habitat.doit("start", "--cmd", "echo work >~/work; touch /tmp/passing").code == 0
    assert habitat.doit("start", "--new", "--detach").code == 0
    (aside,) = [name for name in habitat.containers() if name != habitat.container]
    other = f"{habitat.container}-other"
    docker("container", "create", "--name", other, f"habitat-{habitat.name}:final")
    shown = [
        f"{habitat.container} (running): nothing has changed in it since its image",
        f"{aside} (stopped): 1 added: /home/agent/work",
    ]
    refused = habitat.doit("destroy")
    expected = f"❌ {habitat.name}: nothing was removed, since there is no terminal to ask on"
    assert (refused.code, lines(refused)) == (
        1,
        [*shown, f"{expected}: `doit destroy:{habitat.name} --yes` removes them"],
    )
    assert habitat.containers() == sorted([habitat.container, aside, other])
    result = habitat.doit("destroy", "--yes")
    workspace = f"its workspace is kept: `doit destroy:{habitat.name} --workspace` removes it"
    images = f"its snapshots are kept: `doit clean {habitat.name}` removes them"
    assert (result.code, lines(result)) == (
        0,
        [*shown, f"• removed {habitat.container}, {aside}; {workspace}; {images}"],
    )
    assert habitat.containers() == [other]
    again = habitat.doit("start", "--cmd", "ls ~")
    assert (again.code, again.ran) == (0, [])


@pytest.mark.guarantee("started-container-kept")
@pytest.mark.parametrize(("answer", "goes"), [("y\r", True), ("\r", False), ("no\r", False), ("\x04", False)])
def test_destroy_on_terminal_removes_only_after_yes(habitat: BuiltHabitat, answer: str, goes: bool) -> None:
    assert habitat.doit("start", "--cmd", "echo work >~/work").code == 0
    with Terminal(habitat.project, habitat.task("destroy")) as terminal:
        terminal.wait_for("Remove the container, with all changes in it? [y/N] ")
        terminal.type(answer)
        assert terminal.end() == (0 if goes else 1), terminal.shown
        assert ("nothing was removed" in terminal.shown) is not goes
    assert habitat.containers() == ([] if goes else [habitat.container])
