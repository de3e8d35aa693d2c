"""Several layers become one with the same effect."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from phases.core.engine.carrying import merged_layers

if TYPE_CHECKING:
    from collections.abc import Sequence

CAPABILITY = b"\x01\x00\x00\x02\xff\x04".decode("utf-8", "surrogateescape")


def layer(*entries: str | tarfile.TarInfo) -> io.BytesIO:
    """A layer. A name that ends with a slash is a folder; `NAME=TEXT` a file; `NAME->TARGET` a hard link."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:", format=tarfile.PAX_FORMAT) as tar:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                tar.addfile(entry)
                continue
            name, _, text = entry.partition("=")
            name, _, target = name.partition("->")
            info = tarfile.TarInfo(name.rstrip("/"))
            info.size = len(text)
            if name.endswith("/"):
                info.type = tarfile.DIRTYPE
            elif target:
                info.type, info.linkname = tarfile.LNKTYPE, target
            tar.addfile(info, io.BytesIO(text.encode()))
    file.seek(0)
    return file


def merged(*layers: io.BytesIO, below: Sequence[str] = ()) -> list[str]:
    """The entries of the merged layer, as `layer` has them."""
    result = io.BytesIO()
    merged_layers.merge(layers, set(below), result)
    result.seek(0)
    rows = []
    with tarfile.open(fileobj=result, mode="r:") as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isreg() else None
            text = file.read().decode() if file else ""
            link = f"->{member.linkname}" if member.islnk() else ""
            rows.append(member.name + ("/" if member.isdir() else "") + link + (f"={text}" if text else ""))
    return rows


@pytest.mark.parametrize(
    ("layers", "below", "expected"),
    [
        ([["a=1"], ["b=2"]], [], ["a=1", "b=2"]),
        ([["a=1"], ["a=2"]], [], ["a=2"]),
        ([["d/", "d/a=1"], ["d/", "d/b=2"]], [], ["d/", "d/a=1", "d/b=2"]),
        ([["a=1"], [".wh.a"]], [], []),
        ([["a=1"], [".wh.a"]], ["/a"], [".wh.a"]),
        ([[".wh.a"], ["a=2"]], ["/a"], ["a=2"]),
        ([["d/", "d/a=1"], [".wh.d"]], ["/d", "/d/a"], [".wh.d"]),
        ([[".wh.d"], ["d/", "d/b=2"]], ["/d", "/d/a"], ["d/", "d/b=2", "d/.wh..wh..opq"]),
        ([["d/", "d/a=1"], ["d/", "d/.wh..wh..opq", "d/b=2"]], ["/d"], ["d/", "d/b=2", "d/.wh..wh..opq"]),
        ([["d/", "d/.wh..wh..opq", "d/a=1"], ["d/", "d/.wh.a"]], ["/d", "/d/a"], ["d/", "d/.wh..wh..opq"]),
        ([["d=file"], ["d/", "d/b=2"]], ["/d", "/d/a"], ["d/", "d/b=2", "d/.wh..wh..opq"]),
        ([["d/", "d/a=1"], ["d=file"]], ["/d"], ["d=file"]),
        ([["d/", "d/.wh.a"], ["d=file"]], ["/d", "/d/a"], ["d=file"]),
        ([[".wh..wh.plnk", "a=1"], ["b=2"]], [], ["a=1", "b=2"]),
        ([["a=1", "b->a"], ["c=3"]], [], ["a=1", "c=3", "b->a"]),
        ([["a=1", "b->a", "c->a"], [".wh.a"]], [], ["b=1", "c->b"]),
        ([["a=1", "b->a", "c->a"], ["a=2", ".wh.b"]], [], ["a=2", "c=1"]),
        ([["a=1"], [".wh.a"], ["a=3"], [".wh.a"]], ["/a"], [".wh.a"]),
    ],
)
def test_layers_are_merged(layers: list[list[str]], below: list[str], expected: list[str]) -> None:
    assert merged(*(layer(*entries) for entries in layers), below=below) == expected


def test_entry_keeps_every_byte_of_its_head() -> None:
    info = tarfile.TarInfo("d/" + "x" * 200)
    info.uid, info.gid, info.mode, info.mtime = 12, 34, 0o4755, 1234567890
    info.pax_headers = {"SCHILY.xattr.security.capability": CAPABILITY, "mtime": "1234567890.123456789"}
    result = io.BytesIO()
    source = layer("d/", info)
    merged_layers.merge([source, layer("other=1")], set(), result)
    with tarfile.open(fileobj=io.BytesIO(source.getvalue()), mode="r:") as tar:
        head = source.getvalue()[tar.getmember(info.name).offset : tar.getmember(info.name).offset_data]
    assert head in result.getvalue()


def test_file_that_takes_the_place_of_its_hard_link_keeps_capability() -> None:
    info = tarfile.TarInfo("a")
    info.pax_headers = {"SCHILY.xattr.security.capability": CAPABILITY}
    result = io.BytesIO()
    merged_layers.merge([layer(info, "b->a"), layer(".wh.a")], set(), result)
    result.seek(0)
    with tarfile.open(fileobj=result, mode="r:") as tar:
        (member,) = tar.getmembers()
    assert (member.name, member.isreg()) == ("b", True)
    assert member.pax_headers["SCHILY.xattr.security.capability"] == CAPABILITY


@pytest.mark.parametrize(
    ("layers", "paths"),
    [
        ([["/a", "/d", "/d/b"], ["/.wh.a"]], {"/d", "/d/b"}),
        ([["/d", "/d/b"], ["/d", "/d/.wh..wh..opq", "/d/c"]], {"/d", "/d/c"}),
        ([["/d", "/d/b"], ["/.wh.d"]], set()),
    ],
)
def test_paths_after_layers(layers: list[list[str]], paths: set[str]) -> None:
    assert merged_layers.paths_after(layers) == paths
