"""Writes a host that a person allows or refuses into the habitat's own config.yaml."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.config import edit
from phases.core.errors import ConfigError, state_error
from phases.core.files import atomic

if TYPE_CHECKING:
    from pathlib import Path

    from phases.core.entry_settings import HostRule
    from phases.core.model import Habitat


def save(root: Path, habitat: Habitat, rule: HostRule, *, allow: bool) -> str:
    """Write a rule into the config of a habitat, or take it out. Return the place, "" if nothing had to change.

    Raises:
        ConfigError: The config of another layer has the host, so that this one can't refuse it.
        StateError: The config can't be read or written.
    """
    path = habitat.folder / "config.yaml"
    shown = str(path.relative_to(root))
    rules = {one.text: one for one in habitat.entry.allow}
    if allow and rule.text in rules:
        return ""
    try:
        text = path.read_bytes().decode()  # with the ends of its lines as they are
    except OSError as error:
        raise state_error(path, "read", error) from error
    new = (edit.allow_host if allow else edit.deny_host)(text, shown, rule.text)
    if new == text and not allow and (one := rules.get(rule.text)):
        remedy = "take it out there; it is refused for now all the same"
        raise ConfigError(f"{rule.text} is allowed by another config", where=one.origin, remedy=remedy)
    if new == text:
        return ""
    atomic.write_if_changed(path, new.encode())
    return shown
