"""Keeps the image of a phase that failed, with labels that describe the failure."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
import zlib
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field
from msgspec.structs import asdict, replace

from phases.core import command_form, events
from phases.core.cache.image_labels import FAILED, LABEL_RESULT
from phases.core.engine.docker_api.api import TOO_MANY_LAYERS
from phases.core.errors import (
    CommandFailed,
    Conflict,
    EngineUnreachable,
    HabitatError,
    NotFound,
    SecretError,
    ShellError,
    SourceChanged,
    StateError,
    Stopped,
    without_credentials,
)
from phases.core.secrets import ssh_agent
from phases.protocol import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from phases.core.build.context import PhaseContext
    from phases.protocol import Step

#: What the labels' names begin with. They are numbered, since the engine takes at most 64 KB for one.
LABEL_FAILURE = "habitat.failure"

#: The log of the checks of `take`, beside those of the phases.
TAKE_LOG = "take.log"

# Characters of one label. A request may need two bytes for each.
_PART = 30_000

# Characters of all labels. The engine takes at most 1 MB for a request, which may need three bytes for each.
_FITS = 250_000

# Bytes that a failure may have when it is decompressed, since anybody may have written the labels.
_LARGEST = 10 << 20

# Characters that each part may have if a failure is too long as a whole.
_CUT = 10_000


class Failure(Struct, frozen=True):
    """A phase that failed.

    Attributes:
        message: What was wrong.
        where: The line of the config, or another place.
        when: The time, in seconds since 1970.
        user: The user of the command that failed; USER if no command failed.
        workdir: The folder of that command.
        what: A description of the command for a person.
        env: The command's variables beside those of the image, without secrets.
        script: The script of the `Run` step.
        args: The arguments of the `Run` step.
        code: The exit code of the command, None if it did not end by itself.
        caches: The fields of each cache that was mounted.
        of_take: Whether it is a check of `take`, whose log is TAKE_LOG.
    """

    message: str
    where: str
    when: float
    user: str
    workdir: str
    what: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    script: str = ""
    args: Sequence[str] = ()
    code: int | None = None
    caches: Sequence[Mapping[str, Any]] = ()
    of_take: bool = False

    def labels(self) -> dict[str, str]:
        """Return the labels of the image to keep. The last one is empty: inherited labels behind it are ignored."""
        text = _packed(self) or _packed(_shortened(self))
        parts = [text[start : start + _PART] for start in range(0, len(text), _PART)]
        return {LABEL_RESULT: FAILED, **{f"{LABEL_FAILURE}.{number}": part for number, part in enumerate([*parts, ""])}}


def _packed(failure: Failure) -> str:
    """Return a failure as JSON, a long one compressed and in base64; "" if that is still too long."""
    text = json.dumps(asdict(failure))
    if len(text) <= _PART:
        return text
    packed = b64encode(zlib.compress(text.encode())).decode()
    return packed if len(text) <= _LARGEST and len(packed) <= _FITS else ""


def _unpacked(text: str) -> str:
    if text.startswith("{"):
        return text
    unpacker = zlib.decompressobj()
    return unpacker.decompress(b64decode(text, validate=True), _LARGEST).decode()


def _shortened(failure: Failure) -> Failure:
    """Return a failure without the parts that make it too long; its message names them."""
    size = {
        "its command": len(failure.script) + sum(map(len, failure.args)),
        "its environment": sum(len(name) + len(value) for name, value in failure.env.items()),
        "its caches": len(json.dumps(failure.caches)),
    }
    gone = [part for part, length in size.items() if length > _CUT]
    return replace(
        failure,
        message=_cut(failure.message) + (f" (too long to be kept: {', '.join(gone)})" if gone else ""),
        where=_cut(failure.where),
        what=_cut(failure.what),
        script="" if "its command" in gone else failure.script,
        args=() if "its command" in gone else failure.args,
        env={} if "its environment" in gone else failure.env,
        caches=() if "its caches" in gone else failure.caches,
    )


def _cut(text: str) -> str:
    return text if len(text) <= _CUT else f"{text[:_CUT]} …"


def read_labels(labels: Mapping[str, str]) -> Failure | None:
    """Return the failure in the labels of an image, None if they have none that this program can read."""
    parts = (labels.get(f"{LABEL_FAILURE}.{number}") for number in itertools.count())
    text = "".join(itertools.takewhile(bool, parts))  # type: ignore[arg-type] # none of them is None
    with contextlib.suppress(ValueError, TypeError, zlib.error):
        return Failure(**json.loads(_unpacked(text)))
    return None


def is_elsewhere(error: HabitatError) -> bool:
    """Return whether an error has to do with this host or the engine, so that a shell in the image does not help."""
    return isinstance(error, EngineUnreachable | SecretError | ShellError | SourceChanged | StateError | Stopped)


def describe(
    work: PhaseContext, step: Step | None, error: HabitatError, folder: str, caches: Sequence[Struct]
) -> Failure:
    """Return the failure of a phase.

    Args:
        work: The phase.
        step: The step that failed, None if none did.
        error: What was raised.
        folder: Where the last command ran.
        caches: The caches that were mounted.
    """
    failure = Failure(
        error.message,
        str(error.where or work.place),
        time.time(),
        work.habitat.user,
        folder,
        caches=[asdict(cache) for cache in caches],
        of_take=work.log.name == TAKE_LOG,
    )
    if not isinstance(step, Run):
        return failure
    return replace(
        failure,
        user=step.user,
        what=step.title,
        env=step.env | (ssh_agent.ENV if step.known_hosts else {}),
        script=step.script,
        args=step.args,
        code=error.exit_code if isinstance(error, CommandFailed) else None,
    )


def keep(work: PhaseContext, error: HabitatError, commit: Callable[[], str]) -> None:
    """Keep the image of a phase that failed with `error`. commit: returns its id.

    Nothing is raised: if the image can't be kept, that is shown, and an older one is forgotten.
    """
    assert work.keep
    save = work.keep
    try:
        # A signal may be why the phase failed. Then the run ends, and keeps nothing.
        work.maker.make(lambda: save(commit()))
    except Stopped:
        return
    except (NotFound, Conflict):
        forget_older(work)  # the container is removed, or is being removed, as `error` says
    except HabitatError as why:
        forget_older(work)
        if TOO_MANY_LAYERS in error.remedy:
            return  # its container can't be committed either, and `error` says so
        text = f"what is left of {work.phase.NAME} could not be kept: {why.message}"
        work.emit(events.Notice(work.habitat.name, text, warning=True))
    else:
        hint = f"`{command_form.verb('debug', work.habitat.name)}` opens a shell there"
        error.remedy = f"{error.remedy}; {hint}" if error.remedy else hint


def forget_older(work: PhaseContext) -> None:
    """Remove what is kept of an earlier failure, which `habitat debug` would show as the last."""
    if work.forget:
        with contextlib.suppress(HabitatError):
            work.maker.make(work.forget)


def argv(script: str, args: Sequence[str]) -> tuple[str, ...]:
    """Return the command that runs a script of a phase."""
    return ("/bin/sh", "-e", "-c", "--", script, "sh", *args)


def typed(script: str, args: Sequence[str]) -> list[str]:
    """Return the lines of a script as a shell shows them; none for the program's own scripts, which take arguments."""
    if args:
        return []
    rows = without_credentials(script.strip()).splitlines()
    return [f"{'>' if number else '$'} {line}" for number, line in enumerate(rows)]
