"""Runs git in a running container, in a repository that nobody trusts.

Git reads programs from a repository's config, attributes and hooks. `git.sh` switches all of them off. It runs as the
owner of the repository, and never on this machine. What it prints is data that anybody in the container may have made
up.
"""

from __future__ import annotations

import io
import select
import time
from contextlib import suppress
from typing import IO, TYPE_CHECKING

from msgspec import Struct

from phases.core.container import root_environment, timed_exec
from phases.core.files.shell_program import ShellProgram

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from phases.core.engine.protocol import Engine, Piped

FUNCTIONS = ShellProgram(__file__, "git.sh")

# Runs one command of git. The exit code is that of git, or UNREADABLE.
_ONE_COMMAND = """
path=$1
shift
enter_repository "$path" || { echo "$problem" >&2; exit 125; }
safe_git "$@"
"""

#: The exit code for a folder that is no repository, or not one that the user may use. The error output says why.
UNREADABLE = 125

# Seconds, and bytes of output, that a command of git has.
_SECONDS = 30.0
_MOST_BYTES = 16 << 20

# Bytes of input that are written at once.
_CHUNK = 1 << 16


class GitOutput(Struct, frozen=True):
    """The output of a command.

    Attributes:
        code: Its exit code, None if it was killed since it took too long or printed too much.
        out: Its standard output, as far as it was read.
        err: Its error output.
    """

    code: int | None
    out: bytes
    err: bytes


def argv(path: str, arguments: Sequence[str], env: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return the command that runs git in the repository `path`, such as for `Engine.exec_piped` as its owner.

    Args:
        path: The absolute path of the repository.
        arguments: Those of git.
        env: Variables for git, which the container's environment doesn't reach.
    """
    return script_argv(_ONE_COMMAND, (path, *arguments), env)


def script_argv(script: str, arguments: Sequence[str], env: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return the command that runs a script after the functions of git.sh, with its arguments."""
    variables = {"PATH": root_environment.ROOT_PATH, **(env or {})}
    shell = ("/bin/sh", "-c", "--", f"{FUNCTIONS.text}{script}", "sh")
    return ("env", "-i", *(f"{name}={value}" for name, value in variables.items()), *shell, *arguments)


def run(
    engine: Engine,
    container: str,
    command: Sequence[str],
    user: str,
    *,
    stdin: bytes = b"",
    seconds: float = _SECONDS,
    most_bytes: int = _MOST_BYTES,
) -> GitOutput:
    """Run a command of `argv` or `script_argv`.

    Args:
        engine: The engine.
        container: A running container.
        command: The command.
        user: The owner of the repository, a name or a number.
        stdin: Its standard input, which ends then.
        seconds: How long it may take.
        most_bytes: How many bytes it may print.
    """
    chunks: dict[bool, list[bytes]] = {False: [], True: []}
    left = most_bytes

    def take(data: bytes, is_err: bool) -> None:
        nonlocal left
        chunks[is_err].append(data)
        left -= len(data)
        if left < 0:
            raise _TooMuchError

    code = None
    with suppress(_TooMuchError):
        code = stream(engine, container, command, user, take, source=io.BytesIO(stdin), seconds=seconds)
    return GitOutput(code, b"".join(chunks[False]), b"".join(chunks[True]))


class _TooMuchError(Exception):
    """A command has printed more than it may."""


def stream(
    engine: Engine,
    container: str,
    command: Sequence[str],
    user: str,
    on_output: Callable[[bytes, bool], None],
    *,
    source: IO[bytes],
    seconds: float,
) -> int | None:
    """Run a command of `argv` or `script_argv` whose input or output may be long.

    Args:
        engine: The engine.
        container: A running container.
        command: The command.
        user: The owner of the repository, a name or a number.
        on_output: Gets chunks of what the command prints, and whether each is of stderr. If it raises an exception,
            the command is killed.
        source: Its standard input, which ends then.
        seconds: How long it may take.

    Returns:
        The exit code, None if it was killed since it took too long.
    """
    process = engine.exec_piped(container, command, user=user, workdir="/", env=root_environment.OWN)
    has_ended = False
    try:
        has_ended = _exchange(process, source, on_output, time.monotonic() + seconds)
        return process.exit_code() if has_ended else None
    finally:
        if not has_ended:
            timed_exec.kill_and_wait(process, lambda *_: None)
        process.close()


def _exchange(process: Piped, source: IO[bytes], on_output: Callable[[bytes, bool], None], until: float) -> bool:
    """Write the input and read the output of a command. Return whether it ended in time."""
    rest = source.read(_CHUNK)
    if not rest:
        process.end_input()
    while (left := until - time.monotonic()) > 0:
        number = process.fileno()
        readable, writable, _ = select.select([number], [number] if rest else [], [], left)
        if writable:
            rest = rest[process.write(rest) :] or source.read(_CHUNK)
            if not rest:
                process.end_input()
        if readable:
            output = process.read()
            if output is None:
                return True
            for data, is_err in output:
                on_output(data, is_err)
    return False
