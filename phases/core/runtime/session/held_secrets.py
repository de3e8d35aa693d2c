"""The secrets of a session: those of this host, else those that the running habitat holds already.

A person sets a variable in one terminal and starts the habitat. A session from another terminal has no such variable,
but the commands of the habitat have the secret all the same. What the habitat holds is used only if the record of this
clone says that it was given that very value: USER can write to its own file.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from phases.core.container import timed_exec
from phases.core.errors import EngineError, SecretError
from phases.core.model import Value
from phases.core.runtime.own_containers import own_container
from phases.core.secrets import fingerprints

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phases.core.engine.types import Container
    from phases.core.model import Habitat, Secret
    from phases.core.project import Project

# Seconds that reading a secret in the container may take.
_TIMEOUT = 5


def session_secrets(project: Project, habitat: Habitat, *, keeps_optional: bool) -> tuple[Value, ...]:
    """Return the values of the secrets that a session gets.

    Args:
        project: The project.
        habitat: The habitat.
        keeps_optional: Whether optional secrets that this host lacks stay in the running habitat.

    Raises:
        SecretError: Neither this host nor the running habitat has one.
    """
    return tuple(_values(project, habitat, keeps_optional=keeps_optional))


def _values(project: Project, habitat: Habitat, *, keeps_optional: bool) -> Iterator[Value]:
    for secret in habitat.secrets:
        if not secret.start:
            continue
        try:
            values = project.vault.values([secret])
        except SecretError:
            held = _value_in_container(project, habitat, secret)
            if held is None:
                raise
            yield held
            continue
        yield from values
        if not values and keeps_optional and (held := _value_in_container(project, habitat, secret)):
            yield held


def _value_in_container(project: Project, habitat: Habitat, secret: Secret) -> Value | None:
    """Return the value that the running container of the habitat was given."""
    with suppress(EngineError):
        container = own_container(project, habitat.name)
        if container and container.running:
            value = Value(secret.name, b"", secret.variable)
            data = _read(project, habitat, container, value.path)
            folder = project.state_folder(habitat.name)
            if data and fingerprints.was_given(folder, container, data):
                return Value(secret.name, data, secret.variable)
    return None


def _read(project: Project, habitat: Habitat, container: Container, path: str) -> bytes:
    """Return the content of a file of USER, b"" if it can't be read."""
    printed: list[bytes] = []
    argv = ("cat", path)
    process = project.engine.exec_piped(container.id, argv, user=habitat.user, workdir="/", env={})
    try:
        process.end_input()

        def keep(data: bytes, is_err: bool) -> None:
            printed.append(b"" if is_err else data)

        if timed_exec.wait_for_end(process, keep, _TIMEOUT):
            return b"".join(printed) if process.exit_code() == 0 else b""
        timed_exec.kill_and_wait(process, lambda *_: None)
        return b""
    finally:
        process.close()
