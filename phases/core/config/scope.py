"""The means that every section of a config needs: the line of a value, its variables, and the paths in it."""

from __future__ import annotations

import posixpath
import re
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from phases.core.config.names import USER
from phases.core.errors import ConfigError
from phases.core.json_types import dotted
from phases.core.problems import Consequence
from phases.core.variables import Env

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from phases.core.config.yaml_tree import Tree
    from phases.core.json_types import Key
    from phases.core.origin import ConfigLayer, Origin
    from phases.core.problems import Problems

_Entry = TypeVar("_Entry")
_Value = TypeVar("_Value")

_OWNER = re.compile(rf"{USER.pattern}(:{USER.pattern})?")

# The most bytes that Linux accepts for one argument of a program, without the NUL at its end.
_MAX_ARGUMENT = 131_071

# The most bytes of a path, with some left for what the program puts before and behind it, and of one name in it.
_MAX_PATH, _MAX_NAME = 4000, 255


class HostPath(NamedTuple):
    """A path on the host.

    Attributes:
        path: The path.
        shown: The path as the config has it.
        exists: Whether anything is there.
    """

    path: Path
    shown: str
    exists: bool


class Scope:
    """A merged config, with its variables and the folders that its paths are relative to.

    Each method gets the key of a value (`"files", 0, "dest"`), whose line is in its ConfigError.

    Args:
        root: The root of the project.
        layers: The layers that were merged.
        tree: The merged config.
        env: The `env:` section.
        problems: Collects errors of values that do not depend on each other.
    """

    def __init__(
        self, root: Path, layers: Sequence[ConfigLayer], tree: Tree, env: Sequence[str], problems: Problems
    ) -> None:
        self.root = root
        self.layers = layers
        self.problems = problems
        self._tree = tree
        entries = self.each(("env",), env, lambda i, text: (self.argument(text, "env", i), self.at("env", i)))
        self.env = Env(entries, problems)

    @property
    def own(self) -> ConfigLayer:
        """The habitat's own layer."""
        return next(layer for layer in self.layers if layer.role == "local")

    def each(
        self, key: tuple[str | int, ...], entries: Iterable[_Entry], resolve: Callable[[int, _Entry], _Value]
    ) -> tuple[_Value, ...]:
        """Return the resolved entries of the list at `key`, without those whose error is collected."""
        results: list[_Value] = []
        for i, entry in enumerate(entries):
            with self.problems:
                if self.is_wrong(*key, i):
                    raise Consequence
                results.append(resolve(i, entry))
                continue
            self.problems.sections.add(str(key[0]))
        return tuple(results)

    def is_wrong(self, *key: str | int) -> bool:
        """Return whether the value at `key` holds one with an error that was collected before."""
        tree = self._tree.at(key) if self.problems else None
        return bool(tree and holds_wrong(tree))

    @property
    def user(self) -> str:
        """USER, by default root."""
        return self.env.get("USER") or "root"

    def at(self, *key: str | int) -> Origin:
        """Return the line of a value."""
        return self._tree.origin_of(key)

    def line_of(self, key: Key) -> Origin | None:
        """Return the line of a value, or of the list element that lacks it; None if no layer has either."""
        while key:
            tree = self._tree.at(key)
            if tree and tree.value is not None:
                return tree.origin
            key = key[:-1]
            while key and isinstance(key[-1], str):
                key = key[:-1]
        return None

    def wrong_value(self, value: object, rule: str, remedy: str, *key: str | int) -> ConfigError:
        """Return the error for a value that breaks a rule. rule: what the value must be, such as "shared or locked"."""
        return ConfigError(f"{dotted(*key)}: must be {rule}, is {value}", where=self.at(*key), remedy=remedy)

    def expand(self, text: str, *key: str | int) -> str:
        """Return a text with its variables filled in. Raises ConfigError for an unknown one."""
        return self.env.expand(text, self.at(*key))

    def argument(self, text: str, *key: str | int) -> str:
        """Return a text, if it is short enough for an argument of a program. Raises ConfigError."""
        if (size := len(text.encode())) > _MAX_ARGUMENT:
            raise ConfigError(
                f"{key[0]}: the text has {size:,} bytes; Linux gives a program at most {_MAX_ARGUMENT:,}",
                where=self.at(*key),
                remedy="put it into a file of the habitat's folder, and run or read that file",
            )
        return text

    def check_path(self, text: str, origin: Origin) -> None:
        """Check that a text can be a path. Raises ConfigError with `origin`."""
        if not text or any(ord(char) < 32 for char in text):
            raise ConfigError(f"{text!r} is not a path", where=origin, remedy="write one path, on one line")
        size = len(text.encode())
        if size > _MAX_PATH or any(len(name.encode()) > _MAX_NAME for name in text.split("/")):
            problem = f"the path {text[:40]!r}… is too long ({size:,} bytes)"
            raise ConfigError(problem, where=origin, remedy="use shorter names")

    def habitat_path(self, text: str, *key: str | int) -> str:
        """Return a path in the habitat, normalized.

        Args:
            text: A path that is absolute, below ~, or relative to WORKDIR.
            key: The key of the value.

        Returns:
            An absolute path, or one below ~.

        Raises:
            ConfigError: The text is not such a path.

        """
        origin = self.at(*key)
        path = self.expand(text, *key)
        self.check_path(path, origin)
        if path == "~" or path.startswith("~/"):
            normal = posixpath.normpath(path)
            if not normal.startswith("~"):
                raise ConfigError(f"{path!r} leads out of the home", where=origin, remedy="write an absolute path")
            return normal
        # normpath keeps two slashes at the beginning, as POSIX allows.
        return "/" + posixpath.normpath(posixpath.join(self.env.get("WORKDIR") or "/", path)).lstrip("/")

    def names_folder(self, text: str, *key: str | int) -> bool:
        """Return whether a path can only be a folder by its end, as for cp: a slash, `.`, `..`, or USER's home."""
        path = self.expand(text, *key)
        return path == "~" or posixpath.basename(path) in ("", ".", "..")

    def host_path(self, text: str, *key: str | int, must_exist: bool = True) -> HostPath:
        """Return a path on the host.

        Args:
            text: A path that is absolute, below ~, or relative: to the folder of the config that has it, else to the
                project's root.
            key: The key of the value.
            must_exist: Refuse a path at which nothing is.

        Raises:
            ConfigError: The text is not a path, or nothing is there.

        """
        origin = self.at(*key)
        shown = self.expand(text, *key)
        self.check_path(shown, origin)
        layer = next(layer for layer in self.layers if layer.name == origin.layer)
        candidates = [layer.folder / shown, *([] if layer.role == "personal" else [self.root / shown])]
        try:
            if shown.startswith(("/", "~")):
                candidates = [Path(shown).expanduser()]
            existing = next((path for path in candidates if path.exists()), None)
        except (OSError, RuntimeError) as error:  # the name is too long, or there is no such user
            problem = f"{_section(key)}: {shown[:80]!r} is not a path ({str(error).rstrip('.')})"
            remedy = "write a path that exists, absolute, below ~, or relative to this config"
            raise ConfigError(problem, where=origin, remedy=remedy) from error
        if existing is None and must_exist:
            places = [
                str(path.relative_to(self.root) if path.is_relative_to(self.root) else path) for path in candidates
            ]
            nothing = "there is neither" if len(places) > 1 else "there is no"
            problem = f"{_section(key)}: {nothing} {' nor '.join(places)} on the host"
            raise ConfigError(problem, where=origin, remedy="add it, or fix the path")
        return HostPath(existing or candidates[0], shown, existing is not None)

    def owner(self, text: str, *key: str | int) -> str:
        """Return an owner as NAME or NAME:GROUP, "" for USER. Raises ConfigError."""
        owner = self.expand(text, *key)
        if owner and not _OWNER.fullmatch(owner):
            problem = f"owner {owner!r} is not a user name"
            raise ConfigError(problem, where=self.at(*key), remedy="write NAME or NAME:GROUP")
        return "" if owner == "user" else owner


def _section(key: Iterable[str | int]) -> str:
    """Return the part of a key before the first index, such as `files` or `entry.files`."""
    return dotted(*takewhile(lambda part: isinstance(part, str), key))


def holds_wrong(tree: Tree) -> bool:
    """Return whether a value, or one in it, takes the place of one with an error."""
    below = tree.value.values() if isinstance(tree.value, dict) else tree.value
    return tree.is_wrong or (not isinstance(below, str | None) and any(map(holds_wrong, below)))
