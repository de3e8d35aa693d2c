"""What is told of a phase that failed, in the labels of the image that is kept of it."""

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

from phases.core import events
from phases.core.cache.image_labels import FAILED, LABEL_RESULT
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

#: Numbered, since the engine takes no more than 64 KB for one.
LABEL_FAILURE = "habitat.failure"

# Signs of one label: what it is written in may make two of each.
_PART = 30_000

# Signs of all labels: the engine takes no more than 1 MB for a request, in which a sign may take three.
_FITS = 250_000

# Bytes of what labels may say when it is no longer compressed: anybody may have written them.
_LARGEST = 10 << 20

# Signs of each part of a failure that is too long as a whole.
_CUT = 10_000


class Failure(Struct, frozen=True):
    """message: what was wrong; where: in the config, or another place; when: in seconds since 1970.

    user, workdir: of the command that failed, or of the habitat where none did; what: how a person would
    call it; env: what it had beside the image's, but for secrets; script, args: as of a Run; code: its exit
    code, None where it did not end by itself; caches: that were mounted, the fields of each.
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

    def labels(self) -> dict[str, str]:
        """Those of an image that keeps it. The last is empty, so that labels of the image's base count for nothing."""
        text = _packed(self) or _packed(_shortened(self))
        parts = [text[start : start + _PART] for start in range(0, len(text), _PART)]
        return {LABEL_RESULT: FAILED, **{f"{LABEL_FAILURE}.{number}": part for number, part in enumerate([*parts, ""])}}


def _packed(failure: Failure) -> str:
    """JSON, which a person can read; where that is long, base64 of it, compressed; "" where that is too long."""
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


def told_by(labels: Mapping[str, str]) -> Failure | None:
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
        forget_older(work)  # the container is gone, or going, as `error` says
    except HabitatError as why:
        forget_older(work)
        text = f"what is left of {work.phase.NAME} could not be kept: {why.message}"
        work.emit(events.Notice(work.habitat.name, text, warning=True))
    else:
        hint = f"doit debug:{work.habitat.name} opens a shell there"
        error.remedy = f"{error.remedy}; {hint}" if error.remedy else hint


def forget_older(work: PhaseContext) -> None:
    """Remove what is kept of an earlier failure, which `doit debug` would show as the last."""
    if work.forget:
        with contextlib.suppress(HabitatError):
            work.maker.make(work.forget)


def argv(script: str, args: Sequence[str]) -> tuple[str, ...]:
    """How a script of a phase is run."""
    return ("/bin/sh", "-e", "-c", "--", script, "sh", *args)


def typed(script: str, args: Sequence[str]) -> list[str]:
    """Return a script as a shell shows it, without the scripts of the program, which take arguments."""
    if args:
        return []
    rows = without_credentials(script.strip()).splitlines()
    return [f"{'>' if number else '$'} {line}" for number, line in enumerate(rows)]
