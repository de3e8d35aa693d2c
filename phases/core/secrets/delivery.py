"""Delivers secrets to containers: as files in a tmpfs, and as environment variables of commands.

A commit leaves a tmpfs out, so a secret is in no layer, image config, history, slice, stamp or log. Output of commands
is masked before it is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.container import root_environment
from phases.core.engine.types import Confided
from phases.core.errors import EngineError
from phases.core.files.shell_program import ShellProgram
from phases.core.model import SECRETS_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from phases.core.engine.protocol import Engine
    from phases.core.model import Habitat, Value

_RECEIVE = ShellProgram(__file__, "receive.sh")
_WITHDRAW = ShellProgram(__file__, "withdraw.sh")


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


def withdraw(engine: Engine, container: str, keep: Iterable[Value]) -> None:
    """Remove all values but `keep` from the tmpfs of a running container."""
    names = [value.name for value in keep]
    root_environment.run(engine, container, _WITHDRAW.text, SECRETS_FOLDER, *names)


def variables(values: Iterable[Value]) -> dict[str, str]:
    """Return the environment variables that hold secrets."""
    return {value.variable: Confided(value.text, value.path) for value in values if value.variable}
