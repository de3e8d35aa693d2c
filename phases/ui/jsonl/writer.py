"""Writes the lines of `-r jsonl`: each whole, at once and with the time."""

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

from phases.core import errors, events
from phases.core.errors import HabitatError, printable
from phases.ui.jsonl import records
from phases.ui.output import GuardedStream, take_stdout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from phases.core.events.json_event import JsonEvent
    from phases.ui.jsonl.records import Kind

# Bytes, more than any line has. A signal may interrupt a write: the buffer then keeps the rest of the line
# for the next write, so that no line is cut off.
_BUFFER = 1 << 24

# Some of these end a line for some programs, some act on a terminal.
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")

_KINDS: dict[type[BaseException], Kind] = {
    errors.CommandFailed: "command",
    errors.PhaseTimeout: "timeout",
    errors.PathsMissing: "paths",
    errors.StepError: "step",
    errors.ConfigError: "config",
    errors.StateError: "state",
    errors.SecretError: "secret",
    errors.ShellError: "config",  # of the config's base image
    errors.StartError: "start",
    errors.EngineUnreachable: "unreachable",
    errors.EngineError: "engine",
    errors.Stopped: "stopped",
    errors.HabitatError: "other",
    InvalidCommand: "usage",
    InvalidDodoFile: "usage",
    InvalidTask: "usage",
}


class JsonlWriter:
    """Writes the events of one run, from RunStarted to RunEnded. Safe to use from several threads.

    Raises:
        OutputLost: Nobody can read the lines any more. Raised once, from any method.
    """

    def __init__(self, descriptor: int) -> None:
        stream = io.BufferedWriter(io.FileIO(descriptor, "w"), _BUFFER)
        self.is_terminal = stream.isatty()
        self._stream = GuardedStream(
            cast("IO[str]", io.TextIOWrapper(stream, encoding="ascii", newline="", write_through=True))
        )
        self._lock = threading.RLock()
        self._begun = time.monotonic()
        self._counts: Counter[type[JsonEvent]] = Counter()
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

    def write(self, event: JsonEvent) -> None:
        """Write a line. Does nothing once the run has ended, since threads may still send events."""
        with self._lock:
            if self._ended:
                return
            self._counts[type(event)] += 1
            self._warnings += isinstance(event, records.NoticeLine) and event.warning
            self._stream.write(_line(event))
            self._stream.flush()

    def end(self, exit_code: int, number: int = 0, at: Sequence[str] = ()) -> None:
        """Write RunEnded.

        Args:
            exit_code: doit's own.
            number: The signal that ended the run, 0 where none did.
            at: The tasks that ran when the signal came.
        """
        with self._lock:
            counts = records.Counts(
                phases_finished=self._counts[events.PhaseFinished],
                phases_shared=self._counts[events.PhaseShared],
                phases_failed=self._counts[records.PhaseFailed],
                phases_up_to_date=self._counts[records.PhaseUpToDate],
                tasks_skipped=self._counts[records.TaskSkipped],
                errors=self._counts[records.Error],
                warnings=self._warnings,
            )
            seconds = round(time.monotonic() - self._begun, 3)
            name = signal.Signals(number).name if number else ""
            self.write(records.RunEnded(exit_code=exit_code, seconds=seconds, counts=counts, signal=name, at=list(at)))
            self._ended = True


def _line(record: JsonEvent) -> str:
    event, *rest = msgspec.to_builtins(record).items()
    now = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
    text = json.dumps(dict([event, ("time", now), *rest]), ensure_ascii=False)
    valid = text.encode(errors="replace").decode()  # `?` for lone surrogates, as in a file name that is not UTF-8
    return _NOT_ASCII.sub(lambda sign: json.dumps(sign[0])[1:-1], valid) + "\n"


def error_record(fault: BaseException, **context: str) -> records.Error:
    """Return the line for a failure. `context` holds `habitat` and `task`, where known."""
    return records.Error(**(error_fields(fault) | context), output=list(getattr(fault, "output", ())))


def error_fields(fault: BaseException) -> dict[str, Any]:
    """Return the fields that all lines of failures have: kind, text and message, of ours where and remedy too."""
    kind = next((_KINDS[base] for base in type(fault).__mro__ if base in _KINDS), "program")
    fields = {"kind": kind, "text": printable(" ".join(str(fault).split())), "message": str(fault)}
    if isinstance(fault, HabitatError):
        fields |= {"message": fault.message, "where": str(fault.where or ""), "remedy": fault.remedy}
    return fields


@contextmanager
def open_writer(outfile: object) -> Iterator[JsonlWriter]:
    """Open the writer of this run, and write an error and RunEnded if an exception ends the run.

    Args:
        outfile: A file's name. For anything else the lines go to standard output, and all that people read
            goes to stderr.

    Raises:
        InvalidCommand: The file can't be written.
    """
    try:
        descriptor = _create(outfile) if isinstance(outfile, str) else take_stdout()
    except OSError as fault:
        raise InvalidCommand(f"{outfile} can't be written ({fault.strerror}): name another file with -o") from fault
    writer = JsonlWriter(descriptor)
    try:
        yield writer
    except Exception as fault:
        writer.write(error_record(fault))
        writer.end(3)
        raise


def _create(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
