"""What a run that was killed leaves behind, and how long a wait may go on without a word."""

from __future__ import annotations

import io
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import (
    ROOT,
    Project,
    RunningDoit,
    clear,
    docker,
    failed,
    fresh_name,
    import_image,
    left_containers,
    untagged,
    wait_until,
)
from relay import RequestDroppingRelay
from terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phases.core.engine.docker_api.client import DockerEngine

pytestmark = pytest.mark.engine


def habitat_of_module(
    engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory, config: str
) -> Iterator[tuple[Project, str]]:
    """Build a habitat for several tests, in a project of its own. For a fixture of the module."""
    project, name = Project(tmp_path_factory.mktemp("project")), fresh_name()
    project.write(f"habitats/{name}/note", "note")
    project.habitat(name, config)
    result = project.doit(f"final:{name}")
    assert result.code == 0, result.out
    yield project, name
    clear(engine, name)


def remove_containers(name: str) -> None:
    for container in docker("ps", "--all", "--quiet", "--filter", f"label=habitat.name={name}").split():
        docker("rm", "--force", container)


# Folders


@pytest.fixture
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for temporary files of the runs of a test."""
    return tmp_path_factory.mktemp("tmp")


def left_in(folder: Path) -> list[str]:
    """All that is in it but the folder of the locks."""
    return [path.name for path in folder.iterdir() if not path.name.startswith("habitats-")]


@pytest.mark.guarantee("no-temporary-files-of-killed-run")
def test_killed_dockerfile_build_leaves_no_temporary_file(
    project: Project, busybox: str, name: str, temporary: Path
) -> None:
    project.habitat(name, "env: [USER=root]\n")
    project.write(f"habitats/{name}/Dockerfile", f"FROM {busybox}\nRUN echo begun by {name}; exec sleep 30\n")
    with RunningDoit(project, f"dockerfile:{name}", env={"TMPDIR": str(temporary)}) as running:
        running.wait_for(f"begun by {name}\n")
        assert left_in(temporary) == []
        running.process.send_signal(signal.SIGKILL)
        running.end()
    assert left_in(temporary) == []
    assert [path.name for path in (project.root / ".stamps" / name).iterdir() if path.name.startswith(".")] == []


@pytest.mark.guarantee("no-temporary-files-of-killed-run")
def test_killed_debug_with_ssh_agent_leftovers_are_removed_by_next_debug(
    project: Project, git_image: str, name: str, temporary: Path, tmp_path: Path
) -> None:
    project.habitat(
        name,
        f"""
        base_image: {git_image}
        env: [USER=root, SYSTEM_PATH=, SHARED_PATH=, HABITAT_PATH=]
        repos: [{{url: "ssh://git@127.0.0.1:1/nowhere", path: p, ssh_agent: true, known_hosts: {tmp_path}/known}}]
        """,
    )
    (tmp_path / "known").write_text("")
    state = project.root / ".stamps" / name
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(temporary / "agent"))
        env = {"SSH_AUTH_SOCK": str(temporary / "agent"), "TMPDIR": str(temporary)}
        assert project.doit(f"repos:{name}", env=env).code == 1
        argv = (sys.executable, "-m", "doit", f"debug:{name}")
        with subprocess.Popen(
            argv, cwd=project.root, env={**os.environ, **env}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as run:
            assert run.stdin
            assert run.stdout
            run.stdin.write(b"ls -d $SSH_AUTH_SOCK; echo ready\n")
            run.stdin.flush()
            assert any(line == b"ready\n" for line in iter(run.stdout.readline, b""))
            assert list(state.glob("passing.*"))
            run.kill()
        assert left_in(temporary) == ["agent"]
        assert project.run("sh", "-c", f"echo exit | {sys.executable} -m doit debug:{name}", env=env).code == 0
    assert list(state.glob("passing.*")) == []
    assert docker("ps", "--all", "--quiet", "--filter", f"name=habitat_shell_{name}") == ""


# Failures that are too long


@pytest.fixture(scope="module")
def failing_habitat(
    engine: DockerEngine, busybox: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Project, str, dict[str, Any]]]:
    """A habitat of which all before setup is built, and its config."""
    config: dict[str, Any] = {
        "base_image": busybox,
        "env": ["USER=root", "SYSTEM_PATH=", "SHARED_PATH=", "HABITAT_PATH="],
    }
    for project, name in habitat_of_module(engine, tmp_path_factory, json.dumps(config)):
        yield project, name, config


@pytest.mark.guarantee("debug-shows-last-failure")
@pytest.mark.parametrize(
    "text", ["ä漢" * 25_000, '\\"$' * 40_000, secrets.token_hex(64_000)], ids=["wide", "quoted", "random"]
)
def test_failed_long_script_is_kept_and_shown_by_debug(
    failing_habitat: tuple[Project, str, dict[str, Any]], text: str
) -> None:
    project, name, config = failing_habitat
    project.habitat(name, json.dumps({**config, "setup": {"root": ["echo the older; exit 9"]}}))
    assert project.doit(f"setup:{name}").code == 1
    project.habitat(name, json.dumps({**config, "setup": {"root": [f"# {text}\nexit 3"]}}))
    result = project.doit(f"setup:{name}")
    assert "could not be kept" not in result
    assert list(failed(name)) == ["7-setup-failed"]
    shown = project.run("sh", "-c", f"echo 'again; echo it ended with $?' | {sys.executable} -m doit debug:{name}")
    assert "the older" not in shown.out
    assert "setup command 1 of 1 ended with exit code" in shown.out
    assert "it ended with 3" in shown.out


# An engine that doesn't answer

BUILT_CONFIG = """
    base_image: {base}
    env: [USER=root, SYSTEM_PATH=, SHARED_PATH=, HABITAT_PATH=]
    files: [{{source: note, dest: /note}}]
    setup: {{root: ["echo {setup}"]}}
    entry: {{command: "echo it runs; : {command}"}}
