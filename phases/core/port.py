"""A port of a habitat on the host: one type for the config, the engine and the person."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from phases.core.origin import Origin

#: Where only this machine reaches a port, and where whoever reaches the machine does, for each family of addresses.
LOOPBACK = "127.0.0.1"
_EVERYWHERE = {"0.0.0.0", "::"}  # noqa: S104 (nothing is bound here)


@dataclass(frozen=True, order=True)
class Port:
    """`inside`, a port of a container, published at `host` of the address `ip`; host 0: one that the engine picks.

    origin: where a config says so.
    """

    inside: int
    protocol: str = "tcp"
    ip: str = LOOPBACK
    host: int = 0
    origin: Origin | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"{self.address}:{self.inside}/{self.protocol}"

    @property
    def written(self) -> str:
        """As a person writes it in a config, where a bracket wants quotes."""
        place = self.host if self.ip == LOOPBACK else self.address
        text = f"{place}:{self.inside}" + (f"/{self.protocol}" if self.protocol != "tcp" else "")
        return f'"{text}"' if text.startswith("[") else text

    @property
    def address(self) -> str:
        return f"[{self.ip}]:{self.host}" if ":" in self.ip else f"{self.ip}:{self.host}"

    @property
    def url(self) -> str:
        return f"{'http' if self.protocol == 'tcp' else self.protocol}://{self.address}"

    @property
    def is_open(self) -> bool:
        """Return whether other machines reach it."""
        return self.ip in _EVERYWHERE

    def meets(self, other: Port) -> bool:
        """Return whether the host can give only one of the two."""
        if not self.host or (self.host, self.protocol) != (other.host, other.protocol):
            return False
        one_family = (":" in self.ip) == (":" in other.ip)
        return self.ip == other.ip or (one_family and (self.is_open or other.is_open))
