"""Commands in a Podman container."""

from __future__ import annotations

import re
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

from phases.core.engine.docker_api.execs import DockerExecs
from phases.core.engine.types import Confided
from phases.core.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phases.core.engine.docker_py import DockerPyResponse

# How Podman refuses a command of a user that the container doesn't have. In Docker such a command fails.
_NO_USER = re.compile("unable to find (user|group)")
_FAIL = ("/bin/sh", "-c", 'printf "%s\\n" "$1" >&2; exit 126', "sh")

# Sets variables to the content of files without newlines at the end, and then runs a command. The arguments are pairs
# of a variable and a file, then --, then the command.
_READ_VARIABLES = """
while [ "$1" != -- ]; do
    [ -r "$2" ] || exit 126
    export "$1=$(cat -- "$2")"
    shift 2
done
shift
exec "$@"
"""


class PodmanExecs(DockerExecs):
    """The methods of the engine protocol that run commands, where Podman differs."""

    def _create_exec(
        self,
        container: str,
        argv: Sequence[str],
        *,
        user: str = "",
        workdir: str = "",
        env: Mapping[str, str] | None = None,
        stdin: bool = False,
        tty: bool = False,
    ) -> str:
        """Create an exec.

        Podman stores an exec's environment in a database, so a shell in the container reads the secrets from their
        files instead.
        """
        variables = env or {}
        if secret := {name: value.path for name, value in variables.items() if isinstance(value, Confided)}:
            pairs = [part for pair in secret.items() for part in pair]
            argv = ("/bin/sh", "-c", _READ_VARIABLES, "sh", *pairs, "--", *argv)
        public = {name: value for name, value in variables.items() if name not in secret}
        return super()._create_exec(container, argv, user=user, workdir=workdir, env=public, stdin=stdin, tty=tty)

    def _start_exec(
        self, container: str, argv: Sequence[str], *, tty: bool = False, **options: Any
    ) -> tuple[str, DockerPyResponse]:
        """Start a command. Podman refuses a user who doesn't exist, where Docker's command ends with 126."""
        try:
            return super()._start_exec(container, argv, tty=tty, **options)
        except EngineError as error:
            if not _NO_USER.search(error.message):
                raise
            failing = (*_FAIL, error.message)
            return super()._start_exec(container, failing, tty=tty, stdin=options.get("stdin", False))

    def start_detached(self, container: str, argv: Sequence[str], user: str) -> str:
        """Run a command to its end: Podman notices only minutes later that a detached command has ended."""
        exec_id = self._create_exec(container, argv, user=user, workdir="/")
        with closing(self._attach(exec_id)) as response, suppress(OSError):
            for _ in response.stream():
                pass
        return exec_id
