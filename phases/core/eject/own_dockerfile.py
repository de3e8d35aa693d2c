"""A habitat's own Dockerfile as the first stages of the ejected one, where that can be done exactly.

Its context becomes a folder of a stage, and what it takes from the context is taken from there. What
cannot be taken so, or is not understood, is left as it is: then that Dockerfile is built by itself,
before the other.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from phases.core.errors import ConfigError
from phases.core.files import safe_open

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.core.model import Habitat

#: Its context, in the ejected one.
FOLDER = "dockerfile"

#: What its last stage is called, and the stage that has its context.
STAGE, CONTEXT = "dockerfile", "dockerfile-context"

_LARGEST = 1 << 20

_COMMENT = re.compile(r"\s*(#.*)?")
_DIRECTIVE = re.compile(r"\s*#\s*\w+\s*=")
_FROM = re.compile(r"\s*FROM(\s+--\S+)*\s+(?P<image>\S+)(\s+AS\s+(?P<name>\S+))?\s*", re.IGNORECASE)
_KEYWORD = re.compile(r"\s*([A-Za-z]+)(?=\s)")
_FLAGS = re.compile(r"(\s+--\S+)*")

# What would be another thing behind a stage of ours, or can't be taken from another stage.
_NUMBERED = re.compile(r"\s--(from=|\S*\bfrom=)\d", re.IGNORECASE)
_OURS = re.compile(r"(?:\s|from=)(context|habitat(-\d+)?|test|final|dockerfile(-context)?)(?=[\s,]|$)", re.IGNORECASE)


# What is not to be seen on the second line of an instruction: flags, and documents that begin.
_FLAGGED = re.compile(r"--mount|--from|<<")


class _NotExact(Exception):
    pass


def image(habitat: Habitat) -> str:
    """What its image is called where it is built by itself."""
    return f"{habitat.name.lower()}-dockerfile"


def stages(habitat: Habitat, context_stage: Sequence[str]) -> list[str] | None:
    """Its text with a name for the last stage, `context_stage` before the first; None where it has to be
    built by itself. Raises ConfigError.
    """
    path = habitat.folder / "Dockerfile"
    try:
        data = safe_open.read(path, _LARGEST) or b""
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        where = f"habitats/{habitat.name}/Dockerfile"
        raise ConfigError("can't be read as UTF-8 text", where=where, remedy="mend it") from error
    try:
        return _stages(text.replace("\r\n", "\n").split("\n"), context_stage)
    except _NotExact:
        return None


def _stages(lines: Sequence[str], context_stage: Sequence[str]) -> list[str]:
    rows = _taken_from_a_stage(lines)
    starts = [number for number, row in enumerate(rows) if _FROM.match(row)]
    if not starts:
        raise _NotExact
    name = _FROM.fullmatch(rows[starts[-1]])
    if not name:
        raise _NotExact
    if not name["name"]:
        rows[starts[-1]] += f" AS {STAGE}"
    own = (f"FROM scratch AS {CONTEXT}", f"COPY --from={context_stage[0].rpartition(' ')[2]} /{FOLDER} /")
    # What is before the first FROM is for all of them, and stays before ours.
    first = max((n + 1 for n, row in enumerate(rows[: starts[0]]) if not _COMMENT.fullmatch(row)), default=0)
    blank = [""] if first else []
    rows[first:first] = [*blank, *context_stage, "", *own, "", f"# Phase 0, dockerfile: {FOLDER}/Dockerfile"]
    while not rows[-1]:
        rows.pop()
    return [*rows, "", f"FROM {name['name']} AS {STAGE}"] if name["name"] else rows


def _taken_from_a_stage(lines: Sequence[str]) -> list[str]:
    """The lines, with what they take from the context taken from its stage."""
    if _DIRECTIVE.match(lines[0]):
        raise _NotExact
    rows = []
    inside = False
    for line in lines:
        if _COMMENT.fullmatch(line):
            rows.append(line)
            continue
        if inside and (_FLAGGED.search(line) or _FROM.match(line)):
            raise _NotExact
        rows.append(line if inside else _instruction(line))
        inside = line.rstrip(" \t").endswith("\\")
    return rows


def _instruction(line: str) -> str:
    """The first line of an instruction, with what it takes from the context taken from the stage."""
    keyword = _KEYWORD.match(line)
    word = keyword[1].upper() if keyword else ""
    rest = line[keyword.end() :] if keyword else ""
    flags = _FLAGS.match(rest)
    given = flags[0] if flags else ""
    if (
        "<<" in line
        or _NUMBERED.search(line)
        or word in ("ONBUILD", "")
        or _OURS.search(line if word == "FROM" else given)
    ):
        raise _NotExact
    if word == "ADD":
        raise _NotExact
    if word == "COPY" and "--from=" not in given.lower():
        if line.rstrip().endswith("\\") and not rest.strip(" \t\\"):
            raise _NotExact
        assert keyword
        return f"{line[: keyword.end()]} --from={CONTEXT}{rest}"
    if word == "RUN" and "--mount" in line:
        if not all("from=" in flag or re.search(r"type=(cache|tmpfs|secret|ssh)", flag) for flag in given.split()):
            raise _NotExact
        if "--mount" in rest[len(given) :]:
            raise _NotExact
    return line
