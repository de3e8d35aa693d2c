"""Recognizes a config in the form of claude-habitat, which `habitat migrate` converts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phases.core.config.yaml_tree import Tree
    from phases.core.origin import Origin

# Top-level keys that have another name or another form today.
_KEYS = (
    "bypass_habitat_construction",
    "claude",
    "container",
    "environment",
    "image",
    "repositories",
    "scripts",
    "timeout",
)

# Keys of the elements of a list.
_ELEMENT_KEYS = {"files": ("src", "description"), "repos": ("shallow", "access")}

_ENTRY_KEYS = ("tty", "bypass_habitat_construction", "disable_habitat_instructions", "instructions_file")

# The keys of a user in `setup:`, which is a list today.
_SETUP_KEYS = ("run_as", "commands")

#: The sections whose values are paths and URLs. Elsewhere braces may belong to a program: awk '{env.X}'.
PATH_SECTIONS = ("caches", "files", "repos", "tests", "verify_fs", "volumes")

#: A reference to a value of the config. Today only `env:` can be referred to, as ${NAME}.
TEMPLATE = re.compile(r"(?<!\$)\{(?:env\.(\w+)|container[._](user|work_dir))\}")


def keys(tree: Tree) -> dict[str, Origin]:
    """Return the keys of a config in the older form, and references in its paths, each with its first place.

    A config of today has none.
    """
    places: dict[str, Origin] = {}
    for name, origin in (*_keys(tree), *_references(tree)):
        places.setdefault(name, origin)
    return places


def has_keys(tree: Tree) -> bool:
    """Return whether a config has keys in the older form, so that references in its commands are of that form, too."""
    return any(True for _ in _keys(tree))


def _keys(tree: Tree) -> Iterator[tuple[str, Origin]]:
    config = _pairs(tree)
    yield from ((key, value.origin) for key, value in config.items() if key in _KEYS)
    for section, names in _ELEMENT_KEYS.items():
        for element in _items(config.get(section)):
            pairs = _pairs(element)
            yield from ((f"{section}[].{name}", pairs[name].origin) for name in names if name in pairs)
    for user, block in _pairs(config.get("setup")).items():
        if any(key in _pairs(block) for key in _SETUP_KEYS):
            yield f"setup.{user}", block.origin
    entry = _pairs(config.get("entry"))
    yield from ((f"entry.{name}", entry[name].origin) for name in _ENTRY_KEYS if name in entry)


def _references(tree: Tree) -> Iterator[tuple[str, Origin]]:
    config = _pairs(tree)
    for section in PATH_SECTIONS:
        for text, origin in _texts(config.get(section)):
            yield from ((match[0], origin) for match in TEMPLATE.finditer(text))


def _texts(tree: Tree | None) -> Iterator[tuple[str, Origin]]:
    if tree and isinstance(tree.value, str):
        yield tree.value, tree.origin
    for part in (*_pairs(tree).values(), *_items(tree)):
        yield from _texts(part)


def _pairs(tree: Tree | None) -> dict[str, Tree]:
    return tree.value if tree and isinstance(tree.value, dict) else {}


def _items(tree: Tree | None) -> list[Tree]:
    return tree.value if tree and isinstance(tree.value, list) else []
