"""The filesystem of the fake engine: absolute paths to nodes."""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import IO


@dataclass(frozen=True)
class Node:
    """kind: file, dir or link; mode: permission bits; target: of a link, as written."""

    kind: str
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    content: bytes = b""
    target: str = ""


class MountedNodes(MutableMapping[str, Node]):
    """Nodes of a container's own, and those of volumes, by where they are mounted, in the place of some."""

    def __init__(self, own: dict[str, Node], volumes: Mapping[str, MutableMapping[str, Node]]) -> None:
        self.own = own
        # Of two volumes, one in the other, the inner one has the path.
        self._volumes = dict(sorted(volumes.items(), key=lambda volume: -len(volume[0])))

    def _of(self, path: str) -> tuple[MutableMapping[str, Node], str]:
        for dest, nodes in self._volumes.items():
            if path == dest or path.startswith(f"{dest}/"):
                return nodes, path[len(dest) :] or "/"
        return self.own, path

    def __getitem__(self, path: str) -> Node:
        nodes, name = self._of(path)
        return nodes[name]

    def __setitem__(self, path: str, node: Node) -> None:
        nodes, name = self._of(path)
        nodes[name] = node

    def __delitem__(self, path: str) -> None:
        nodes, name = self._of(path)
        del nodes[name]

    def __iter__(self) -> Iterator[str]:
        yield from (path for path in self.own if self._of(path)[0] is self.own)
        for dest, nodes in self._volumes.items():
            paths = (dest if name == "/" else dest + name for name in nodes)
            yield from (path for path in paths if self._of(path)[0] is nodes)

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass
class Files:
    """Paths to nodes; `/` is always there."""

    nodes: MutableMapping[str, Node] = field(default_factory=lambda: {"/": Node("dir")})

    @property
    def own(self) -> MutableMapping[str, Node]:
        """Without what is on volumes."""
        return self.nodes.own if isinstance(self.nodes, MountedNodes) else self.nodes

    def copy(self) -> Files:
        return Files(dict(self.own))

    def resolve(self, path: str, *, last: bool = True) -> str:
        """`path` with links followed; without `last`, those above its last component only."""
        done = "/"
        todo = [part for part in path.split("/") if part not in ("", ".")]
        for _ in range(200):
            if not todo:
                return done
            part = todo.pop(0)
            done = posixpath.normpath(posixpath.join(done, part))
            node = self.nodes.get(done)
            if node and node.kind == "link" and (todo or last):
                todo = [p for p in node.target.split("/") if p not in ("", ".")] + todo
                done = "/" if node.target.startswith("/") else posixpath.dirname(done)
        return path  # links in a circle

    def find(self, path: str, *, last: bool = True) -> Node | None:
        return self.nodes.get(self.resolve(path, last=last))

    def add(self, path: str, node: Node) -> None:
        """Put a node, its missing parents being root's. A folder and what is none don't replace each other."""
        place = self.resolve(path, last=False)
        there = self.nodes.get(place)
        if there and (there.kind == "dir") != (node.kind == "dir"):
            raise FileExistsError(f"{place}: cannot put {node.kind} over {there.kind}")
        parent = posixpath.dirname(place)
        if parent not in self.nodes:
            self.add(parent, Node("dir"))
        if self.nodes[parent].kind == "file":
            raise FileExistsError(f"{parent}: not a directory")
        self.nodes[place] = node

    def write(self, path: str, text: str, mode: int = 0o644, uid: int = 0) -> None:
        self.add(path, Node("file", mode, uid, uid, text.encode()))

    def unpack(self, folder: str, archive: IO[bytes]) -> None:
        with tarfile.open(fileobj=archive, mode="r:") as tar:
            for member in tar:
                path = posixpath.normpath(posixpath.join(folder, member.name.lstrip("/")))
                if not path.startswith(folder):
                    raise tarfile.TarError(f"{member.name} is outside of {folder}")
                kind = "dir" if member.isdir() else "link" if member.issym() else "file"
                file = tar.extractfile(member) if kind == "file" else None
                content = file.read() if file else b""
                self.add(path, Node(kind, member.mode, member.uid, member.gid, content, member.linkname))
