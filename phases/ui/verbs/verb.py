"""The protocol of a verb, and the error of one whose command failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from phases.core.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


#: The option of verbs that ask a question.
YES: dict[str, Any] = {"name": "yes", "long": "yes", "type": bool, "default": False, "help": "don't ask"}


#: The option of verbs for one of the containers that were set aside. A number behind the habitat stands for it.
NUMBER: dict[str, Any] = {
    "name": "number",
    "long": "number",
    "type": int,
    "default": 1,
    "metavar": "N",
    "help": "which of them, 1 is the newest; N alone means the same",
}


class SessionFailed(StartError):
    """The command of a session ended with an exit code that is not 0. The run ends with the same."""

    def __init__(self, message: str, exit_code: int, *, remedy: str) -> None:
        super().__init__(message, remedy=remedy)
        self.exit_code = exit_code


class Verb(Protocol):
    """Something to do with a habitat: a module with these names."""

    @property
    def NAME(self) -> str:  # noqa: N802
        """Its name in tasks: VERB of VERB:HABITAT."""

    @property
    def DESCRIPTION(self) -> str:  # noqa: N802
        """The description that help and `habitat list --all` show: at most 43 characters."""

    @property
    def EXAMPLE(self) -> Sequence[str]:  # noqa: N802
        """An example for the help: the verb as a person types it, then the words behind the habitat."""

    @property
    def BUILDS(self) -> bool | str:  # noqa: N802
        """Return whether all phases are built first. The name of a phase: those up to it."""

    @property
    def HARMLESS(self) -> bool:  # noqa: N802
        """Return whether an error may suggest it: it builds, stops, overwrites and removes nothing."""

    @property
    def OPTIONS(self) -> Sequence[dict[str, Any]]:  # noqa: N802
        """Its options, in doit's form for `params`."""

    @property
    def WORDS(self) -> bool | str:  # noqa: N802
        """Return what the words behind the task on the command line are called that belong to it; False for none."""

    @property
    def PIPES(self) -> bool | str:  # noqa: N802
        """Return whether standard output belongs to a command in the habitat; our own lines then go to stderr.

        The name of an option: only if that option names the command.
        """

    @property
    def run(self) -> Callable[..., int | None]:
        """The function that does it.

        Args:
            project: The project.
            name: The habitat's name.
            **options: The values of OPTIONS by their names, and `words`; `builder` if BUILDS is the name of a phase.

        Returns:
            doit's exit code, None for 0.

        Raises:
            HabitatError: It failed.
        """
