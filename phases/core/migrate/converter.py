"""Convert a Dockerfile into sections of a config.yaml that build the same image.

A config's phases run in the order env → workdir → files → setup. An instruction that no config can
express stays in a Dockerfile, and so do all instructions before it, since it may depend on them.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from phases.core.migrate import rest
from phases.core.migrate.inputs import HABITAT_PATH
from phases.core.migrate.instructions import settings
from phases.core.migrate.instructions.copy import CopyConverter
from phases.core.migrate.instructions.run import RunConverter
from phases.core.migrate.instructions.settings import SettingConverter
from phases.core.migrate.result import Conversion, ListItem, NotConvertible, escape_dollars

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phases.core.migrate.inputs import Inputs

_SHELLS = [("/bin/sh",), ("sh",), ("bash",), ("/bin/bash",), ("ash",), ("/bin/ash",)]

# Instructions that may give `setup:` a script.
_IN_SETUP = ("RUN", "COPY", "ADD", "WORKDIR")

_USER_COMMANDS = "useradd|adduser"
_ACCOUNT_COMMANDS = f"{_USER_COMMANDS}|groupadd|addgroup"

_VARIABLE = re.compile(r"\$(?:\{(\w+)[^}]*\}|(\w+))")


class _MustStay(Exception):
    """The instruction with this number has to stay in a Dockerfile; the text is the reason."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(why)
        self.number = number


def convert(inputs: Inputs) -> Conversion:
    """Convert all instructions behind the last one that has to stay in a Dockerfile."""
    reasons = reasons_to_stay(inputs)
    while True:
        try:
            return _convert(inputs, reasons)
        except _MustStay as error:
            reasons[error.number] = str(error)


def _convert(inputs: Inputs, reasons: Mapping[int, str]) -> Conversion:
    conversion = Conversion()
    first = max(reasons, default=-2) + 1
    rest.keep(inputs, conversion, first, reasons)
    numbers = range(max(first, 0), len(inputs.instructions))
    run, copy, setting = (kind(inputs, conversion) for kind in (RunConverter, CopyConverter, SettingConverter))
    converters = {"RUN": run.convert, "COPY": copy.convert, "ADD": copy.convert}
    for number in numbers:
        instruction = inputs.instructions[number]
        try:
            converters.get(instruction.name, setting.convert)(instruction, inputs.states[number])
        except NotConvertible as error:
            raise _MustStay(number, str(error)) from error
    conversion.env = [*_habitat_env(inputs), *settings.env_items(inputs, numbers)]
    conversion.command = _command(inputs)
    if conversion.needs_list_form and inputs.setup_is_list is False:
        last = max(n for n, instruction in enumerate(inputs.instructions) if instruction.name in _IN_SETUP)
        raise _MustStay(
            last, "scripts of several users alternate up to here: that needs `setup:` as a list, and yours is a mapping"
        )
    conversion.number_scripts()
    conversion.rows.sort(key=lambda row: row.line)
    return conversion


def _habitat_env(inputs: Inputs) -> list[ListItem]:
    """Set USER, WORKDIR and HABITAT_PATH, unless there is a config.yaml."""
    if inputs.existing:
        return []
    user = [f"USER={inputs.user}"] if inputs.user else []
    return list(map(ListItem, [*user, f"WORKDIR={escape_dollars(inputs.workdir)}", f"HABITAT_PATH={HABITAT_PATH}"]))


def _command(inputs: Inputs) -> str:
    """Return `entry.command`, "" where the habitat's own default is as good."""
    argv = (*inputs.end.entrypoint, *inputs.end.command)
    if inputs.existing or not argv or argv in _SHELLS:
        return ""
    if len(argv) == 3 and argv[:2] == ("/bin/sh", "-c"):
        return escape_dollars(argv[2])
    return escape_dollars(f"exec {shlex.join(argv)}")


