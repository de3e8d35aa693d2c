"""The result of a conversion: sections of a config.yaml, and a report row for each instruction."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from phases.core.model import SHARINGS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from phases.core.migrate.dockerfile import Instruction


class NotConvertible(Exception):
    """No config.yaml can express an instruction; the text is the reason."""


def escape_dollars(text: str) -> str:
    """Write a text for a section other than `setup`, where a dollar sign begins a variable."""
    return text.replace("$", "$$")


@dataclass
class ReportRow:
    """The result for one instruction, or for one key with an old name.

    Attributes:
        line: Its line, from 1.
        text: Its first line, or the key.
        place: The key of config.yaml, or the file, that it went to; "" for none.
        why: The reason, or a remark about the place.
    """

    line: int
    text: str
    place: str
    why: str = ""


@dataclass(frozen=True)
class ListItem:
    """An item of a list in the config.

    Attributes:
        value: The item.
        comment: The comment above its instruction.
        run_as: The user of a script.
        row: The report row that names the item's place, once that is known.
    """

    value: str | dict[str, str]
    comment: tuple[str, ...] = ()
    run_as: str = ""
    row: ReportRow | None = None


@dataclass
class BuildSecret:
    """An item of `secrets:`, which takes its value from a variable of the host."""

    name: str
    env: str
    phases: list[str] = field(default_factory=list)
    optional: bool = False


@dataclass
class Conversion:
    """The sections of a config.yaml that a Dockerfile was converted to.

    Attributes:
        dockerfile: The Dockerfile that is still built, "" for none.
        uid: The number of USER, "" for any.
        rest: The text of Dockerfile.rest, "" for none.
        caches: From path to how the cache is shared.
        entry_hints: Lines for `entry:`, written as comments: a person decides about them.
        rows: The report.
        warnings: Remarks about secrets.
    """

    base_image: str = ""
    description: str = ""
    dockerfile: str = ""
    rest: str = ""
    uid: str = ""
    env: list[ListItem] = field(default_factory=list)
    files: list[ListItem] = field(default_factory=list)
    setup: list[ListItem] = field(default_factory=list)
    secrets: dict[str, BuildSecret] = field(default_factory=dict)
    caches: dict[str, str] = field(default_factory=dict)
    command: str = ""
    entry_hints: list[str] = field(default_factory=list)
    rows: list[ReportRow] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def report(self, instruction: Instruction, place: str, why: str = "") -> ReportRow:
        """Add a row for an instruction to the report."""
        row = ReportRow(instruction.line, instruction.text, place, why)
        self.rows.append(row)
        return row

    def warn(self, instruction: Instruction, text: str) -> None:
        """Add a warning about an instruction, unless it is there."""
        warning = f"line {instruction.line}: {text}"
        if warning not in self.warnings:
            self.warnings.append(warning)

    def add_cache(self, path: str, sharing: str) -> None:
        """Add a cache; the stricter sharing wins where the path has one."""
        self.caches[path] = max(sharing, self.caches.get(path, ""), key=("", *SHARINGS).index)

    def add_secret(self, instruction: Instruction, options: Mapping[str, str], phase: str) -> None:
        """Add the secret of a `--mount=type=secret` for a phase."""
        name = options["id"]
        variable = re.sub(r"\W", "_", name, flags=re.ASCII).upper()
        secret = self.secrets.setdefault(name, BuildSecret(name, variable))
        if phase not in secret.phases:
            secret.phases.append(phase)
        if options.get("required", "false") not in ("true", "1", ""):
            secret.optional = True
        self.warn(instruction, f"the config reads secret {name} from ${variable} of the host; change that if needed")

    @property
    def needs_list_form(self) -> bool:
        """Return whether only the list form of `setup:` keeps the order of the scripts and their users."""
        order = [item.run_as for item in self.setup]
        has_others = any(user not in ("root", "user") for user in order)
        return has_others or order != sorted(order, key=("root", "user", "").index)

    def number_scripts(self) -> None:
        """Write the place of each script into its report row, once all scripts are known."""
        blocks = 0
        numbers: dict[str, int] = {}
        previous = ""
        for item in self.setup:
            number = numbers.get(item.run_as, 0)
            if self.needs_list_form:
                if item.run_as != previous:
                    blocks, number = blocks + 1, 0
                place = f"setup[{blocks - 1}].commands[{number}]"
            else:
                place = f"setup.{item.run_as}[{number}]"
            numbers[item.run_as], previous = number + 1, item.run_as
            if item.row:
                item.row.place = place
