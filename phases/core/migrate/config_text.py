"""Write a conversion into the text of a config.yaml, whose keys and comments stay."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from phases.core.config.schema.sections import SHARINGS
from phases.core.migrate.result import escape_dollars

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.core.migrate.result import Conversion, ListItem

_HEAD = """`habitat migrate` made this from a Dockerfile. Each phase does what some of its instructions did,
in an order that keeps their meaning."""


def add(config: Any, conversion: Conversion, *, setup_is_list: bool | None) -> None:
    """Add a conversion to a config, before the items that the config has.

    Args:
        config: What `document` returned.
        conversion: What to add.
        setup_is_list: The form of a setup in other layers; None for the shorter one.
    """
    from ruamel.yaml.comments import CommentedMap

    is_new = not config
    if conversion.description:
        _put(config, "description", conversion.description)
    if conversion.base_image:
        _put(config, "base_image", conversion.base_image)
    _put(config, "dockerfile", conversion.dockerfile or False)
    if conversion.uid:
        _put(config, "uid", int(conversion.uid))
    _prepend(config, "env", conversion.env)
    _prepend(config, "files", [_at_point(item, conversion) for item in conversion.files])
    _add_secrets(config, conversion)
    _add_caches(config, conversion)
    _add_blocks(config, "hooks", conversion, conversion.hooks)
    if conversion.needs_list_form or setup_is_list:
        _add_blocks(config, "setup", conversion, conversion.scripts)
    elif conversion.scripts:
        if config.get("setup") is None:
            config["setup"] = CommentedMap()
        for user in ("root", "user"):
            _prepend(config["setup"], user, [item for item in conversion.scripts if item.run_as == user], indent=4)
    if conversion.command or conversion.entry_hints:
        _add_entry(config, conversion)
    if is_new:
        config.yaml_set_start_comment(_HEAD)
        _separate_sections(config)


def _put(config: Any, key: str, value: object) -> None:
    first = ("name", "description", "base_image", "dockerfile", "uid")
    place = next((number for number, other in enumerate(config) if other not in first), len(config))
    if key in config:
        config[key] = value
    else:
        config.insert(place, key, value)


def _list(config: Any, key: str) -> Any:
    from ruamel.yaml.comments import CommentedSeq

    if config.get(key) is None:
        config[key] = CommentedSeq()
    return config[key]


def _prepend(config: Any, key: str, items: Sequence[ListItem], indent: int = 2) -> None:
    if not items:
        return
    target = _list(config, key)
    for number, item in enumerate(items):
        target.insert(number, _value(item.value))
    for number, item in enumerate(items):
        if item.comment:
            text = "\n".join(line or " " for line in item.comment)
            target.yaml_set_comment_before_after_key(number, before=text, indent=indent)


def _value(value: str | dict[str, str]) -> Any:
    from ruamel.yaml.comments import CommentedMap

    if isinstance(value, dict):
        return CommentedMap({key: _scalar(text) for key, text in value.items()})
    return _scalar(value)


def _scalar(text: str) -> Any:
    """Return a text in the most readable style that keeps it exactly."""
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString, LiteralScalarString

    if not all(sign.isprintable() or sign in "\n\t" for sign in text):
        return DoubleQuotedScalarString(text)
    if "\n" not in text:
        return text
    if text[0] in " \t\n" or any(re.search(r"\s$", row) for row in text.split("\n")):
        return DoubleQuotedScalarString(text)
    return LiteralScalarString(text.rstrip("\n") + "\n")


def _add_secrets(config: Any, conversion: Conversion) -> None:
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    for secret in conversion.secrets.values():
        existing = next((one for one in config.get("secrets") or () if one.get("name") == secret.name), None)
        if existing is not None:
            phases = existing.get("phases") or ()
            existing["phases"] = [*phases, *(phase for phase in secret.phases if phase not in phases)]
            continue
        phases = CommentedSeq(secret.phases)
        phases.fa.set_flow_style()
        item = CommentedMap({"name": secret.name, "env": secret.env, "phases": phases})
        if secret.optional:
            item["optional"] = True
        _list(config, "secrets").append(item)


def _add_caches(config: Any, conversion: Conversion) -> None:
    from ruamel.yaml.comments import CommentedMap

    existing = [one.get("path") if isinstance(one, dict) else one for one in config.get("caches") or ()]
    for path, sharing in conversion.caches.items():
        if escape_dollars(path) not in existing:
            value = _scalar(escape_dollars(path))
            item = value if sharing == SHARINGS[0] else CommentedMap({"path": value, "sharing": sharing})
            _list(config, "caches").append(item)


def _at_point(item: ListItem, conversion: Conversion) -> ListItem:
    assert isinstance(item.value, dict)
    return replace(item, value={**item.value, **conversion.point(item)})


def _add_blocks(config: Any, key: str, conversion: Conversion, scripts: Sequence[ListItem]) -> None:
    """Add scripts as blocks with one user each."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    for number, (keys, items) in enumerate(conversion.blocks(scripts)):
        block = CommentedMap({**keys, "commands": CommentedSeq()})
        _list(config, key).insert(number, block)
        _prepend(block, "commands", items, indent=6)


def _add_entry(config: Any, conversion: Conversion) -> None:
    from ruamel.yaml.comments import CommentedMap

    entry = config.get("entry")
    if entry is None:
        entry = config["entry"] = CommentedMap()
    if conversion.command and "command" not in entry:
        entry["command"] = _scalar(conversion.command)
    if conversion.entry_hints:
        hint = "From the Dockerfile:\n" + "\n".join(f"  {line}" for line in conversion.entry_hints)
        if entry:
            entry.yaml_set_comment_before_after_key(next(iter(entry)), before=hint, indent=2)
        else:
            del config["entry"]
            last = list(config)[-1]
            config.yaml_set_comment_before_after_key(last, before="entry:\n" + hint)


def _separate_sections(config: Any) -> None:
    """Put an empty line before each section."""
    for key in config:
        if isinstance(config[key], (dict, list)):
            config.yaml_set_comment_before_after_key(key, before="\n")
