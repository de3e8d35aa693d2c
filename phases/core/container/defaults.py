"""Variables that commands get if neither image nor config sets them. They are in no image, so no phase depends on them.

Slim images set no locale, and then many programs take text for ASCII. C.UTF-8 exists in every C library of today.
`~/.local/bin` is where installers of users put programs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.variables import DEFAULT_PATH

if TYPE_CHECKING:
    from collections.abc import Mapping

_LOCALE_VARIABLES = ("LANG", "LC_ALL", "LC_CTYPE")


def locale(env: Mapping[str, str]) -> dict[str, str]:
    """Return LANG for commands that would have the environment `env`. An empty value there counts as set."""
    return {} if any(name in env for name in _LOCALE_VARIABLES) else {"LANG": "C.UTF-8"}


def path_with_local_bin(path: str, home: str) -> str:
    """Return a PATH with `~/.local/bin` before the system's folders and behind all others, such as those of tools."""
    folder = f"{home.rstrip('/')}/.local/bin"
    folders = path.split(":")
    if not home.startswith("/") or folder in folders:
        return path
    system = DEFAULT_PATH.split(":")
    place = next((number for number, other in enumerate(folders) if other in system), len(folders))
    return ":".join([*folders[:place], folder, *folders[place:]])
