"""The parts of `entry:` and `build:` with everything resolved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

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


#: The networks of a habitat: one with a way to everything, none, and one with a way to some hosts only.
BRIDGE, NONE, ALLOWLIST = "bridge", "none", "allowlist"

#: The ports of a rule that names none.
DEFAULT_PORTS = (443, 80)

_WILDCARD = "*."


class HostRule(Struct, frozen=True):
    """An entry of `allow:`. Rules are the same if they name the same hosts and ports.

    Attributes:
        host: A name in lower case, or `*.` and the name whose subdomains are meant, without that name itself.
        ports: The ports that may be reached.
        origin: Its line in a config, None for a rule of `habitat allow`.
    """

    host: str
    ports: tuple[int, ...] = DEFAULT_PORTS
    origin: Origin | None = None

    @property
    def domain(self) -> str:
        """The name without the wildcard."""
        return self.host.removeprefix(_WILDCARD)

    @property
    def is_wildcard(self) -> bool:
        return self.host.startswith(_WILDCARD)

    @property
    def text(self) -> str:
        """The rule as a config has it."""
        return self.host if self.ports == DEFAULT_PORTS else f"{self.host}:{self.ports[0]}"

    def meets(self, denied: Self) -> bool:
        """Return whether a part of what this allows is refused by another rule, which without a port means all."""
        names = self.host == denied.host or self._covers(denied) or denied._covers(self)
        return names and (denied.ports == DEFAULT_PORTS or denied.ports[0] in self.ports)

    def _covers(self, other: Self) -> bool:
        """Return whether this is a wildcard for the host of another rule."""
        if not self.is_wildcard:
            return False
        return other.domain.endswith(f".{self.domain}") or (other.is_wildcard and other.domain == self.domain)
