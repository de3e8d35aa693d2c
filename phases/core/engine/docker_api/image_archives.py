"""Images as archives, in the form of `docker save`, and the instructions of a commit."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from phases.core.engine.carrying import merged_layers
from phases.core.engine.docker_api.payloads import instruction_word

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from phases.core.engine.transport import Response

_CHUNK = 1 << 20


class SavedLayers(NamedTuple):
    """Layers of an image. files: by their digests. names: for the other layers, by their digests, what they have."""

    files: dict[str, Path]
    names: dict[str, list[str]]


def save_layers(response: Response, layers: Sequence[str], folder: Path) -> SavedLayers:
    """Write layers of an image to files.

    Args:
        response: The image as an archive.
        layers: The digests of the layers to be written.
        folder: The folder of the files.

    Raises:
        TarError: The archive is broken, or lacks a layer.
    """
    saved = SavedLayers({}, {})
    with tarfile.open(fileobj=_Stream(response), mode="r|") as tar:  # type: ignore[call-overload]
        for number, member in enumerate(tar):
            if (file := tar.extractfile(member) if member.isreg() else None) is None:
                continue
            place = folder / str(number)
            layer = _copy(file, place)
            if layer in layers and layer not in saved.files:
                saved.files[layer] = place
                continue
            with suppress(tarfile.TarError), place.open("rb") as other:  # it may be no layer
                saved.names[layer] = merged_layers.names_in(other)
            place.unlink()
    if missing := {*layers} - saved.files.keys():
        raise tarfile.TarError(f"the engine's archive has no {min(missing)[:19]}")
    return saved


def merge(saved: SavedLayers, kept: Sequence[str], others: Sequence[str], result: Path) -> str:
    """Merge layers of an image. Return the digest of the merged layer.

    Args:
        saved: What `save_layers` returned.
        kept: The layers below those to be merged.
        others: The layers to be merged.
        result: The file of the merged layer.

    Raises:
        TarError: A layer is broken.
    """
    names = []
    for layer in kept:
        if layer in saved.files:
            with saved.files[layer].open("rb") as file:
                names.append(merged_layers.names_in(file))
        else:
            names.append(saved.names.get(layer, []))
    with ExitStack() as files, result.open("wb") as merged:
        opened = [files.enter_context(saved.files[layer].open("rb")) for layer in others]
        merged_layers.merge(opened, merged_layers.paths_after(names), merged)
    with result.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


class _Stream:
    """A response as a file to read from."""

    def __init__(self, response: Response) -> None:
        self._chunks: Iterator[bytes] = iter(response.stream())
        self._rest = b""

    def read(self, size: int) -> bytes:
        while len(self._rest) < size and (chunk := next(self._chunks, b"")):
            self._rest += chunk
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


def commit_changes(own: Mapping[str, Any], model: Mapping[str, Any], labels: Mapping[str, str]) -> list[str]:
    """Return the lines of a commit that give an image the config of another one, as far as a commit can.

    own: the container's config. model: that of the other image. What only the container has keeps its name alone.
    """
    env = dict(entry.partition("=")[::2] for entry in model.get("Env") or ())
    of_container = dict(entry.partition("=")[::2] for entry in own.get("Env") or ())
    env |= dict.fromkeys(of_container.keys() - env.keys(), "")
    all_labels = {**dict.fromkeys(own.get("Labels") or {}, ""), **labels}
    entrypoint, command = model.get("Entrypoint") or [], model.get("Cmd") or ["/bin/sh"]
    return [
        f"ENTRYPOINT {json.dumps(entrypoint)}",
        f"CMD {json.dumps(command)}",
        f"USER {instruction_word(model.get('User') or '0')}",
        f"WORKDIR {instruction_word(model.get('WorkingDir') or '/')}",
        *(f"ENV {name}={instruction_word(value)}" for name, value in env.items() if of_container.get(name) != value),
        *(f"LABEL {name}={instruction_word(value)}" for name, value in all_labels.items()),
    ]


def _now() -> str:
    return datetime.now(UTC).isoformat()


def description(
    row: Mapping[str, Any],
    config: Mapping[str, Any],
    comment: str,
    layers: Sequence[str],
    history: Sequence[Mapping[str, Any]],
) -> bytes:
    """Return the config file of an image. row: an inspected image, for the platform."""
    platform = {"architecture": "Architecture", "os": "Os", "variant": "Variant"}
    description = {
        **{key: row[name] for key, name in platform.items() if row.get(name)},
        "created": _now(),
        "comment": comment,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": list(layers)},
        **({"history": history} if history else {}),
    }
    return json.dumps(description).encode()


def history(
    rows: Sequence[Mapping[str, Any]], layers: int, below: int | None = None, comment: str = ""
) -> list[dict[str, Any]]:
    """Return the history of an image for its config, the oldest entry first; none if it can't be known.

    The API doesn't say which entries have no layer, so the oldest of those without a file count as such.

    Args:
        rows: The history as the engine lists it.
        layers: How many layers the image has.
        below: How many of them stay, while the others become one. None is all.
        comment: The comment of that one.
    """
    rows = rows[::-1]
    entries: list[dict[str, Any]] = [
        {"created": datetime.fromtimestamp(row["Created"], UTC).isoformat(), "created_by": row.get("CreatedBy", "")}
        for row in rows
    ]
    without_files = [number for number, row in enumerate(rows) if not row.get("Size")]
    for number in without_files[: max(0, len(rows) - layers)]:
        entries[number]["empty_layer"] = True
    ends = [number for number, entry in enumerate(entries, 1) if not entry.get("empty_layer")]
    if len(ends) != layers:
        return []
    if below is None:
        return entries
    return [
        *(entries[: ends[below - 1]] if below else []),
        {"created": _now(), "created_by": "merged layers", "comment": comment},
    ]


@contextmanager
def written(config: bytes, layers: Sequence[str], files: Mapping[str, Path]) -> Iterator[IO[bytes]]:
    """Yield the archive of an image, with those of its layers that there are files of."""
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    names = {layer: f"{layer.removeprefix('sha256:')}.tar" for layer in layers}
    manifest = [{"Config": name, "RepoTags": None, "Layers": [names[layer] for layer in layers]}]
    folder = next(iter(files.values())).parent if files else None
    with tempfile.TemporaryFile(dir=folder) as archive:
        with tarfile.open(fileobj=archive, mode="w:") as tar:
            for layer, member_name in names.items():
                if layer in files:
                    tar.add(files[layer], member_name)
                    files[layer].unlink()
            for member, data in ((name, config), ("manifest.json", json.dumps(manifest).encode())):
                info = tarfile.TarInfo(member)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        archive.seek(0)
        yield archive


def _copy(file: IO[bytes], place: Path) -> str:
    """Copy a layer. Return its digest."""
    hashed = hashlib.sha256()
    with place.open("xb") as copy:
        while data := file.read(_CHUNK):
            hashed.update(data)
            copy.write(data)
    return f"sha256:{hashed.hexdigest()}"
