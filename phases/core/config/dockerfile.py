"""Which Dockerfile a habitat begins with: what the key `dockerfile` says, else one that is called so."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from phases.core.config import yaml_tree
from phases.core.errors import HabitatError
from phases.core.files import safe_open

if TYPE_CHECKING:
    from pathlib import Path

# Bytes of a config.yaml that are searched for the key.
_MOST = 1_000_000

# The key, or signs that it may be written with: YAML has escapes.
_WORD = re.compile(rb"dockerfile|\\[xuU]")


def named(text: str) -> str:
    """What the key stands for: a file's name, "" for no Dockerfile."""
    if text.lower() in ("false", "no", "off"):
        return ""
    return text or "Dockerfile"


def is_name(text: str) -> bool:
    """Whether it is a file's that may lie in the habitat's folder and is not the config itself."""
    return "/" not in text and text.isprintable() and text not in (".", "..", "config.yaml")


def lies_in(folder: Path) -> bool:
    """Whether a habitat's folder holds the Dockerfile that it begins with, also where its config is broken.

    Asked for each habitat whenever there are tasks to make: a config without the word is not parsed.
    """
    name = "Dockerfile"
    try:
        if _WORD.search(safe_open.read(folder / "config.yaml", _MOST) or b""):
            tree = yaml_tree.load(folder / "config.yaml", layer="local", shown="config.yaml")
            found = tree.at(("dockerfile",))
            name = named(str(found.value)) if found and found.value else name
    except (OSError, HabitatError):
        pass  # told by whoever loads it
    return bool(name) and is_name(name) and (folder / name).is_file()
