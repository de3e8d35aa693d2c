"""Collects the errors of one config, so that a run can report all of them at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, TypeVar

from phases.core.errors import ConfigError
from phases.core.origin import ROLES, Origin

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from phases.core.errors import HabitatError

_Value = TypeVar("_Value")

# More errors of one config help nobody.
_MOST = 50


class Consequence(ConfigError):
    """An error that follows from another error, which was collected. It is not reported."""

    def __init__(self) -> None:
        super().__init__("another value of the config is wrong")


class Problems:
    """The errors of one config. `with problems:` collects an error that is raised in the block, and goes on behind it.

    Attributes:
        sections: The top-level keys in which something is wrong. Errors of others may follow from it.
        lacks_layer: Whether a layer can't be read, so that nobody knows what it sets.
    """

    def __init__(self) -> None:
        self.sections: set[str] = set()
        self.lacks_layer = False
        self._errors: dict[str, ConfigError] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        if not isinstance(error, ConfigError):
            return False
        self.add(error)
        return True

    def add(self, error: ConfigError) -> None:
        """Collect an error, and its others."""
        for each in (error, *error.others):
            if not isinstance(each, Consequence):
                self._errors.setdefault(str(each), each)

    def attempt(self, call: Callable[[], _Value], default: _Value) -> _Value:
        """Return the result of a call, or `default` if it raised an error, which is collected."""
        with self:
            return call()
        return default

    def all(self, *calls: Callable[[], Any]) -> tuple[Any, ...]:
        """Return the results of all calls. Raises Consequence if any raised an error, after the last call."""
        failed = object()
        results = tuple(self.attempt(call, failed) for call in calls)
        if failed in results:
            raise Consequence
        return results

    def __bool__(self) -> bool:
        return bool(self._errors)

    @property
    def are_too_many(self) -> bool:
        """Return whether there are so many errors that looking for more helps nobody."""
        return len(self._errors) >= _MOST

    def raise_all(self) -> None:
        """Raise the first error, in the order of files and lines, with all others as its `others`."""
        if self._errors:
            first, *others = sorted(self._errors.values(), key=_place)
            first.others = tuple(others[: _MOST - 1])
            raise first


def _place(error: ConfigError) -> tuple[int, str, int, int]:
    """Return what errors are sorted by: the person's and the habitat's own layer come first."""
    where = error.where
    if not isinstance(where, Origin):
        return -len(ROLES), "", 0, 0
    return -ROLES.index(where.role), where.layer, where.line, where.column


def errors_of(error: HabitatError) -> tuple[HabitatError, ...]:
    """Return an error, and the others of the same config."""
    return (error, *error.others) if isinstance(error, ConfigError) else (error,)


def with_count(error: HabitatError) -> str:
    """Return an error as one line, with the number of others of the same config."""
    others = errors_of(error)[1:]
    return f"{error} (and {len(others)} more error{'s' * (len(others) > 1)})" if others else str(error)
