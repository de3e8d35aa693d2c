"""Where the records of a run go: a line of JSON each, written at once and whole, with the time."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import threading
import time
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from typing import IO, TYPE_CHECKING, Any, cast

import doit
import msgspec
from doit.exceptions import InvalidCommand, InvalidDodoFile, InvalidTask

from phases.core import errors
from phases.core.errors import HabitatError, printable
from phases.ui import records
from phases.ui.output import Output, take_stdout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from phases.ui.records import Kind, Record

# Bytes: more than any line has. What a signal keeps from being written of a line is then kept for the next
# write, and no line is cut off.
_ROOM = 1 << 24

# Others than ASCII: some end a line for some programs, some act on a terminal.
_FOREIGN = re.compile(r"[^\x00-\x7f]")

_KINDS: dict[type[BaseException], Kind] = {
    errors.CommandFailed: "command",
    errors.PhaseTimeout: "timeout",
    errors.PathsMissing: "paths",
    errors.StepError: "step",
    errors.ConfigError: "config",
    errors.StateError: "state",
    errors.SecretError: "secret",
    errors.ShellError: "config",  # the image that it names
    errors.StartError: "start",
    errors.EngineUnreachable: "unreachable",
    errors.EngineError: "engine",
    errors.Stopped: "stopped",
    errors.HabitatError: "other",
    InvalidCommand: "usage",
    InvalidDodoFile: "usage",
    InvalidTask: "usage",
}


class Journal:
    """The records of one run; begins with that it has begun. Safe to use from several threads. Raises
    OutputLost, once, when nobody can read them.
    """

    def __init__(self, descriptor: int) -> None:
        stream = io.BufferedWriter(io.FileIO(descriptor, "w"), _ROOM)
        self.is_terminal = stream.isatty()
        self._stream = Output(
            cast("IO[str]", io.TextIOWrapper(stream, encoding="ascii", newline="", write_through=True))
        )
        self._lock = threading.RLock()
        self._begun = time.monotonic()
        self._seen: Counter[type[Record]] = Counter()
        self._warnings = 0
        self._ended = False
        self.write(
            records.RunStarted(
                schema_version=records.SCHEMA_VERSION,
                version=metadata.version("habitats"),
                doit_version=".".join(map(str, doit.__version__)),
                pid=os.getpid(),
            )
        )

    def write(self, record: Record) -> None:
        """Nothing once the run has ended, whatever its threads are still at."""
        with self._lock:
            if self._ended:
                return
            self._seen[type(record)] += 1
            self._warnings += isinstance(record, records.Notice) and record.warning
            self._stream.write(_line(record))
            self._stream.flush()

    def end(self, exit_code: int, number: int = 0, at: Sequence[str] = ()) -> None:
        """number: of the signal that ended it, while it was `at` these tasks."""
        with self._lock:
            counts = records.Counts(
                phases_finished=self._seen[records.PhaseFinished],
                phases_shared=self._seen[records.PhaseShared],
                phases_failed=self._seen[records.PhaseFailed],
                phases_up_to_date=self._seen[records.PhaseUpToDate],
                tasks_skipped=self._seen[records.TaskSkipped],
                errors=self._seen[records.Error],
                warnings=self._warnings,
            )
            seconds = round(time.monotonic() - self._begun, 3)
            name = signal.Signals(number).name if number else ""
            self.write(records.RunEnded(exit_code=exit_code, seconds=seconds, counts=counts, signal=name, at=list(at)))
            self._ended = True


def _line(record: Record) -> str:
    event, *rest = msgspec.to_builtins(record).items()
    now = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
    text = json.dumps(dict([event, ("time", now), *rest]), ensure_ascii=False)
    whole = text.encode(errors="replace").decode()  # half a sign, as in a name that is no UTF-8, is none
    return _FOREIGN.sub(lambda sign: json.dumps(sign[0])[1:-1], whole) + "\n"


def error(fault: BaseException, **context: str) -> records.Error:
    """context: habitat and task, where known."""
    return records.Error(**(told(fault) | context), output=list(getattr(fault, "output", ())))


def told(fault: BaseException) -> dict[str, Any]:
    """What any failure is told as: kind, text, message, where and remedy."""
    kind = next((_KINDS[base] for base in type(fault).__mro__ if base in _KINDS), "program")
    shown = {"kind": kind, "text": printable(" ".join(str(fault).split())), "message": str(fault)}
    if isinstance(fault, HabitatError):
        shown |= {"message": fault.message, "where": str(fault.where or ""), "remedy": fault.remedy}
    return shown


@contextmanager
def opened(outfile: object) -> Iterator[Journal]:
    """The journal of this process, ended with whatever ends the run. outfile: a file's name, else it is
    standard output, and all that is for people goes to stderr. Raises InvalidCommand.
    """
    try:
        descriptor = _written(outfile) if isinstance(outfile, str) else take_stdout()
    except OSError as fault:
        raise InvalidCommand(f"{outfile} can't be written ({fault.strerror}): name another file with -o") from fault
    journal = Journal(descriptor)
    try:
        yield journal
    except Exception as fault:
        journal.write(error(fault))
        journal.end(3)
        raise


def _written(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
