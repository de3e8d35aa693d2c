"""What the sections of a config have in common: where a value stands, what its variables are, where a
path leads.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from phases.core.errors import ConfigError
from phases.core.variables import Env

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.core.config.yaml_tree import Tree
    from phases.core.model import ConfigLayer
    from phases.core.origin import Origin

#: A user's name. Longer ones are refused by useradd and its like.
USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}")
_OWNER = re.compile(rf"{USER.pattern}(:{USER.pattern})?")

# Bytes of one argument that Linux gives a program, its closing NUL apart.
_ARGUMENT = 131_071

# Bytes of a path, some of which are for what comes before and behind; and of each name in it.
_PATH, _NAME = 4000, 255


class Scope:
    """A coalesced config, with what its values mean. Every method takes the path of a value, which is
    where its ConfigError says it is wrong.

    root: the project's; layers: those that the config was coalesced of; env: the `env:` section.
    """

    def __init__(self, root: Path, layers: Sequence[ConfigLayer], tree: Tree, env: Sequence[str]) -> None:
        self.root = root
        self.layers = layers
        self._tree = tree
        self.env = Env((self.argument(text, "env", i), self.at("env", i)) for i, text in enumerate(env))

    @property
    def user(self) -> str:
        return self.env.get("USER") or "root"

    def at(self, *path: str | int) -> Origin:
        return self._tree.origin_of(path)

    def text(self, text: str, *path: str | int) -> str:
        return self.env.expand(text, self.at(*path))

    def argument(self, text: str, *path: str | int) -> str:
        if (size := len(text.encode())) > _ARGUMENT:
            raise ConfigError(
                f"{path[0]}: a text of {size:,} bytes is more than Linux gives a program ({_ARGUMENT:,})",
                where=self.at(*path),
                remedy="put it into a file of the habitat's folder, and run or read that",
            )
        return text

    def one_line(self, text: str, origin: Origin) -> str:
        if not text or any(ord(char) < 32 for char in text):
            raise ConfigError(f"{text!r} is no path", where=origin, remedy="write one path, on one line")
        size = len(text.encode())
        if size > _PATH or any(len(part.encode()) > _NAME for part in text.split("/")):
            raise ConfigError(f"a path of {size:,} bytes: {text[:40]!r}…", where=origin, remedy="use shorter names")
        return text

    def inside(self, text: str, *path: str | int) -> str:
        """A path in the habitat: absolute, below ~, or relative to WORKDIR."""
        dest = self.one_line(self.text(text, *path), self.at(*path))
        if dest == "~" or dest.startswith("~/"):
            home = posixpath.normpath(dest)
            if not home.startswith("~"):
                raise ConfigError(f"{dest!r} leaves the home", where=self.at(*path), remedy="write the whole path")
            return home
        # Two slashes at the beginning are kept by normpath, for a reason of POSIX's that is not ours.
        return "/" + posixpath.normpath(posixpath.join(self.env.get("WORKDIR") or "/", dest)).lstrip("/")

    def outside(self, text: str, *path: str | int, must_exist: bool = True) -> tuple[Path, str, bool]:
        """A path on the host, how the config writes it, and whether it exists.

        Relative to the folder of the config that names it, else to the project's root.
        """
        origin = self.at(*path)
        shown = self.one_line(self.text(text, *path), origin)
        layer = next(layer for layer in self.layers if layer.name == origin.layer)
        candidates = [layer.folder / shown, self.root / shown]
        try:
            if shown.startswith(("/", "~")):
                candidates = [Path(shown).expanduser()]
            found = next((candidate for candidate in candidates if candidate.exists()), None)
        except (OSError, RuntimeError) as error:  # a name too long, a user whose home nobody knows
            raise ConfigError(
                f"{path[0]}: {shown[:80]!r} is no path ({error})", where=origin, remedy="fix it"
            ) from error
        if found:
            return found, shown, True
        if must_exist:
            looked = " nor ".join(
                str(c.relative_to(self.root) if c.is_relative_to(self.root) else c) for c in candidates
            )
            is_not = "there is neither" if len(candidates) > 1 else "there is no"
            raise ConfigError(
                f"{path[0]}: {is_not} {looked} on the host", where=origin, remedy="add it, or mend the path"
            )
        return candidates[0], shown, False

    def owner(self, text: str, *path: str | int) -> str:
        owner = self.text(text, *path)
        if owner and not _OWNER.fullmatch(owner):
            raise ConfigError(
                f"owner {owner!r} is no user name", where=self.at(*path), remedy="write NAME or NAME:GROUP"
            )
        return "" if owner == "user" else owner
