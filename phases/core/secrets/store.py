"""Secrets: fetched on the host when first needed, given to commands in a tmpfs, kept out of all else.

They are in memory here and there, and in no layer, image config, history, slice, stamp or log: a
tmpfs is no part of a commit, and what commands print is masked before anybody sees it.
"""

from __future__ import annotations

import os
import subprocess
import threading
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from phases.core.container import root_environment
from phases.core.engine.protocol import Confided
from phases.core.errors import EngineError, SecretError
from phases.core.files import safe_open
from phases.core.files.shell_program import ShellProgram
from phases.protocol import SECRETS_FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from phases.core.engine.protocol import Engine
    from phases.core.model import Secret

# Seconds until a command that is to print a secret is given up.
_PATIENCE = 60
_LARGEST = 1 << 20

# Bytes of one variable with its name that Linux gives a program, the closing NUL apart.
_ARGUMENT = 131_071

_RECEIVE = ShellProgram(__file__, "receive.sh")


_WITHDRAW = ShellProgram(__file__, "withdraw.sh")


class Value(Struct, frozen=True):
    """A secret at hand. data: the content of its file."""

    name: str
    data: bytes
    variable: str = ""

    @property
    def path(self) -> str:
        return f"{SECRETS_FOLDER}/{self.name}"

    @property
    def text(self) -> str:
        """For an environment variable, which ends where the last line does."""
        return self.data.decode().rstrip("\n")


class SecretStore:
    """Secrets of this host. root: where commands are run; agree: raises where the person has not agreed to those
    of a habitat. Each is fetched once.
    """

    def __init__(self, root: Path, agree: Callable[[str], None] = lambda _: None) -> None:
        self._root = root
        self._agree = agree
        self._values: dict[Secret, bytes | None] = {}
        self._lock = threading.Lock()

    def values(self, secrets: Iterable[Secret]) -> tuple[Value, ...]:
        """Those that this host has. Raises SecretError for one that it hasn't, unless that is optional."""
        found = ((secret, self._value(secret)) for secret in secrets)
        return tuple(Value(secret.name, data, secret.variable) for secret, data in found if data is not None)

    def _value(self, secret: Secret) -> bytes | None:
        if secret.command:
            self._agree(secret.habitat)
        secret = replace(secret, habitat="")  # another habitat may have the same one
        with self._lock:  # habitats side by side are not to ask a person twice
            if secret not in self._values:
                self._values[secret] = self._fetch(secret)
            return self._values[secret]

    def _fetch(self, secret: Secret) -> bytes | None:
        def missing(why: str, remedy: str) -> SecretError:
            return SecretError(f"secret {secret.name}: {why}", where=secret.origin, remedy=remedy)

        try:
            if secret.env:
                data = os.environb.get(secret.env.encode())
                why, remedy = f"the environment has no {secret.env}", f"set {secret.env}"
            elif secret.file:
                data = safe_open.read(secret.file, _LARGEST)
                why, remedy = f"there is no {secret.file} on the host", "add it, or mend the path"
            else:
                data, why = self._ask(secret.command)
                remedy = f"see what it says: {secret.command}"
        except OSError as error:
            raise missing(f"can't be read ({error.strerror})", "see that it is a file, and yours to read") from error
        if data is None:
            if secret.optional:
                return None
            raise missing(why, f"{remedy}; or say `optional: true`")
        if flaw := _flaw(data, secret.variable):
            raise missing(flaw, "see where it comes from")
        return data

    def _ask(self, command: str) -> tuple[bytes | None, str]:
        """What a command prints, or None and why it printed nothing."""
        argv = ("/bin/sh", "-c", command)
        try:
            done = subprocess.run(
                argv, cwd=self._root, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE, check=False
            )
        except subprocess.TimeoutExpired:
            return None, f"its command took longer than {_PATIENCE}s"
        if done.returncode:
            return None, f"its command ended with exit code {done.returncode}"
        return done.stdout.removesuffix(b"\n"), ""


def _flaw(data: bytes, variable: str) -> str:
    """What is wrong with a value; variable: that is to hold it, as text."""
    flaws = {
        "is empty": not data,
        "is larger than 1 MB": len(data) > _LARGEST,
        "has a NUL byte in it": variable and b"\0" in data,
        "is larger than 128 KB, which is too much for a variable": variable
        and len(variable + "=") + len(data) > _ARGUMENT,
        "is not UTF-8 text, as a variable must be": variable and not _is_text(data),
    }
    return next((flaw for flaw, found in flaws.items() if found), "")


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def deliver(engine: Engine, container: str, values: Iterable[Value], owner: str) -> None:
    """Put values into the tmpfs of a running container, for `owner` (a name or a number) alone."""
    for value in values:
        size = str(len(value.data))
        code, why = root_environment.run(engine, container, _RECEIVE.text, value.path, owner, size, stdin=value.data)
        if code:
            raise EngineError(
                f"secret {value.name} could not be given to the container ({why})",
                remedy=f"see that no volume lies over {SECRETS_FOLDER}, and that the image's programs are whole",
            )


def withdraw(engine: Engine, container: str, keep: Iterable[Value]) -> None:
    """Take all but `keep` out of the tmpfs of a running container."""
    names = [value.name for value in keep]
    root_environment.run(engine, container, _WITHDRAW.text, SECRETS_FOLDER, *names)


def variables(values: Iterable[Value]) -> dict[str, str]:
    """The environment of a command that is to find secrets in it, too."""
    return {value.variable: Confided(value.text, value.path) for value in values if value.variable}
