"""What is written into a Dockerfile so that it is taken as it is: each place has rules of its own."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING

from phases.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.core.origin import Origin

#: The argument of a build that is a line break: ENV has no other way to say it.
NEWLINE = "HABITAT_NEWLINE"

# Bytes of a line that every version of the builder reads.
_LONGEST = 60_000

# Where a line can be cut: nothing that a backslash, a comment or white space could have to do with.
_CUT = re.compile(r"(?<=[A-Za-z0-9])(?=[A-Za-z0-9])")

_PLAIN = re.compile(r"[\w@%+=:,./-]+", re.ASCII)


def exec_form(words: Sequence[str]) -> str:
    """Arguments, each as it is: the builder knows no variables there."""
    return json.dumps(list(words), ensure_ascii=False)


def instruction(value: str, origin: Origin) -> str:
    """One value of USER, WORKDIR or FROM, which know variables and quotes as a shell does."""
    if "\n" in value:
        raise _unsayable(repr(value), origin)
    return template(value.replace("$", "$$"))


def template(value: str) -> str:
    """The same for a value of `env:`, where `${NAME}` is a variable and `$$` a dollar sign."""
    parts = re.split(r"(\$\$|\$\{\w+\}|\$\w+)", value)
    text = "".join(
        r"\$" if part == "$$" else part if part.startswith("$") else re.sub(r'([\\"])', r"\\\1", part) for part in parts
    )
    text = text.replace("\n", f"${{{NEWLINE}}}")
    return text if _PLAIN.fullmatch(text) else f'"{text}"'


def mount(origin: Origin, **options: str) -> str:
    """`--mount=…`: words for a reader of CSV, within the flags of RUN."""
    fields = [f"{key}={value}" if value else key for key, value in options.items()]
    for field in fields:
        # Builders differ in what else they make of these.
        if re.search(r"[$\\\"'\n]", field):
            raise _unsayable(repr(field.partition("=")[2]), origin)
    row = io.StringIO()
    csv.writer(row, lineterminator="").writerow(fields)
    return "--mount=" + re.sub(r'([\s"])', r"\\\1", row.getvalue())


def _unsayable(what: str, origin: Origin) -> ConfigError:
    return ConfigError(
        f"no Dockerfile can say {what}", where=origin, remedy="leave out the line break, quote, backslash or $ to eject"
    )


def folded(line: str) -> str:
    """A line that the builder reads whole, however long it is."""
    rows: list[str] = []
    while len(line.encode()) > _LONGEST:
        cut = next((found.start() for found in reversed(list(_CUT.finditer(line, 0, _LONGEST // 4)))), 0)
        if not cut:
            break  # the builder tells
        rows.append(line[:cut])
        line = line[cut:]
    return "\\\n".join([*rows, line])


def comment(text: str) -> str:
    return f"# {' '.join(text.split())}"
