"""The result of a conversion: sections of a config.yaml, and a report row for each instruction."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING

from phases.core.config.schema.sections import SHARINGS
from phases.core.migrate.dockerfile_state import BuildState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phases.core.migrate.dockerfile import Instruction


#: The points of a build at which hooks run, and files are copied before them, for what has to come before a phase.
#: Before files means before its volumes, too.
POINTS: Mapping[str, Sequence[str]] = {
    "users": ("after base", "before users"),
    "workdir": ("after users", "before env", "after env", "before workdir"),
    "files": ("after workdir", "before habitat", "after habitat"),
    "setup": ("before setup",),
}


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
        region: The phase of POINTS that it comes before, "" for setup and files themselves.
        group: Its number among those of the region that need one point.
    """

    value: str | dict[str, str]
    comment: tuple[str, ...] = ()
    run_as: str = ""
    row: ReportRow | None = None
    region: str = ""
    group: int = 0


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
        setup: The scripts for `hooks:` and `setup:`, in the order of the Dockerfile.
        caches: From path to how the cache is shared.
        entry_hints: Lines for `entry:`, written as comments: a person decides about them.
        rows: The report.
        warnings: Remarks about secrets.
        start: The state of the image that the phases start from.
        region: The region of POINTS of the instruction that is converted, "" for setup and files.
        groups: The number of the last group in each region.
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
    start: BuildState = field(default_factory=BuildState)
    region: str = ""
    groups: dict[str, int] = field(default_factory=dict)

    def add_script(self, text: str, comment: tuple[str, ...], run_as: str, row: ReportRow | None = None) -> None:
        """Add a script of the current region."""
        self.setup.append(ListItem(text, comment, run_as, row, self.region, self.groups.get(self.region, 0)))

    def add_file(self, value: dict[str, str], comment: tuple[str, ...]) -> None:
        """Add an item of `files:` to the current region.

        Raises:
            NotConvertible: It comes after a script, and no later point of the region is left.
        """
        group = self.groups.setdefault(self.region, 0)
        if self.region and any((one.region, one.group) == (self.region, group) for one in self.setup):
            group = self.groups[self.region] = group + 1
            if group >= len(POINTS[self.region]):
                raise NotConvertible(f"scripts and files alternate too often before phase {self.region}")
        self.files.append(ListItem(value, comment, region=self.region, group=group))

    def point(self, item: ListItem) -> dict[str, str]:
        """Return the keys `before` or `after` of an item, which is the last point of its region if that is enough."""
        if not item.region:
            return {}
        points = POINTS[item.region]
        when, phase = points[item.group - self.groups.get(item.region, 0) - 1].split()
        return {when: phase}

    @property
    def hooks(self) -> list[ListItem]:
        """The scripts for `hooks:`."""
        return [item for item in self.setup if item.region]

    @property
    def scripts(self) -> list[ListItem]:
        """The scripts for `setup:`."""
        return [item for item in self.setup if not item.region]

    def turn_setup_into_hooks(self) -> None:
        """Run the scripts for `setup:` directly before those that a config has there."""
        self.setup = [item if item.region else replace(item, region="setup") for item in self.setup]

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
        order = [item.run_as for item in self.scripts]
        has_others = any(user not in ("root", "user") for user in order)
        return has_others or order != sorted(order, key=("root", "user", "").index)

    def number_scripts(self) -> None:
        """Write the place of each script into its report row, once all scripts are known."""
        self._number("hooks", self.hooks)
        if self.needs_list_form:
            self._number("setup", self.scripts)
            return
        numbers: dict[str, int] = {}
        for item in self.scripts:
            number = numbers.get(item.run_as, 0)
            numbers[item.run_as] = number + 1
            if item.row:
                item.row.place = f"setup.{item.run_as}[{number}]"

    def blocks(self, items: Sequence[ListItem]) -> list[tuple[dict[str, str], list[ListItem]]]:
        """Return scripts in blocks with one user at one point, each with its keys."""
        groups = groupby(items, lambda item: {"run_as": item.run_as, **self.point(item)})
        return [(keys, list(block)) for keys, block in groups]

    def _number(self, section: str, items: Sequence[ListItem]) -> None:
        for number, (_, block) in enumerate(self.blocks(items)):
            for index, item in enumerate(block):
                if item.row:
                    item.row.place = f"{section}[{number}].commands[{index}]"
