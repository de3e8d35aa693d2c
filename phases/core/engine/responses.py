"""What an engine answers, as our types. The API's own words, JSON by now, and nothing of the docker package."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from phases.core.engine.protocol import (
    Bind,
    Change,
    Container,
    Image,
    ImageConfig,
    ImageSize,
    Layer,
    PathInfo,
    Stat,
    Volume,
)
from phases.core.port import Port

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from tarfile import TarInfo

    Row = Mapping[str, Any]

# Seconds since 1970, far before there were images.
_FIRST_IMAGE = 1e9

# Of a change, as the API numbers them.
_KINDS: dict[int, Literal["added", "changed", "deleted"]] = {0: "changed", 1: "added", 2: "deleted"}

# Bits of Go's os.FileMode, which the archive API speaks.
_GO_DIR, _GO_LINK, _GO_SETUID, _GO_SETGID, _GO_STICKY = 1 << 31, 1 << 27, 1 << 23, 1 << 22, 1 << 20

# All that is no plain file: folders, links, pipes, sockets, devices, and what Go has no name for.
_GO_IRREGULAR = _GO_DIR | _GO_LINK | 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21 | 1 << 19


# Images


def rows(chunks: Iterable[bytes]) -> Iterator[Row]:
    """Of an answer that is a row of JSON, and then another. Raises OSError for what is none."""
    begun = b""
    for chunk in chunks:
        *whole, begun = (begun + chunk).split(b"\n")
        try:
            yield from [json.loads(row) for row in whole if row.strip()]
        except ValueError as error:
            raise ConnectionError("the answer is not what it says to be") from error


def images(rows: Iterable[Row]) -> list[Image]:
    """Of the list of images."""
    return [
        Image(
            row["Id"],
            tuple(tag for tag in row.get("RepoTags") or () if tag != "<none>:<none>"),
            row.get("Labels") or {},
        )
        for row in rows
    ]


def stored(rows: Iterable[Row]) -> list[ImageSize]:
    """Of the list of images, intermediate ones among them."""
    return [
        ImageSize(row["Id"], row.get("ParentId") or "", row.get("Size") or 0, _made(row.get("Created") or 0))
        for row in rows
    ]


def _made(seconds: float) -> datetime | None:
    """When an image was made. Builds that are to give the same bytes each time say 1970, or 1980."""
    return datetime.fromtimestamp(seconds, UTC) if seconds > _FIRST_IMAGE else None


def layers(history: Sequence[Row]) -> list[Layer]:
    """Of an image's history, since no size stands beside the digests of layers. What was made on the
    same layer, in the same second, in the same words and of the same size is taken for the same.
    """
    found: list[Layer] = []
    below = ""
    for row in reversed(history):
        made = json.dumps([below, row.get("Created"), row.get("CreatedBy"), row.get("Size")])
        below = hashlib.sha256(made.encode()).hexdigest()
        found.append(Layer(below, row.get("Size") or 0))
    return found


def image_config(found: Row) -> ImageConfig:
    config = found.get("Config") or {}
    return ImageConfig(
        id=found["Id"],
        env=dict(entry.partition("=")[::2] for entry in config.get("Env") or ()),
        entrypoint=tuple(config.get("Entrypoint") or ()),
        command=tuple(config.get("Cmd") or ()),
        user=config.get("User") or "",
        workdir=config.get("WorkingDir") or "",
        comment=found.get("Comment") or "",
        size=found.get("Size") or 0,
        volumes=tuple(config.get("Volumes") or ()),
        platform="/".join(part for key in ("Os", "Architecture", "Variant") if (part := found.get(key))),
        labels=config.get("Labels") or {},
    )


# Containers


def container(found: Row) -> Container:
    """Of one that was looked at."""
    return Container(
        found["Id"],
        found["Name"].lstrip("/"),
        found["Image"],
        bool(found["State"]["Running"]),
        found["Config"].get("Labels") or {},
        tuple(found["Config"].get("Cmd") or ()),
        tuple(
            Bind(mount["Source"], mount["Destination"], not mount["RW"])
            for mount in found.get("Mounts") or ()
            if mount["Type"] == "bind"
        ),
        _since(found),
        published(found["NetworkSettings"].get("Ports")),
    )


def containers(rows: Iterable[Row]) -> list[Container]:
    """Of the list, which tells less."""
    return [
        Container(
            row["Id"],
            next(iter(row.get("Names") or ("",))).lstrip("/"),
            row.get("ImageID", ""),
            row.get("State") == "running",
            row.get("Labels") or {},
            ports=_published_in(row.get("Ports") or ()),
        )
        for row in rows
    ]


def _since(found: Row) -> datetime | None:
    """Since when a container is as it is: one that was never started, since it was made."""
    state = found["State"]
    told = (state.get("StartedAt" if state["Running"] else "FinishedAt"), found.get("Created"))
    times = (datetime.fromisoformat(text).astimezone(UTC) for text in told if text and not text.startswith("0001-"))
    return next(times, None)


def published(rows: Row | None) -> tuple[Port, ...]:
    """What one container publishes; None is the place of what is only exposed."""
    found = ((key.partition("/"), place) for key, places in (rows or {}).items() for place in places or ())
    return tuple(
        sorted(
            Port(int(inside), protocol, place["HostIp"], int(place["HostPort"] or 0))
            for (inside, _, protocol), place in found
        )
    )


def _published_in(rows: Iterable[Row]) -> tuple[Port, ...]:
    """The same as the list tells it."""
    public = (row for row in rows if "PublicPort" in row)
    return tuple(sorted(Port(row["PrivatePort"], row["Type"], row["IP"], row["PublicPort"]) for row in public))


# What is in them


def stat(found: Row) -> Stat:
    """Of a path in a container."""
    mode = int(found["mode"])
    special = (mode & _GO_SETUID and 0o4000) | (mode & _GO_SETGID and 0o2000) | (mode & _GO_STICKY and 0o1000)
    link = found.get("linkTarget", "") if mode & _GO_LINK else ""
    when = found.get("mtime", "")  # to the nanosecond
    edition = f"{found['size']} {when}" if when and not mode & _GO_IRREGULAR else ""
    return Stat(is_dir=bool(mode & _GO_DIR), mode=(mode & 0o777) | special, link=link, edition=edition)


def path_info(member: TarInfo, content: bytes) -> PathInfo:
    """Describe a path by the first entry of its archive."""
    kind: Literal["file", "dir", "link", "other"] = "other"
    if member.isreg():
        kind = "file"
    elif member.isdir():
        kind = "dir"
    elif member.issym():
        kind = "link"
    return PathInfo(kind, member.mode & 0o7777, member.uid, member.gid, member.linkname, content)


def changes(rows: Iterable[Row]) -> list[Change]:
    return sorted((Change(row["Path"], _KINDS[row["Kind"]]) for row in rows), key=lambda change: change.path)


def volumes(rows: Iterable[Row]) -> list[Volume]:
    found = [Volume(row["Name"], row.get("Labels") or {}, row.get("CreatedAt") or "") for row in rows]
    return sorted(found, key=lambda volume: volume.name)
