"""The parts of `entry:` and `build:` with everything resolved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from phases.core.origin import Origin


class Limits(Struct, frozen=True):
    """The most that a running habitat, or a build, may use; 0 means no limit. `memory` is in bytes."""

    memory: int = 0
    cpus: float = 0
    pids: int = 0


class Ready(Struct, frozen=True):
    """A command that succeeds when the habitat is ready, tried every `interval` seconds for `timeout` seconds."""

    command: str
    interval: float
    timeout: float
    origin: Origin


class Persisted(Struct, frozen=True):
    """An entry of `entry.persist`: an absolute path, or one below ~. That of a folder ends with a slash.

    shared: whether all habitats of a person have one volume for it.
    """

    path: str
    origin: Origin
    shared: bool = False

    @property
    def is_folder(self) -> bool:
        return self.path.endswith("/")


class EntryVariable(Struct, frozen=True):
    """An entry of `entry.env` that counts; `value` is a template, in which `${NAME}` is a variable of the image."""

    name: str
    value: str
    origin: Origin
