"""Commands of a config, and the points of a build at which it can have its own commands and files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from msgspec import Struct

if TYPE_CHECKING:
    from phases.core.origin import Origin

#: On which side of a phase a point is.
When: TypeAlias = Literal["before", "after"]


class Point(Struct, frozen=True):
    """A point of a build: the beginning or the end of a phase, and a part of that phase."""

    when: When
    phase: str


class Command(Struct, frozen=True):
    """A script of the config, for `sh -e` of `user`."""

    user: str
    script: str
    origin: Origin


class HookCommand(Struct, frozen=True):
    """A command of `hooks:`.

    Attributes:
        point: When it runs.
        command: What runs.
        key: Its key in the config, such as `hooks[0].commands[1]`.
        description: What its hook is for, "" for none.
    """

    point: Point
    command: Command
    key: str
    description: str = ""
