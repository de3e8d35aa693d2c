"""Builds with the `docker build` command, which can use BuildKit. The API can't."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tarfile
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from phases.core.engine.output import LineSplitter
from phases.core.errors import EngineError
from phases.core.masking import Mask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from phases.core.engine.output import OnLine
    from phases.core.files.tar import DockerfileArchive
    from phases.core.model import Value


@dataclass(frozen=True)
class DockerCommand:
    """A `docker` program of this machine.

    Attributes:
        program: Its path.
        buildkit: Whether it builds with BuildKit.
    """

    program: str
    buildkit: bool


# Seconds that `docker` may take to print its version.
_VERSION_TIMEOUT = 10


def find() -> DockerCommand | None:
    """Return the first `docker` on the PATH that builds with BuildKit, else the first, else None."""
    programs: list[str] = []
    for folder in os.get_exec_path():
        program = shutil.which("docker", path=folder)
        if program and not any(Path(program).samefile(other) for other in programs):
            programs.append(program)
    capable = next((program for program in programs if _has_buildkit(program)), None)
    if capable:
        return DockerCommand(capable, buildkit=True)
    return DockerCommand(programs[0], buildkit=False) if programs else None


def _has_buildkit(program: str) -> bool:
    """Return whether a `docker` has BuildKit. From version 23 on it needs buildx for that, before it was built in."""

    def output(*argv: str) -> str:
        try:
            done = subprocess.run(
                [program, *argv], capture_output=True, text=True, check=False, timeout=_VERSION_TIMEOUT
            )
        except (OSError, subprocess.TimeoutExpired):  # `docker version` also asks the engine, which may be silent
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    if output("buildx", "version"):
        return True
    try:
        client = json.loads(output("version", "--format", "{{json .Client}}"))
        return 18 <= int(client["Version"].split(".")[0]) < 23
    except (ValueError, KeyError):
        return False


@contextmanager
def _in_memory(value: Value) -> Iterator[str]:
    """Yield the path of a file in memory with a secret's value, for a process that this one starts."""
    descriptor = os.memfd_create(value.name)
    try:
        os.write(descriptor, value.data)
        yield f"/proc/{os.getpid()}/fd/{descriptor}"
    finally:
        os.close(descriptor)


# Runs a command. Kills it and all that it has started when the pipe with descriptor $1 is closed without a line, which
# is what the kernel does when this process is killed. The engine ends a build whose client is gone. A client that gets
# a milder signal than KILL may continue to wait for the engine.
_KILLED_WITH_PARENT = """
{ read -r word || kill -s KILL -- "-$$"; } <"/dev/fd/$1" >/dev/null 2>&1 &
shift
exec "$@"
"""


def build(
    command: DockerCommand,
    context: DockerfileArchive,
    tag: str,
    on_line: OnLine,
    secrets: Sequence[Value] = (),
) -> None:
    """Build a Dockerfile. The build ends when this process does, however that ends.

    The id of the image comes from the engine and not from `--iidfile`, whose file a killed process would leave.

    Args:
        command: The `docker` to use.
        context: The Dockerfile and its build context. Without BuildKit, the engine reads in its .dockerignore what COPY
            must not find.
        tag: The tag of the image.
        on_line: Gets the output.
        secrets: Values that the Dockerfile may mount, which are masked in the output.

    Raises:
        EngineError: The build fails.
    """
    with ExitStack() as files:
        options = ["--progress=plain"] if command.buildkit else ["--force-rm"]
        given_secrets = [f"--secret=id={value.name},src={files.enter_context(_in_memory(value))}" for value in secrets]
        source = [f"--file={context.dockerfile}", "-"]
        if command.buildkit and context.folder:
            source = _unpack(context, context.folder)
        argv = [command.program, "build", "--tag", tag, *options, *given_secrets, *source]
        splitter = LineSplitter(on_line, Mask(value.data for value in secrets))
        if code := _run(argv, {"DOCKER_BUILDKIT": "1" if command.buildkit else "0"}, context.tar, splitter):
            raise EngineError(f"docker build ended with exit code {code}")


def _unpack(context: DockerfileArchive, folder: Path) -> list[str]:
    """Unpack a context beside its Dockerfile, and return the arguments that build it.

    BuildKit hides no file of a tar. The ignore file beside the Dockerfile counts in place of a .dockerignore in the
    folder. It has no pattern, so COPY finds the whole folder.
    """
    below, beside = folder / "context", folder / "dockerfile"
    below.mkdir()
    beside.mkdir()
    with tarfile.open(fileobj=context.tar) as tar:
        members = [member for member in tar if member.name not in context.hidden]
        tar.extractall(below, members, filter="fully_trusted")  # noqa: S202 (the tar is our own)
        tar.extract(context.dockerfile, beside, filter="fully_trusted")
    (beside / f"{context.dockerfile}.dockerignore").write_text("# no pattern\n")
    return [f"--file={beside / context.dockerfile}", str(below)]


def _run(argv: Sequence[str], env: Mapping[str, str], stdin: IO[bytes], splitter: LineSplitter) -> int:
    """Run a docker command that doesn't outlive this process. Return its exit code."""
    read_end, write_end = os.pipe()
    with (
        os.fdopen(read_end),
        os.fdopen(write_end, "w") as pipe,
        subprocess.Popen(
            ["/bin/sh", "-c", _KILLED_WITH_PARENT, "sh", str(read_end), *argv],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "DOCKER_CLI_HINTS": "false", **env},
            pass_fds=[read_end],
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
        pipe.write("ended\n")
        pipe.flush()
    splitter.close()
    return process.returncode
