"""Recognizes a config in the form of claude-habitat, which `doit migrate` converts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phases.core.config.yaml_tree import Plain, Tree

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

#: A reference to a value of the config. Today only `env:` can be referred to, as ${NAME}.
TEMPLATE = re.compile(r"(?<!\$)\{(?:env\.(\w+)|container[._](user|work_dir))\}")


def keys(tree: Tree) -> list[str]:
    """Return the keys and references of a config that are in the older form, none for a config of today."""
    config = tree.plain()
    assert isinstance(config, dict)
    without_value = {str(path[0]): None for path in tree.empty_keys() if len(path) == 1}
    return list(dict.fromkeys(_keys({**config, **without_value})))


def _keys(config: dict[str, Plain]) -> Iterator[str]:
    yield from (key for key in config if key in _KEYS)
    for section, names in _ELEMENT_KEYS.items():
        elements = config.get(section)
        for element in elements if isinstance(elements, list) else ():
            if isinstance(element, dict):
                yield from (f"{section}[].{name}" for name in names if name in element)
    setup, entry = config.get("setup"), config.get("entry")
    if isinstance(setup, dict):
        yield from (f"setup.{user}" for user, block in setup.items() if isinstance(block, dict))
    if isinstance(entry, dict):
        yield from (f"entry.{name}" for name in _ENTRY_KEYS if name in entry)
    yield from (match[0] for text in _texts(config) for match in TEMPLATE.finditer(text))


def _texts(value: Plain) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif value is not None:
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)
