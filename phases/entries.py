"""What several phases put into their plans, such as the entries of a Copy step, and into descriptions of changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.protocol import ChangeDescription, Entry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from phases.core.files.tree import Item
    from phases.core.model import Habitat
    from phases.core.origin import Origin


def own_env(habitat: Habitat, *names: str) -> dict[str, tuple[str, Origin]]:
    """Return those of the variables `names` that the habitat sets, as SetImageConfig.env takes them."""
    env = habitat.env
    return {name: (env.values[name], env.origin(name)) for name in names if name in env.values}


def folder(dest: str, owner: str, origin: Origin) -> Entry:
    """Return the entry of a folder that belongs to `owner`, also if it exists."""
    return Entry(dest, "dir", owner, 0o755, origin, adopt=True)


def copies(tree: Sequence[Item], dest: str, owner: str, origin: Origin, mode: int = 0) -> Iterator[Entry]:
    """Yield the entries that copy a tree.

    Args:
        tree: The files, folders and links.
        dest: Where they go.
        owner: NAME or NAME:GROUP.
        origin: The place in the config that asks for it.
        mode: Permissions of the files, 0 for their own. Who can read a folder can enter it too.
    """
    for item in tree:
        place = f"{dest.rstrip('/')}/{item.path}" if item.path else dest
        bits = item.mode
        if mode and item.kind != "link":
            bits = mode | (mode & 0o444) >> 2 if item.kind == "dir" else mode
        yield Entry(place, item.kind, owner, bits, origin, source=item.source, target=item.target, sha256=item.sha256)


def file_in(folder: str, *path: str) -> ChangeDescription:
    """Return the description of a change of a file in a folder."""
    return ChangeDescription("/".join(part for part in (folder, *path) if part), "file")
