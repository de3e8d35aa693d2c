"""The errors that a person or the machine causes, as one tree.

    HabitatError
    ├── ConfigError            a config.yaml, or a file it names, is wrong
    │   ├── Untrusted          nobody has agreed to what the config would do on this machine
    │   └── SourceChanged      a file changed while the build read it
    ├── StateError             a file below .stamps/, or a temporary file, can't be read or written
    ├── SecretError            a secret is missing on this machine
    ├── ShellError             the shell of an image can't run
    ├── Stopped                somebody stopped the run
    ├── StepError              a step of a phase failed
    │   ├── CommandFailed      its command ended with an exit code that is not 0
    │   ├── PhaseTimeout       the phase took longer than its config allows
    │   ├── PathsMissing       required paths are missing
    │   └── LinkInTheWay       a path leads through a link that USER may have made
    ├── StartError             the habitat is built, but does not start
    └── EngineError            the engine refused a request, or can't be reached
        ├── EngineUnreachable
        ├── NotFound
        ├── Conflict           a name is taken, or the object is in use
        └── PortRefused        a container's port can't be published (`engine.protocol`)

The program prints each as one line: the place, the problem, what to do. Any other exception is a bug of
this program and keeps its traceback.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

from phases.core import layout
from phases.core.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

# Characters of a message: a longer one quotes a text that would hide the remedy.
_MAX_MESSAGE = 2000

# How many known names a remedy lists.
_MAX_OPTIONS = 50

# Zero-width joiners change how emoji and letters beside them look, so a person does see them.
_JOINERS = "\u200c\u200d"


def printable(text: str) -> str:
    """Return `text` with every character that a terminal acts on or does not show as an escape."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in _JOINERS else ascii(char)[1:-1] for char in text)


def without_credentials(text: str) -> str:
    """Return `text` with stars in place of the passwords and tokens in its URLs."""
    from phases.core import url_credentials  # imported late: most runs have no error

    return url_credentials.hide(text)


class HabitatError(Exception):
    """A failure that a person or the machine caused.

    Passwords and tokens of URLs are hidden in the message and the remedy.

    Args:
        message: What is wrong, without a full stop.
        where: The place in a config file, or another place as text.
        remedy: What to do. A semicolon separates two things to do.
        output: The lines that the failing command printed.
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
        """Return the problem, then each thing to do, one per line."""
        remedies = self.remedy.split("; ") if self.remedy else []
        return [self._line(text) for text in (self._problem, *remedies)]

    @property
    def _problem(self) -> str:
        place = f"{self.where}: " if self.where else ""
        message = self.message
        if len(message) > _MAX_MESSAGE:
            message = f"{message[: _MAX_MESSAGE - 200]} … {message[-200:]}"
        return place + message

    @staticmethod
    def _line(text: str) -> str:
        return printable(" ".join(text.split()))


class ConfigError(HabitatError):
    """A config.yaml, or a file it names, is wrong. `others` are further errors of the same config."""

    others: tuple[ConfigError, ...] = ()


class SourceChanged(ConfigError):
    """A file changed while the build read it.

    Args:
        where: The file or folder, which becomes the attribute `path`; or the place in the config that names something
            else that changed, and `path` is None.
        change: What happened, like "changed while it was copied".
    """

    def __init__(self, where: Path | Origin, change: str) -> None:
        place = where if isinstance(where, Origin) else str(where)
        super().__init__(change, where=place, remedy="run the same command again")
        self.path = None if isinstance(where, Origin) else where


class StateError(HabitatError):
    """A file below .stamps/, or a temporary file, can't be read or written."""


class SecretError(HabitatError):
    """A secret is missing on this machine."""


class Untrusted(ConfigError):
    """Nobody has agreed to what the config would do on this machine."""


class ShellError(HabitatError):
    """The shell of an image can't run."""


class Stopped(HabitatError):
    """Somebody stopped the run."""


class StepError(HabitatError):
    """A step of a phase failed."""


class CommandFailed(StepError):
    """A command of a step ended with an exit code that is not 0.

    Args:
        message: As of HabitatError.
        exit_code: The command's exit code, 128 + n where signal n ended it.
        context: The other arguments of HabitatError.
    """

    def __init__(self, message: str, *, exit_code: int, **context: Any) -> None:
        super().__init__(message, **context)
        self.exit_code = exit_code


class PhaseTimeout(StepError):
    """The phase took longer than its config allows."""


class PathsMissing(StepError):
    """Required paths are missing."""


class LinkInTheWay(StepError):
    """A path leads through a link that USER may have made.

    Args:
        path: The path to write to or to mount at.
        link: The link, which is `path` itself or above it.
        target: Where the link leads, "" if that is unknown.
    """

    def __init__(self, path: str, link: str, target: str) -> None:
        at = "" if path == link else f"{link} on the way to "
        leads = f" to {target}" if target else ""
        super().__init__(
            f"{at}{path} is a link{leads} that USER may have made",
            remedy="remove the link, or let root make it in a folder that belongs to root",
        )


class StartError(HabitatError):
    """The habitat is built, but does not start."""


class EngineError(HabitatError):
    """The engine refused a request, or can't be reached."""


class EngineUnreachable(EngineError):
    """The engine does not answer."""


class NotFound(EngineError):
    """The engine does not have the object."""


class Conflict(EngineError):
    """A name is taken, or the object is in use."""


#: The kernel's error codes for a full disk, and for a full quota.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

# The kernel's error codes for a file system without locks, or one whose lock server does not answer.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


def state_error(path: Path, verb: str, error: OSError) -> StateError:
    """Return the error of a file below .stamps/, or of a temporary file.

    Args:
        path: The file.
        verb: What could not be done, as a participle: "written", "removed", "locked".
        error: The reason.
    """
    shown = layout.shown_state(path)
    if verb == "locked" and error.errno in _NO_LOCKS:
        remedy = "its file system has no locks (flock): move the project to one that has them, like a local disk"
    elif error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.EINVAL, errno.ELOOP, errno.ENXIO):
        remedy = "move what is in its place out of the way"
    elif error.errno in NO_ROOM:
        remedy = "make room on the disk"
    else:
        remedy = f"make {f'{layout.STATE}/' if layout.STATE in shown else 'it'} writable for you"
    return StateError(f"can't be {verb} ({error.strerror})", where=shown, remedy=remedy)


def full_disk_remedy(text: str) -> str:
    """Return what to do if an output of the engine, or of a command in a container, reports a full disk; else ""."""
    if os.strerror(errno.ENOSPC).lower() not in text.lower():
        return ""
    return "the engine's disk is full: make room there (docker system df), then run the same command again"


def did_you_mean(word: str, known: Iterable[str], *, in_order: bool = False) -> str:
    """Return the remedy for an unknown `word`: the nearest of the `known` ones, else a list, sorted or `in_order`."""
    from difflib import get_close_matches

    options = list(known) if in_order else sorted(known)
    near = get_close_matches(word, options, n=1)
    if near:
        return f"did you mean '{near[0]}'?"
    more = ", …" if len(options) > _MAX_OPTIONS else ""
    return f"known here: {', '.join(options[:_MAX_OPTIONS])}{more}"
