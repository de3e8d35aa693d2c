"""A port of a habitat that is published on the host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from phases.core.origin import Origin

#: The address at which only this machine reaches a port.
LOOPBACK = "127.0.0.1"

# The addresses at which other machines reach it, in IPv4 and IPv6.
_EVERYWHERE = {"0.0.0.0", "::"}  # noqa: S104 (nothing is bound here)


class Port(Struct, frozen=True, eq=False):
    """A port of a container that is published on the host. Ports are compared without their lines.

    Attributes:
        inside: The port in the container.
        protocol: "tcp" or "udp".
        ip: The address of the host.
        host: The port on the host, 0 for one that the engine picks.
        origin: Its line in a config.
    """

    inside: int
    protocol: str = "tcp"
    ip: str = LOOPBACK
    host: int = 0
    origin: Origin | None = None

    @property
    def _key(self) -> tuple[int, str, str, int]:
        return (self.inside, self.protocol, self.ip, self.host)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Port) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __lt__(self, other: Port) -> bool:
        return self._key < other._key

    def __str__(self) -> str:
        return f"{self.address}:{self.inside}/{self.protocol}"

    @property
    def written(self) -> str:
        """The port as a person writes it in a config, where YAML needs quotes around a bracket."""
        place = self.host if self.ip == LOOPBACK else self.address
        text = f"{place}:{self.inside}" + (f"/{self.protocol}" if self.protocol != "tcp" else "")
        return f'"{text}"' if text.startswith("[") else text

    @property
    def address(self) -> str:
        """The address and port of the host."""
        return f"[{self.ip}]:{self.host}" if ":" in self.ip else f"{self.ip}:{self.host}"

    @property
    def url(self) -> str:
        """The URL for a browser; that of a UDP port has the scheme udp."""
        return f"{'http' if self.protocol == 'tcp' else self.protocol}://{self.address}"

    @property
    def is_open(self) -> bool:
        """Return whether other machines reach the port."""
        return self.ip in _EVERYWHERE

    def meets(self, other: Port) -> bool:
        """Return whether the host can publish only one of the two."""
        if not self.host or (self.host, self.protocol) != (other.host, other.protocol):
            return False
        one_family = (":" in self.ip) == (":" in other.ip)
        return self.ip == other.ip or (one_family and (self.is_open or other.is_open))
