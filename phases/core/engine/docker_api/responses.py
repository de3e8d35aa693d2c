"""Responses of Docker's API, parsed into the types of the engine protocol."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from phases.core.engine.confinement.restrictions import ContainerLimits
from phases.core.engine.types import (
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
    VolumeMount,
)
from phases.core.port import Port

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from tarfile import TarInfo

    #: A JSON object.
    Row = Mapping[str, Any]

# Seconds since 1970, long before the first image was made.
_FIRST_IMAGE = 1e9

# The numbers that the API has for the kinds of changes.
_KINDS: dict[int, Literal["added", "changed", "deleted"]] = {0: "changed", 1: "added", 2: "deleted"}

# Bits of Go's os.FileMode, in which the archive API gives modes.
_GO_DIR, _GO_LINK, _GO_SETUID, _GO_SETGID, _GO_STICKY = 1 << 31, 1 << 27, 1 << 23, 1 << 22, 1 << 20

# The bits of all that is no regular file: folders, links, pipes, sockets, devices, and types that Go has no name for.
_GO_IRREGULAR = _GO_DIR | _GO_LINK | 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21 | 1 << 19


# Images


def json_rows(chunks: Iterable[bytes]) -> Iterator[Row]:
    """Yield the JSON objects of a response that has one on each line.

    Raises:
        OSError: A line is not JSON.
    """
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        try:
            yield from [json.loads(line) for line in lines if line.strip()]
        except ValueError as error:
            raise ConnectionError("the answer is not the JSON that it announces") from error


def images(rows: Iterable[Row]) -> list[Image]:
    """Parse the list of images."""
    return [
        Image(
            row["Id"],
            tuple(tag for tag in row.get("RepoTags") or () if tag != "<none>:<none>"),
            row.get("Labels") or {},
        )
        for row in rows
    ]


def image_sizes(rows: Iterable[Row]) -> list[ImageSize]:
    """Parse the list of all images, intermediate ones among them."""
    return [
        ImageSize(row["Id"], row.get("ParentId") or "", row.get("Size") or 0, _image_time(row.get("Created") or 0))
        for row in rows
    ]


def _image_time(seconds: float) -> datetime | None:
    """Return when an image was made. Reproducible builds say 1970 or 1980, which counts as unknown."""
    return datetime.fromtimestamp(seconds, UTC) if seconds > _FIRST_IMAGE else None


def layers(history: Sequence[Row]) -> list[Layer]:
    """Parse the history of an image, because the API gives no size beside the digest of a layer.

    Two layers count as the same if they lie on the same layer, and have the same second, command and size.
    """
    result: list[Layer] = []
    below = ""
    for row in reversed(history):
        identity = json.dumps([below, row.get("Created"), row.get("CreatedBy"), row.get("Size")])
        below = hashlib.sha256(identity.encode()).hexdigest()
        result.append(Layer(below, row.get("Size") or 0))
    return result


def image_config(row: Row) -> ImageConfig:
    """Parse an inspected image."""
    config = row.get("Config") or {}
    return ImageConfig(
        id=row["Id"],
        env=dict(entry.partition("=")[::2] for entry in config.get("Env") or ()),
        entrypoint=tuple(config.get("Entrypoint") or ()),
        command=tuple(config.get("Cmd") or ()),
        user=config.get("User") or "",
        workdir=config.get("WorkingDir") or "",
        comment=row.get("Comment") or "",
        size=row.get("Size") or 0,
        volumes=tuple(config.get("Volumes") or ()),
        platform="/".join(part for key in ("Os", "Architecture", "Variant") if (part := row.get(key))),
        labels=config.get("Labels") or {},
        shell=tuple(config.get("Shell") or ()),
        on_build=tuple(config.get("OnBuild") or ()),
        layers=len((row.get("RootFS") or {}).get("Layers") or ()),
    )


# Containers


def container(row: Row) -> Container:
    """Parse an inspected container."""
    return Container(
        row["Id"],
        row["Name"].lstrip("/"),
        row["Image"],
        bool(row["State"]["Running"]),
        row["Config"].get("Labels") or {},
        tuple(row["Config"].get("Cmd") or ()),
        tuple(
            Bind(mount["Source"], mount["Destination"], not mount["RW"])
            for mount in row.get("Mounts") or ()
            if mount["Type"] == "bind"
        ),
        _since(row),
        published_ports(row["NetworkSettings"].get("Ports")),
        bool(row["State"].get("OOMKilled")) and not row["State"]["Running"],
        limits=_limits(row["HostConfig"]),
        volumes=tuple(
            VolumeMount(mount["Name"], mount["Destination"], copies=False)
            for mount in row.get("Mounts") or ()
            if mount["Type"] == "volume"
        ),
    )


def _limits(row: Row) -> ContainerLimits:
    return ContainerLimits(row.get("Memory") or 0, row.get("NanoCpus") or 0, max(row.get("PidsLimit") or 0, 0))


def containers(rows: Iterable[Row]) -> list[Container]:
    """Parse the list of containers, which has less than an inspected one."""
    return [
        Container(
            row["Id"],
            next(iter(row.get("Names") or ("",))).lstrip("/"),
            row.get("ImageID", ""),
            row.get("State") == "running",
            row.get("Labels") or {},
            ports=_listed_ports(row.get("Ports") or ()),
        )
        for row in rows
    ]


def _since(row: Row) -> datetime | None:
    """Return when a container was started, ended, or made if it was never started."""
    state = row["State"]
    texts = (state.get("StartedAt" if state["Running"] else "FinishedAt"), row.get("Created"))
    times = (datetime.fromisoformat(text).astimezone(UTC) for text in texts if text and not text.startswith("0001-"))
    return next(times, None)


def published_ports(bindings: Row | None) -> tuple[Port, ...]:
    """Parse the port bindings of an inspected container. A port that is only exposed has None for bindings."""
    pairs = ((key.partition("/"), place) for key, places in (bindings or {}).items() for place in places or ())
    return tuple(
        sorted(
            Port(int(inside), protocol, place["HostIp"], int(place["HostPort"] or 0))
            for (inside, _, protocol), place in pairs
        )
    )


def _listed_ports(rows: Iterable[Row]) -> tuple[Port, ...]:
    """Parse the ports of a listed container."""
    public = (row for row in rows if "PublicPort" in row)
    return tuple(sorted(Port(row["PrivatePort"], row["Type"], row["IP"], row["PublicPort"]) for row in public))


# Files


def stat(row: Row) -> Stat:
    """Parse what the archive API says about a path."""
    mode = int(row["mode"])
    special = (mode & _GO_SETUID and 0o4000) | (mode & _GO_SETGID and 0o2000) | (mode & _GO_STICKY and 0o1000)
    link = row.get("linkTarget", "") if mode & _GO_LINK else ""
    changed_at = row.get("mtime", "")  # to the nanosecond
    edition = f"{row['size']} {changed_at}" if changed_at and not mode & _GO_IRREGULAR else ""
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
    """Parse the changes of a container, sorted by path."""
    return sorted((Change(row["Path"], _KINDS[row["Kind"]]) for row in rows), key=lambda change: change.path)


def volumes(rows: Iterable[Row]) -> list[Volume]:
    """Parse the list of volumes, sorted by name."""
    result = [Volume(row["Name"], row.get("Labels") or {}, row.get("CreatedAt") or "") for row in rows]
    return sorted(result, key=lambda volume: volume.name)
