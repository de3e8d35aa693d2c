"""The hosts that a person has allowed or refused for now, beside those of the config."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from phases.core.config.entry.hosts import parse
from phases.core.entry_settings import ALLOWLIST
from phases.core.errors import ConfigError, StartError
from phases.core.files import atomic

if TYPE_CHECKING:
    from collections.abc import Iterable
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


def rules_of(project: Project, habitat: Habitat) -> tuple[list[HostRule], list[HostRule]]:
    """Return what is allowed now, by the config and by a person, and what a person refuses in spite of that."""
    changes = read(project, habitat.name)
    return [*habitat.entry.allow, *_parsed(changes.allow)], _parsed(changes.deny)


def _parsed(texts: Iterable[str]) -> list[HostRule]:
    rules = []
    for text in texts:
        with suppress(ConfigError):  # another version wrote it
            rules.append(parse(text))
    return rules


def change(project: Project, habitat: Habitat, text: str, *, allow: bool) -> HostRule:
    """Allow or refuse a host. `proxy.set_rules` lets a running proxy follow.

    What the config says anyway is not kept beside it.

    Args:
        project: The project.
        habitat: The habitat.
        text: An entry in the form of `allow:`.
        allow: Whether it is allowed.

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
    for entries in (changes.allow, changes.deny):
        if rule.text in entries:
            entries.remove(rule.text)
    if allow and rule.text not in {one.text for one in habitat.entry.allow}:
        changes.allow.append(rule.text)
    if not allow and (habitat.entry.learns or allowing(habitat, rule)):
        changes.deny.append(rule.text)
    path = _path(project, habitat.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_if_changed(path, msgspec.json.encode(changes))
    return rule


def allowing(habitat: Habitat, rule: HostRule) -> HostRule | None:
    """Return a rule of the config that allows a part of what another one refuses, None for none."""
    return next((one for one in habitat.entry.allow if one.meets(rule)), None)


def denying(project: Project, name: str, rule: HostRule) -> HostRule | None:
    """Return what a person refuses, for now, of what a rule allows, None for nothing. name: of the habitat."""
    return next((one for one in _parsed(read(project, name).deny) if rule.meets(one)), None)
