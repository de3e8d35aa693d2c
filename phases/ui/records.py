"""What `doit -r jsonl` writes: one record a line, each class an event of docs/events.md.

These names are a contract with programs, and so their own classes: what core.events and doit call
things may change. Within a schema version fields and events are added, and none is renamed, removed or
given another meaning. A field with a default is left out where it has that.
"""

from __future__ import annotations

import re
from functools import reduce
from operator import or_
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Struct

SCHEMA_VERSION = 1

#: How events are called after their classes: snake_case.
_WORD = re.compile(r"(?<!^)(?=[A-Z])")


class Record(
    Struct, kw_only=True, omit_defaults=True, tag_field="event", tag=lambda name: _WORD.sub("_", name).lower()
):
    """What happened. When, as `time`, is said by whoever writes it."""


# Of the run


class RunStarted(Record):
    """The first line. version: of this program; pid: takes the signals that end the run."""

    schema_version: int
    version: str
    doit_version: str
    pid: int


class RunEnded(Record):
    """The last line. exit_code: doit's own; signal: the name of the one that ended the run; at: the tasks
    that it was at then.
    """

    exit_code: int
    seconds: float
    counts: Counts
    signal: str = ""
    at: list[str] = []


class Counts(Struct):
    """Of the whole run. up_to_date: phases; errors: without failed phases."""

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
    "step",  # anything else that a phase could not do
    "config",  # a config, or a file that it names
    "state",  # something below .stamps/, or a temporary file
    "secret",  # a secret can't be had on this host
    "start",  # the habitat, or its command, in its container
    "unreachable",  # no engine answers
    "engine",  # the engine refused
    "stopped",  # the run was told to stop
    "usage",  # the command line
    "program",  # a fault of ours
    "other",
]


class Error(Record):
    """What went wrong outside of a phase. text: all of it on one line; output: what was printed before that."""

    kind: Kind
    text: str
    message: str
    habitat: str = ""
    task: str = ""
    where: str = ""
    remedy: str = ""
    output: list[str] = []


class Notice(Record):
    """What a person should read. warning: something is not as it should be."""

    text: str
    warning: bool
    habitat: str = ""


# Of a build


class HabitatSelected(Record):
    """What is asked for of a habitat. phase: the last to be built, tasks: all that doit will look at, in order."""

    habitat: str
    tasks: list[str]
    phase: str = ""


class PhaseUpToDate(Record):
    habitat: str
    phase: str


class TaskSkipped(Record):
    """A task that was not looked at. reason: a task that it needs has failed, or it is ignored."""

    task: str
    reason: str
    habitat: str = ""
    phase: str = ""


class Reason(Struct, kw_only=True, omit_defaults=True):
    """text: as `doit plan` has it; key: of config.yaml, or a file; before, after: what was there when it was
    built, and what is now, left out where there was, or is, nothing; a file is its permissions and sha256.
    """

    text: str
    key: str = ""
    before: Any = UNSET
    after: Any = UNSET


class PhasePlan(Struct, kw_only=True, omit_defaults=True):
    """reasons: none where only what runs before it is one; seconds: what it took when it last ran, where known;
    shared_with: the habitat whose snapshot is taken over, left out for what is built.
    """

    phase: str
    reasons: list[Reason]
    seconds: float | None = None
    shared_with: str = ""


class BuildPlanned(Record):
    """What is to be built, and why. phases: in order, none when all is up to date; is_new: nothing ever was."""

    habitat: str
    phases: list[PhasePlan]
    is_new: bool


class PhaseStarted(Record):
    habitat: str
    phase: str


class Output(Record):
    """A line that a phase's command printed, without its end. stream: left out where nothing tells."""

    habitat: str
    phase: str
    text: str
    stream: Literal["stdout", "stderr", ""] = ""


class Pull(Record):
    """A step of a pull. done_bytes and total_bytes: of this step of this layer, left out where unknown."""

    habitat: str
    image: str
    status: str
    layer: str = ""
    done_bytes: int = 0
    total_bytes: int = 0


class PhaseFinished(Record):
    """snapshot: the tag of its image, image: the id; left out for a phase that leaves none."""

    habitat: str
    phase: str
    seconds: float
    snapshot: str = ""
    image: str = ""


class PhaseShared(Record):
    """Instead of phase_started and phase_finished: the snapshot is that of the habitat shared_with, and nothing
    was run.
    """

    habitat: str
    phase: str
    shared_with: str
    snapshot: str
    image: str


class PhaseFailed(Record):
    """Nothing of it is kept but its log. text: all of it on one line; exit_code: of the command; output: its
    last lines; log: the file that has all of them, relative to the project.
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
    output: list[str] = []
    log: str = ""


class HabitatReady(Record):
    """All that was asked for is built. phase: the last; seconds: how long all of it took."""

    habitat: str
    phase: str
    seconds: float


# Of a habitat that runs


class ContainerUp(Record):
    """was_running: before, too."""

    habitat: str
    container: str
    id: str
    was_running: bool


class ContainerStopped(Record):
    habitat: str
    container: str


class CommandStarted(Record):
    habitat: str
    container: str
    argv: tuple[str, ...]
    user: str
    workdir: str


class CommandOutput(Record):
    """What the command printed, as it came: several lines, or a part of one. Either text or, where that is no
    UTF-8, base64; put together they are the stream, byte for byte (but for secrets).
    """

    habitat: str
    stream: Literal["stdout", "stderr"]
    text: str = ""
    base64: str = ""


class CommandEnded(Record):
    habitat: str
    exit_code: int
    seconds: float


class Line(Record):
    """A line of `doit logs`, or of what `doit destroy` would remove. source: the phase, or the container."""

    habitat: str
    text: str
    source: str = ""
    heading: bool = False


#: All records, in the order of docs/events.md.
RECORDS: tuple[type[Record], ...] = tuple(Record.__subclasses__())


#: UTC, RFC 3339 with milliseconds.
_TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"}


def schema() -> dict[str, Any]:
    """A JSON Schema of one line."""
    (whole,), parts = msgspec.json.schema_components([reduce(or_, RECORDS)], ref_template="#/$defs/{name}")
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
        **whole,
        "$defs": parts,
    }
