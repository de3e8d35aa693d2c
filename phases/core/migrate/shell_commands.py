"""Split the script of a RUN into its commands, as far as that needs no shell."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from phases.core.migrate.instructions import scripts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from phases.core.migrate.dockerfile import Instruction

_VARIABLE = re.compile(r"\$(?:\{(\w+)[^}]*\}|(\w+))")

# Words that may stand before a command.
_BEFORE = ("if", "then", "elif", "else", "while", "until", "do", "!", "{", "sudo", "exec")

_SIGNS = ";&|()<>\n"


def expanded(instruction: Instruction, variables: Mapping[str, str]) -> str:
    """Return the script of a RUN, each command in one line, with known variables replaced."""
    text = shlex.join(instruction.args) if instruction.is_json else scripts.text(instruction)
    return _VARIABLE.sub(lambda match: variables.get(match[1] or match[2], match[0]), text.replace("\\\n", " "))


def commands(text: str) -> list[list[str]]:
    """Return the words of each command, without quotes and redirections; none if a quote is open."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=_SIGNS)
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    try:
        return [words for words in _split(list(lexer)) if words]
    except ValueError:
        return []


def _split(tokens: list[str]) -> Iterator[list[str]]:
    words: list[str] = []
    is_target = False
    for token in [*tokens, "\n"]:
        if token.startswith(("<", ">")):
            if words and words[-1].isdecimal():
                words.pop()  # the number of a file, as in 2>
            is_target = True
        elif token.startswith(tuple(_SIGNS)):
            yield _without_prefix(words)
            words, is_target = [], False
        elif is_target:
            is_target = False
        else:
            words.append(token)


def _without_prefix(words: list[str]) -> list[str]:
    """Remove the words of the shell and the variables before a command."""
    rest = list(words)
    while rest and (rest[0] in _BEFORE or re.match(r"[A-Za-z_]\w*=", rest[0])):
        rest.pop(0)
    return rest
