"""`doit start:NAME`: a built habitat's container, its init, and its command, with and without a terminal."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from conftest import CommandResult, Project, RunningDoit, clear, docker, fresh_name
from terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phases.core.engine.docker_api.client import DockerEngine

pytestmark = pytest.mark.engine

# As root and as the main process: it says so, takes its time, and idles.
BOOT = """\
#!/bin/sh
trap 'exit 0' TERM
echo "$(id -un) $$" >>/boot.log
sleep 1
echo booted >>/boot.log
while :; do sleep 1000 & wait $!; done
"""


@dataclass
class BuiltHabitat:
    """A project with a habitat that is built once; its command is whatever `script` says."""

    project: Project
    name: str
    base: str

    @property
    def container(self) -> str:
        return f"habitat-{self.name}"

    @property
    def task(self) -> str:
        return f"start:{self.name}"

    def entry(self, text: str = "  command: . /mounted/run\n", more: str = "") -> None:
        self.project.habitat(self.name, self.base + more + (f"entry:\n{text}" if text else ""))

    def script(self, text: str) -> None:
        """What the habitat's command does from now on; the folder is a volume."""
        self.project.write("mounted/run", text)

    def start(self) -> CommandResult:
        return self.project.doit(self.task)

    def state(self, query: str = ".State.Status", container: str = "") -> str:
        return docker("container", "inspect", "--format", f"{{{{{query}}}}}", container or self.container)

    def inside(self, *argv: str) -> CommandResult:
        """Run something as root in the container, beside its command."""
        return self.project.run("docker", "exec", "--user", "0", self.container, *argv)


@pytest.fixture(scope="module")
def built_habitat(
    engine: DockerEngine, busybox: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BuiltHabitat]:
    project = Project(tmp_path_factory.mktemp("project"))
    base = f"""\
base_image: {busybox}
env:
  - WORKDIR=/work
files:
  - source: boot
    dest: /sbin/boot
    owner: root
    mode: 0755
volumes:
  - source: mounted
    dest: /mounted
    readonly: true
  - source: open
    dest: /open
"""
    habitat = BuiltHabitat(project, fresh_name(), base)
    project.write("boot", BOOT)
    project.write("open/file", "of the host\n").parent.chmod(0o777)
    habitat.script("")
    habitat.entry()
    final = project.doit(f"final:{habitat.name}")
    assert final.code == 0, final.out
    yield habitat
    clear(engine, habitat.name)


@pytest.fixture
def habitat(built_habitat: BuiltHabitat) -> BuiltHabitat:
    """The habitat with its usual command, and no container of an earlier test, which a start would use again."""
    built_habitat.entry()
    if own := docker("ps", "-aq", f"--filter=label=habitat.run={built_habitat.name}").split():
        docker("container", "rm", "--force", *own)
    return built_habitat


def lines(result: CommandResult) -> list[str]:
    return result.out.splitlines()


# Without a terminal


def test_start_output_appears_immediately(habitat: BuiltHabitat) -> None:
    habitat.script("echo first; while [ ! -e /tmp/go ]; do sleep 0.1; done; echo second; echo third >&2\n")
    with RunningDoit(habitat.project, habitat.task) as running:
        running.wait_for("first\n")
        assert running.process.poll() is None
        assert habitat.inside("touch", "/tmp/go").code == 0
        result = running.end()
    assert result.code == 0, result.out
    # Another line follows if the engine still counts the command that made the file.
    first, *others = (line for line in lines(result) if line in ("first", "second", "third"))
    assert (first, sorted(others)) == ("first", ["second", "third"])


