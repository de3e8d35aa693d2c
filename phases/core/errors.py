"""Everything that can go wrong for a reason outside this program, as one tree.

    HabitatError
    ├── ConfigError            a config.yaml, or a file it names, is not what it must be
    │   ├── Untrusted          nobody has agreed to what it would run or open on this host
    │   └── SourceChanged      what a build is made of changed between two looks at it
    ├── StateError             something under .stamps/, or a temporary file, can't be read or written
    ├── SecretError            a secret can't be had on this host
    ├── ShellError             the shell of an image can't run
    ├── Stopped                the run was told to stop
    ├── StepError              a step of a phase did not succeed
    │   ├── CommandFailed      its command ended with an exit code that is not 0
    │   ├── PhaseTimeout       the phase took longer than its config allows
    │   ├── PathsMissing       required paths are not there
    │   └── LinkInTheWay       a path leads through a link that USER may have made
    ├── StartError             the habitat was built, but could not be started
    └── EngineError            the engine refused, or can't be reached
        ├── EngineUnreachable
        ├── NotFound
        ├── Conflict           a name is taken, or the thing is in use
        └── PortRefused        a container's port can't be published

Each becomes one line for a person: where it is, what it is, what to do. Anything else that is
raised is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from phases.core.port import Port


# Signs of a message that quotes what somebody wrote: more would hide what to do about it.
_LONGEST = 2000


# Names that a person would look through.
_OPTIONS = 50

# They are seen in what they join: emoji, letters.
_JOINERS = "\u200c\u200d"


def printable(text: str) -> str:
    """`text` with all that would act on a terminal, or not be seen there, written as an escape."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign in _JOINERS else ascii(sign)[1:-1] for sign in text)


def without_credentials(text: str) -> str:
    """`text` with stars for what a config should not hold, and may: a password or a token in a URL."""
    from phases.core.config import credentials

    return credentials.hidden(text)


class Origin(Struct, frozen=True):
    """A place in a config file.

    layer: "system", "shared" or "local"; file: as shown to a person, relative to the project's root;
    line and column: 1-based, column 0 when it doesn't matter.
    """

    layer: str
    file: str
    line: int
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" + (f":{self.column}" if self.column else "")


class HabitatError(Exception):
    """A failure a person or the world caused.

    message: what is wrong, without a full stop; where: the place in a config file, or any other
    place as text; remedy: what to do about it; output: lines the failing command printed. What message and remedy
    quote of a URL is without its password or token.
    """

    def __init__(
        self,
        message: str,
        *,
        where: Origin | str | None = None,
        remedy: str = "",
        output: Sequence[str] = (),
    ) -> None:
        message, remedy = without_credentials(message), without_credentials(remedy)
        super().__init__(message)
        self.message = message
        self.where = where
        self.remedy = remedy
        self.output = tuple(output)

    def __str__(self) -> str:
        return self._line(f"{self._problem}: {self.remedy}" if self.remedy else self._problem)

    def lines(self) -> list[str]:
        """The same, each thing to do in a line of its own."""
        remedies = self.remedy.split("; ") if self.remedy else []
        return [self._line(text) for text in (self._problem, *remedies)]

    @property
    def _problem(self) -> str:
        place = f"{self.where}: " if self.where else ""
        message = self.message
        if len(message) > _LONGEST:
            message = f"{message[: _LONGEST - 200]} … {message[-200:]}"
        return place + message

    @staticmethod
    def _line(text: str) -> str:
        return printable(" ".join(text.split()))


class ConfigError(HabitatError):
    pass


class SourceChanged(ConfigError):
    """how: what happened, like "changed while it was copied"; path: the file or folder, None for another thing."""

    def __init__(self, where: Path | Origin, how: str) -> None:
        place = where if isinstance(where, Origin) else str(where)
        super().__init__(how, where=place, remedy="run the same command again")
        self.path = None if isinstance(where, Origin) else where


class StateError(HabitatError):
    pass


class SecretError(HabitatError):
    pass


class Untrusted(ConfigError):
    pass


class ShellError(HabitatError):
    pass


class Stopped(HabitatError):
    pass


class StepError(HabitatError):
    pass


class CommandFailed(StepError):
    """exit_code: as the command ended, 128 + n where signal n ended it."""

    def __init__(self, message: str, *, exit_code: int, **context: Any) -> None:
        super().__init__(message, **context)
        self.exit_code = exit_code


class PhaseTimeout(StepError):
    pass


class PathsMissing(StepError):
    pass


class LinkInTheWay(StepError):
    """A path that can't be used because of a link on it.

    Args:
        path: Where something was to be written or mounted.
        link: The link, which is `path` itself or above it.
        target: Where the link leads, "" where that is unknown.
    """

    def __init__(self, path: str, link: str, target: str) -> None:
        at = "" if path == link else f"{link} on the way to "
        leads = f" to {target}" if target else ""
        super().__init__(
            f"{at}{path} is a link{leads} that USER may have made",
            remedy="remove the link, or let root make it in a folder that belongs to root",
        )


class StartError(HabitatError):
    pass


class EngineError(HabitatError):
    pass


class EngineUnreachable(EngineError):
    pass


class NotFound(EngineError):
    pass


class Conflict(EngineError):
    pass


class PortRefused(EngineError):
    """message: the host's reason; port: as the container was to have it; taken: by somebody else."""

    def __init__(self, message: str, port: Port, *, taken: bool) -> None:
        super().__init__(message)
        self.port = port
        self.taken = taken


#: What the kernel says where a disk, or somebody's share of it, is full.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

# And where it knows no locks on the files of a disk, or can't reach who keeps them.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


def state_error(path: Path, verb: str, error: OSError) -> StateError:
    """A file below .stamps/, or a temporary one, that could not be `verb`: "written", "removed", "locked"."""
    shown = str(path)[str(path).rfind("/.stamps/") + 1 :]
    if verb == "locked" and error.errno in _NO_LOCKS:
        remedy = "its file system has no locks (flock): have the project on one that has, as a local disk"
    elif error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.EINVAL, errno.ELOOP, errno.ENXIO):
        remedy = "move what is in its place out of the way"
    elif error.errno in NO_ROOM:
        remedy = "make room on the disk"
    else:
        remedy = f"make {'.stamps/' if '.stamps/' in shown else 'it'} writable for you"
    return StateError(f"can't be {verb} ({error.strerror})", where=shown, remedy=remedy)


def full_disk_remedy(text: str) -> str:
    """What to do when the engine, or a command in a container, says that there is no room; "" when it doesn't."""
    full = os.strerror(errno.ENOSPC).lower() in text.lower()
    return "the engine's disk is full: make room there (docker system df), then run the same again" if full else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The remedy for an unknown `word`: its nearest neighbours among `known`, else all of them."""
    options = sorted(known)
    from difflib import get_close_matches

    near = get_close_matches(word, options, n=1)
    if near:
        return f"did you mean '{near[0]}'?"
    more = ", …" if len(options) > _OPTIONS else ""
    return f"known here: {', '.join(options[:_OPTIONS])}{more}"
