"""Ask the person to agree to what a config does on the host: run a command, use the SSH agent, mount what gives root.

Without this, the next start would run any command that somebody wrote into a config. So the program shows all of this,
and asks once. It records the agreement outside the project, where no habitat can write. The record
has a digest of the command or mount, so a change means another question. A config without these needs no record.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from phases.core import command_form, events
from phases.core.errors import StateError, Untrusted, printable, state_error
from phases.core.files import atomic, safe_open
from phases.core.files.locks import FileLock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from phases.core.events.bus import Bus
    from phases.core.model import Habitat, Mount, Secret
    from phases.core.origin import Origin

    #: Calls a function that shows what a question is about, and asks it. Returns the answer, None without a terminal.
    Ask = Callable[[str, Callable[[], None]], bool | None]

    #: The digests of what the person agreed to, by project and habitat.
    Records = dict[str, dict[str, list[str]]]

#: The environment variable with which nobody is asked, if it is `all`.
VARIABLE = "HABITATS_TRUST"

# The most bytes of the record, enough for tens of thousands of habitats.
_MAX_BYTES = 16 << 20


class TrustRequest(Struct, frozen=True):
    """Something that a config does on the host; `does` is a sentence about it without its subject, the habitat."""

    does: str
    origin: Origin
    digest: str


def requests_of(habitat: Habitat) -> tuple[TrustRequest, ...]:
    """Return what the person has to agree to: nothing of the person's own config."""
    commands = [_command(one) for one in habitat.secrets if one.command and one.origin.role != "personal"]
    agent = habitat.line_of(("entry", "ssh_agent")) if habitat.entry.ssh_agent else None
    if agent and agent.role != "personal":
        commands.append(TrustRequest("uses the keys of your SSH agent while it runs", agent, _digest("ssh-agent")))
    return (*commands, *(_mount(volume) for volume in habitat.volumes if volume.present and volume.gives_root))


def _command(secret: Secret) -> TrustRequest:
    does = f"runs `{printable(secret.command)}` on this machine, for the secret {secret.name}"
    return TrustRequest(does, secret.origin, _digest("command", secret.name, secret.command))


def _mount(volume: Mount) -> TrustRequest:
    mode = "readonly" if volume.readonly else "writable"
    does = f"mounts {volume.source} at {volume.dest} ({mode}), which gives root on this machine"
    return TrustRequest(does, volume.origin, _digest("volume", str(volume.source), volume.dest, mode))


def _digest(*words: str) -> str:
    return hashlib.sha256(json.dumps(words).encode(errors="surrogateescape")).hexdigest()


class Trust:
    """The agreements of the person for the habitats of one project. `bus` gets the events that `ask` is about."""

    def __init__(self, root: Path, bus: Bus, ask: Ask) -> None:
        self._root = root
        self._bus = bus
        self._ask = ask
        self._agreed: set[tuple[str, str]] = set()
        self._lock = threading.Lock()  # one question at a time, if habitats are built in parallel

    def require(self, habitat: Habitat) -> None:
        """Ask the person about all of the habitat's requests that are not agreed to. Raises Untrusted without a yes."""
        if os.environ.get(VARIABLE) == "all":
            return
        with self._lock:
            missing = [one for one in self.missing(habitat) if (habitat.name, one.digest) not in self._agreed]
            if not missing:
                return
            answer = self._answer(habitat, missing)
            if answer is None:
                raise _untrusted(habitat, missing)
            if not answer:
                remedy = f"check it, then type `{command_form.verb('trust', habitat.name)}`"
                raise Untrusted("nothing was run or mounted", where=habitat.name, remedy=remedy)
            self._agree(habitat)

    def review(self, habitat: Habitat, *, ask: bool) -> bool:
        """Show all of the habitat's requests, and record that the person agrees to them.

        Args:
            habitat: The habitat.
            ask: Ask the person, else assume a yes.

        Returns:
            Whether the person agrees.

        Raises:
            Untrusted: There is no terminal to ask on.
            StateError: The record can't be read or written.
        """
        requests, missing = requests_of(habitat), self.missing(habitat)
        if not requests:
            self._notice(habitat, f"{habitat.name} does nothing on this machine that you have to agree to")
            return True
        self._show(habitat, requests)
        if not missing:
            self._notice(habitat, "you have agreed to all of this already")
            return True
        answer = self._answer(habitat, ()) if ask else True
        if answer is None:
            remedy = f"to agree to it, type `{command_form.verb('trust', habitat.name)} --yes`"
            raise Untrusted("nothing was recorded: there is no terminal to ask on", where=habitat.name, remedy=remedy)
        if answer:
            self._agree(habitat)
        self._notice(habitat, "recorded: you are asked again when this changes" if answer else "nothing was recorded")
        return answer

    def missing(self, habitat: Habitat) -> tuple[TrustRequest, ...]:
        """Return the requests without a recorded agreement. Raises StateError."""
        requests = requests_of(habitat)
        agreed = AgreementFile(record_path()).read().get(self._key, {}).get(habitat.name, []) if requests else []
        return tuple(request for request in requests if request.digest not in agreed)

    @property
    def _key(self) -> str:
        return str(self._root.resolve())

    def _agree(self, habitat: Habitat) -> None:
        digests = sorted({request.digest for request in requests_of(habitat)})
        self._agreed.update((habitat.name, digest) for digest in digests)
        AgreementFile(record_path()).write(self._key, habitat.name, digests)

    def _notice(self, habitat: Habitat, text: str) -> None:
        self._bus.emit(events.Notice(habitat.name, text))

    def _show(self, habitat: Habitat, requests: Sequence[TrustRequest]) -> None:
        for request in requests:
            self._bus.emit(events.Line(habitat.name, f"{request.origin}: {habitat.name} {request.does}"))

    def _answer(self, habitat: Habitat, requests: Sequence[TrustRequest]) -> bool | None:
        """Show requests and return the person's answer, None without a terminal."""

        def show() -> None:
            # Stops the live display, which would draw over the question.
            self._bus.emit(events.Handover(habitat.name, on=True))
            self._show(habitat, requests)

        try:
            return self._ask(f"Let {habitat.name} do that on this machine?", show)
        finally:
            self._bus.emit(events.Handover(habitat.name, on=False))