def test_start_keeps_stdout_and_stderr_apart(habitat: BuiltHabitat) -> None:
    habitat.script("echo out; echo err >&2\n")
    result = subprocess.run(
        (sys.executable, "-m", "doit", habitat.task),
        cwd=habitat.project.root,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.splitlines()[-1] == "out"
    assert result.stderr == "err\n"


def test_start_runs_command_as_user_in_workdir_of_container(habitat: BuiltHabitat) -> None:
    habitat.script(
        """
        id -un
        pwd
        hostname
        echo "$HOME $USER $WORKDIR"
        test -t 0 || echo "no terminal"
        cat /open/file
        touch /mounted/x 2>/dev/null || echo "read-only for me"
        echo "of the habitat" >/open/made
        grep CapEff /proc/self/status
        echo up; while [ ! -e /tmp/go ]; do sleep 0.1; done
        """
    )
    with RunningDoit(habitat.project, habitat.task) as running:
        running.wait_for("up\n")
        as_root = habitat.inside(
            "sh", "-c", "touch /mounted/x || touch /sys/x || mount -t tmpfs none /mnt || echo tame"
        )
        assert habitat.state(".HostConfig.Privileged") == "false"
        assert habitat.state(".HostConfig.CapAdd") in ("[]", "<no value>")
        assert habitat.inside("touch", "/tmp/go").code == 0
        result = running.end()
    assert result.code == 0, result.out
    at = lines(result).index("agent")
    assert lines(result)[at : at + 9] == [
        "agent",
        "/work",
        habitat.name,
        "/home/agent agent /work",
        "no terminal",
        "of the host",
        "read-only for me",
        "CapEff:\t0000000000000000",
        "up",
    ]
    assert "tame" in lines(as_root), as_root.out
    assert (habitat.project.root / "open" / "made").read_text() == "of the habitat\n"
    assert not (habitat.project.root / "mounted" / "x").exists()


@pytest.mark.parametrize(("script", "code"), [("exit 7", 7), ("kill -9 $$", 137), ("no-such-program", 127)])
def test_start_nonzero_exit_code_is_shown_and_fails_task(habitat: BuiltHabitat, script: str, code: int) -> None:
    habitat.script(f"echo running\n{script}\n")
    result = habitat.start()
    assert result.code == code
    assert "running" in lines(result)
    assert lines(result)[-1] == (
        f"❌ the command of {habitat.name} ended with exit code {code}: its container {habitat.container} is kept"
    )
    assert habitat.state() == "exited"


def test_start_container_is_stopped_and_reused(habitat: BuiltHabitat) -> None:
    habitat.script("echo run >>~/runs; cat ~/runs\n")
    first = habitat.start()
    assert (first.code, lines(first)[-1:]) == (0, ["run"])
    assert habitat.state() == "exited"
    container = habitat.state(".Id")
    second = habitat.start()
    assert (second.code, second.ran, lines(second)[-2:]) == (0, [], ["run", "run"])
    assert habitat.state(".Id") == container
    assert habitat.state() == "exited"


@pytest.mark.guarantee("started-container-kept")
def test_start_with_newer_image_keeps_old_container_with_files(habitat: BuiltHabitat) -> None:
    habitat.script("echo work >>~/work; wc -l <~/work\n")
    assert habitat.start().code == 0
    old = habitat.state(".Id")
    changed = "setup: {user: [echo changed >~/changed]}\n"
    habitat.entry("  command: . /mounted/run; cat ~/changed\n  init_command: exit 3\n", changed)
    failed = habitat.start()
    assert (
        failed.code,
        habitat.state(".Id"),
        len(docker("ps", "-aq", f"--filter=name={habitat.container}").split()),
    ) == (
        1,
        old,
        1,
    ), failed.out
    habitat.entry("  command: . /mounted/run; cat ~/changed\n", changed)
    plan = habitat.project.doit(f"plan:{habitat.name}")
    assert "⇒ the next start replaces the container, since its image is out of date: the new one will lack " in plan
    assert "; the old one is kept under another name if it has changes" in plan
    result = habitat.start()
    assert result.code == 0, result.out
    assert lines(result)[-2:] == ["1", "changed"]
    assert f"• {habitat.container} will be replaced by a new container, since its image is out of date: " in result
    match = re.search(rf"kept as ({habitat.container}-\d{{8}}-\d{{6}}), since its image is out of date: ", result.out)
    assert match, result.out
    assert habitat.state(".Id", match[1]) == old
    assert habitat.state(".State.Status", match[1]) == "exited"
    assert habitat.state(".Id") != old
    kept = habitat.project.root / "kept"
    docker("cp", f"{match[1]}:/home/agent/work", str(kept))
    assert kept.read_text() == "work\n"
    docker("container", "rm", match[1])


def test_init_command_runs_as_root_before_command(habitat: BuiltHabitat) -> None:
    habitat.entry("  init_command: /sbin/boot\n  startup_delay: 1.5\n  command: cat /boot.log; id -un\n")
    result = habitat.start()
    assert result.code == 0, result.out
    assert lines(result)[-3:] == ["root 1", "booted", "agent"]
    assert "waiting 1.5s (entry.startup_delay)" in result
    again = habitat.start()
    assert lines(again)[-5:] == ["root 1", "booted", "root 1", "booted", "agent"], again.out


@pytest.mark.parametrize("delay", [0, 60])
def test_init_command_that_ends_is_error_with_its_output(habitat: BuiltHabitat, delay: int) -> None:
    habitat.entry(f"  init_command: echo cannot boot; exit 3\n  startup_delay: {delay}\n  command: sleep 2; echo ran\n")
    began = time.monotonic()
    result = habitat.start()
    assert time.monotonic() - began < 30
    assert result.code == 1
    assert "Traceback" not in result.out
    assert "    cannot boot" in lines(result), result.out
    assert "ran" not in lines(result)
    assert lines(result)[-1] == (
        f"❌ {habitat.name}: the init command ended: echo cannot boot; exit 3: "
        f"write an entry.init_command that keeps running; see docker logs {habitat.container}"
    )


def test_init_command_missing_is_error(habitat: BuiltHabitat) -> None:
    habitat.entry("  init_command: /sbin/missing\n  command: echo ran\n")
    result = habitat.start()
    assert result.code == 1
    assert "Traceback" not in result.out
    last = lines(result)[-1]
    assert last.startswith("❌ ")
    assert "/sbin/missing" in last
    # What was told must help: the command is the config's, and nothing of it is "taken".
    assert "taken" not in last, last


def test_orphaned_processes_are_reaped_without_init_command(habitat: BuiltHabitat) -> None:
    habitat.script(
        """
        for i in 1 2 3; do sh -c 'sleep 0.1 & exit 0'; done
        sleep 1
        ps -o pid,stat,comm | grep ' Z' || echo "no zombies"
        """
    )
    result = habitat.start()
    assert (result.code, lines(result)[-1]) == (0, "no zombies"), result.out


def test_start_without_command_and_terminal_gives_notice(habitat: BuiltHabitat) -> None:
    habitat.entry("")
    result = habitat.start()
    assert result.code == 0, result.out
    assert "there is no entry.command and no terminal: nothing to run; set" in lines(result)[-1]
    assert habitat.state() == "exited"


def test_start_after_change_ignores_session_in_old_container(habitat: BuiltHabitat) -> None:
    habitat.script(
        "[ -e /tmp/was ] || { touch /tmp/was; echo up; while [ ! -e /tmp/go ]; do sleep 0.1; done; }; echo done\n"
    )
    with RunningDoit(habitat.project, habitat.task) as first:
        first.wait_for("up\n")
        habitat.entry("  command: echo changed; cat ~/work\n", "setup: {user: [echo x >~/x]}\n")
        second = habitat.project.doit(habitat.task)
        assert second.code != 0, "there is no ~/work in the new container"
        assert "and is still in use" in second
        assert habitat.state() == "exited"
        (aside,) = [word for word in second.out.split() if word.startswith(f"{habitat.container}-2")]
        docker("exec", aside.rstrip(",:"), "touch", "/tmp/go")
        assert first.end().code == 0, first.out
    assert docker("inspect", "--format", "{{.State.Status}}", aside.rstrip(",:")) == "exited"


@pytest.mark.guarantee("settings-keep-files", "set-aside-has-way-back")
def test_changed_settings_and_restored_container_keep_files(habitat: BuiltHabitat) -> None:
    """A setting is changed during a session, and a gone image has its container again."""
    habitat.script("[ -e ~/work ] || { echo work >~/work; echo up; while [ ! -e /tmp/go ]; do sleep 0.1; done; }\n")
    networkless = "  command: cat ~/work; ls /sys/class/net\n  network: none\n  limits: {pids: 100}\n"
    with RunningDoit(habitat.project, habitat.task) as first:
        first.wait_for("up\n")
        habitat.entry(networkless)
        second = habitat.project.doit(habitat.task)
        assert "entry.limits.pids and entry.network changed: " in second, second.out
        assert "so that takes effect at the first start after it has stopped" in second
        assert lines(second)[-3:-1] == ["eth0", "lo"]
        docker("exec", habitat.container, "touch", "/tmp/go")
        assert first.end().code == 0, first.out
    third = habitat.start()
    assert lines(third)[-2:] == ["work", "lo"], third.out
    assert "the container is made again with its files, " in third
    assert habitat.state(".HostConfig.PidsLimit") == "100"
    assert len(docker("ps", "-aq", f"--filter=name={habitat.container}").split()) == 1
    habitat.entry(networkless, "setup: {user: [echo x >~/x]}\n")
    assert "work': No such file" in habitat.start()
    restored = habitat.project.doit(f"restore:{habitat.name}")
    assert "the one before had no changes, and is removed" in restored, restored.out
    assert lines(habitat.start())[-2:] == ["work", "lo"]
    assert len(docker("ps", "-aq", f"--filter=name={habitat.container}").split()) == 1
    assert habitat.project.doit(f"destroy:{habitat.name}", "--yes").code == 0
    assert (
        docker("images", "-aq", f"--filter=label=habitat.name={habitat.name}", "--filter=label=habitat.carried") == ""
    )


@pytest.mark.guarantee("session-keeps-container-running")
def test_start_first_of_two_to_end_leaves_container_running(habitat: BuiltHabitat) -> None:
    habitat.script(
        "if mkdir /tmp/1 2>/dev/null; then echo up; while [ ! -e /tmp/go ]; do sleep 0.1; done; fi; echo done\n"
    )
    with RunningDoit(habitat.project, habitat.task) as running:
        running.wait_for("up\n")
        second = habitat.start()
        assert second.code == 0, second.out
        assert "done" in lines(second)
        assert lines(second)[-1] == f"• {habitat.container} stays running: another session is using it"
        assert habitat.state() == "running"
        assert habitat.inside("touch", "/tmp/go").code == 0
        first = running.end()
    assert (first.code, lines(first)[-1]) == (0, "done"), first.out
    assert habitat.state() == "exited"


def test_start_waiting_for_init_keeps_container_running(habitat: BuiltHabitat) -> None:
    habitat.script(
        "if mkdir /tmp/1 2>/dev/null; then echo up; while [ ! -e /tmp/go ]; do sleep 0.1; done; fi; echo done\n"
    )
    habitat.entry("  init_command: /sbin/boot\n  startup_delay: 2\n  command: . /mounted/run\n")
    with RunningDoit(habitat.project, habitat.task) as first:
        first.wait_for("up\n")
        with RunningDoit(habitat.project, habitat.task) as second:
            second.wait_for("waiting 2s (entry.startup_delay)\n")
            assert habitat.inside("touch", "/tmp/go").code == 0
            assert first.end().code == 0
            result = second.end()
    assert result.code == 0, result.out
    assert lines(result)[-1] == "done"
    assert habitat.state() == "exited"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_start_ended_by_signal_stops_container(habitat: BuiltHabitat, number: signal.Signals) -> None:
    habitat.script("trap '' INT; echo up; sleep 1000\n")
    with RunningDoit(habitat.project, habitat.task) as running:
        running.wait_for("up\n")
        running.process.send_signal(number)
        result = running.end()
    assert result.code == 128 + number, result.out
    assert "Traceback" not in result.out
    assert lines(result)[-1].startswith("stopped")
    assert habitat.state() == "exited"


# What holds it in

RUN = "  command: . /mounted/run\n"


@pytest.mark.guarantee("container-is-restricted")
def test_container_has_configured_restrictions(habitat: BuiltHabitat) -> None:
    habitat.entry(RUN + "  network: none\n  limits: {memory: 64m, cpus: 0.5, pids: 30}\n")
    habitat.script("grep NoNewPrivs /proc/self/status; ls /sys/class/net\n")
    started = habitat.start()
    assert started.code == 0, started.out
    assert lines(started)[-2:] == ["NoNewPrivs:\t1", "lo"]
    assert habitat.state(".HostConfig.Privileged") == "false"
    assert habitat.state(".HostConfig.SecurityOpt") == "[no-new-privileges]"
    assert habitat.state(".HostConfig.NetworkMode") == "none"
    assert habitat.state(".HostConfig.Memory") == str(64 << 20)
    assert habitat.state(".HostConfig.NanoCpus") == "500000000"
    assert habitat.state(".HostConfig.PidsLimit") == "30"
    assert habitat.state(".HostConfig.CapAdd") in ("[]", "<no value>")


@pytest.mark.guarantee("container-is-restricted")
def test_container_without_settings_uses_bridge_and_process_limit(habitat: BuiltHabitat) -> None:
    assert habitat.start().code == 0
    assert habitat.state("range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end") == "bridge"
    assert habitat.state(".HostConfig.PidsLimit") == "4096"


@pytest.mark.guarantee("container-is-restricted")
def test_process_limit_stops_fork_bomb(habitat: BuiltHabitat) -> None:
    habitat.entry(RUN + "  limits: {pids: 20}\n")
    habitat.script("i=0; while [ $i -lt 60 ]; do sleep 5 & i=$((i + 1)); done; echo all of them\n")
    started = habitat.start()
    assert "all of them" not in started
    assert "can't fork" in started


@pytest.mark.guarantee("engine-socket-refused")
def test_engine_socket_volume_is_refused_or_warned_about_each_time(habitat: BuiltHabitat) -> None:
    socket = "volumes:\n  - {source: /var/run/docker.sock, dest: /docker.sock, optional: true"
    base = habitat.base.replace("volumes:", socket + "}")
    habitat.project.habitat(habitat.name, base + f"entry:\n{RUN}")
    refused = habitat.start()
    assert refused.code != 0
    assert "volumes: /var/run/docker.sock holds the engine's socket" in refused
    habitat.project.habitat(
        habitat.name, habitat.base.replace("volumes:", socket + ", gives_root_on_the_host: true}") + f"entry:\n{RUN}"
    )
    habitat.script("test -S /docker.sock && echo there\n")
    for _ in range(2):
        started = habitat.start()
        assert started.code == 0, started.out
        expected = f"⚠ /var/run/docker.sock gives every process in {habitat.name} root access to this machine"
        assert expected in lines(started)
        assert lines(started)[-1] == "there"


# With a terminal


def test_start_on_terminal_gives_command_the_terminal(habitat: BuiltHabitat) -> None:
    habitat.script(
        r"""
        test -t 0 && test -t 1 && test -t 2 && echo "a terminal"
        echo "$TERM $COLORTERM"
        printf '\033[31mred\033[0m\n'
        printf 'what? '; read -r line; echo "got <$line>"
        """
    )
    with Terminal(habitat.project, habitat.task) as terminal:
        terminal.wait_for("what? ")
        terminal.type("naïve ☃\r")
        assert terminal.end() == 0, terminal.shown
        for text in ("a terminal\n", "xterm-256color truecolor\n", "\x1b[31mred\x1b[0m\n", "got <naïve ☃>\n"):
            assert text in terminal.shown
        # Echoed once: by the terminal in the container, not by the one outside as well.
        assert terminal.shown.count("what? naïve ☃\n") == 1
        assert terminal.shown.count("naïve ☃") == 2
        assert terminal.now == terminal.before
    assert habitat.state() == "exited"


def test_start_on_terminal_passes_window_size_changes(habitat: BuiltHabitat) -> None:
    habitat.script(
        """
        i=0
        while [ "$(stty size)" != "40 100" ] && [ $i -lt 50 ]; do i=$((i + 1)); sleep 0.1; done
        trap 'echo "then $(stty size)"; exit 0' WINCH
        echo "at first $(stty size)"
        while :; do sleep 0.1; done
        """
    )
    with Terminal(habitat.project, habitat.task) as terminal:
        terminal.wait_for("at first 40 100\n")
        terminal.resize(33, 77)
        terminal.wait_for("then 33 77\n")
        assert terminal.end() == 0, terminal.shown


def test_start_on_terminal_passes_ctrl_c_to_command(habitat: BuiltHabitat) -> None:
    habitat.script("trap 'echo caught; c=1' INT; echo up; until [ $c ]; do sleep 0.1; done; echo after; exit 5\n")
    with Terminal(habitat.project, habitat.task) as terminal:
        terminal.wait_for("up\n")
        assert terminal.now != terminal.before
        terminal.type("\x03")
        terminal.wait_for("after\n")
        assert terminal.end() == 5
        assert "caught\nafter\n" in terminal.shown
        assert "Traceback" not in terminal.shown
        assert terminal.now == terminal.before
    assert habitat.state() == "exited"


def test_start_without_command_on_terminal_opens_shell(habitat: BuiltHabitat) -> None:
    habitat.entry("")
    with Terminal(habitat.project, habitat.task) as terminal:
        terminal.wait_for("/work $ ")
        terminal.type("echo $((6 * 7)) in $PWD\r")
        # The shell throws away a Ctrl-D that comes before it reads a line.
        terminal.wait_for("42 in /work\n/work $ ")
        terminal.type("\x04")
        assert terminal.end() == 0, terminal.shown
        assert terminal.now == terminal.before


def test_start_on_terminal_of_short_command_shows_all_output(habitat: BuiltHabitat) -> None:
    habitat.script("seq 1 5000; exit 3\n")
    with Terminal(habitat.project, habitat.task) as terminal:
        assert terminal.end() == 3
        assert "\n4999\n5000\n" in terminal.shown
        assert f"the command of {habitat.name} ended with exit code 3" in terminal.shown
        assert "goes on" not in terminal.shown


def test_secret_removed_from_host_is_removed_from_running_habitat(habitat: BuiltHabitat) -> None:
    own = habitat.project.write("own-secret", "s3cret-word")
    habitat.entry(RUN + "secrets:\n  - {name: T, file: own-secret, start: true, optional: true}\n")
    assert habitat.project.doit(habitat.task, "--detach").code == 0
    assert habitat.inside("cat", "/run/secrets/T").out == "s3cret-word"
    own.unlink()
    habitat.script("ls -A /run/secrets 2>&1; echo end\n")
    started = habitat.start()
    assert started.code == 0, started.out
    assert habitat.inside("ls", "-A", "/run/secrets").out == ""
    habitat.project.doit(f"stop:{habitat.name}")


def test_secrets_on_terminal_are_masked_without_delaying_output(habitat: BuiltHabitat) -> None:
    secret = "secrets: [{name: T, command: echo s3cret-word, start: true, variable: T}]\n"
    habitat.entry(RUN + secret)
    habitat.script('printf "|%s|\\n" "$T"; printf "s3cret? "; read -r line; cat /run/secrets/T; echo " $line"\n')
    with Terminal(habitat.project, habitat.task) as terminal:
        terminal.wait_for("s3cret? ")
        terminal.type("yes\r")
        assert terminal.end() == 0, terminal.shown
    assert "|***********|\n" in terminal.shown
    assert "*********** yes\n" in terminal.shown
    assert "s3cret-word" not in terminal.shown


def test_start_suspended_by_ctrl_z_is_continued_by_fg_and_ended_by_ctrl_c(habitat: BuiltHabitat) -> None:
    habitat.script("echo up; read -r line; echo got $line; sleep 100\n")
    outside = 'set -m; "$@"; echo outside; fg >/dev/null; echo "code $?"'
    with Terminal(habitat.project, habitat.task, through=("bash", "-c", outside, "bash")) as terminal:
        terminal.wait_for("up\n")
        terminal.type("\x1a")
        terminal.wait_for("outside\n")
        terminal.type("hello\r")
        terminal.wait_for("got hello\n")
        terminal.type("\x03")
        assert terminal.end() == 0, terminal.shown
    assert "code 130\n" in terminal.shown
    assert "❌" not in terminal.shown, "who ends a server by Ctrl-C needs no error"


def test_start_on_terminal_ended_by_signal_restores_terminal(habitat: BuiltHabitat) -> None:
    habitat.script("echo up; sleep 1000\n")
    with Terminal(habitat.project, habitat.task) as terminal:
        terminal.wait_for("up\n")
        terminal.process.terminate()
        assert terminal.end() == 128 + signal.SIGTERM, terminal.shown
        assert "Traceback" not in terminal.shown
        assert terminal.now == terminal.before
    assert habitat.state() == "exited"
