"""Fill in `$NAME` and `${NAME}` in the values of a config.

The last definition of a name in `env:` counts everywhere, so a habitat's own WORKDIR moves the paths that the system
layer derives from it. In its own definition, as in `PATH=/x:$PATH`, a name stands for its previous definition, and in
the first one for the base image's value. Such a variable of the image stays `${NAME}` until the image is known.
"""

from __future__ import annotations

import re
from string import Template
from typing import TYPE_CHECKING

from phases.core.errors import ConfigError, did_you_mean
from phases.core.problems import Consequence, Problems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from phases.core.origin import Origin

_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_REFERENCE = re.compile(rf"\$({_NAME.pattern})|\$\{{({_NAME.pattern})\}}")

# A dollar sign that begins no variable.
_LONE_DOLLAR = re.compile(r"\$(?![A-Za-z_]|\{[A-Za-z_][A-Za-z0-9_]*\})")

# Docker's default, for an image without PATH: with `/x:` alone, no command would be found.
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class _Template(Template):
    """A template with `$NAME`, `${NAME}` and `$$`, whose names are ASCII in upper or lower case."""

    flags = re.ASCII
    idpattern = "[A-Za-z_][A-Za-z0-9_]*"


# The most characters that variables may add to one text, and that all values of `env:` may have. Linux gives a program
# two million for environment and arguments together.
_MAX_LENGTH = 1_500_000


class _Lookup(dict[str, str]):
    """A mapping that gets values from a function. It limits their length, which grows fast if variables are nested."""

    def __init__(self, value_of: Callable[[str], str], origin: Origin) -> None:
        super().__init__()
        self._value_of = value_of
        self._origin = origin
        self._length = 0

    def __missing__(self, name: str) -> str:
        value = self._value_of(name)
        self._length += len(value)
        if self._length > _MAX_LENGTH:
            raise _too_long(self._origin)
        return value


def _too_long(origin: Origin) -> ConfigError:
    problem = f"variables add more than {_MAX_LENGTH:,} characters"
    return ConfigError(problem, where=origin, remedy="move long values to a file")


def expand(text: str, value_of: Callable[[str], str], origin: Origin) -> str:
    """Return a text with its variables filled in, and with `$` for `$$`.

    Args:
        text: The text.
        value_of: Returns the value for a name, or raises ConfigError.
        origin: The line of the text.

    Raises:
        ConfigError: A `$` begins no variable, or the values are too long.

    """
    try:
        return _Template(text).substitute(_Lookup(value_of, origin))
    except ValueError as error:
        row = next(row for row in text.splitlines() if _LONE_DOLLAR.search(row.replace("$$", "")))
        raise ConfigError(f"a lone $ in {row.strip()!r}", where=origin, remedy="write $$ for a dollar sign") from error


