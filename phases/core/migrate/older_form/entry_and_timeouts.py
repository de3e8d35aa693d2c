"""Convert `container:`, `claude:` and `entry:` of the older form, and its time limits."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import yaml

from phases.core.config import schema
from phases.core.migrate.older_form import edits
from phases.core.migrate.older_form.sections import LOST, drop, existing, move, quoted

if TYPE_CHECKING:
    from phases.core.migrate.older_form.document import Document, Pair

# Keys of `container:` that are variables today.
_VARIABLES = {"user": "USER", "work_dir": "WORKDIR", "workdir": "WORKDIR"}

# The phases that run a config's own commands, for a limit that was meant for each phase.
_PHASES_WITH_COMMANDS = ("setup", "repos", "tools", "test")

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def entry(document: Document) -> str:
    """Convert `container:` and `claude:` to `entry:` and variables. Return USER as the config sets it, "" for none."""
    if pair := document.pair("bypass_habitat_construction"):
        drop(document, pair, "bypass_habitat_construction")
    for section in ("container", "claude", "entry"):
        if not document.pair(section):
            continue
        known = schema.EntryKeys.__struct_encode_fields__
        for name in document.names(section):
            pair = existing(document, section, name)
            if section != "entry" and name in _VARIABLES:
                _to_variable(document, pair, section)
            elif name not in known:
                drop(document, pair, f"{section}.{name}", LOST.get(name, "entry has no such key"))
            elif section != "entry" and document.pair("entry", name):
                drop(document, pair, f"{section}.{name}", "entry already has it")
            elif section != "entry":
                document.report(pair.key, f"{section}.{name}", f"entry.{name}")
        if section != "entry":
            _to_entry(document, section)
    values = [document.scalar("env", index) or "" for index in document.indexes("env")]
    users = [text.removeprefix("USER=") for text in values if text.startswith("USER=")]
    return users[-1] if users else ""


def _to_variable(document: Document, pair: Pair, section: str) -> None:
    name, value = _VARIABLES[str(pair.key.value)], str(pair.value.value)
    if not value or not isinstance(pair.value, yaml.ScalarNode):
        drop(document, pair, f"{section}.{pair.key.value}", "it has no text")
        return
    document.report(pair.key, f"{section}.{pair.key.value}", f"env.{name}")
    above = edits.first_line(document, existing(document, section)) - 1
    edits.remove(document, pair)
    present = [document.scalar("env", index) for index in document.indexes("env")]
    if value not in (f"${{{name}}}", f"${name}") and f"{name}={value}" not in present:
        row = document.rows[-1]
        if not edits.add_item(document, "env", quoted(f"{name}={value}"), at=above):
            row.place, row.why = "", f"env is not a list: add {name}={value} to it"


def _to_entry(document: Document, section: str) -> None:
    pair = existing(document, section)
    if not pair.value.value:
        if not document.rows or not any(row.text.startswith(f"{section}.") for row in document.rows):
            document.report(pair.key, section, "", "it has no keys")
        edits.remove(document, pair)
        return
    move(document, section, "entry")


def timeouts(document: Document) -> None:
    """Convert `timeout:`, whose numbers are milliseconds, to `timeouts:`."""
    if not document.pair("timeout"):
        return
    for name in document.names("timeout"):
        pair = existing(document, "timeout", name)
        limit = _duration(str(pair.value.value))
        shown = f"timeout.{name}"
        if not limit:
            drop(document, pair, shown, f"{pair.value.value} is not a time from 1s to 365d")
        elif name == "per-phase":
            _for_each_phase(document, pair, limit)
        else:
            _for_phase(document, pair, limit)
    pair = existing(document, "timeout")
    if not pair.value.value:
        edits.remove(document, pair)
        return
    move(document, "timeout", "timeouts")


def _for_phase(document: Document, pair: Pair, limit: str) -> None:
    name = str(pair.key.value)
    target = "tools" if name == "scripts" else name
    shown = f"timeout.{name}"
    if name == "scripts" and document.pair("timeout", "tools"):
        drop(document, pair, shown, "the limit of tools holds, since scripts run there")
    elif document.scalar("timeouts", target):
        drop(document, pair, shown, "timeouts already has it")
    else:
        document.report(pair.key, shown, f"timeouts.{target}")
        edits.replace(document, pair.value, limit)
        edits.rename(document, existing(document, "timeout", name), target)


def _for_each_phase(document: Document, pair: Pair, limit: str) -> None:
    own_limits = {*document.names("timeout"), *document.names("timeouts")}
    if "scripts" in own_limits:
        own_limits.add("tools")
    names = [name for name in _PHASES_WITH_COMMANDS if name not in own_limits]
    document.report(pair.key, "timeout.per-phase", "timeouts", f"for {', '.join(names)}" if names else "")
    for name in reversed(names):
        edits.insert(document, existing(document, "timeout", "per-phase").mapping, f"{name}: {limit}")
    edits.remove(document, existing(document, "timeout", "per-phase"))


def _duration(text: str) -> str:
    """Return a duration of the older tool as one of today, "" if it is none."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|)", text.strip())
    if not match:
        return ""
    seconds = math.ceil(float(match[1]) * _SECONDS[match[2] or "ms"])
    if not 0 < seconds <= 365 * 86_400:
        return ""
    for unit, size in (("h", 3600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
