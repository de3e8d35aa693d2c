"""Records which secrets a container was given, as a keyed digest of each value.

The output of its main process may contain any of them, even one that has changed since then or can't be fetched any
more. So the output is shown only if today's values cover the whole record. The digests reveal no value. If a container
has secrets and its record is missing or cut, it counts as one that was given other secrets.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
from typing import TYPE_CHECKING, NamedTuple

from phases.core.errors import HabitatError, state_error
from phases.core.files import safe_open
from phases.core.masking import Mask

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from phases.core.engine.protocol import Engine
    from phases.core.engine.types import Container
    from phases.core.model import Habitat, Secret, Value
    from phases.core.secrets.store import SecretStore

#: The label of a container that says whether its habitat had secrets for a start when it was made, "yes" or "no".
LABEL_SECRETS = "habitat.secrets"

_FILES, _SHORT = "delivered.", 12

# Bytes of a record: thousands of values.
_MAX_BYTES = 1_000_000

_KEY = re.compile(r"key ([0-9a-f]{64}) (whole|part)")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Record(NamedTuple):
    """The digests of the secret values that a container was given.

    is_whole: the record begins when the container was made, and no other clone is known to have given it secrets.
    """

    key: bytes
    is_whole: bool
    digests: frozenset[str]

    def covers(self, values: Iterable[bytes]) -> bool:
        """Return whether the record is whole and lists only `values`."""
        return self.is_whole and self.digests <= {_digest(self.key, value) for value in values}


def label(habitat: Habitat) -> dict[str, str]:
    """Return the label for a new container. It is also set if there are no secrets, to replace an inherited label."""
    return {LABEL_SECRETS: "yes" if any(secret.start for secret in habitat.secrets) else "no"}


def begin(folder: Path, engine: Engine, habitat: Habitat, container: str) -> None:
    """Begin the record of the secrets that a new container gets. Call this before it gets any.

    folder: the habitat's state folder. Raises StateError.
    """
    sweep(folder, engine)
    if label(habitat)[LABEL_SECRETS] == "yes":
        _append(_path(folder, container), _first_line(is_whole=True))


def note(folder: Path, container: Container, values: Iterable[Value]) -> None:
    """Record `values` before the container gets them. folder: the habitat's state folder.

    Raises StateError; then the container must not get the values.
    """
    values = list(values)
    if not values:
        return
    path = _path(folder, container.id)
    found = _read(path)
    if found is None:
        # Another clone may have given it other secrets before.
        _append(path, _first_line(is_whole=container.labels.get(LABEL_SECRETS) == "no"))
        found = _read(path)
    if found and found.key:
        for digest in sorted({_digest(found.key, value.data) for value in values} - found.digests):
            _append(path, f"{digest}\n")


def was_given(folder: Path, container: Container, value: bytes) -> bool:
    """Return whether a container was given a value, as far as this clone knows. folder: the habitat's state folder."""
    record = _read(_path(folder, container.id))
    return record is not None and bool(record.key) and _digest(record.key, value) in record.digests


def sweep(folder: Path, engine: Engine) -> None:
    """Remove the records of containers that are gone. folder: the habitat's state folder. Raises StateError."""
    records = [path for path in folder.glob(f"{_FILES}*") if path.is_file()]
    if not records:
        return
    there = {container.id[:_SHORT] for container in engine.containers()}
    for path in records:
        if path.name.removeprefix(_FILES) not in there:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise state_error(path, "removed", error) from error


def is_record(path: Path) -> bool:
    return path.name.startswith(_FILES)


class OutputCheck:
    """Decides whether the output of a container may be shown, and masks it.

    Args:
        folder: The habitat's state folder.
        container: The container that printed the output.
        secrets: The secrets that a start of the habitat gets, None if its config is broken.
        store: The secrets of this host.
        values: The values of `secrets` on this host, if they are known already.
    """

    def __init__(
        self,
        folder: Path,
        container: Container,
        secrets: Iterable[Secret] | None,
        store: SecretStore,
        values: Iterable[Value] | None = None,
    ) -> None:
        self._container = container
        self._path = _path(folder, container.id)
        self._secrets = None if secrets is None else tuple(secrets)
        self._store = store
        self._state = self._look()
        self._values = self._today(store) if values is None else list(values)

    def mask(self) -> Mask | None:
        """Return the mask for the container's output, None if the output must not be shown."""
        record = _read(self._path)
        values = [value.data for value in self._values or ()]
        if record:
            return Mask(values) if record.covers(values) else None
        label = self._container.labels.get(LABEL_SECRETS)
        # A container of an earlier version has no label. Then the config decides, if it is valid.
        had_secrets = label == "yes" or bool(self._values) or (self._values is None and label is None)
        return None if had_secrets else Mask(values)

    def refresh(self) -> bool:
        """Fetch the values again if the record has changed since the last check. Returns whether it has changed."""
        before, self._state = self._state, self._look()
        if before == self._state:
            return False
        self._values = self._today(self._store.fresh_copy())
        return True

    @property
    def why_not(self) -> str:
        """Return the message to show instead of the output."""
        name = self._container.name
        return (
            f"the output of {name} is not shown: it may contain a secret whose old value this machine doesn't have, "
            f"so it can't be masked; docker logs {name} shows it, secrets unmasked"
        )

    def _look(self) -> tuple[int, int] | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size

    def _today(self, store: SecretStore) -> list[Value] | None:
        """Return the values that this host has today; None if the config is broken."""
        if self._secrets is None:
            return None
        values: list[Value] = []
        for secret in self._secrets:
            with contextlib.suppress(HabitatError):  # this host no longer has the secret
                values += store.values([secret])
        return values


def _path(folder: Path, container: str) -> Path:
    return folder / f"{_FILES}{container[:_SHORT]}"


def _digest(key: bytes, value: bytes) -> str:
    return hashlib.blake2b(value, key=key, digest_size=32).hexdigest()


def _first_line(*, is_whole: bool) -> str:
    return f"key {os.urandom(32).hex()} {'whole' if is_whole else 'part'}\n"


def _read(path: Path) -> Record | None:
    """Return the record, None if there is none. A record that is cut or can't be read is not whole."""
    try:
        data = safe_open.read(path, _MAX_BYTES)
    except OSError:
        data = b""
    if data is None:
        return None
    first, *rows = data.decode(errors="replace").removesuffix("\n").split("\n")
    key = _KEY.fullmatch(first)
    is_cut = len(data) > _MAX_BYTES or not data.endswith(b"\n")
    if not key or is_cut or not all(map(_DIGEST.fullmatch, rows)):
        return Record(b"", False, frozenset())
    return Record(bytes.fromhex(key[1]), key[2] == "whole", frozenset(rows))


def _append(path: Path, line: str) -> None:
    """Append a line with one write, so that two runs can append to a file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            if os.write(descriptor, line.encode()) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise state_error(path, "written", error) from error
