"""The patterns of a .dockerignore, which moby's matcher compares with paths."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

from e2b_dockerfile_utils import PatternMatcher

from phases.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# In a pattern with a wildcard, moby takes these for parts of a regular expression, by mistake: `a|b*` matches every
# path that begins with an a. Nobody means that, so such a line is refused.
_REGEX = re.compile(r"\||\{\d|\^|\\\w")
_CLASS_OF_REGEX = re.compile(r"\[[^\]]*\[:")
_LITERAL = re.compile(r"\[(?:\\.|[^\]\\])*\]|\\\W")
_WILDCARD = re.compile(r"[*?\[\\]")


def matcher(path: Path, lines: Sequence[str]) -> PatternMatcher:
    """Return moby's matcher for the lines of an ignore file.

    Args:
        path: The file.
        lines: Its lines.

    Raises:
        ConfigError: A line is no pattern.

    """
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
