"""Merge a habitat's own Dockerfile into the ejected one as its first stages, where the result is the same.

Its context becomes a folder of a stage, and each COPY from the context becomes a COPY from that stage. If
an instruction can't be changed in this way, or isn't understood, the Dockerfile is built by itself, before
the ejected one.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from msgspec.structs import replace

from phases.core.copied_files import shown_dockerfile
from phases.core.eject.quoting import comment
from phases.core.errors import ConfigError
from phases.core.files import safe_open

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.core.copied_files import DockerContext
    from phases.core.files.tree import Item
    from phases.core.model import Habitat

#: The folder of its context in the ejected one.
FOLDER = "dockerfile"

#: The names of its last stage, and of the stage with its context.
STAGE, CONTEXT = "dockerfile", "dockerfile-context"

_LARGEST = 1 << 20

_COMMENT = re.compile(r"\s*(#.*)?")
_DIRECTIVE = re.compile(r"\s*#\s*\w+\s*=")
_FROM = re.compile(r"\s*FROM(\s+--\S+)*\s+(?P<image>\S+)(\s+AS\s+(?P<name>\S+))?\s*", re.IGNORECASE)
_ONBUILD = re.compile(r"\s*ONBUILD\s", re.IGNORECASE)
_KEYWORD = re.compile(r"\s*([A-Za-z]+)(?=\s)")
_FLAGS = re.compile(r"(\s+--\S+)*")

# Stages by number, which the added stages would shift, and the names of those stages.
_NUMBERED = re.compile(r"\s--(from=|\S*\bfrom=)\d", re.IGNORECASE)
_OURS = re.compile(r"(?:\s|from=)(context|habitat(-\d+)?|test|final|dockerfile(-context)?)(?=[\s,]|$)", re.IGNORECASE)

# Flags and here-documents, which are only understood on the first line of an instruction.
_FLAGGED = re.compile(r"--mount|--from|<<")


class _NotMergeable(Exception):
    """The merged Dockerfile might build something else."""


def image(habitat: Habitat) -> str:
    """Return the name of its image where it is built by itself."""
    return f"{habitat.name.lower()}-dockerfile"


def build_words(habitat: Habitat) -> str:
    """Return the arguments of `docker build` where it is built by itself."""
    name = habitat.dockerfile
    file = "" if name == "Dockerfile" else f"--file {shlex.quote(f'{FOLDER}/{name}')} "
    return f"{file}--tag {image(habitat)} {FOLDER}"


def items_with_dockerfile(context: DockerContext) -> list[Item]:
    """Return the files of the folder where it is built by itself.

    They include the Dockerfile and its ignore file, even if COPY must not find them: then the ignore file says so.
    """
    items = {item.path: item for item in (*context.items, context.dockerfile)}
    if ignore_file := context.ignore_file:
        is_general = ignore_file.path == ".dockerignore"
        path = ignore_file.path if is_general else f"{context.dockerfile.path}.dockerignore"
        items[path] = replace(ignore_file, path=path)
    return [items[path] for path in sorted(items)]


def stages(habitat: Habitat, context_stage: Sequence[str]) -> list[str] | None:
    """Return its lines with a name for the last stage, and with the stages of the context before the first.

    Args:
        habitat: The habitat.
        context_stage: The lines of the stage with the ejected context.

    Returns:
        None where it has to be built by itself.

    Raises:
        ConfigError: It can't be read.
    """
    path = habitat.folder / habitat.dockerfile
    shown = shown_dockerfile(habitat)
    try:
        data = safe_open.read(path, _LARGEST) or b""
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("can't be read as UTF-8 text", where=shown, remedy="save it as UTF-8") from error
    lines = text.replace("\r\n", "\n").split("\n")
    _check_triggers(lines, shown)
    try:
        return _stages(lines, context_stage, comment(f"Phase 0, dockerfile: {FOLDER}/{habitat.dockerfile}"))
    except _NotMergeable:
        return None


def _check_triggers(lines: Sequence[str], shown: str) -> None:
    """Check that the last stage has no ONBUILD. Raises ConfigError: a FROM would run that, and a habitat doesn't."""
    start = max((number for number, line in enumerate(lines) if _FROM.match(line)), default=0)
    for number, line in enumerate(lines[start:], start=start + 1):
        if _ONBUILD.match(line):
            problem = "ONBUILD would run in the ejected Dockerfile, and no habitat runs it"
            raise ConfigError(problem, where=f"{shown}:{number}", remedy="remove the line")


def _stages(lines: Sequence[str], context_stage: Sequence[str], title: str) -> list[str]:
    rows = _copy_from_stage(lines)
    starts = [number for number, row in enumerate(rows) if _FROM.match(row)]
    if not starts:
        raise _NotMergeable
    name = _FROM.fullmatch(rows[starts[-1]])
    if not name:
        raise _NotMergeable
    if not name["name"]:
        rows[starts[-1]] += f" AS {STAGE}"
    own = (f"FROM scratch AS {CONTEXT}", f"COPY --from={context_stage[0].rpartition(' ')[2]} /{FOLDER} /")
    # An ARG before the first FROM is for every FROM, so it stays before the added stages.
    first = max((n + 1 for n, row in enumerate(rows[: starts[0]]) if not _COMMENT.fullmatch(row)), default=0)
    blank = [""] if first else []
    rows[first:first] = [*blank, *context_stage, "", *own, "", title]
    while not rows[-1]:
        rows.pop()
    return [*rows, "", f"FROM {name['name']} AS {STAGE}"] if name["name"] else rows


def _copy_from_stage(lines: Sequence[str]) -> list[str]:
    """Return the lines with each COPY from the context changed to its stage."""
    if _DIRECTIVE.match(lines[0]):
        raise _NotMergeable
    rows = []
    inside = False
    for line in lines:
        if _COMMENT.fullmatch(line):
            rows.append(line)
            continue
        if inside and (_FLAGGED.search(line) or _FROM.match(line)):
            raise _NotMergeable
        rows.append(line if inside else _instruction(line))
        inside = line.rstrip(" \t").endswith("\\")
    return rows


def _instruction(line: str) -> str:
    """Return the first line of an instruction, a COPY from the context changed to its stage."""
    keyword = _KEYWORD.match(line)
    word = keyword[1].upper() if keyword else ""
    rest = line[keyword.end() :] if keyword else ""
    flags = _FLAGS.match(rest)
    options = flags[0] if flags else ""
    if (
        "<<" in line
        or _NUMBERED.search(line)
        or word in ("ADD", "ONBUILD", "")
        or _OURS.search(line if word == "FROM" else options)
    ):
        raise _NotMergeable
    if word == "COPY" and "--from=" not in options.lower():
        if line.rstrip().endswith("\\") and not rest.strip(" \t\\"):
            raise _NotMergeable
        assert keyword
        return f"{line[: keyword.end()]} --from={CONTEXT}{rest}"
    if word == "RUN" and "--mount" in line:
        if not all("from=" in flag or re.search(r"type=(cache|tmpfs|secret|ssh)", flag) for flag in options.split()):
            raise _NotMergeable
        if "--mount" in rest[len(options) :]:
            raise _NotMergeable
    return line
