"""What of a Dockerfile stays one: its first lines, as they are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phases.core.migrate.dockerfile import Dockerfile, Instruction

NAME = "Dockerfile.rest"

_HEAD = "# What no config.yaml says the same: the first lines of the Dockerfile, by `doit migrate`."
_DIRECTIVE = re.compile(r"#\s*(syntax|escape|check)\s*=", re.IGNORECASE)


def text(dockerfile: Dockerfile, kept: Sequence[Instruction], given: Mapping[str, str]) -> str:
    """The lines up to the last of `kept`. given: values of ARGs, which take the place of what is there."""
    rows = list(dockerfile.rows[: max(one.end for one in kept)])
    for one in kept:
        if one.name == "ARG" and {word.partition("=")[0] for word in one.args} & given.keys():
            words = (_argument(word, given, dockerfile.escape) for word in one.args)
            rows[one.line - 1 : one.end] = [f"ARG {' '.join(words)}", *[""] * (one.end - one.line)]
    at = next((number for number, row in enumerate(rows) if not _DIRECTIVE.match(row)), 0)
    return "\n".join([*rows[:at], _HEAD, *rows[at:]]) + "\n"


def _argument(word: str, given: Mapping[str, str], escape: str) -> str:
    name = word.partition("=")[0]
    if name not in given:
        return word
    value = re.sub(rf'([{re.escape(escape)}"$])', lambda found: escape + found[1], given[name])
    return f'{name}="{value}"'
