"""Convert a Dockerfile into sections of a config.yaml that build the same image.

A config's phases run in the order users → env → workdir → files → setup. A RUN that has to come before one of them
becomes a hook, with all instructions before it, since it may depend on them. An instruction that no config can express
stays in a Dockerfile, with all before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from phases.core.migrate import rest
from phases.core.migrate.inputs import HABITAT_PATH
from phases.core.migrate.instructions import settings
from phases.core.migrate.instructions.copy import CopyConverter
from phases.core.migrate.instructions.run import RunConverter
from phases.core.migrate.instructions.settings import SettingConverter
from phases.core.migrate.reasons import reasons_for_hooks, reasons_to_stay
from phases.core.migrate.result import Conversion, ListItem, NotConvertible, escape_dollars

if TYPE_CHECKING:
    from collections.abc import Mapping

    from phases.core.migrate.inputs import Inputs


class Choices(NamedTuple):
    """The options of a person.

    Attributes:
        build_args: Values for ARGs of the Dockerfile.
        splits: Whether a COPY or an ADD that has to stay keeps only itself, and not the scripts before it.
    """

    build_args: Mapping[str, str]
    splits: bool = False


class _MustStay(Exception):
    """The instruction with this number has to stay in a Dockerfile; the text is the reason."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(why)
        self.number = number


def convert(inputs: Inputs, *, splits: bool = False) -> Conversion:
    """Convert all instructions behind the last one that has to stay in a Dockerfile.

    Args:
        inputs: The Dockerfile and its surroundings.
        splits: As of `Choices`.
    """
    reasons, early = reasons_to_stay(inputs), reasons_for_hooks(inputs)
    while True:
        try:
            return _convert(inputs, reasons, early, splits=splits)
        except _MustStay as error:
            reasons[error.number] = str(error)


def _convert(
    inputs: Inputs, reasons: Mapping[int, str], early: Mapping[str, tuple[int, str]], *, splits: bool
) -> Conversion:
    first = max(reasons, default=-2) + 1
    movable = _movable(inputs, first, reasons) if splits else []
    conversion = Conversion(start=[*inputs.states, inputs.end][max(first, 0)])
    rest.keep(inputs, conversion, first, reasons, movable)
    numbers = range(max(first, 0), len(inputs.instructions))
    run, copy, setting = (kind(inputs, conversion) for kind in (RunConverter, CopyConverter, SettingConverter))
    converters = {"RUN": run.convert, "COPY": copy.convert, "ADD": copy.convert}
    for number in (*movable, *numbers):
        instruction = inputs.instructions[number]
        conversion.region = next((region for region, (last, _) in early.items() if number <= last), "")
        try:
            converters.get(instruction.name, setting.convert)(instruction, inputs.states[number])
        except NotConvertible as error:
            raise _MustStay(number, str(error)) from error
    conversion.env = [*_habitat_env(inputs), *settings.env_items(inputs, numbers)]
    conversion.uid = inputs.uid
    conversion.command = settings.command(inputs)
    if conversion.needs_list_form and inputs.setup_is_list is False:
        conversion.turn_setup_into_hooks()
    conversion.number_scripts()
    for last, why in early.values():
        for row in conversion.rows:
            if last >= 0 and row.line == inputs.instructions[last].line:
                row.why = row.why or why
    conversion.rows.sort(key=lambda row: row.line)
    return conversion


def _movable(inputs: Inputs, first: int, reasons: Mapping[int, str]) -> list[int]:
    """Return the instructions before `first` that can come behind all COPYs and ADDs that stay.

    A RUN that stays may need what is before it, and so may a COPY to a user whom the base image lacks.
    """

    def may_move(number: int) -> bool:
        one = inputs.instructions[number]
        owners = [inputs.name_of(owner) or "root" for owner in one.flags.get("chown", [])]
        return one.name in ("COPY", "ADD") and all(owner in inputs.base.users for owner in owners)

    floor = max((number for number in reasons if number >= 0 and not may_move(number)), default=-1)
    return [
        number
        for number in range(floor + 1, max(first, 0))
        if number not in reasons and inputs.instructions[number].name in ("RUN", "COPY", "ADD")
    ]


def _habitat_env(inputs: Inputs) -> list[ListItem]:
    """Set USER, WORKDIR and HABITAT_PATH, unless there is a config.yaml."""
    if inputs.existing:
        return []
    user = [f"USER={inputs.user}"] if inputs.user else []
    return list(map(ListItem, [*user, f"WORKDIR={escape_dollars(inputs.workdir)}", f"HABITAT_PATH={HABITAT_PATH}"]))
