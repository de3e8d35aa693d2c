"""What a verb is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class AnswerIsNo(Exception):
    """A verb that asks something has told a person the answer, and tells a script by exit code 1."""


class Verb(Protocol):
    """Something to do with a habitat: a module with these five, which becomes a task for each habitat.

    NAME: as in the task; DESCRIPTION: what a person reads of it; BUILDS: whether what has changed is
    built first; OPTIONS: as doit wants them for `params`; WORDS: whether it takes what stands behind it.
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
    def run(self) -> Callable[..., None]:
        """Called with the project, a habitat's name, and by their names what OPTIONS says and `words`.
        Raises HabitatError, or AnswerIsNo.
        """
