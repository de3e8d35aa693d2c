"""Make a new habitat like another one: with a copy of its folder."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

from phases.core.files import tree
from phases.core.files.ignore import Ignore, is_one_of
from phases.core.scaffold.create import new_folder

if TYPE_CHECKING:
    from pathlib import Path

    from phases.core.files.tree import Item
    from phases.core.model import Habitat

# The key with the habitat's own name, which the copy can't have.
_NAME = re.compile(r"^name[ \t]*:.*\n?", re.MULTILINE)


def copy(root: Path, name: str, other: Habitat) -> tuple[str, list[str]]:
    """Copy a habitat's folder, but no sources of volumes in it and no files of secrets, to that of a new habitat.

    Args:
        root: The project's root.
        name: The new habitat.
        other: The habitat to copy.

    Returns:
        The new config's path, relative to the root, and the paths in the old folder that were not copied.

    Raises:
        ConfigError: The name is not valid, the habitat exists, or the folder has what can't be copied.
        StateError: The disk refuses.
    """
    paths = [*(volume.source for volume in other.volumes), *other.secret_files]
    ignore = Ignore().also_if(is_one_of(other.folder, paths))
    items = list(tree.walk(other.folder, ignore, exact=True))
    config = new_folder(root, name, lambda folder: _write(items, folder))
    return config, tree.left_out(other.folder, ignore)


def _write(items: list[Item], folder: Path) -> None:
    for item in items[1:]:
        place = folder / item.path
        if item.kind == "dir":
            place.mkdir()
        elif item.kind == "link":
            place.symlink_to(item.target)
        else:
            shutil.copyfile(item.source, place)
            place.chmod(item.mode)
    config = folder / "config.yaml"
    if config.is_file():
        text = config.read_text(encoding="utf-8")
        config.write_text(_NAME.sub("", text, count=1), encoding="utf-8")
