"""The key `dockerfile`: the file that a habitat is built from, by default `Dockerfile` in its folder."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from phases.core.config import yaml_tree
from phases.core.errors import HabitatError
from phases.core.files import safe_open

if TYPE_CHECKING:
    from pathlib import Path

# Bytes of a config.yaml that are searched for the key.
_MAX_BYTES = 1_000_000

# The key, or an escape that it may be written with in YAML.
_WORD = re.compile(rb"dockerfile|\\[xuU]")


def file_name(text: str) -> str:
    """Return the name of the file that the key's value means, "" for no Dockerfile."""
    if text.lower() in ("false", "no", "off"):
        return ""
    return text or "Dockerfile"


def is_file_name(text: str) -> bool:
    """Return whether `text` can be the name of a file in the habitat's folder other than its config."""
    return "/" not in text and text.isprintable() and text not in (".", "..", "config.yaml")


def is_in(folder: Path, name: str) -> bool:
    """Return whether a habitat is built from a Dockerfile. name: as `file_name` returns it."""
    return bool(name) and (folder / name).is_file()


def exists_in(folder: Path) -> bool:
    """Return whether a habitat's folder holds the Dockerfile that the habitat is built from.

    This is called for every habitat in every run. So it parses a config only if that has the word, and it raises no
    error for a broken one.
    """
    name = "Dockerfile"
    try:
        if _WORD.search(safe_open.read(folder / "config.yaml", _MAX_BYTES) or b""):
            tree = yaml_tree.load(folder / "config.yaml", layer="local", shown="config.yaml")
            key = tree.at(("dockerfile",))
            name = file_name(str(key.value)) if key and key.value else name
    except (OSError, HabitatError):
        pass  # loading the habitat reports it
    return is_file_name(name) and is_in(folder, name)
