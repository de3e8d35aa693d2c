"""Write a RUN as a script of `setup:` that does the same."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from typing import TYPE_CHECKING

from phases.core.migrate.dockerfile_state import SHELL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from e2b_dockerfile_utils import DockerfileHeredoc

    from phases.core.migrate.dockerfile import Instruction
    from phases.core.migrate.dockerfile_state import BuildState

# Setup runs `sh -e`, a RUN runs `sh -c`. Both do the same with one list of simple commands, in which no
# command runs after a failure.
_MAY_CONTINUE = re.compile(
    r"""[;\n(){}`!]|(?<!&)&(?!&)|(?<![\w-])(if|for|while|until|case|eval|set|trap|\.|source)(?![\w-])"""
)
_SETS_E = re.compile(r"set -[a-z]*e[a-z]*\s*(;|&&|\n)")


def script(
    instruction: Instruction, state: BuildState, env: Mapping[str, str], workdir: str, *, platform: Sequence[str] = ()
) -> str:
    """Return the script for a RUN.

    Args:
        instruction: The RUN.
        state: The state that the RUN starts from.
        env: The variables that setup gives the script.
        workdir: The folder that setup runs it in.
        platform: The names of variables with the platform, which the script finds out.
    """
    lines = [] if state.workdir == workdir else [f"cd {shlex.quote(state.workdir)}"]
    lines += _environment({name: text for name, text in state.variables.items() if name not in platform}, env)
    lines += _platform(platform)
    if instruction.is_json:
        return "\n".join([*lines, f"exec {shlex.join(instruction.args)}"])
    body = text(instruction)
    if state.shell != SHELL:
        return "\n".join([*lines, f"exec {shlex.join(state.shell)} {shlex.quote(body)}"])
    if _is_same_with_e(body):
        return "\n".join([*lines, body])
    return "\n".join([*lines, "set +e", body])


def _environment(wanted: Mapping[str, str], given: Mapping[str, str]) -> list[str]:
    """Return the commands that turn the given variables into the wanted ones."""
    extra = [name for name in given if name not in wanted]
    exports = [f"export {name}={shlex.quote(value)}" for name, value in wanted.items() if given.get(name) != value]
    return [*([f"unset {' '.join(extra)}"] if extra else []), *exports]


def _platform(names: Sequence[str]) -> list[str]:
    """Return the commands that set variables like TARGETARCH as BuildKit does for the machine's own platform."""
    if not names:
        return []
    forms = {"ARCH": "$TARGETARCH", "OS": "linux", "PLATFORM": "linux/$TARGETARCH"}
    exports = [f"{name}={text}" for name in names for kind, text in forms.items() if name.endswith(kind)]
    return [
        'TARGETARCH=$(uname -m | sed "s/^x86_64$/amd64/; s/^aarch64$/arm64/; s/^armv.*/arm/; s/^i.86$/386/")',
        f"export {' '.join(exports)}",
        *([] if "TARGETARCH" in names else ["unset TARGETARCH"]),
    ]


def is_list(instruction: Instruction) -> bool:
    """Return whether a RUN is one list of simple commands, of which none runs after a failure."""
    return not instruction.is_json and not instruction.heredocs and _is_same_with_e(text(instruction))


def _is_same_with_e(body: str) -> bool:
    if _SETS_E.match(body):
        return True
    outside = _without_quoted(body.replace("\\\n", " "))
    return outside is not None and not _MAY_CONTINUE.search(outside)


def _without_quoted(body: str) -> str | None:
    """Return the text without its quoted parts, None where one of them runs a command."""
    quoted = re.compile(r"""'[^']*'|"(?:[^"\\]|\\.)*"|\\.""", re.DOTALL)
    if any("`" in part or "$(" in part for part in quoted.findall(body) if part[0] == '"'):
        return None
    return quoted.sub("_", body)


def text(instruction: Instruction) -> str:
    """Return what a RUN gives its shell, in several lines where the shell reads them in the same way."""
    if instruction.heredocs:
        return program(instruction) or _with_heredocs(instruction)
    (joined,) = instruction.args
    if len(instruction.lines) == 1:
        return joined
    lines = _lines(instruction, joined)
    return joined if lines is None else "\n".join(lines)


def is_document(instruction: Instruction) -> bool:
    """Return whether a here-document is the whole script of a RUN."""
    return len(instruction.heredocs) == 1 and bool(
        re.fullmatch(r"\d*<<-?\s*[\"']?[\w.-]+[\"']?", "".join(instruction.args))
    )


def program(instruction: Instruction) -> str:
    """Return the commands that run a here-document with an interpreter of its own, "" for another RUN."""
    first = instruction.heredocs[0]
    if not first.content.startswith("#!") or not is_document(instruction):
        return ""
    return "\n".join(
        [
            "program=$(mktemp)",
            *here_document('>"$program"', content(first)),
            'chmod 0755 "$program"',
            '"$program" || { rm "$program"; exit 1; }',
            'rm "$program"',
        ]
    )


def here_document(target: str, written: str) -> list[str]:
    """Return the lines of a cat that writes a text literally."""
    end = "END"
    while end in written.splitlines():
        end += "_"
    if written and not written.endswith("\n"):
        return [f"printf %s {shlex.quote(written)} {target}"]
    return [f"cat {target} <<'{end}'", *([written.removesuffix("\n")] if written else []), end]


def content(heredoc: DockerfileHeredoc) -> str:
    """Return the text of a here-document."""
    return re.sub(r"^\t+", "", heredoc.content, flags=re.MULTILINE) if heredoc.chomp else heredoc.content


def _with_heredocs(instruction: Instruction) -> str:
    (command,) = instruction.args
    first = instruction.heredocs[0]
    if is_document(instruction):
        return content(first).removesuffix("\n")
    lines = [command]
    for one in instruction.heredocs:
        lines += [one.content.removesuffix("\n"), one.name] if one.content else [one.name]
    return "\n".join(lines)


def _lines(instruction: Instruction, joined: str) -> list[str] | None:
    """Return the lines of a RUN without the comments in it, which Docker leaves out, too.

    Returns:
        None where a shell would join them in another way: in single quotes, behind a # or a backslash, or
        if the Dockerfile has another escape character.
    """
    rows = [row for row in instruction.lines if row.strip() and not row.lstrip().startswith("#")]
    parts = [re.sub(r"\\[ \t]*$", "", row) for row in rows[:-1]] + rows[-1:]
    if not "".join(parts).rstrip().endswith(joined):
        return None
    offset = len("".join(parts).rstrip()) - len(joined)
    if offset >= len(parts[0]):
        return None
    parts[0] = parts[0][offset:]
    before = ""
    for part in parts[:-1]:
        before += part
        if not _may_break(before):
            return None
    first, *others = parts
    if _can_indent(parts):
        indented = [first.rstrip(), *(f"  {part.strip()}" for part in others)]
        return [*(f"{part} \\" for part in indented[:-1]), indented[-1]]
    return [*(f"{part}\\" for part in parts[:-1]), parts[-1].rstrip()]


def _can_indent(parts: Sequence[str]) -> bool:
    """Return whether every line break is between two words and outside quotes, so that lines can be indented."""
    text = ""
    for before, after in pairwise(parts):
        text += before
        if _open_quote(text) or not (before[-1:].isspace() or after[:1].isspace()):
            return False
    return True


def _may_break(text: str) -> bool:
    """Return whether a shell ignores a backslash and a newline behind a text."""
    return _open_quote(text) in ("", '"') and not text.endswith("\\")


def _open_quote(text: str) -> str:
    """Return the quote that is open at the end of a text, `#` for a comment, `?` where a command may have others."""
    quote, escaped, before = "", False, " "
    for sign in text:
        if escaped:
            escaped = False
        elif quote == "'":
            quote = "" if sign == "'" else quote
        elif sign == "\\":
            escaped = True
        elif quote == '"':
            if sign == "`" or (before == "$" and sign == "("):
                return "?"
            quote = "" if sign == '"' else quote
        elif sign in "'\"":
            quote = sign
        elif sign == "#" and before in " \t\n;&|(":
            return "#"
        before = sign
    return quote
