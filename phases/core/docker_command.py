"""Building a Dockerfile through the `docker build` command, which knows BuildKit; the API doesn't."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from phases.core.engine import LineSplitter
from phases.core.errors import EngineError
from phases.core.masking import Mask

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from phases.core.engine import OnLine
    from phases.core.secrets import Value


@dataclass(frozen=True)
class DockerCommand:
    """A `docker` on this machine, and whether it builds with BuildKit."""

    program: str
    buildkit: bool


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
            done = subprocess.run([program, *argv], capture_output=True, text=True, check=False)
        except OSError:
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


def build(command: DockerCommand, context: IO[bytes], on_line: OnLine, secrets: Sequence[Value] = ()) -> str:
    """Build the Dockerfile in the tar `context`, a real file. Returns the image's id; raises
    EngineError when the build fails.
    """
    with tempfile.TemporaryDirectory() as folder, ExitStack() as files:
        id_file = Path(folder) / "id"
        plain = ["--progress=plain"] if command.buildkit else []
        given = [f"--secret=id={value.name},src={files.enter_context(_in_memory(value))}" for value in secrets]
        argv = [command.program, "build", "--iidfile", str(id_file), *plain, *given, "-"]
        env = {**os.environ, "DOCKER_BUILDKIT": "1" if command.buildkit else "0", "DOCKER_CLI_HINTS": "false"}
        splitter = LineSplitter(on_line, Mask(value.data for value in secrets))
        try:
            process = subprocess.Popen(argv, stdin=context, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env)
        except OSError as error:
            raise EngineError(f"{command.program} can't be run ({error.strerror})") from error
        with process:
            assert process.stdout
            try:
                while data := os.read(process.stdout.fileno(), 65536):
                    splitter.feed(data)
            except BaseException:
                process.terminate()
                raise
        splitter.close()
        if process.returncode:
            raise EngineError(f"docker build ended with exit code {process.returncode}")
        try:
            return id_file.read_text().strip()
        except FileNotFoundError as error:
            raise EngineError("docker build gave no image") from error
