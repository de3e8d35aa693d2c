"""Makes one layer of several, each a tar as the OCI image format describes it.

What an upper layer has, or deletes, hides what those below it have there. An entry that stays is copied byte for byte,
so nothing about it is lost.
"""

from __future__ import annotations

import copy
import posixpath
import tarfile
from typing import IO, TYPE_CHECKING, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

# `.wh.NAME` deletes NAME of the layers below, and `.wh..wh..opq` all that they have in its folder. Other names with two
# prefixes are a storage driver's own.
_DELETED = ".wh."
_EMPTIED = ".wh..wh..opq"
_OF_DRIVER = ".wh..wh."

_CHUNK = 1 << 20


class _Entry(NamedTuple):
    """An entry of the merged layer.

    path: its path, absolute. member: what its layer says about it. source: the tar of that layer, None for an entry
    that deletes. is_changed: whether it has another name or target than in its layer.
    """

    path: str
    member: tarfile.TarInfo
    source: tarfile.TarFile | None = None
    is_changed: bool = False


def merge(layers: Sequence[IO[bytes]], below: Collection[str], result: IO[bytes]) -> None:
    """Write one layer that changes the layers below as several do.

    Args:
        layers: The layers, the lowest first, as files that can seek.
        below: All paths that there are in the layers below (see `paths_after`). What isn't there can't be deleted: an
            engine would list it.
        result: Where the merged layer is written.

    Raises:
        TarError: A layer is broken.
    """
    merged = _Merged()
    for layer in reversed(layers):
        merged.add_below(tarfile.open(fileobj=layer, mode="r:"))  # noqa: SIM115 (the file is the caller's)
    with tarfile.open(fileobj=result, mode="w:", format=tarfile.PAX_FORMAT) as out:
        for entry in merged.entries(below):
            _write(entry, out)


def names_in(layer: IO[bytes]) -> list[str]:
    """Return the names of a layer's entries. Raises TarError if it is none."""
    with tarfile.open(fileobj=layer, mode="r:") as tar:
        return [_absolute(name) for name in tar.getnames()]


def paths_after(layers: Iterable[Sequence[str]]) -> set[str]:
    """Return the paths that there are in some layers. layers: what `names_in` returns for each, the lowest first."""
    paths: set[str] = set()
    for names in layers:
        for name in names:
            folder, base = posixpath.split(name)
            if base == _EMPTIED:
                paths = {path for path in paths if not path.startswith(f"{folder}/")}
            elif base.startswith(_DELETED):
                gone = posixpath.join(folder, base.removeprefix(_DELETED))
                paths = {path for path in paths if path != gone and not path.startswith(f"{gone}/")}
        paths |= {name for name in names if not posixpath.basename(name).startswith(_DELETED)}
    return paths


def _absolute(name: str) -> str:
    return posixpath.normpath(f"/{name.lstrip('/')}")


class _Merged:
    """The layers that were added so far, from the highest down."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._deleted: set[str] = set()
        self._emptied: set[str] = set()  # folders of which lower layers' content is gone

    def add_below(self, tar: tarfile.TarFile) -> None:
        """Add the layer below all others."""
        entries: dict[str, _Entry] = {}
        deleted: set[str] = set()
        emptied: set[str] = set()
        for member in tar:
            path = _absolute(member.name)
            folder, name = posixpath.split(path)
            if name == _EMPTIED:
                emptied.add(folder)
            elif not name.startswith(_DELETED):
                entries[path] = _Entry(path, member, tar)
            elif not name.startswith(_OF_DRIVER):
                deleted.add(posixpath.join(folder, name.removeprefix(_DELETED)))
        entries_left = {path: entry for path, entry in entries.items() if not self._hides(path)}
        kept = {path: entry for path, entry in entries_left.items() if path not in self._entries}
        deleted = {path for path in deleted if not self._hides(path)}
        # Where this layer has no folder, a folder of the layers above is a new one.
        no_folders = deleted | {path for path, entry in entries_left.items() if not entry.member.isdir()}
        emptied = {path for path in emptied if not self._hides(path) and self._kind(path) != "file"}
        emptied |= {path for path in no_folders if self._kind(path) == "folder"}
        self._deleted |= {path for path in deleted if not self._kind(path)}
        self._entries |= _with_targets_of_links(kept, entries)
        self._emptied |= emptied

    def _kind(self, path: str) -> str:
        entry = self._entries.get(path)
        return "" if entry is None else "folder" if entry.member.isdir() else "file"

    def _hides(self, path: str) -> bool:
        """Return whether what lower layers have at a path is deleted, or is below what is no folder any more."""
        if path in self._deleted:
            return True
        while path != "/":
            path = posixpath.dirname(path)
            if path in self._deleted or path in self._emptied or self._kind(path) == "file":
                return True
        return False

    def entries(self, below: Collection[str]) -> Iterator[_Entry]:
        """Yield what the merged layer has: folders before what is in them, and hard links at the end.

        below: the paths in the layers below.
        """
        entries = [self._entries[path] for path in sorted(self._entries)]
        yield from (entry for entry in entries if not entry.member.islnk())
        gone = [posixpath.join(path, _EMPTIED) for path in self._emptied if path in below]
        for path in self._deleted:
            folder, name = posixpath.split(path)
            if path in below and not self._hides(folder) and folder not in self._emptied:
                gone.append(posixpath.join(folder, f"{_DELETED}{name}"))
        yield from (_Entry(path, tarfile.TarInfo(path.lstrip("/"))) for path in sorted(gone))
        yield from (entry for entry in entries if entry.member.islnk())


def _with_targets_of_links(kept: Mapping[str, _Entry], entries: Mapping[str, _Entry]) -> dict[str, _Entry]:
    """Return the entries of a layer that stay. If the target of hard links doesn't, the first link becomes the file.

    kept: those that stay. entries: all that the layer has.
    """
    result = dict(kept)
    files: dict[str, str] = {}
    for path, entry in kept.items():
        target = posixpath.normpath(f"/{entry.member.linkname}") if entry.member.islnk() else ""
        if not target or target in kept:
            continue
        if target in files:
            member = copy.copy(entry.member)
            member.linkname = files[target].lstrip("/")
        else:
            files[target] = path
            member = copy.copy(entries[target].member)
            member.name = path.lstrip("/")
        pax_headers = member.pax_headers.items()
        member.pax_headers = {key: value for key, value in pax_headers if key not in ("path", "linkpath")}
        result[path] = entry._replace(member=member, is_changed=True)
    return result


def _write(entry: _Entry, out: tarfile.TarFile) -> None:
    member, source = entry.member, entry.source.fileobj if entry.source else None
    if source is None:
        out.addfile(member)
        return
    if entry.is_changed:
        source.seek(member.offset_data)
        out.addfile(member, cast("IO[bytes]", source) if member.isreg() else None)
        return
    blocks = -(-member.size // tarfile.BLOCKSIZE) if member.isreg() else 0
    left = member.offset_data + blocks * tarfile.BLOCKSIZE - member.offset
    source.seek(member.offset)
    out.offset += left
    while left:
        data = source.read(min(left, _CHUNK))
        if not data:
            raise tarfile.ReadError(f"the layer ends in {entry.path}")
        cast("IO[bytes]", out.fileobj).write(data)
        left -= len(data)
