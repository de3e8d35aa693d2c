"""Building a Dockerfile through the `docker build` command, which knows BuildKit; the API doesn't."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from phases.core.engine.protocol import LineSplitter
from phases.core.errors import EngineError
from phases.core.masking import Mask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from phases.core.engine.protocol import OnLine
    from phases.core.model import Value


@dataclass(frozen=True)
class DockerCommand:
    """A `docker` on this machine, and whether it builds with BuildKit."""

    program: str
    buildkit: bool


# Seconds that a `docker` may take to say what it is.
_ANSWER = 10


def find() -> DockerCommand | None:
    """The first `docker` on the PATH that builds with BuildKit, else the first, else None."""
    programs: list[str] = []
    for folder in os.get_exec_path():
        program = shutil.which("docker", path=folder)
        if program and not any(Path(program).samefile(other) for other in programs):
            programs.append(program)
    able = next((program for program in programs if _has_buildkit(program)), None)
    if able:
        return DockerCommand(able, buildkit=True)
    return DockerCommand(programs[0], buildkit=False) if programs else None


def _has_buildkit(program: str) -> bool:
    """Clients from 23 on need the buildx component for it, older ones have it built in."""

    def ask(*argv: str) -> str:
        try:
            done = subprocess.run([program, *argv], capture_output=True, text=True, check=False, timeout=_ANSWER)
        except (OSError, subprocess.TimeoutExpired):  # its version asks an engine, which may be silent
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    if ask("buildx", "version"):
        return True
    try:
        client = json.loads(ask("version", "--format", "{{json .Client}}"))
        return 18 <= int(client["Version"].split(".")[0]) < 23
    except (ValueError, KeyError):
        return False


@contextmanager
def _in_memory(value: Value) -> Iterator[str]:
    """The path of a file that is on no disk, for a process that we start."""
    descriptor = os.memfd_create(value.name)
    try:
        os.write(descriptor, value.data)
        yield f"/proc/{os.getpid()}/fd/{descriptor}"
    finally:
        os.close(descriptor)


# Runs a command, and ends it, with all that it has started, when the pipe with descriptor $1 is closed without a word:
# as the kernel does for whoever was killed. The engine ends a build whose client is gone; one that is asked to end may
# go on waiting for the engine.
_NOT_ALONE = """
{ read -r word || kill -s KILL -- "-$$"; } <"/dev/fd/$1" >/dev/null 2>&1 &
shift
exec "$@"
"""


def build(command: DockerCommand, context: IO[bytes], tag: str, on_line: OnLine, secrets: Sequence[Value] = ()) -> None:
    """Build the Dockerfile in the tar `context`, a real file, as the image `tag`. Raises EngineError when the build
    fails. Ends with this process, however that ends, and leaves no file: the id of the image is asked of the engine,
    not of `--iidfile`.
    """
    with ExitStack() as files:
        how = ["--progress=plain"] if command.buildkit else ["--force-rm"]
        given = [f"--secret=id={value.name},src={files.enter_context(_in_memory(value))}" for value in secrets]
        argv = [command.program, "build", "--tag", tag, *how, *given, "-"]
        splitter = LineSplitter(on_line, Mask(value.data for value in secrets))
        if code := _run(argv, {"DOCKER_BUILDKIT": "1" if command.buildkit else "0"}, context, splitter):
            raise EngineError(f"docker build ended with exit code {code}")


def _run(argv: Sequence[str], env: Mapping[str, str], stdin: IO[bytes], splitter: LineSplitter) -> int:
    """Run a docker command, which doesn't outlive this process. Returns its exit code."""
    watched, alive = os.pipe()
    with (
        os.fdopen(watched),
        os.fdopen(alive, "w") as word,
        subprocess.Popen(
            ["/bin/sh", "-c", _NOT_ALONE, "sh", str(watched), *argv],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "DOCKER_CLI_HINTS": "false", **env},
            pass_fds=[watched],
            process_group=0,
        ) as process,
    ):
        assert process.stdout
        try:
            while data := os.read(process.stdout.fileno(), 65536):
                splitter.feed(data)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
        word.write("ended\n")
        word.flush()
    splitter.close()
    return process.returncode
