"""RUN as a script of `setup:`, which finds what the RUN found and means what it meant."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from typing import TYPE_CHECKING

from phases.core.migrate.dockerfile_state import SHELL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phases.core.migrate.dockerfile import Instruction
    from phases.core.migrate.dockerfile_state import State

# `sh -e`, which setup has, and `sh -c`, which RUN has, do the same with one list of simple commands:
# nothing is there that may go on after a failure.
_MAY_GO_ON = re.compile(
    r"""[;\n(){}`!]|(?<!&)&(?!&)|(?<![\w-])(if|for|while|until|case|eval|set|trap|\.|source)(?![\w-])"""
)
_ENDS_ITSELF = re.compile(r"set -[a-z]*e[a-z]*\s*(;|&&|\n)")


def script(instruction: Instruction, state: State, env: Mapping[str, str], workdir: str) -> str:
    """env, workdir: what setup gives a script, where the RUN found those of `state`."""
    lines = [] if state.workdir == workdir else [f"cd {shlex.quote(state.workdir)}"]
    lines += _environment(state.variables, env)
    if instruction.is_json:
        return "\n".join([*lines, f"exec {shlex.join(instruction.args)}"])
    body = text(instruction)
    if state.shell != SHELL:
        return "\n".join([*lines, f"exec {shlex.join(state.shell)} {shlex.quote(body)}"])
    if means_the_same_with_e(body):
        return "\n".join([*lines, body])
    return "\n".join([*lines, "set +e", body])


def _environment(found: Mapping[str, str], given: Mapping[str, str]) -> list[str]:
    """What makes the variables that are given those that the RUN found."""
    gone = [name for name in given if name not in found]
    other = [name for name in found if given.get(name) != found[name]]
    exports = [f"export {name}={shlex.quote(found[name])}" for name in other]
    return [*([f"unset {' '.join(gone)}"] if gone else []), *exports]


def means_the_same_with_e(body: str) -> bool:
    if _ENDS_ITSELF.match(body):
        return True
    outside = _without_quoted(body.replace("\\\n", " "))
    return outside is not None and not _MAY_GO_ON.search(outside)


def _without_quoted(body: str) -> str | None:
    """The text without what is in quotes; None where something is run in them."""
    quoted = re.compile(r"""'[^']*'|"(?:[^"\\]|\\.)*"|\\.""", re.DOTALL)
    if any("`" in part or "$(" in part for part in quoted.findall(body) if part[0] == '"'):
        return None
    return quoted.sub("_", body)


def text(instruction: Instruction) -> str:
    """What RUN gives its shell, in the lines that it is written in where the shell reads them so."""
    if instruction.heredocs:
        return _with_heredocs(instruction)
    (joined,) = instruction.args
    if len(instruction.rows) == 1:
        return joined
    lines = _lines(instruction, joined)
    return joined if lines is None else "\n".join(lines)


def _with_heredocs(instruction: Instruction) -> str:
    (command,) = instruction.args
    first = instruction.heredocs[0]
    if len(instruction.heredocs) == 1 and re.fullmatch(r"\d*<<-?\s*[\"']?[\w.-]+[\"']?", command):
        # The document is the script.
        content = re.sub(r"^\t+", "", first.content, flags=re.MULTILINE) if first.chomp else first.content
        return content.removesuffix("\n")
    rows = [command]
    for one in instruction.heredocs:
        rows += [one.content.removesuffix("\n"), one.name] if one.content else [one.name]
    return "\n".join(rows)


def _lines(instruction: Instruction, joined: str) -> list[str] | None:
    """The lines of a RUN, comments within it left out, as Docker does; None where a shell would join them
    in another way: in single quotes, behind a # or an escape, or with an escape sign that isn't its own.
    """
    rows = [row for row in instruction.rows if row.strip() and not row.lstrip().startswith("#")]
    parts = [re.sub(r"\\[ \t]*$", "", row) for row in rows[:-1]] + rows[-1:]
    if not "".join(parts).rstrip().endswith(joined):
        return None
    offset = len("".join(parts).rstrip()) - len(joined)
    if offset >= len(parts[0]):
        return None
    parts[0] = parts[0][offset:]
    read = ""
    for part in parts[:-1]:
        read += part
        if not _may_break(read):
            return None
    first, *others = parts
    whole = [first.rstrip(), *(f"  {part.strip()}" for part in others)] if _only_spaces_go(parts) else parts
    return [f"{part} \\" if whole is not parts else f"{part}\\" for part in whole[:-1]] + [whole[-1].rstrip()]


def _only_spaces_go(parts: Sequence[str]) -> bool:
    """Whether each line begins with white space between two words, so that its amount means nothing."""
    read = ""
    for before, after in pairwise(parts):
        read += before
        if _open_quote(read) or not (before[-1:].isspace() or after[:1].isspace()):
            return False
    return True


def _may_break(read: str) -> bool:
    """Whether a backslash and a newline after `read` are nothing to a shell."""
    return _open_quote(read) in ("", '"') and not read.endswith("\\")


def _open_quote(read: str) -> str:
    """The quote that is open at the end of a text, `#` for a comment, `?` for what isn't followed here."""
    quote, escaped, before = "", False, " "
    for sign in read:
        if escaped:
            escaped = False
        elif quote == "'":
            quote = "" if sign == "'" else quote
        elif sign == "\\":
            escaped = True
        elif quote == '"':
            if sign == "`" or (before == "$" and sign == "("):
                return "?"  # other quotes may be in there
            quote = "" if sign == '"' else quote
        elif sign in "'\"":
            quote = sign
        elif sign == "#" and before in " \t\n;&|(":
            return "#"
        before = sign
    return quote
