"""Delivers secrets to containers: as files in a tmpfs, and as environment variables of commands.

A commit leaves a tmpfs out, so a secret is in no layer, image config, history, slice, stamp or log. Output of commands
is masked before it is shown.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from phases.core.container import root_environment
from phases.core.engine.types import Confided
from phases.core.errors import EngineError, HabitatError
from phases.core.files.shell_program import ShellProgram
from phases.core.model import SECRETS_FOLDER, Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from phases.core.engine.protocol import Engine
    from phases.core.model import Habitat

_RECEIVE = ShellProgram(__file__, "receive.sh")
_WITHDRAW = ShellProgram(__file__, "withdraw.sh")
_READ = ShellProgram(__file__, "read.sh")

# What read.sh prints before the content of a file.
_HEADER = re.compile(rb"([\w.-]+) ([0-9]+) ([0-9]+)\n", re.ASCII)

# Seconds that reading the secrets may take.
_READ_TIMEOUT = 10


def deliver(engine: Engine, container: str, values: Iterable[Value], owner: str, habitat: Habitat) -> None:
    """Write values into the tmpfs of a running container.

    Args:
        engine: The engine.
        container: The id of the container.
        values: The values.
        owner: The only user who can read them, a name or a number.
        habitat: The habitat, whose config an error names.

    Raises:
        EngineError: A value could not be written.
    """
    for value in values:
        size = str(len(value.data))
        code, output = root_environment.run(engine, container, _RECEIVE.text, value.path, owner, size, stdin=value.data)
        if code:
            origins = {secret.name: secret.origin for secret in habitat.secrets}
            raise EngineError(
                f"secret {value.name} could not be given to the container ({output})",
                where=origins.get(value.name, habitat.name),
                remedy=f"check that no volume covers {SECRETS_FOLDER}, and that the image has a working "
                "sh, head, chown, chmod and mv",
            )


def read(engine: Engine, container: str) -> list[tuple[str, Value]]:
    """Return the values in the tmpfs of a running container that is about to be stopped, each behind its owner.

    If reading them hangs, the container is killed.
    """
    printed: list[bytes] = []

    def keep(data: bytes, is_err: bool) -> None:
        printed.append(b"" if is_err else data)

    argv = ("/bin/sh", "-e", "-c", "--", _READ.text, "sh", SECRETS_FOLDER)
    with suppress(HabitatError):  # what is printed until then is complete, or cut off below
        env = root_environment.OWN
        engine.exec(container, argv, user="0", workdir="/", env=env, on_output=keep, timeout=_READ_TIMEOUT)
    return list(_parse(b"".join(printed)))


def _parse(data: bytes) -> Iterator[tuple[str, Value]]:
    while header := _HEADER.match(data):
        name, owner, size = (part.decode() for part in header.groups())
        end = header.end() + int(size)
        if end <= len(data):
            yield owner, Value(name, data[header.end() : end])
        data = data[end:]


def withdraw(engine: Engine, container: str, keep: Iterable[Value]) -> None:
    """Remove all values but `keep` from the tmpfs of a running container."""
    names = [value.name for value in keep]
    root_environment.run(engine, container, _WITHDRAW.text, SECRETS_FOLDER, *names)


def variables(values: Iterable[Value]) -> dict[str, str]:
    """Return the environment variables that hold secrets."""
    return {value.variable: Confided(value.text, value.path) for value in values if value.variable}