class Env:
    """The variables of `env:` in all layers, resolved as far as possible without the image.

    Args:
        entries: The entries in order, each with its line.
        problems: Collects the errors, which name `key`. Without it they are raised.

    Attributes:
        values: The values by name, in the order of their first definitions. Each is a template in which `${NAME}` is a
            variable of the image, and `$$` is a dollar sign.

    Raises:
        ConfigError: An entry is not NAME=value, or definitions form a cycle.

    """

    def __init__(
        self, entries: Iterable[tuple[str, Origin]], problems: Problems | None = None, key: str = "env"
    ) -> None:
        self._key = key
        self._definitions: dict[str, list[tuple[str, Origin]]] = {}
        self._wrong: set[str] = set()
        collected = Problems() if problems is None else problems
        for text, origin in entries:
            with collected:
                name, value = self._split(text, origin)
                self._definitions.setdefault(name, []).append((value, origin))
        self._resolved: dict[tuple[str, int], str] = {}
        self._failed: set[str] = set()
        self._length = 0
        self.values: dict[str, str] = {}
        for name in self._definitions:
            self._failed.add(name)
            with collected:
                self._resolve_last(name)
                self._failed.discard(name)
        if problems is None:
            collected.raise_all()

    def _split(self, text: str, origin: Origin) -> tuple[str, str]:
        """Return the name and the value of an entry. Raises ConfigError."""
        name, equals, value = text.partition("=")
        if equals and _NAME.fullmatch(name):
            return name, value
        self._wrong.update(_NAME.findall(name))
        if not (equals and name):
            flaw = "there is no name before the =" if equals else f"{text!r} is not NAME=value"
            raise ConfigError(f"{self._key}: {flaw}", where=origin, remedy="write it as NAME=value")
        bare = name.removeprefix("export ").strip()
        remedy = "use letters, digits and _ only, not beginning with a digit"
        if _NAME.fullmatch(bare):
            remedy = f"write {bare}=…, without {'export' if name.startswith('export ') else 'spaces around the name'}"
        raise ConfigError(f"{self._key}: {name!r} is not the name of a variable", where=origin, remedy=remedy)

    def _resolve_last(self, name: str) -> None:
        """Resolve the definition of a name that counts. Raises ConfigError."""
        definitions = self._definitions[name]
        try:
            self.values[name] = self._value(name, len(definitions) - 1, ())
        except RecursionError:
            # Most others of the chain would fail the same way, each after as many steps.
            self._failed.update(self._definitions)
            problem = f"{self._key}: {name} needs too many other variables, each of which needs another"
            raise ConfigError(problem, where=definitions[-1][1], remedy="write its value without them") from None
        self._length += len(self.values[name])
        if self._length > _MAX_LENGTH:
            raise _too_long(definitions[-1][1])

    def _value(self, name: str, index: int, trail: tuple[str, ...]) -> str:
        """Return the value of a definition, which is resolved only once: nested uses multiply.

        Args:
            name: The variable.
            index: The index of the definition, -1 for the image's value.
            trail: The variables whose definitions need this one.
        """
        if index < 0:
            return f"${{{name}}}"
        if (name, index) not in self._resolved:
            self._resolved[name, index] = self._resolve(name, index, trail)
        return self._resolved[name, index]

    def _resolve(self, name: str, index: int, trail: tuple[str, ...]) -> str:
        text, origin = self._definitions[name][index]

        def value_of(other: str) -> str:
            if other == name:
                return self._value(name, index - 1, trail)
            if other in (path := (*trail, name)):
                cycle = " → ".join((*path[path.index(other) :], other))
                remedy = f"write the value of {name} without ${other}"
                raise ConfigError(f"{self._key}: {cycle} is a cycle", where=origin, remedy=remedy)
            if other in self._failed:
                raise Consequence
            if other in self._definitions:
                return self._value(other, len(self._definitions[other]) - 1, (*trail, name))
            return f"${{{other}}}"

        # The values are templates, so the text around them must stay one too.
        return expand(text.replace("$$", "$$$$"), value_of, origin)

    def origin(self, name: str) -> Origin:
        """Return the line of the definition of `name` that counts."""
        return self._definitions[name][-1][1]

    def get(self, name: str, default: str = "") -> str:
        """Return the value of `name`, or `default`. Raises ConfigError if it needs a variable of the image."""
        if name not in self.values:
            self._check_known(name)
            return default
        return expand(self.values[name], _image_only(self.origin(name)), self.origin(name))

    def withdraw(self, name: str) -> None:
        """Take away a value with an error, and all values that use it: what needs one of them is a Consequence."""
        if self.values.pop(name, None) is not None:
            for other in list(self.values):
                texts = (text for text, _ in self._definitions[other])
                if any(name in groups for text in texts for groups in _REFERENCE.findall(text)):
                    self.withdraw(other)

    def _check_known(self, name: str) -> None:
        """Raise Consequence for a name without a value because its entry in `env:` is wrong."""
        if name in self._definitions or name in self._wrong:
            raise Consequence

    def expand(self, text: str, origin: Origin) -> str:
        """Return a text of another section with its variables filled in.

        Args:
            text: The text.
            origin: Its line.

        Raises:
            ConfigError: A variable is not set, or it needs a variable of the image.

        """

        def value_of(name: str) -> str:
            if name not in self.values:
                self._check_known(name)
                near = did_you_mean(name, self.values)
                remedy = near if near.startswith("did") else f"set it there, or write $${name} to leave it to the shell"
                raise ConfigError(f"${{{name}}} is not set in env", where=origin, remedy=remedy)
            return expand(self.values[name], _image_only(origin), origin)

        return expand(text, value_of, origin)


def _image_only(origin: Origin) -> Callable[[str], str]:
    """Return a function for `expand` that refuses every variable."""

    def refuse(name: str) -> str:
        raise ConfigError(
            f"${{{name}}} is known only in the image",
            where=origin,
            remedy=f"write $${name} to leave it to the shell there",
        )

    return refuse


def in_image(template: str, image_env: Mapping[str, str], origin: Origin) -> str:
    """Return a value of `Env.values` with the image's variables filled in. Raises ConfigError for an unknown one."""

    def value_of(name: str) -> str:
        if name in image_env:
            return image_env[name]
        if name == "PATH":
            return DEFAULT_PATH
        raise ConfigError(
            f"${{{name}}} is set neither in env nor by the base image",
            where=origin,
            remedy=did_you_mean(name, {*image_env, "PATH"}),
        )

    return expand(template, value_of, origin)
