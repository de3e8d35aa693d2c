"""The layers of a config, and the place of a value in one of their files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from phases.core.json_types import Key

#: Returns the line of a value by its key, None for a key that no layer has.
LineOf: TypeAlias = "Callable[[Key], Origin | None]"

#: What a layer is for. Later ones are merged over earlier ones. A habitat may have any number of extends.
Role: TypeAlias = Literal["system", "extends", "shared", "local", "personal"]

#: All roles, in the order in which layers are merged.
ROLES: tuple[Role, ...] = ("system", "extends", "shared", "local", "personal")


def role_of(layer: str) -> Role:
    """Return the role of the layer with a name. The name of an extend is `extends/NAME`, that of others is the role."""
    return cast("Role", layer.partition("/")[0])


class ConfigLayer(Struct, frozen=True):
    """One of the configs that a habitat is merged from.

    Attributes:
        name: "system", "extends/NAME", "shared", "local" or "personal".
        folder: Its folder on the host.
        shown: The folder as a person sees it, relative to the project's root.
        dest: The folder in the habitat with its files, "" for none.
    """

    name: str
    folder: Path
    shown: str
    dest: str = ""

    @property
    def role(self) -> Role:
        return role_of(self.name)

    @property
    def dest_variable(self) -> str:
        """The variable of the config that `dest` comes from."""
        return "HABITAT_PATH" if self.role == "extends" else f"{self.role.upper()}_PATH"


class Origin(Struct, frozen=True):
    """A place in a config file.

    Attributes:
        layer: The name of the layer, as in ConfigLayer.
        file: The file as a person sees it, relative to the project's root.
        line: The line, counted from 1.
        column: The column, counted from 1; 0 where only the line matters.
    """

    layer: str
    file: str
    line: int
    column: int = 0

    @property
    def role(self) -> Role:
        """The role of the layer."""
        return role_of(self.layer)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" + (f":{self.column}" if self.column else "")


def with_places(name: str, *origins: Origin | None) -> str:
    """Return the name of a value, with the lines of the layers that give it, except the habitat's own.

    A person looks for a value in the habitat's own config first, so only lines elsewhere are worth saying.
    """
    places = dict.fromkeys(str(origin) for origin in origins if origin and origin.role != "local")
    return f"{name} ({', '.join(places)})" if places else name
