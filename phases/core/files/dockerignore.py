"""Decide which files `docker build` leaves out of a build context.

moby's matcher decides whether a pattern matches a path. This module adds what `docker build` does around it:

- `NAME.dockerignore` beside the Dockerfile NAME counts in place of `.dockerignore`.
- An excluded folder is entered only if the text of an `!` pattern begins with its path.
"""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

from phases.core.errors import ConfigError
from phases.core.files.ignore import Ignore, Rule, read_lines

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from e2b_dockerfile_utils import PatternMatcher

# In a pattern with a wildcard, moby takes these for parts of a regular expression, by mistake: `a|b*` matches every
# path that begins with an a. Nobody means that, so such a line is refused.
_REGEX = re.compile(r"\||\{\d|\^|\\\w")
_CLASS_OF_REGEX = re.compile(r"\[[^\]]*\[:")
_LITERAL = re.compile(r"\[(?:\\.|[^\]\\])*\]|\\\W")
_WILDCARD = re.compile(r"[*?\[\\]")


def file_name(folder: Path, dockerfile: str) -> str:
    """Return the name of the ignore file in `folder` that counts for a Dockerfile, whether it exists or not.

    Dockerfile.rest, and the config of a habitat without a Dockerfile, may be what `doit migrate` made of `Dockerfile`.
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
    matcher = _matcher(path, lines)
    again = [f"{pattern[1:]}/" for pattern in matcher.patterns if pattern[0] == "!"]
    return Ignore(
        Rule(
            matches=lambda place: matcher.matches(place.removesuffix("/")),
            includes_below=lambda place: any(pattern.startswith(place) for pattern in again),
        )
    )


def _matcher(path: Path, lines: Sequence[str]) -> PatternMatcher:
    from e2b_dockerfile_utils import PatternMatcher

    with warnings.catch_warnings():
        # Python warns that a later version may read `[[]` in another way.
        warnings.simplefilter("ignore", FutureWarning)
        for number, line in enumerate(lines, start=1):
            where, pattern = f"{path}:{number}", line.strip()
            try:
                cleaned = PatternMatcher([line]).patterns
            except ValueError as error:
                raise _refusal(pattern, where) from error
            if cleaned == ["!/"]:
                raise _refusal(pattern, where)
            if any(_is_regex(one.removeprefix("!")) for one in cleaned):
                remedy = "write one pattern for each name"
                raise ConfigError(f"docker build reads {pattern!r} as a regular expression", where=where, remedy=remedy)
        return PatternMatcher(list(lines))


def _refusal(pattern: str, where: str) -> ConfigError:
    return ConfigError(f"{pattern!r} is not a pattern of docker build", where=where, remedy="fix or remove the line")


def _is_regex(pattern: str) -> bool:
    """Return whether moby would take a part of a pattern for a regular expression."""
    # It compares `**name` and `name**` as text.
    text = pattern.removeprefix("**").removesuffix("**")
    return bool(_WILDCARD.search(text) and (_REGEX.search(_LITERAL.sub("", text)) or _CLASS_OF_REGEX.search(text)))
