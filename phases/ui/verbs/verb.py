"""What a verb is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


#: The option of a verb that asks before it does something.
YES: dict[str, Any] = {"name": "yes", "long": "yes", "type": bool, "default": False, "help": "without a question"}


class Verb(Protocol):
    """Something to do with a habitat: a module with these seven, which becomes a task for each habitat.

    NAME: as in the task; DESCRIPTION: what a person reads of it; BUILDS: whether what has changed is
    built first; OPTIONS: as doit wants them for `params`; WORDS: whether it takes what stands behind it;
    PIPES: whether its output is a command's own, so that what we say goes to stderr.
    """

    @property
    def NAME(self) -> str: ...  # noqa: N802
    @property
    def DESCRIPTION(self) -> str: ...  # noqa: N802
    @property
    def BUILDS(self) -> bool: ...  # noqa: N802
    @property
    def OPTIONS(self) -> Sequence[dict[str, Any]]: ...  # noqa: N802
    @property
    def WORDS(self) -> bool: ...  # noqa: N802
    @property
    def PIPES(self) -> bool: ...  # noqa: N802
    @property
    def run(self) -> Callable[..., int | None]:
        """Called with the project, a habitat's name, and by their names what OPTIONS says and `words`.
        Returns the exit code that doit is to have; raises HabitatError.
        """
