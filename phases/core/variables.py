"""`$NAME` and `${NAME}` in config values.

The last definition of a name in `env:` holds everywhere, so a habitat's own WORKDIR moves the
paths that the system layer derives from it. Within its own definition a name means the one before,
and in the end the base image's: `PATH=/x:$PATH`. What only the image knows stays written as
`${NAME}` until the image is there.
"""

from __future__ import annotations

import re
from string import Template
from typing import TYPE_CHECKING

from phases.core.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from phases.core.origin import Origin

_ENTRY = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)

_LONE = re.compile(r"\$(?![A-Za-z_]|\{[A-Za-z_][A-Za-z0-9_]*\})")

# Docker's own default. An imported image has no PATH at all, and `/x:` would break every command.
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class _Shell(Template):
    """`$NAME`, `${NAME}` and `$$`; names in capitals or not, ASCII."""

    flags = re.ASCII
    idpattern = "[A-Za-z_][A-Za-z0-9_]*"


# Signs that the variables of one text can bring, and those of all of `env:` have: Linux gives a program
# two million for both, environment and arguments.
_LARGEST = 1_500_000


class _Lookup(dict[str, str]):
    """A mapping that asks a function, until it has told too much: variables of variables multiply."""

    def __init__(self, ask: Callable[[str], str], origin: Origin) -> None:
        super().__init__()
        self.ask = ask
        self.origin = origin
        self.size = 0

    def __missing__(self, name: str) -> str:
        value = self.ask(name)
        self.size += len(value)
        if self.size > _LARGEST:
            raise _too_large(self.origin)
        return value


def _too_large(origin: Origin) -> ConfigError:
    return ConfigError(f"variables grow beyond {_LARGEST:,} signs", where=origin, remedy="put what is long into a file")


def expand(text: str, ask: Callable[[str], str], origin: Origin) -> str:
    """Replace each variable in `text` by what `ask(name)` returns; `$$` is a dollar sign."""
    try:
        return _Shell(text).substitute(_Lookup(ask, origin))
    except ValueError as error:
        row = next(row for row in text.splitlines() if _LONE.search(row.replace("$$", "")))
        raise ConfigError(f"a lone $ in {row.strip()!r}", where=origin, remedy="write $$ for a dollar sign") from error


class Env:
    """The `env:` list of all layers, resolved as far as it can be without the image.

    values: name to value in order of first appearance, as templates: `${NAME}` is the image's own,
    `$$` a dollar sign. Raises ConfigError for an entry that is no K=V and for a cycle.
    """

    def __init__(self, entries: Iterable[tuple[str, Origin]]) -> None:
        self._definitions: dict[str, list[tuple[str, Origin]]] = {}
        for text, origin in entries:
            match = _ENTRY.fullmatch(text)
            if not match:
                raise ConfigError(f"env: {text!r} is not NAME=value", where=origin, remedy="write it as NAME=value")
            self._definitions.setdefault(match[1], []).append((match[2], origin))
        self._known: dict[tuple[str, int], str] = {}
        self.values: dict[str, str] = {}
        size = 0
        for name, found in self._definitions.items():
            try:
                self.values[name] = self._value(name, len(found) - 1, ())
            except RecursionError:
                problem = f"env: {name} is built of too many others, one on another"
                raise ConfigError(problem, where=found[-1][1], remedy="set it at once") from None
            size += len(self.values[name])
            if size > _LARGEST:
                raise _too_large(found[-1][1])

    def _value(self, name: str, level: int, trail: tuple[str, ...]) -> str:
        """A definition resolved, once: two uses of each of sixty would be more than there is time for."""
        if level < 0:
            return f"${{{name}}}"
        if (name, level) not in self._known:
            self._known[name, level] = self._resolve(name, level, trail)
        return self._known[name, level]

    def _resolve(self, name: str, level: int, trail: tuple[str, ...]) -> str:
        text, origin = self._definitions[name][level]

        def ask(other: str) -> str:
            if other == name:
                return self._value(name, level - 1, trail)
            if other in (*trail, name):
                cycle = " → ".join((*trail, name, other))
                raise ConfigError(f"env: {cycle} is a cycle", where=origin, remedy="set one of them without the other")
            if other in self._definitions:
                return self._value(other, len(self._definitions[other]) - 1, (*trail, name))
            return f"${{{other}}}"

        # What is asked for comes back as a template, and so must the text around it stay one.
        return expand(text.replace("$$", "$$$$"), ask, origin)

    def origin(self, name: str) -> Origin:
        """Where the definition of `name` stands that holds."""
        return self._definitions[name][-1][1]

    def get(self, name: str, default: str = "") -> str:
        """The value of `name` as plain text; raises ConfigError where only the image knows it."""
        if name not in self.values:
            return default
        return expand(self.values[name], _image_only(self.origin(name)), self.origin(name))

    def expand(self, text: str, origin: Origin) -> str:
        """`text` from another section of the config, with the variables of `env:` in it."""

        def ask(name: str) -> str:
            if name not in self.values:
                near = did_you_mean(name, self.values)
                remedy = near if near.startswith("did") else f"set it there, or write $${name} to leave it to the shell"
                raise ConfigError(f"${{{name}}} is not set in env", where=origin, remedy=remedy)
            return expand(self.values[name], _image_only(origin), origin)

        return expand(text, ask, origin)


def _image_only(origin: Origin) -> Callable[[str], str]:
    def ask(name: str) -> str:
        raise ConfigError(
            f"${{{name}}} is known only in the image",
            where=origin,
            remedy=f"write $${name} to leave it to the shell there",
        )

    return ask


def in_image(template: str, image_env: Mapping[str, str], origin: Origin) -> str:
    """A value of Env.values, with the image's own variables filled in."""

    def ask(name: str) -> str:
        if name in image_env:
            return image_env[name]
        if name == "PATH":
            return DEFAULT_PATH
        raise ConfigError(
            f"${{{name}}} is set neither in env nor by the base image",
            where=origin,
            remedy=did_you_mean(name, {*image_env, "PATH"}),
        )

    return expand(template, ask, origin)
