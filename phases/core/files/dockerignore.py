"""Decide which files `docker build` leaves out of a build context.

moby's matcher decides whether a pattern matches a path. This module adds what `docker build` does around it:

- `NAME.dockerignore` beside the Dockerfile NAME counts in place of `.dockerignore`.
- An excluded folder is entered only if the text of an `!` pattern begins with its path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.files.ignore import Ignore, Rule, read_lines

if TYPE_CHECKING:
    from pathlib import Path


def file_name(folder: Path, dockerfile: str) -> str:
    """Return the name of the ignore file in `folder` that counts for a Dockerfile, whether it exists or not.

    Dockerfile.rest, and the config of a habitat without a Dockerfile, may be what `habitat migrate` made of
    `Dockerfile`.
    """
    names = [f"{dockerfile}.dockerignore"] if dockerfile else []
    names += ["Dockerfile.dockerignore"] if dockerfile in ("", "Dockerfile.rest") else []
    return next((name for name in names if (folder / name).is_file()), ".dockerignore")


def dockerignore(folder: Path, dockerfile: str = "Dockerfile") -> Ignore:
    """Return the rules by which `docker build` leaves files of `folder` out of the context.

    Args:
        folder: The folder that is the context.
        dockerfile: The name of the Dockerfile in it, "" for none.

    Raises:
        ConfigError: The ignore file is not readable, or has a line that is no pattern.

    """
    path = folder / file_name(folder, dockerfile)
    lines = read_lines(path)
    if not any(line.strip() and line[0] != "#" for line in lines):
        return Ignore()
    from phases.core.files.dockerignore_patterns import matcher as matcher_of  # imported late: loads moby's matcher

    matcher = matcher_of(path, lines)
    again = [f"{pattern[1:]}/" for pattern in matcher.patterns if pattern[0] == "!"]
    return Ignore(
        Rule(
            matches=lambda place: matcher.matches(place.removesuffix("/")),
            includes_below=lambda place: any(pattern.startswith(place) for pattern in again),
        )
    )
