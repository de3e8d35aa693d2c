"""`habitat deny NAME HOST`: let the habitat no longer reach a host, at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phases.ui.verbs.network.allow import SAVE, change

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.core.project import Project

NAME = "deny"
DESCRIPTION = "Let it no longer reach a host, at once"
EXAMPLE = ("deny", "example.org")
BUILDS = False
HARMLESS = False
OPTIONS: tuple[dict[str, Any], ...] = (SAVE,)
WORDS = "HOST"
PIPES = False


def run(project: Project, name: str, *, save: bool = False, words: Sequence[str] = ()) -> int:
    change(project, name, words, allow=False, save=save)
    return 0