"""

#: A dropped request, the task that sends it, and what the error says.
DROPPED_REQUESTS = [
    ("GET /images/json", "final", "listing images"),
    ("POST /containers/create", "final", "creating container habitat_build_"),
    ("POST /containers/[^/]*/start", "final", "starting the container"),
    ("POST /containers/[^/]*/exec", "final", "running a command"),
    ("POST /exec/", "final", "running a command"),
    ("POST /commit", "final", "committing the snapshot"),
    ("POST /images/[^/]*/tag", "final", "tagging habitat-"),
    ("DELETE /containers", "final", "removing the container"),
    ("DELETE /images", "clean", "removing habitat-"),
    ("PUT /containers/[^/]*/archive", "final", "copying into /"),
    ("GET /containers/[^/]*/archive", "final", "reading "),
    ("HEAD /containers/[^/]*/archive", "final", "looking at "),
    ("GET /containers/json", "final", "listing containers"),
    ("POST /containers/create", "start", "creating container habitat-"),
    ("POST /containers/[^/]*/start", "start", "starting the container"),
    ("POST /containers/[^/]*/exec", "start", "running a command"),
    ("POST /exec/", "start", "running a command"),
    ("GET /containers/habitat-", "start", "looking at container"),
]


#: These are tested with the timeout that a person gets, the others with a shorter one.
WITH_WHOLE_TIMEOUT = {("POST /commit", "final"), ("POST /exec/", "start")}

#: The phase from which on there is something to build: the last that sends the request, final where none is named.
FIRST = {
    "GET /containers/[^/]*/archive": "base",
    "POST /containers/[^/]*/start": "setup",
    "POST /containers/[^/]*/exec": "setup",
    "POST /exec/": "setup",
}

#: The project's own.
DODO_PY = (ROOT / "dodo.py").read_text()


@pytest.fixture(scope="module")
def reached_habitat(
    engine: DockerEngine, busybox: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Project, str]]:
    config = BUILT_CONFIG.format(base=busybox, setup="a word", command="a word")
    yield from habitat_of_module(engine, tmp_path_factory, config)


@pytest.mark.guarantee("silent-engine-is-reported")
@pytest.mark.parametrize(
    ("request_", "verb", "message"), DROPPED_REQUESTS, ids=[f"{v} {r}" for r, v, _ in DROPPED_REQUESTS]
)
def test_engine_not_answering_is_error_and_ctrl_c_ends_run(
    reached_habitat: tuple[Project, str], busybox: str, request_: str, verb: str, message: str
) -> None:
    project, name = reached_habitat
    remove_containers(name)
    first = FIRST.get(request_, "final") if verb == "final" else ""
    word = secrets.token_hex(4)
    config = BUILT_CONFIG.format(
        base=busybox, setup=word if first == "setup" else "a word", command=word if first == "final" else "a word"
    )
    project.habitat(name, config)
    if first == "base":
        assert project.doit("forget", f"base:{name}").code == 0
    silence = 10 if (request_, verb) == ("POST /commit", "final") else 2
    timeouts = f"from phases.core.engine import timeouts\ntimeouts.PHASE_SILENCE = 2\n{DODO_PY}"
    project.write("dodo.py", DODO_PY if (request_, verb) in WITH_WHOLE_TIMEOUT else timeouts)
    if verb != "final":
        assert project.doit(f"final:{name}").code == 0
    task = ("clean", f"base:{name}") if verb == "clean" else (f"{verb}:{name}",)
    with (
        RequestDroppingRelay(request_) as relay,
        RunningDoit(project, *task, env={"DOCKER_HOST": relay.host}) as running,
    ):
        wait_until(relay.dropped.is_set)
        dropped_at = time.monotonic()
        running.wait_for("still waiting for the engine")
        assert silence - 1.5 < time.monotonic() - dropped_at < silence + 4
        (line,) = [line for line in running.lines if "still waiting" in line]
        assert message in line
        assert re.search(r"asked at \d\d:\d\d:\d\d", line)
        time.sleep(0.5)
        running.process.send_signal(signal.SIGINT)
        interrupted_at = time.monotonic()
        result = running.end()
        seconds = time.monotonic() - interrupted_at
    assert seconds < 2.5, result.out
    assert result.code == 130, result.out
    assert "Traceback" not in result
    last = result.out.splitlines()[-1]
    assert last.startswith("stopped")
    assert "the next run removes" in last, result.out
    assert result.out.count("still waiting") == 1
    assert result.out.count("did not answer") == 1
    assert message in last
    after_ = project.doit(f"start:{name}")
    assert after_.code == 0, after_.out
    assert "it runs\n" in after_
    assert left_containers(name) == []
    assert untagged(name) == []


# A killed session

SESSION_CONFIG = """
    base_image: {base}
    env: [USER=ada, SYSTEM_PATH=, SHARED_PATH=, HABITAT_PATH=]
    entry: {{command: "echo begun; sleep 1234"}}
