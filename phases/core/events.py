"""What happens while a habitat is built or started, as data.

The engine's side emits; whoever shows it to a person, or writes it down, subscribes. Seconds are
floats, habitats and phases are names.
"""

from __future__ import annotations

import re
import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from phases.core.json_types import Json

#: The value, before or after a change, of something that is not in the config then.
ABSENT: Any = object()

#: What of a command printed something, "" where nothing tells.
Stream: TypeAlias = Literal["stdout", "stderr", ""]


#: Where a class name's words begin.
_WORD = re.compile(r"(?<!^)(?=[A-Z])")


class JsonEvent(
    Struct, frozen=True, omit_defaults=True, tag_field="event", tag=lambda name: _WORD.sub("_", name).lower()
):
    """An event that `doit -r jsonl` writes as it is, as PhaseStarted as `phase_started`.

    Its names, fields and their order are a contract with programs, see docs/events.md. Within a schema version
    fields are only added. A field with a default is left out where it has that.
    """


class PhaseStarted(JsonEvent, frozen=True):
    """A phase began to run."""

    habitat: str
    phase: str


class Output(Struct, frozen=True):
    """A line that a step printed. show: it is for the person's eyes now, not only for the log."""

    habitat: str
    phase: str
    line: str
    show: bool
    stream: Stream = ""


class OutputBlock(Struct, frozen=True):
    """Lines that a step printed at once, more than a person reads one by one. They are for the log."""

    habitat: str
    phase: str
    lines: tuple[str, ...]
    stream: Stream = ""


class Pulled(Struct, frozen=True):
    """A step of a pull. layer: its short id, ""; done and total: bytes, 0 where unknown."""

    habitat: str
    image: str
    layer: str
    status: str
    done: int
    total: int


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
    """A line that a person asked for, as of `doit logs`, or of what `doit destroy` would remove.

    `source` is the phase or the container that printed it. A `heading` begins the lines of the next source.
    """

    habitat: str
    text: str
    source: str = ""
    heading: bool = False


class Waiting(Struct, frozen=True):
    """A running habitat is not ready yet.

    Attributes:
        habitat: The habitat.
        command: The command that is tried until it succeeds.
        seconds: The longest time for all tries.
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


class Reason(Struct, frozen=True):
    """A reason why a phase runs again.

    Args:
        text: The reason as a person reads it.
        key: The config key that changed, "" where the reason is no change of the config.
        before: The value in the slice that the phase was built from.
        after: The value in the slice of today.
    """

    text: str
    key: str = ""
    before: Json = ABSENT
    after: Json = ABSENT


class Plan(Struct, frozen=True, dict=True):
    """The phases of a habitat that the next build runs.

    Args:
        name: The habitat.
        why: Every phase that would run, with the reasons of its own; none for one that only follows another.
        seconds: How long a phase took when it last ran, where that is known.
        is_new: Whether no phase of the habitat was ever built.
        shared: The phases that take over the snapshot of another habitat instead, with that habitat.
    """

    name: str
    why: Mapping[str, Sequence[Reason]]
    seconds: Mapping[str, float]
    is_new: bool
    shared: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def reasons(self) -> Mapping[str, Sequence[str]]:
        """`why`, with the text of each reason alone."""
        return {phase: [reason.text for reason in reasons] for phase, reasons in self.why.items()}


class Planned(Struct, frozen=True):
    """What a person asked about: what a build would run."""

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


class CommandOutput(Struct, frozen=True):
    """What a command in the habitat printed, as it came, without secrets. None of one with a terminal."""

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
    | Pulled
    | PhaseFinished
    | PhaseShared
    | Notice
    | Line
    | Waiting
    | Waited
    | Handover
    | Planned
    | ContainerUp
    | ContainerStopped
    | CommandStarted
    | CommandOutput
    | CommandEnded
)


class Bus:
    """Hands events to the subscribers, one at a time, from whichever thread they come."""

    def __init__(self) -> None:
        self._subscribers: list[Callable[[Event], None]] = []
        self._lock = threading.RLock()
        self._closed = False

    def subscribe(self, subscriber: Callable[[Event], None]) -> None:
        self._subscribers.append(subscriber)

    def emit(self, event: Event) -> None:
        with self._lock:
            if self._closed:
                return
            for subscriber in self._subscribers:
                subscriber(event)

    def close(self) -> None:
        """From now on nothing is told: the run is over, whatever its threads are still at."""
        with self._lock:
            self._closed = True
