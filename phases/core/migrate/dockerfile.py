"""A Dockerfile as its instructions, each with its lines and the comments above it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from phases.core.errors import ConfigError
from phases.core.files import safe_open

if TYPE_CHECKING:
    from pathlib import Path

    from e2b_dockerfile_utils import DockerfileHeredoc, DockerfileInstruction

# Bytes: far above any that a person writes.
_MOST = 1_000_000

_DIRECTIVE = re.compile(r"#\s*(syntax|escape|check)\s*=", re.IGNORECASE)


@dataclass(frozen=True)
class Instruction:
    """line, end: the first and the last of its lines, from 1; rows: the text of these; flags: NAME to
    values, of `--NAME=VALUE`; args: as the parser gives them, variables not yet replaced; comment: the
    lines above it, without their #.
    """

    name: str
    line: int
    end: int
    rows: tuple[str, ...]
    args: tuple[str, ...]
    is_json: bool
    flags: dict[str, list[str]] = field(default_factory=dict)
    heredocs: tuple[DockerfileHeredoc, ...] = ()
    comment: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What a person reads of it: its first line."""
        return self.rows[0].strip()

    def mentions(self, *words: str) -> bool:
        """Whether any of these stands in it, and not as a part of another word."""
        text = "\n".join(self.rows)
        return any(re.search(rf"(?<![\w.-]){re.escape(word)}(?![\w.-])", text) for word in words)


@dataclass(frozen=True)
class Stage:
    """FROM, and what follows. base: as it is written there; alias: after AS, in small letters."""

    start: Instruction
    instructions: tuple[Instruction, ...]

    @property
    def base(self) -> str:
        return self.start.args[0]

    @property
    def alias(self) -> str:
        return self.start.args[2].lower() if len(self.start.args) > 2 else ""


@dataclass(frozen=True)
class Dockerfile:
    """shown: its path for people; rows: its lines; head: what stands before the first FROM; escape: its
    escape sign.
    """

    shown: str
    rows: tuple[str, ...]
    head: tuple[Instruction, ...]
    stages: tuple[Stage, ...]
    escape: str

    def where(self, instruction: Instruction) -> str:
        return f"{self.shown}:{instruction.line}"


def read(path: Path, shown: str) -> Dockerfile:
    """Raises ConfigError with the line of what is no Dockerfile."""
    try:
        data = safe_open.read(path, _MOST) or b""
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("can't be read as UTF-8 text", where=shown, remedy="mend or remove it") from error
    if len(data) > _MOST:
        raise ConfigError(f"is larger than {_MOST:,} bytes", where=shown, remedy="is that a Dockerfile?")
    return parse(text, shown)


def parse(text: str, shown: str) -> Dockerfile:
    # Here, since only one verb of all wants it.
    from e2b_dockerfile_utils import DockerfileSyntaxError, parse_dockerfile_ast

    try:
        ast = parse_dockerfile_ast(text)
    except DockerfileSyntaxError as error:
        what = str(error).partition(": ")[2] or str(error)
        where = f"{shown}:{error.line}" if error.line else shown
        raise ConfigError(f"is no Dockerfile: {what}", where=where, remedy="mend the line") from error
    rows = tuple(line.rstrip("\r") for line in text.split("\n"))
    found = [_instruction(one, rows) for one in ast.instructions]
    starts = [number for number, one in enumerate(found) if one.name == "FROM"]
    for one in found[: starts[0] if starts else len(found)]:
        if one.name != "ARG":
            raise ConfigError(f"{one.name} before FROM", where=f"{shown}:{one.line}", remedy="begin with FROM")
    if not starts:
        raise ConfigError("has no FROM", where=shown, remedy="begin it with the image to build on")
    stages = [_stage(found[a:b], shown) for a, b in zip(starts, [*starts[1:], len(found)], strict=True)]
    return Dockerfile(shown, rows, tuple(found[: starts[0]]), tuple(stages), ast.escape_token)


def _stage(found: list[Instruction], shown: str) -> Stage:
    start = found[0]
    words = start.args
    if len(words) not in (1, 3) or (len(words) == 3 and words[1].upper() != "AS"):
        raise ConfigError("FROM takes IMAGE, or IMAGE AS NAME", where=f"{shown}:{start.line}", remedy="mend the line")
    for one in found[1:]:
        if not one.args and one.name != "ONBUILD":
            raise ConfigError(f"{one.name} says nothing", where=f"{shown}:{one.line}", remedy="complete or remove it")
    return Stage(start, tuple(found[1:]))


def _instruction(one: DockerfileInstruction, rows: tuple[str, ...]) -> Instruction:
    flags: dict[str, list[str]] = {}
    for flag in one.flags:
        name, _, value = flag.removeprefix("--").partition("=")
        flags.setdefault(name, []).append(value)
    return Instruction(
        name=one.name,
        line=one.start_line,
        end=one.end_line,
        rows=rows[one.start_line - 1 : one.end_line],
        args=tuple(one.args),
        is_json=one.json,
        flags=flags,
        heredocs=tuple(one.heredocs),
        comment=_comment_above(rows, one.start_line - 1),
    )


def _comment_above(rows: tuple[str, ...], until: int) -> tuple[str, ...]:
    """The comment that ends right above a line; directives are none."""
    first = until
    while first and rows[first - 1].lstrip().startswith("#") and not _DIRECTIVE.match(rows[first - 1].lstrip()):
        first -= 1
    return tuple(row.strip().lstrip("#").strip() for row in rows[first:until])
