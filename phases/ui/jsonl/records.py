"""The lines of `-r jsonl` that are no event of `core.events`, and the schema of all lines.

Most lines are events of `core.events`, written as they are.

The names are a contract with programs: see JsonEvent.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct, field

from phases.core import events
from phases.core.events.commits import BranchWritten, CommitsSent, RepositoryChanged
from phases.core.events.json_event import JsonEvent
from phases.core.events.network import ConnectionBlocked, HostRequested
from phases.core.events.work import ContainerHolds, ContainerWork

SCHEMA_VERSION = 1


# Of the run


class RunStarted(JsonEvent, frozen=True):
    """The first line. `version` is that of this program, `pid` the process that takes signals."""

    schema_version: int
    version: str
    doit_version: str
    pid: int


class RunEnded(JsonEvent, frozen=True):
    """The last line, with doit's exit code. If a `signal` ended the run, `at` lists the tasks that ran then."""

    exit_code: int
    seconds: float
    counts: Counts
    signal: str = ""
    at: list[str] = field(default_factory=list)


class Counts(Struct):
    """Totals of the run. `errors` does not include failed phases."""

    phases_finished: int
    phases_shared: int
    phases_failed: int
    phases_up_to_date: int
    tasks_skipped: int
    errors: int
    warnings: int


Kind: TypeAlias = Literal[
    "command",  # a command of a phase ended with another exit code than 0
    "timeout",  # a phase took longer than its config allows
    "paths",  # required paths are missing
    "step",  # another step of a phase failed
    "config",  # a config, or a file that it names, is wrong
    "state",  # a file below .stamps/, or a temporary file, can't be read or written
    "secret",  # this host doesn't have a secret
    "start",  # the habitat's container, or a command in it, can't be started
    "unreachable",  # no engine answers
    "engine",  # the engine refused a request
    "stopped",  # the run was told to stop
    "usage",  # the command line is wrong
    "program",  # a bug of this program
    "other",
]


class Error(JsonEvent, frozen=True):
    """A failure outside of a phase. `text` is all of it on one line, `output` what was printed before it."""

    kind: Kind
    text: str
    message: str
    habitat: str = ""
    task: str = ""
    where: str = ""
    remedy: str = ""
    output: list[str] = field(default_factory=list)


class NoticeLine(JsonEvent, frozen=True, tag="notice"):
    """A line for a person. A `warning` says that something is wrong."""

    text: str
    warning: bool
    habitat: str = ""


# Of a build


class HabitatSelected(JsonEvent, frozen=True):
    """A habitat of the run. `tasks` lists its tasks in order, `phase` is the last phase to build."""

    habitat: str
    tasks: list[str]
    phase: str = ""


class PhaseUpToDate(JsonEvent, frozen=True):
    """A phase did not need to run."""

    habitat: str
    phase: str


class TaskSkipped(JsonEvent, frozen=True):
    """A task was skipped: a task that it needs failed, or it is ignored. `reason` says which."""

    task: str
    reason: str
    habitat: str = ""
    phase: str = ""


class PhasePlan(Struct, omit_defaults=True):
    """A phase that would run. Without `reasons` it would only run because a phase before it does.

    `seconds` is how long it took the last time. `shared_with` is the habitat whose snapshot it takes over
    instead of running.
    """

    phase: str
    reasons: list[events.Reason]
    seconds: float | None = None
    shared_with: str = ""


class BuildPlanned(JsonEvent, frozen=True):
    """The phases that would run, in order. `is_new` is true where no phase was ever built.

    `replaced` says why the next start replaces the habitat's container; it is empty where it doesn't. `lacks` is the
    work in it that the new one won't have, and `keeps_files` is true where its files stay, since only settings have
    changed; both where `habitat plan` has looked for that.
    """

    habitat: str
    phases: list[PhasePlan]
    is_new: bool
    replaced: str = ""
    lacks: ContainerWork | None = None
    keeps_files: bool = False


class PhaseFailed(JsonEvent, frozen=True):
    """A phase failed. `text` is all of it on one line, `exit_code` that of its command.

    `output` has the last lines that it printed, the file `log` has all; its path is relative to the project.
    """

    habitat: str
    phase: str
    seconds: float
    kind: Kind
    text: str
    message: str
    where: str = ""
    remedy: str = ""
    exit_code: int | None = None
    output: list[str] = field(default_factory=list)
    log: str = ""


class HabitatReady(JsonEvent, frozen=True):
    """The last phase to build, `phase`, is built or was up to date. `seconds` is the time for all phases."""

    habitat: str
    phase: str
    seconds: float


# Of a habitat that runs


class CommandOutput(JsonEvent, frozen=True):
    """Output of a command in the habitat: several lines, or a part of one.

    It is `text`, or `base64` where it is not UTF-8. Joined, all parts are the stream, byte for byte but for secrets.
    """

    habitat: str
    stream: Literal["stdout", "stderr"]
    text: str = ""
    base64: str = ""


#: All lines, in the order of docs/events.md.
RECORDS: tuple[type[JsonEvent], ...] = (
    RunStarted,
    RunEnded,
    Error,
    NoticeLine,
    HabitatSelected,
    PhaseUpToDate,
    TaskSkipped,
    BuildPlanned,
    events.PhaseStarted,
    events.Output,
    events.Pull,
    events.PhaseFinished,
    events.PhaseShared,
    PhaseFailed,
    HabitatReady,
    events.ContainerUp,
    events.ContainerStopped,
    events.CommandStarted,
    CommandOutput,
    events.CommandEnded,
    ContainerHolds,
    BranchWritten,
    RepositoryChanged,
    CommitsSent,
    HostRequested,
    ConnectionBlocked,
    events.Line,
)


#: UTC, RFC 3339 with milliseconds.
_TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"}


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a line."""
    (union,), parts = msgspec.json.schema_components([reduce(or_, RECORDS)], ref_template="#/$defs/{name}")
    for part in parts.values():
        if "description" in part:
            part["description"] = " ".join(part["description"].split())
    for record in RECORDS:
        part = parts[record.__name__]
        event, *others = part["properties"].items()
        part["properties"] = dict([event, ("time", _TIME), *others])
        part["required"].insert(1, "time")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"A line of doit -r jsonl, schema version {SCHEMA_VERSION}",
        **union,
        "$defs": parts,
    }