"""


@pytest.fixture(scope="module")
def session_habitat(
    engine: DockerEngine, busybox: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Project, str]]:
    yield from habitat_of_module(engine, tmp_path_factory, SESSION_CONFIG.format(base=busybox))


@pytest.fixture
def project_of_session(session_habitat: tuple[Project, str]) -> Project:
    return session_habitat[0]


@pytest.fixture
def built_habitat(session_habitat: tuple[Project, str]) -> str:
    """A habitat that is built and has no container."""
    name = session_habitat[1]
    wait_until(lambda: guards(name) == [], seconds=20)
    remove_containers(name)
    return name


def is_up(name: str) -> bool:
    return docker("ps", "--quiet", "--filter", f"name=habitat-{name}$") != ""


def guards(name: str) -> list[str]:
    """The processes that guard a visit to a habitat, or leave for one."""
    actual = subprocess.run(
        ("pgrep", "-f", f"phases.ui.session_cleanup .* {name} "), capture_output=True, text=True, check=False
    )
    return actual.stdout.split()


def sleeps(name: str, seconds: int) -> bool:
    return f"sleep {seconds}" in docker("top", f"habitat-{name}")


SESSION_COMMANDS = {
    "start": ("start:{}",),
    "exec": ("exec:{}", "--", "sh", "-c", "echo begun; trap '' HUP TERM; sleep 1234 & sleep 4321"),
}


@pytest.mark.guarantee("killed-session-is-cleaned-up")
@pytest.mark.parametrize("argv", SESSION_COMMANDS.values(), ids=SESSION_COMMANDS)
def test_killed_session_container_is_stopped_by_guard(
    project_of_session: Project, built_habitat: str, argv: tuple[str, ...]
) -> None:
    with RunningDoit(project_of_session, *(word.format(built_habitat) for word in argv)) as running:
        running.wait_for("begun")
        assert guards(built_habitat)
        running.process.kill()
    wait_until(lambda: not is_up(built_habitat), seconds=20)
    wait_until(lambda: guards(built_habitat) == [], seconds=20)
    assert list((project_of_session.root / ".stamps" / built_habitat).glob("starts.*")) == []
    result = project_of_session.doit(f"exec:{built_habitat}", "--", "echo", "again")
    assert result.out == "again\n"


@pytest.mark.guarantee("killed-session-is-cleaned-up")
def test_killed_session_ends_only_its_own_commands(project_of_session: Project, built_habitat: str) -> None:
    other = ("exec:" + built_habitat, "--", "sh", "-c", "echo begun; sleep 77; echo through")
    with (
        RunningDoit(project_of_session, *other) as staying,
        RunningDoit(project_of_session, f"start:{built_habitat}") as running,
    ):
        staying.wait_for("begun")
        running.wait_for("begun")
        running.process.kill()
        wait_until(lambda: not sleeps(built_habitat, 1234), seconds=20)
        wait_until(lambda: guards(built_habitat) == guards(built_habitat)[:1], seconds=20)
        assert sleeps(built_habitat, 77)
        staying.process.send_signal(signal.SIGINT)
        staying.end()
    wait_until(lambda: not is_up(built_habitat), seconds=5)


@pytest.mark.guarantee("killed-session-is-cleaned-up")
def test_killed_session_is_ended_in_detached_container_which_stays(
    project_of_session: Project, built_habitat: str
) -> None:
    assert project_of_session.doit(f"start:{built_habitat}", "--detach").code == 0
    assert guards(built_habitat) == []
    stubborn = "(trap '' HUP; exec sleep 4444) & setsid sleep 5555 & trap '' HUP TERM; echo begun; sleep 4321"
    with (
        RunningDoit(project_of_session, f"start:{built_habitat}") as running,
        Terminal(project_of_session, f"exec:{built_habitat}", "--", "sh", "-mc", stubborn) as terminal,
        RunningDoit(project_of_session, f"start:{built_habitat}", "--cmd", "echo begun; sleep 3333") as captured,
    ):
        for session in (running, terminal, captured):
            session.wait_for("begun")
        running.process.kill()
        terminal.process.send_signal(signal.SIGHUP)
        captured.process.send_signal(signal.SIGTERM)
        assert captured.end().code == 143
        assert terminal.end() == 129
    wait_until(lambda: not any(sleeps(built_habitat, number) for number in (1234, 3333, 4321)), seconds=20)
    wait_until(lambda: guards(built_habitat) == [], seconds=20)
    assert is_up(built_habitat)
    assert sleeps(built_habitat, 4444), "as after ssh, what was started with nohup goes on"
    assert sleeps(built_habitat, 5555), "and so does what has left the terminal"
    assert project_of_session.doit(f"stop:{built_habitat}").code == 0


@pytest.mark.guarantee("killed-session-is-cleaned-up")
@pytest.mark.parametrize("pause", [0, 0.5, 1.2, 2])
def test_start_during_guard_of_killed_session_works(
    project_of_session: Project, built_habitat: str, pause: float
) -> None:
    with RunningDoit(project_of_session, f"start:{built_habitat}") as running:
        running.wait_for("begun")
        running.process.kill()
        running.end()
        time.sleep(pause)
        result = project_of_session.doit(f"start:{built_habitat}", "--cmd", "echo here; sleep 3; echo still here")
    assert result.code == 0, result.out
    assert "here\nstill here\n" in result
    wait_until(lambda: not is_up(built_habitat), seconds=20)


@pytest.mark.guarantee("killed-session-is-cleaned-up")
@pytest.mark.parametrize("number", [None, signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ended_session_leaves_no_guard_and_no_open_pipe(
    project_of_session: Project, built_habitat: str, number: signal.Signals | None
) -> None:
    argv = ("--cmd", "echo begun") if number is None else ()
    with RunningDoit(project_of_session, f"start:{built_habitat}", *argv) as running:
        running.wait_for("begun")
        if number:
            running.process.send_signal(number)
        running.process.wait(20)
        running._reader.join(1)
        assert not running._reader.is_alive(), "its output is at its end"
        assert guards(built_habitat) == []
    assert not is_up(built_habitat)


# A shell that can't run


def no_program(sh: Path) -> None:
    sh.write_text("echo I am a shell\n")


def no_interpreter(sh: Path) -> None:
    sh.write_text("#!/nowhere/sh\n")


def another_processor(sh: Path) -> None:
    """A program of a processor that no machine has."""
    data = bytearray(Path("/bin/busybox").read_bytes()[:4096])
    data[18:20] = b"\xff\xfe"
    sh.write_bytes(data)


def no_libraries(sh: Path) -> None:
    shutil.copy("/bin/dash", sh)
    loader = subprocess.run(["ldd", "/bin/dash"], capture_output=True, text=True, check=True).stdout.split()[-2]
    place = Path(f"{sh.parents[1]}{loader}")
    place.parent.mkdir(exist_ok=True)
    shutil.copy(loader, place)


def not_executable(sh: Path) -> None:
    sh.write_text("")


SHELLS = [
    (no_program, "exec format error"),
    (no_interpreter, "no such file or directory"),
    (another_processor, "exec format error"),
    (no_libraries, "error while loading shared libraries"),
    (not_executable, "permission denied"),
]


@pytest.fixture
def broken_image(request: pytest.FixtureRequest, engine: DockerEngine, name: str, tmp_path: Path) -> Iterator[str]:
    """An image with such a shell, for a processor that no machine has."""
    root = tmp_path / "image"
    (root / "bin").mkdir(parents=True)
    (root / "etc").mkdir()
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    request.param(root / "bin/sh")
    (root / "bin/sh").chmod(0o644 if request.param is not_executable else 0o755)
    reference = f"{name}-shell:1"
    import_image(root, reference)
    yield reference
    engine.untag(reference)


@pytest.mark.guarantee("broken-image-shell-is-reported")
@pytest.mark.parametrize(("broken_image", "why"), SHELLS, indirect=["broken_image"])
@pytest.mark.parametrize("user", ["root", "ada"])
def test_build_with_broken_shell_error_names_shell(
    project: Project, name: str, broken_image: str, why: str, user: str
) -> None:
    project.habitat(name, f"base_image: {broken_image}\nenv: [USER={user}]\nsetup: {{root: ['true']}}\n")
    result = project.doit(f"final:{name}")
    (line,) = [line for line in result.out.splitlines() if "❌" in line and "can't run" in line]
    assert f"habitats/{name}/config.yaml:1" in line
    assert f"/bin/sh of the image {broken_image} can't run ({why}" in line
    assert "runc" not in result
    assert "Traceback" not in result
    assert failed(name) == {}


@pytest.mark.guarantee("broken-image-shell-is-reported")
@pytest.mark.parametrize("broken_image", [another_processor], indirect=True)
def test_build_with_image_of_other_architecture_error_names_both(
    project: Project, name: str, broken_image: str
) -> None:
    """As far as what it says of itself goes."""
    with subprocess.Popen(("docker", "save", broken_image), stdout=subprocess.PIPE) as saved:
        assert saved.stdout
        files = {}
        with tarfile.open(fileobj=saved.stdout, mode="r|") as tar:
            for member in tar:
                file = tar.extractfile(member)
                files[member.name] = file.read() if file else b""
    (config,) = [path for path in files if re.fullmatch(r"[0-9a-f]{64}\.json", path)]
    files[config] = files[config].replace(b'"architecture":"amd64"', b'"architecture":"s390x"')
    with tarfile.open(project.root / "image.tar", "w") as tar:
        for path, data in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            if data:
                tar.addfile(info, io.BytesIO(data))
    docker("rmi", broken_image)
    docker("load", "--input", str(project.root / "image.tar"))
    project.habitat(name, f"base_image: {broken_image}\nenv: [USER=root]\nsetup: {{root: ['true']}}\n")
    result = project.doit(f"final:{name}")
    assert (
        "can't run (exec format error); it is for linux/s390x, and the engine is linux/amd64: name an image" in result
    )


@pytest.fixture(scope="module")
def habitat_without_shell(
    engine: DockerEngine, busybox: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Project, str]]:
    """A habitat whose last command takes the shell's program away."""
    config = f"base_image: {busybox}\nenv: [USER=root]\nentry: {{command: echo it runs}}\n"
    for project, name in habitat_of_module(engine, tmp_path_factory, config):
        take_shell_away(project, name)
        yield project, name


