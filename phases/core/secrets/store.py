"""Fetches secrets on the host. They are kept in the memory of this program only."""

from __future__ import annotations

import os
import subprocess
import threading
from typing import TYPE_CHECKING

from msgspec.structs import replace

from phases.core.errors import SecretError
from phases.core.files import safe_open
from phases.core.model import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from phases.core.model import Secret

# Seconds that a command may take to print a secret.
_TIMEOUT = 60

# Bytes of a secret.
_MAX_BYTES = 1 << 20

# Bytes of a variable and its name that Linux passes to a program, without the NUL at the end.
_MAX_VARIABLE_BYTES = 131_071


class SecretStore:
    """The secrets of this host. Each is fetched once.

    Args:
        root: The folder in which commands run.
        agree: Called with a habitat's name before a command of that habitat runs. Raises if the person has not agreed.
        warn: Called with a habitat's name and a line about one of its secrets that was fetched.

    Attributes:
        of_stopped: What containers held that this run has stopped for a while, by id: each value behind its owner.
    """

    def __init__(
        self,
        root: Path,
        agree: Callable[[str], None] = lambda _: None,
        warn: Callable[[str, str], None] = lambda *_: None,
    ) -> None:
        self._root = root
        self._agree = agree
        self._warn = warn
        self._values: dict[Secret, bytes | None] = {}
        self._lock = threading.Lock()
        self.of_stopped: dict[str, list[tuple[str, Value]]] = {}

    def fresh_copy(self) -> SecretStore:
        """Return a new store, which fetches each secret again."""
        return SecretStore(self._root)

    def values(self, secrets: Iterable[Secret]) -> tuple[Value, ...]:
        """Return the values of secrets, without optional ones that are missing.

        Raises:
            SecretError: A secret that isn't optional is missing, or can't be used.
        """
        pairs = ((secret, self._value(secret)) for secret in secrets)
        return tuple(Value(secret.name, data, secret.variable) for secret, data in pairs if data is not None)

    def _value(self, secret: Secret) -> bytes | None:
        if secret.command:
            self._agree(secret.habitat)
        shareable = replace(secret, habitat="")  # another habitat may have the same one
        with self._lock:  # two habitats built at once must not ask the person twice
            is_new = shareable not in self._values
            if is_new:
                self._values[shareable] = self._fetch(shareable)
            data = self._values[shareable]
        if is_new and data is not None:
            self._check_length(secret, data)
        return data

    def _check_length(self, secret: Secret, data: bytes) -> None:
        """Warn of a secret that is too short to be masked."""
        from phases.core.masking import MIN_CHARACTERS, is_long_enough  # imported late: most runs fetch no secret

        if not is_long_enough(data):
            text = f"secret {secret.name} has fewer than {MIN_CHARACTERS} characters, so output shows it unmasked"
            self._warn(secret.habitat, text)

    def _fetch(self, secret: Secret) -> bytes | None:
        def missing(why: str, remedy: str) -> SecretError:
            return SecretError(f"secret {secret.name}: {why}", where=secret.origin, remedy=remedy)

        try:
            if secret.env:
                data = os.environb.get(secret.env.encode())
                why, remedy = f"the environment has no {secret.env}", f"set {secret.env}"
            elif secret.file:
                data = safe_open.read(secret.file, _MAX_BYTES)
                why, remedy = f"there is no {secret.file} on the host", "add it, or fix the path"
            else:
                data, why = self._run_command(secret.command)
                remedy = f"run it and fix what it reports: {secret.command}"
        except OSError as error:
            raise missing(
                f"can't be read ({error.strerror})", "check that it is a file and that you may read it"
            ) from error
        if data is None:
            if secret.optional:
                return None
            raise missing(why, f"{remedy}; or write `optional: true`")
        if problem := _problem(data, secret.variable):
            raise missing(problem, "check its source")
        return data

    def _run_command(self, command: str) -> tuple[bytes | None, str]:
        """Return the output of a command, or None and the reason why it failed."""
        argv = ("/bin/sh", "-c", command)
        try:
            done = subprocess.run(
                argv, cwd=self._root, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT, check=False
            )
        except subprocess.TimeoutExpired:
            return None, f"its command took longer than {_TIMEOUT}s"
        if done.returncode:
            return None, f"its command ended with exit code {done.returncode}"
        return done.stdout.removesuffix(b"\n"), ""


def _problem(data: bytes, variable: str) -> str:
    """Return what is wrong with a value, "" for nothing. variable: the name of its variable, "" for none."""
    problems = {
        "is empty": not data,
        "is larger than 1 MB": len(data) > _MAX_BYTES,
        "contains a NUL byte": variable and b"\0" in data,
        "is larger than 128 KB, which is too much for a variable": variable
        and len(variable + "=") + len(data) > _MAX_VARIABLE_BYTES,
        "is not UTF-8 text, as a variable must be": variable and not _is_text(data),
    }
    return next((problem for problem, applies in problems.items() if applies), "")


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
