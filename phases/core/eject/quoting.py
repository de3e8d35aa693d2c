"""Quote values for a Dockerfile: each instruction has its own rules."""

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

#: The build argument that is a line break: an ENV can't hold one in any other way.
NEWLINE = "HABITAT_NEWLINE"

# Bytes of a line that every version of the builder can read.
_LONGEST = 60_000

# Where a line can be cut: away from every backslash, comment sign and white space.
_CUT = re.compile(r"(?<=[A-Za-z0-9])(?=[A-Za-z0-9])")

_PLAIN = re.compile(r"[\w@%+=:,./-]+", re.ASCII)


def exec_form(words: Sequence[str]) -> str:
    """Return arguments for an instruction in exec form, in which the builder replaces no variables."""
    return json.dumps(list(words), ensure_ascii=False)


def quote_word(value: str, origin: Origin) -> str:
    """Quote a value for USER, WORKDIR or FROM, which have variables and quotes like a shell.

    Raises:
        ConfigError: The value has a line break.
    """
    if "\n" in value:
        raise _not_expressible(repr(value), origin)
    return quote_env(value.replace("$", "$$"))


def quote_env(value: str) -> str:
    """Quote a value of `env:` for ENV; `${NAME}` is a variable, and `$$` a dollar sign."""
    parts = re.split(r"(\$\$|\$\{\w+\}|\$\w+)", value)
    text = "".join(
        r"\$" if part == "$$" else part if part.startswith("$") else re.sub(r'([\\"])', r"\\\1", part) for part in parts
    )
    text = text.replace("\n", f"${{{NEWLINE}}}")
    return text if _PLAIN.fullmatch(text) else f'"{text}"'


def mount_flag(origin: Origin, **options: str) -> str:
    """Return a `--mount=`, which the builder reads as CSV.

    Raises:
        ConfigError: Versions of the builder would read an option in different ways.
    """
    fields = [f"{key}={value}" if value else key for key, value in options.items()]
    for field in fields:
        # Versions of the builder read these in different ways.
        if re.search(r"[$\\\"'\n]", field):
            raise _not_expressible(repr(field.partition("=")[2]), origin)
    row = io.StringIO()
    csv.writer(row, lineterminator="").writerow(fields)
    return "--mount=" + re.sub(r'([\s"])', r"\\\1", row.getvalue())


def _not_expressible(value: str, origin: Origin) -> ConfigError:
    return ConfigError(
        f"no Dockerfile can express {value}", where=origin, remedy="remove the line break, quote, backslash or $"
    )


def fold(line: str) -> str:
    """Break a line that is too long for the builder."""
    rows: list[str] = []
    while len(line.encode()) > _LONGEST:
        cut = next((match.start() for match in reversed(list(_CUT.finditer(line, 0, _LONGEST // 4)))), 0)
        if not cut:
            break  # the builder reports it
        rows.append(line[:cut])
        line = line[cut:]
    return "\\\n".join([*rows, line])


def comment(text: str) -> str:
    """Return a text as one comment line."""
    return f"# {' '.join(text.split())}"
