"""What the programs of workspaces do, on the files of the fake engine."""

from __future__ import annotations

import dataclasses
import hashlib
import posixpath
from typing import TYPE_CHECKING

from phases.core.runtime.workspace import clones, follow
from phases.core.work import repositories

if TYPE_CHECKING:
    from collections.abc import Callable

    from fake_files import Files, Node

    Output = Callable[[bytes, bool], None]

_TYPES = {"file": 0o100000, "dir": 0o040000, "link": 0o120000}


def run(script: str, files: Files, args: tuple[str, ...], output: Output) -> int | None:
    """Run one of the programs. None if the script is none of them."""
    if script.endswith(repositories._LOOK.text):
        return 0  # there is no git, and so no repository
    if script.endswith((clones._FOLLOW.text, clones._HEAD)):
        output(b"same - - -\n", False)
        return 0
    if script == follow._LIST.text:
        return _list(files, args[0], output)
    if script == follow._HASH.text:
        return _hash(files, *args, output=output)
    if script == follow._APPLY.text:
        return _apply(files, *args)
    return None


def _below(files: Files, folder: str) -> dict[str, Node]:
    """The nodes of a folder, by their paths from it."""
    inside = {path: node for path, node in files.nodes.items() if path == folder or path.startswith(f"{folder}/")}
    return {f".{path[len(folder) :]}": node for path, node in sorted(inside.items())}


def _list(files: Files, folder: str, output: Output) -> int:
    nodes = _below(files, folder)
    repositories = [posixpath.dirname(path) for path in nodes if posixpath.basename(path) == ".git"]
    for path in repositories:
        output(f"= {path}\n{_line(path, nodes[path])}".encode(), False)
    for path, node in nodes.items():
        if not any(path == other or path.startswith(f"{other}/") for other in repositories):
            output(_line(path, node).encode(), False)
    return 0


def _line(path: str, node: Node) -> str:
    """A line of a listing. There are no times on the fake engine: another content has another one."""
    seconds = int(hashlib.sha256(node.content).hexdigest()[:6], 16)
    fields = (f"{_TYPES[node.kind] | node.mode:x}", node.uid, node.gid, len(node.content), seconds, path)
    return " ".join(map(str, fields)) + "\n" + (f"{path} -> {node.target}\n" if node.kind == "link" else "")


def _rows(files: Files, path: str) -> list[str]:
    return files.nodes[path].content.decode().splitlines()


def _hash(files: Files, folder: str, list_file: str, *, output: Output) -> int:
    for path in _rows(files, list_file):
        digest = hashlib.sha256(files.nodes[folder + path[1:]].content).hexdigest()
        output(f"{digest}  {path}\n".encode(), False)
    return 0


def _apply(files: Files, image: str, workspace: str, lists: str) -> int:
    for path in _rows(files, f"{lists}/delete"):
        files.nodes.pop(workspace + path[1:], None)
    for path in _rows(files, f"{lists}/rmdir"):
        if not [name for name in files.nodes if name.startswith(f"{workspace}{path[1:]}/")]:
            del files.nodes[workspace + path[1:]]
    for path in _rows(files, f"{lists}/mkdir"):
        files.add(workspace + path[1:], files.nodes[image + path[1:]])
    for path in _rows(files, f"{lists}/copy"):
        for name, node in _below(files, image + path[1:]).items():
            files.add(workspace + path[1:] + name[1:], node)
    for row in _rows(files, f"{lists}/attributes"):
        mode, owner, path = row.split(" ", 2)
        place = workspace + path[1:]
        uid, gid = map(int, owner.split(":"))
        files.nodes[place] = dataclasses.replace(files.nodes[place], mode=int(mode, 8), uid=uid, gid=gid)
    return 0