def _untrusted(habitat: Habitat, missing: Sequence[TrustRequest]) -> Untrusted:
    others = f" (and {len(missing) - 1} more)" if missing[1:] else ""
    problem = f"{habitat.name} {missing[0].does}{others}, and you have not agreed to that"
    remedy = f"check it, then type `{command_form.verb('trust', habitat.name)}`"
    return Untrusted(problem, where=missing[0].origin, remedy=remedy)


def record_path() -> Path:
    """Return the path of the file in which agreements are recorded. Raises StateError without a home folder."""
    data = os.environ.get("XDG_DATA_HOME", "")
    folder = data if data.startswith("/") else os.path.expanduser("~/.local/share")  # noqa: PTH111 (raises nothing)
    if not folder.startswith("/"):
        problem = "what you agree to can't be recorded, since you have no home folder"
        raise StateError(problem, remedy=f"set HOME or XDG_DATA_HOME, or {VARIABLE}=all to agree to everything")
    return Path(folder, "habitats", "trust.json")


class AgreementFile:
    """The file with the agreements, which several runs may read and write at once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Records:
        """Return the agreements. Raises StateError for a file that another user could write."""
        try:
            if not self._check_folder() or (data := safe_open.read(self._path, _MAX_BYTES)) is None:
                return {}
            _check_own(self._path)
        except OSError as error:
            raise state_error(self._path, "read", error) from error
        return self._parsed(data)

    def write(self, project: str, habitat: str, digests: list[str]) -> None:
        """Record the agreements for one habitat; those for others stay. Raises StateError."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._locked():
                records = self.read()
                records.setdefault(project, {})[habitat] = digests
                self._replace(json.dumps(records, indent=1, sort_keys=True).encode())
        except OSError as error:
            raise state_error(self._path, "written", error) from error

    def _replace(self, data: bytes) -> None:
        atomic.sweep(self._path.parent, self._path.name)
        with atomic.draft_file(self._path) as (fresh, out):
            os.fchmod(out.fileno(), 0o600)
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
            fresh.replace(self._path)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._check_folder()
        lock = FileLock(self._path.with_suffix(".lock"))
        lock.acquire(lambda _: None)
        try:
            yield
        finally:
            lock.release()

    def _check_folder(self) -> bool:
        """Return whether the folder exists. Raises StateError if another user can write to it."""
        try:
            _check_own(self._path.parent)
        except FileNotFoundError:
            return False
        return True

    def _parsed(self, data: bytes) -> Records:
        try:
            records = json.loads(data)
            return {
                str(project): {str(name): [str(digest) for digest in digests] for name, digests in habitats.items()}
                for project, habitats in records.items()
            }
        except (ValueError, AttributeError, TypeError) as error:
            remedy = "remove it: you are then asked again about what you agreed to"
            raise StateError("was not written by this program", where=str(self._path), remedy=remedy) from error


def _check_own(path: Path) -> None:
    info = path.lstat()
    if stat.S_ISLNK(info.st_mode):
        raise StateError("is a link", where=str(path), remedy="replace it by the file or folder itself")
    if info.st_uid != os.geteuid() or info.st_mode & 0o022:
        remedy = f"make it yours alone: chown $(id -u) {path}; chmod go-w {path}"
        raise StateError("another user could write your agreements", where=str(path), remedy=remedy)