def reasons_to_stay(inputs: Inputs) -> dict[int, str]:
    """Find instructions that have to stay in a Dockerfile, as far as one can tell before converting.

    Returns:
        From the number of the instruction, -1 for FROM, to the reason.
    """
    reasons = {}
    start = inputs.stage.start
    if inputs.interpreter.parent(inputs.stage):
        reasons[-1] = "it builds on another stage"
    elif start.flags:
        reasons[-1] = f"a config has no {start.text.split()[1]}"
    elif inputs.interpreter.base(start) == "scratch":
        reasons[len(inputs.instructions) - 1] = "scratch is not an image"
    runs = [number for number, instruction in enumerate(inputs.instructions) if instruction.name == "RUN"]
    if runs and inputs.existing and inputs.existing.has_copies:
        reasons[runs[-1]] = "the config's files and volumes come after it"
    return reasons | _user_created_by(inputs, runs) | _workdir_created_by(inputs, runs)


def _user_created_by(inputs: Inputs, runs: Sequence[int]) -> dict[int, str]:
    """Find the RUN that creates USER: phase users would create a missing USER before it."""
    user = inputs.user
    if not user or user in inputs.base.users:
        return {}
    first_use = next((n for n in range(len(inputs.states)) if _needs_user(inputs, n)), len(inputs.states))
    before = [number for number in runs if number < first_use]
    naming = [number for number in before if _mentions(inputs, number, user)]
    if any(_creates(inputs, number, _USER_COMMANDS) for number in naming):
        naming = [number for number in naming if _creates(inputs, number, _ACCOUNT_COMMANDS)]
    candidates = naming or ([] if inputs.existing else before)
    return {candidates[-1]: f"it may create {user}, and phase users would do so first"} if candidates else {}


def _needs_user(inputs: Inputs, number: int) -> bool:
    """Return whether an instruction fails in an image without USER."""
    instruction, state = inputs.instructions[number], inputs.states[number]
    owners = [inputs.interpreter.expand(instruction, owner, state) for owner in instruction.flags.get("chown", [])]
    names = [state.user] if instruction.name == "RUN" else owners
    return inputs.user in [name.partition(":")[0] for name in names]


def _creates(inputs: Inputs, number: int, commands: str) -> bool:
    """Return whether a RUN has one of these commands with USER as the name to create.

    It is the last word, or the first with an option behind it. In `adduser USER GROUP` and `useradd -G USER NAME`
    it is not.
    """
    name = re.escape(inputs.user)
    words = rf"(?:[^\n;&|<>]*\s)?{name}\s*(?:$|[\n;&|<>)}}]|\d>)|{name}\s+-"
    return bool(re.search(rf"\b(?:{commands})\s+(?:{words})", _expanded(inputs, number)))


def _mentions(inputs: Inputs, number: int, word: str) -> bool:
    """Return whether a RUN has a word, as it is or as the value of a variable."""
    return replace(inputs.instructions[number], lines=(_expanded(inputs, number),)).mentions(word)


def _expanded(inputs: Inputs, number: int) -> str:
    """Return the text of a RUN in one line for each command, without quotes, and with known variables replaced."""
    instruction, variables = inputs.instructions[number], inputs.states[number].variables
    text = " ".join(instruction.args) if instruction.is_json else "\n".join(instruction.lines)
    text = re.sub(rf"{re.escape(inputs.dockerfile.escape)}\s*\n|[\"']", "", text)
    return _VARIABLE.sub(lambda match: variables.get(match[1] or match[2], match[0]), text)


def _workdir_created_by(inputs: Inputs, runs: Sequence[int]) -> dict[int, str]:
    """Find the RUN that creates WORKDIR: phase workdir would create it before."""
    path = inputs.workdir
    if path == "/":
        return {}
    states = [*inputs.states, inputs.end]
    first_use = next((n for n, state in enumerate(states) if state.workdir == path), len(inputs.states))
    naming = [number for number in runs if number < first_use and _mentions(inputs, number, path)]
    return {naming[-1]: f"it may create {path}, and phase workdir would do so first"} if naming else {}
