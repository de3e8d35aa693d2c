"""The JSON Schema of config.yaml, and of the personal one, with which editors complete keys and mark errors.

It is generated from the classes in schema/. The loader reads each value as the text that was typed, and ignores a key
without a value. Editors see what YAML makes of the text: a number in `mode: 0600`, a boolean in `branch: true`, a null.
So the schema accepts every value whose text the loader accepts.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from phases.core.config.layers import personal
from phases.core.config.schema import Config

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Schema: TypeAlias = dict[str, Any]

_WHOLE = r"^-?(0|[1-9][0-9]*)(\.0+|(\.[0-9]+)?[eE][+-]?[0-9]+)?$"
_NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$"
_SWITCH = "^([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee]|[01])$"

# A text that is not blank, with no character that git leaves out.
_ONE_LINE = r"^[^<>\x00-\x1f]*[^<>\x00-\x20][^<>\x00-\x1f]*$"

_PERSONAL_PATH = "Absolute, below ~, or relative to this file's folder."

# What a switch must be that may only be on.
_TRUE: Schema = {
    "type": ["boolean", "string", "integer"],
    "pattern": "^([Tt][Rr][Uu][Ee]|1)$",
    "not": {"enum": [False, 0]},
}

# The YAML values that the loader accepts for each type.
_ACCEPTED: dict[str, Schema] = {
    "string": {"type": ["string", "number", "boolean"]},
    "integer": {"type": ["integer", "string"], "pattern": _WHOLE},
    "number": {"type": ["number", "string"], "pattern": _NUMBER},
    "boolean": {"type": ["boolean", "string", "integer"], "pattern": _SWITCH, "minimum": 0, "maximum": 1},
    "object": {"type": ["object"]},
    "array": {"type": ["array"]},
}

# The parts of msgspec's schema that are copied.
_COPIED = ("description", "examples", "enum", "pattern", "minimum", "maximum", "required")


#: The files of the package with both schemas.
CONFIG_FILE, PERSONAL_FILE = "config.schema.json", "personal.schema.json"

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(phases: Iterable[str]) -> Schema:
    """Return the schema. `phases` are the names of all phases."""
    phases = list(phases)
    generated = msgspec.json.schema(Config)
    whole = _translated(generated, generated["$defs"], optional=True)
    properties = whole["properties"]
    _name_keys(properties["timeouts"], phases)
    properties["timeouts"]["additionalProperties"] = {"type": "null", "errorMessage": "there is no such phase"}
    _name_keys(properties["setup"]["anyOf"][0], ("root", "user"))
    for section in ("files", "hooks"):
        for when in ("before", "after"):
            properties[section]["items"]["properties"][when]["enum"] = [*phases, "", None]
    properties["secrets"]["items"]["properties"]["phases"]["items"]["enum"] = phases
    title = "config.yaml of a habitat"
    return {"$schema": _DIALECT, "title": title, **whole}


def personal_schema(phases: Iterable[str]) -> Schema:
    """Return the schema of a person's own config: the keys that it may have, and `identity`."""
    whole = json_schema(phases)
    properties = whole["properties"]
    entry, secret = properties["entry"], properties["secrets"]["items"]
    entry["properties"] = {key: entry["properties"][key] for key in personal.ENTRY}
    entry["properties"]["files"]["items"]["properties"]["source"]["description"] = _PERSONAL_PATH
    for choice in _with_file(properties["instructions"]):
        choice["properties"]["file"]["description"] = _PERSONAL_PATH
    del secret["properties"]["phases"]
    secret["properties"]["start"] = {**secret["properties"]["start"], **_TRUE}
    secret["required"] = [*secret["required"], "start"]
    properties["identity"] = _identity()
    whole["properties"] = {key: properties[key] for key in personal.SECTIONS}
    return {
        **whole,
        "title": "Your personal config",
        "description": "What all your running habitats get, and no build.",
    }


def published(schema: Schema) -> str:
    """Return the text of a schema's file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _with_file(node: Schema) -> Iterator[Schema]:
    """Yield the nodes of a schema of texts that are a mapping with `file`."""
    if "file" in node.get("properties", ()):
        yield node
    for below in (*node.get("anyOf", ()), *([node["items"]] if "items" in node else [])):
        yield from _with_file(below)


def _identity() -> Schema:
    words = {"name": "The name of the author of commits.", "email": "The e-mail address of the author of commits."}
    keys = {key: {"type": "string", "description": words[key], "pattern": _ONE_LINE} for key in personal.IDENTITY}
    description = "Who makes commits in habitats."
    return {"description": description, "type": ["object", "null"], "properties": keys, "additionalProperties": False}


def _name_keys(node: Schema, keys: Iterable[str]) -> None:
    """Name some keys of a mapping with free keys, so that editors offer them."""
    node["properties"] = dict.fromkeys(keys, node["additionalProperties"])


def _translated(node: Schema, models: Mapping[str, Schema], *, optional: bool) -> Schema:
    """Return a node of msgspec's schema for editors. If `optional`, its value may be null."""
    if "$ref" in node:
        node = {**models[node["$ref"].rpartition("/")[2]], **node}
    result = {key: node[key] for key in _COPIED if node.get(key) not in (None, [])}
    if "anyOf" in node:
        choices = [_translated(choice, models, optional=False) for choice in node["anyOf"]]
        result["anyOf"] = [*choices, *([{"type": "null"}] if optional else [])]
    if "type" in node:
        result |= _ACCEPTED[node["type"]]
        types = [*result["type"], *(["null"] if optional else [])]
        result["type"] = types if len(types) > 1 else types[0]
    if "enum" in node and optional:
        result["enum"] = [*node["enum"], None]
    if "items" in node:
        result["items"] = _translated(node["items"], models, optional=False)
    if "properties" in node:
        required = node.get("required", ())
        result["properties"] = {
            key: _translated(value, models, optional=key not in required) for key, value in node["properties"].items()
        }
    if "additionalProperties" in node:
        others = node["additionalProperties"]
        result["additionalProperties"] = others and _translated(others, models, optional=True)
    return result
