"""The person's agreement to what a config does on the host: run a command, or mount what gives root.

The next start would run a command that anybody wrote into a config. So the program shows each command and each such
mount, and asks once. It records the agreement outside the project, where no habitat can write, as a digest of the
command or mount: a changed one is asked about again. A config without these needs no record.
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

from phases.core import events
from phases.core.errors import StateError, Untrusted, printable, state_error
from phases.core.files import atomic, safe_open
from phases.core.files.locks import FileLock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from phases.core.events import Bus
    from phases.core.model import Habitat, Mount, Secret
    from phases.core.origin import Origin

    #: Asks the person, who says yes or no; None where there is nobody to ask. Given what to show before.
    Ask = Callable[[str, Callable[[], None]], bool | None]

    #: Project to habitat to the digests of what was agreed to.
    Records = dict[str, dict[str, list[str]]]

#: Set to `all` in the environment, nobody is asked.
VARIABLE = "HABITATS_TRUST"

# Bytes of the record: tens of thousands of habitats.
_LARGEST = 16 << 20


class TrustRequest(Struct, frozen=True):
    """Something that a config asks of the host. does: a sentence about it, without its subject, the habitat."""

    does: str
    origin: Origin
    digest: str


def requests_of(habitat: Habitat) -> tuple[TrustRequest, ...]:
    """List what needs an agreement."""
    commands = [_command(secret) for secret in habitat.secrets if secret.command]
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
    """The person's word on the habitats of the project at `root`. bus: shows what is asked about."""

    def __init__(self, root: Path, bus: Bus, ask: Ask) -> None:
        self._root = root
        self._bus = bus
        self._ask = ask
        self._record = AgreementFile(record_path())
        self._known: set[tuple[str, str]] = set()
        self._lock = threading.Lock()  # habitats side by side ask one after the other

    def need(self, habitat: Habitat) -> None:
        """Go on only with the person's word for all that the habitat asks of the host. Raises Untrusted."""
        if os.environ.get(VARIABLE) == "all":
            return
        with self._lock:
            new = [wish for wish in self.new(habitat) if (habitat.name, wish.digest) not in self._known]
            if not new:
                return
            answer = self._asked(habitat, new)
            if answer is None:
                raise _untrusted(habitat, new)
            if not answer:
                raise Untrusted("nothing was run or mounted", where=habitat.name, remedy=_remedy(habitat))
            self._agree(habitat)

    def settle(self, habitat: Habitat, *, ask: bool) -> bool:
        """Show all that the habitat asks of the host, and record that the person agrees. Returns whether they do."""
        found, new = requests_of(habitat), self.new(habitat)
        if not found:
            self._bus.emit(events.Notice(habitat.name, f"{habitat.name} asks nothing of this machine"))
            return True
        self._show(habitat, found)
        if not new:
            self._bus.emit(events.Notice(habitat.name, "you have agreed to all of this already"))
            return True
        answer = self._asked(habitat, ()) if ask else True
        if answer is None:
            remedy = f"doit trust:{habitat.name} --yes agrees to it"
            raise Untrusted("nothing was recorded: there is no terminal to ask on", where=habitat.name, remedy=remedy)
        if answer:
            self._agree(habitat)
        text = "recorded: doit asks again when this changes" if answer else "nothing was recorded"
        self._bus.emit(events.Notice(habitat.name, text))
        return answer

    def new(self, habitat: Habitat) -> tuple[TrustRequest, ...]:
        """Return what nobody has agreed to yet. Raises StateError."""
        found = requests_of(habitat)
        agreed = self._record.read().get(self._key, {}).get(habitat.name, []) if found else []
        return tuple(wish for wish in found if wish.digest not in agreed)

    @property
    def _key(self) -> str:
        return str(self._root.resolve())

    def _agree(self, habitat: Habitat) -> None:
        digests = sorted({wish.digest for wish in requests_of(habitat)})
        self._known.update((habitat.name, digest) for digest in digests)
        self._record.write(self._key, habitat.name, digests)

    def _show(self, habitat: Habitat, shown: Sequence[TrustRequest]) -> None:
        for wish in shown:
            self._bus.emit(events.Line(habitat.name, f"{wish.origin}: {habitat.name} {wish.does}"))

    def _asked(self, habitat: Habitat, shown: Sequence[TrustRequest]) -> bool | None:
        def show() -> None:
            # What is drawn anew all the time would tear the question.
            self._bus.emit(events.Handover(habitat.name, on=True))
            self._show(habitat, shown)

        try:
            return self._ask(f"Let {habitat.name} do that on this machine?", show)
        finally:
            self._bus.emit(events.Handover(habitat.name, on=False))


def _remedy(habitat: Habitat) -> str:
    return f"check it, then type doit trust:{habitat.name}"


def _untrusted(habitat: Habitat, new: Sequence[TrustRequest]) -> Untrusted:
    first, more = new[0], len(new) - 1
    others = f" (and {more} more)" if more else ""
    return Untrusted(
        f"{habitat.name} {first.does}{others}, and you have not agreed to that",
        where=first.origin,
        remedy=_remedy(habitat),
    )


def record_path() -> Path:
    """Return where agreements are recorded."""
    data = os.environ.get("XDG_DATA_HOME", "")
    return Path(data if data.startswith("/") else Path.home() / ".local" / "share") / "habitats" / "trust.json"


class AgreementFile:
    """The file at `path`, which several runs may read and write at once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Records:
        """Return what is recorded. Raises StateError for what somebody else could have written."""
        try:
            if not self._check_folder():
                return {}
            data = safe_open.read(self._path, _LARGEST)
            if data is None:
                return {}
            _check_own(self._path)
        except OSError as error:
            raise state_error(self._path, "read", error) from error
        return self._parsed(data)

    def write(self, project: str, habitat: str, digests: list[str]) -> None:
        """Record what was agreed to for one habitat, and leave the others as they are. Raises StateError."""
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
        """Return whether there is a folder. Raises StateError where it is not this person's alone."""
        try:
            _check_own(self._path.parent)
        except FileNotFoundError:
            return False
        return True

    def _parsed(self, data: bytes) -> Records:
        try:
            records = json.loads(data)
            return {
                str(project): {str(habitat): [str(digest) for digest in digests] for habitat, digests in found.items()}
                for project, found in records.items()
            }
        except (ValueError, AttributeError, TypeError) as error:
            remedy = "remove it: what was agreed to is asked about again"
            raise StateError("is not what doit has written", where=str(self._path), remedy=remedy) from error


def _check_own(path: Path) -> None:
    info = path.lstat()
    if stat.S_ISLNK(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o022:
        remedy = f"make it yours alone: chown $(id -u) {path}; chmod go-w {path}"
        raise StateError("somebody else could write what you agree to", where=str(path), remedy=remedy)