def take_shell_away(project: Project, name: str) -> None:
    folder = project.root / "bad"
    folder.mkdir()
    no_program(folder / "sh")
    (folder / "sh").chmod(0o755)
    container = docker("create", f"habitat-{name}:final")
    docker("cp", f"{folder}/sh", f"{container}:/bin/sh")
    docker("commit", container, f"habitat-{name}:final")
    docker("tag", f"habitat-{name}:final", f"habitat-{name}:12-final")
    docker("rm", container)


@pytest.mark.guarantee("broken-image-shell-is-reported")
@pytest.mark.parametrize("argv", [("start:{}",), ("start:{}", "--detach"), ("exec:{}", "--", "true"), ("shell",)])
def test_start_and_exec_with_broken_shell_error_names_shell(
    habitat_without_shell: tuple[Project, str], argv: tuple[str, ...]
) -> None:
    project, name = habitat_without_shell
    remove_containers(name)
    if argv == ("shell",):
        result = project.run("sh", "-c", f"echo true | {sys.executable} -m doit shell:{name} --at final")
    else:
        result = project.doit(*(word.format(name) for word in argv))
    assert result.code == 1, result.out
    assert "can't run (exec format error)" in result
    assert f"/bin/sh of the image habitat-{name}:" in result
    assert "config.yaml:1" in result
    assert len([line for line in result.out.splitlines() if "/bin/sh" in line]) == 1
    assert "Traceback" not in result
