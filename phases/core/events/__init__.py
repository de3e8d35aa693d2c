"""The events of a run, as data.

What builds and runs habitats emits them, and reporters subscribe. Seconds are floats, habitats and phases are names.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from msgspec import UNSET, Struct, field

from phases.core.events.commits import BranchWritten, CommitsSent, RepositoryChanged
from phases.core.events.json_event import JsonEvent
from phases.core.events.network import ConnectionBlocked, HostRequested
from phases.core.events.work import ContainerHolds, ContainerWork

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: The value, before or after a change, of something that is not in the config then. JSON leaves it out.
ABSENT: Any = UNSET

#: The stream on which a command printed something, "" if unknown.
Stream: TypeAlias = Literal["stdout", "stderr", ""]


class PhaseStarted(JsonEvent, frozen=True):
    """A phase began to run."""

    habitat: str
    phase: str


class Output(JsonEvent, frozen=True):
    """A line that a phase's command printed, without its line break. An unknown `stream` is left out."""

    habitat: str
    phase: str
    text: str
    stream: Stream = ""


class OutputBlock(Struct, frozen=True):
    """Lines that a step printed at once, for the log and not for a person. `-r jsonl` writes each as an Output."""

    habitat: str
    phase: str
    lines: tuple[str, ...]
    stream: Stream = ""


class Pull(JsonEvent, frozen=True):
    """A step of a pull. `done_bytes` and `total_bytes` count this step of this layer; left out where unknown."""

    habitat: str
    image: str
    status: str
    layer: str = ""
    done_bytes: int = 0
    total_bytes: int = 0


class PhaseFinished(JsonEvent, frozen=True):
    """A phase succeeded. `snapshot` is the tag of its image, `image` the id; "" for a phase without a snapshot."""

    habitat: str
    phase: str
    seconds: float
    snapshot: str = ""
    image: str = ""


class PhaseShared(JsonEvent, frozen=True):
    """A phase took over the snapshot of the habitat `shared_with` instead of running.

    Comes in place of PhaseStarted and PhaseFinished, and has the `snapshot` and `image` of the latter.
    """

    habitat: str
    phase: str
    shared_with: str
    snapshot: str
    image: str


class Notice(Struct, frozen=True):
    """A line a person should read. warning: something is not as it should be."""

    habitat: str
    text: str
    warning: bool = False


class Line(JsonEvent, frozen=True):
    """A line that a person asked for, as of `habitat logs`, or of what `habitat destroy` would remove.

    `source` is the phase or the container that printed it. A `heading` begins the lines of the next source.
    """

    habitat: str
    text: str
    source: str = ""
    heading: bool = False


class LineBlock(Struct, frozen=True):
    """Lines of a long text that a person asked for. `-r jsonl` writes each as a Line."""

    habitat: str
    lines: tuple[str, ...]
    source: str


class Waiting(Struct, frozen=True):
    """A running habitat is not ready yet.

    Attributes:
        command, seconds: The command that is tried until it succeeds, and the longest time for all tries.
        said: The last line that a try printed, "" for none.
    """

    habitat: str
    command: str
    seconds: float
    said: str = ""


class Waited(Struct, frozen=True):
    """It is ready, or is waited for no more."""

    habitat: str


class Handover(Struct, frozen=True):
    """The terminal belongs to the habitat's command from here on (on=True), or is back."""

    habitat: str
    on: bool


class Reason(Struct, frozen=True, omit_defaults=True):
    """Why a phase would run. `text` is the line of `habitat plan`, `key` a key of config.yaml or a file.

    `before` is its value in the last build and `after` its value today; each is left out where there is none.
    The value of a file is its permissions and sha256.
    """

    text: str
    key: str = ""
    before: Any = ABSENT
    after: Any = ABSENT


class Plan(Struct, frozen=True, dict=True):
    """The phases of a habitat that the next build runs.

    Args:
        why: Every phase that would run, with the reasons of its own; none for one that only follows another.
        seconds: How long a phase took when it last ran, where that is known.
        is_new: Whether no phase of the habitat was ever built.
        shared: The phases that take over the snapshot of another habitat instead, with that habitat.
        replaced, lacks: Why the next start replaces the container, "" if not; the work that the new one won't have.
        kept: What it does to give the container other settings, with all its files; "" if it does not.
    """

    name: str
    why: Mapping[str, Sequence[Reason]]
    seconds: Mapping[str, float]
    is_new: bool
    shared: Mapping[str, str] = field(default_factory=dict)
    replaced: str = ""
    lacks: ContainerWork | None = None
    kept: str = ""

    @cached_property
    def reasons(self) -> Mapping[str, Sequence[str]]:
        """`why`, with the text of each reason alone."""
        return {phase: [reason.text for reason in reasons] for phase, reasons in self.why.items()}


class Planned(Struct, frozen=True):
    """The answer of `habitat plan`: the phases that a build would run."""

    habitat: str
    plan: Plan


class ContainerUp(JsonEvent, frozen=True):
    """The habitat's container runs. `was_running` is true where it already ran."""

    habitat: str
    container: str
    id: str
    was_running: bool


class ContainerStopped(JsonEvent, frozen=True):
    """The habitat's container stopped."""

    habitat: str
    container: str


class CommandStarted(JsonEvent, frozen=True):
    """A command began in the habitat. `argv` has no secrets."""

    habitat: str
    container: str
    argv: tuple[str, ...]
    user: str
    workdir: str


class CommandBytes(Struct, frozen=True):
    """Output of a command in the habitat as it arrived, without secrets. There is none for one with a terminal."""

    habitat: str
    data: bytes
    is_err: bool


class CommandEnded(JsonEvent, frozen=True):
    """The command in the habitat ended."""

    habitat: str
    exit_code: int
    seconds: float


Event: TypeAlias = (
    PhaseStarted
    | Output
    | OutputBlock
    | Pull
    | PhaseFinished
    | PhaseShared
    | Notice
    | Line
    | LineBlock
    | Waiting
    | Waited
    | Handover
    | Planned
    | ContainerUp
    | ContainerStopped
    | CommandStarted
    | CommandBytes
    | CommandEnded
    | BranchWritten
    | ContainerHolds
    | RepositoryChanged
    | CommitsSent
    | HostRequested
    | ConnectionBlocked
)
