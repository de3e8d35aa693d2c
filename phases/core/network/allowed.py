"""The hosts that a person has allowed or refused for now, beside those of the config."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from phases.core.config.entry.hosts import parse
from phases.core.entry_settings import ALLOWLIST
from phases.core.errors import ConfigError, StartError
from phases.core.files import atomic

if TYPE_CHECKING:
    from pathlib import Path

    from phases.core.entry_settings import HostRule
    from phases.core.model import Habitat
    from phases.core.project import Project

_FILE = "network.json"


class HostChanges(Struct):
    """Entries in the form of `allow:` that count beside the config, until they are taken back."""

    allow: list[str] = []
    deny: list[str] = []


def read(project: Project, name: str) -> HostChanges:
    """Return the changes for a habitat. A file that can't be read has none: less is allowed then."""
    try:
        return msgspec.json.decode(_path(project, name).read_bytes(), type=HostChanges)
    except (OSError, msgspec.DecodeError):
        return HostChanges()


def _path(project: Project, name: str) -> Path:
    return project.state_folder(name) / _FILE


def rules_of(project: Project, habitat: Habitat) -> list[HostRule]:
    """Return the rules that count now: those of the config, and those of a person."""
    changes = read(project, habitat.name)
    rules = {rule.text: rule for rule in habitat.entry.allow}
    for text in changes.allow:
        try:
            rules.setdefault(text, parse(text))
        except ConfigError:
            continue  # another version wrote it
    return [rule for text, rule in rules.items() if text not in changes.deny]


def change(project: Project, habitat: Habitat, text: str, *, allow: bool, for_now: bool = True) -> HostRule:
    """Allow or refuse a host. `proxy.set_rules` lets a running proxy follow.

    Args:
        project: The project.
        habitat: The habitat.
        text: An entry in the form of `allow:`.
        allow: Whether it is allowed.
        for_now: Whether the config says something else. Otherwise nothing is kept beside it.

    Returns:
        The rule.

    Raises:
        ConfigError: The text is no host.
        StartError: The habitat has no allowlist.
    """
    rule = parse(text)
    if habitat.entry.network != ALLOWLIST:
        remedy = f"write `network: {{allow: [{rule.text}]}}` below entry: in its config"
        raise StartError("it has no allowlist", where=habitat.name, remedy=remedy)
    changes = read(project, habitat.name)
    in_config = rule.text in {one.text for one in habitat.entry.allow}
    for entries in (changes.allow, changes.deny):
        if rule.text in entries:
            entries.remove(rule.text)
    if for_now and allow and not in_config:
        changes.allow.append(rule.text)
    if for_now and not allow and in_config:
        changes.deny.append(rule.text)
    path = _path(project, habitat.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_if_changed(path, msgspec.json.encode(changes))
    return rule
