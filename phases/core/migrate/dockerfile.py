"""Read a Dockerfile into instructions, each with its lines and the comment above it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from phases.core.errors import ConfigError
from phases.core.files import safe_open

if TYPE_CHECKING:
    from pathlib import Path

    from e2b_dockerfile_utils import DockerfileHeredoc, DockerfileInstruction

# Bytes: no person writes a longer one.
_MOST = 1_000_000

#: A comment that tells the builder how to read the file.
DIRECTIVE = re.compile(r"#\s*(syntax|escape|check)\s*=", re.IGNORECASE)


# What to do about a wrong line.
_FIX = "fix the line, then run the same command"


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    Attributes:
        line: The number of its first line, from 1.
        end: The number of its last line.
        lines: Its text.
        args: Its words as the parser gives them, with variables not replaced.
        flags: From NAME to the values of `--NAME=VALUE`.
        comment: The lines of the comment above it, without #.
    """

    name: str
    line: int
    end: int
    lines: tuple[str, ...]
    args: tuple[str, ...]
    is_json: bool
    flags: dict[str, list[str]] = field(default_factory=dict)
    heredocs: tuple[DockerfileHeredoc, ...] = ()
    comment: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Its first line, for the report."""
        return self.lines[0].strip()

    def mentions(self, *words: str) -> bool:
        """Return whether its text has one of these words, not as a part of another word."""
        text = "\n".join(self.lines)
        return any(re.search(rf"(?<![\w.-]){re.escape(word)}(?![\w.-])", text) for word in words)


@dataclass(frozen=True)
class Stage:
    """A FROM with the instructions that follow it."""

    start: Instruction
    instructions: tuple[Instruction, ...]

    @property
    def alias(self) -> str:
        """Its name in lower case, "" for none."""
        return self.start.args[2].lower() if len(self.start.args) > 2 else ""


@dataclass(frozen=True)
class Dockerfile:
    """A parsed Dockerfile.

    Attributes:
        shown: Its path, as messages show it.
        head: The ARGs before the first FROM.
        escape: Its escape character.
    """

    shown: str
    lines: tuple[str, ...]
    head: tuple[Instruction, ...]
    stages: tuple[Stage, ...]
    escape: str

    def where(self, instruction: Instruction) -> str:
        """Return path and line of an instruction, for messages."""
        return f"{self.shown}:{instruction.line}"


def read(path: Path, shown: str) -> Dockerfile:
    """Read a Dockerfile.

    Raises:
        ConfigError: It can't be read, or is not a Dockerfile.
    """
    try:
        data = safe_open.read(path, _MOST) or b""
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            "can't be read as UTF-8 text", where=shown, remedy="save it as UTF-8, or remove it"
        ) from error
    if len(data) > _MOST:
        raise ConfigError(f"is larger than {_MOST:,} bytes", where=shown, remedy="put a Dockerfile in its place")
    return parse(text, shown)


def parse(text: str, shown: str) -> Dockerfile:
    """Parse the text of a Dockerfile.

    Raises:
        ConfigError: It is not a Dockerfile.
    """
    # Imported here, since only `habitat migrate` needs it.
    from e2b_dockerfile_utils import DockerfileSyntaxError, parse_dockerfile_ast

    try:
        ast = parse_dockerfile_ast(text)
    except DockerfileSyntaxError as error:
        problem = str(error).partition(": ")[2] or str(error)
        where = f"{shown}:{error.line}" if error.line else shown
        raise ConfigError(f"is not a Dockerfile: {problem}", where=where, remedy=_FIX) from error
    lines = tuple(line.rstrip("\r") for line in text.split("\n"))
    instructions = [_instruction(one, lines) for one in ast.instructions]
    starts = [number for number, one in enumerate(instructions) if one.name == "FROM"]
    for one in instructions[: starts[0] if starts else len(instructions)]:
        if one.name != "ARG":
            raise ConfigError(f"{one.name} comes before FROM", where=f"{shown}:{one.line}", remedy="move it below FROM")
    if not starts:
        raise ConfigError("has no FROM", where=shown, remedy="add FROM with the image to build on")
    ends = [*starts[1:], len(instructions)]
    stages = [_stage(instructions[start:end], shown) for start, end in zip(starts, ends, strict=True)]
    return Dockerfile(shown, lines, tuple(instructions[: starts[0]]), tuple(stages), ast.escape_token)


def _stage(instructions: list[Instruction], shown: str) -> Stage:
    start, *others = instructions
    words = start.args
    if len(words) not in (1, 3) or (len(words) == 3 and words[1].upper() != "AS"):
        where = f"{shown}:{start.line}"
        raise ConfigError("is not FROM IMAGE or FROM IMAGE AS NAME", where=where, remedy=_FIX)
    for one in others:
        may_be_empty = one.name == "ONBUILD" or (one.name in ("ENTRYPOINT", "CMD") and one.is_json)
        if not one.args and not may_be_empty:
            raise ConfigError(
                f"{one.name} has no arguments", where=f"{shown}:{one.line}", remedy="complete or remove it"
            )
    return Stage(start, tuple(others))


def _instruction(one: DockerfileInstruction, lines: tuple[str, ...]) -> Instruction:
    flags: dict[str, list[str]] = {}
    for flag in one.flags:
        name, _, value = flag.removeprefix("--").partition("=")
        flags.setdefault(name, []).append(value)
    return Instruction(
        name=one.name,
        line=one.start_line,
        end=one.end_line,
        lines=lines[one.start_line - 1 : one.end_line],
        args=tuple(one.args),
        is_json=one.json,
        flags=flags,
        heredocs=tuple(one.heredocs),
        comment=_comment_above(lines, one.start_line - 1),
    )


def _comment_above(lines: tuple[str, ...], until: int) -> tuple[str, ...]:
    """Return the comment that ends right above a line, without directives."""
    first = until
    while first and lines[first - 1].lstrip().startswith("#") and not DIRECTIVE.match(lines[first - 1].lstrip()):
        first -= 1
    return tuple(line.strip().lstrip("#").strip() for line in lines[first:until])
