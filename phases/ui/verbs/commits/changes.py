"""`habitat changes NAME`: show what has changed in the habitat's repositories since they were cloned."""

from __future__ import annotations

import sys
from typing import IO, TYPE_CHECKING, Any, cast

from phases.ui.verbs.commits.fetch import REPO

if TYPE_CHECKING:
    from phases.core.project import Project

NAME = "changes"
DESCRIPTION = "Show its commits and changed files"
EXAMPLE = ("changes", "--patch")
BUILDS = False
HARMLESS = True
OPTIONS: tuple[dict[str, Any], ...] = (
    {
        "name": "patch",
        "long": "patch",
        "type": bool,
        "default": False,
        "help": "show all changed lines; on a terminal in your pager",
    },
    REPO,
)
WORDS = False
PIPES = False


def run(project: Project, name: str, *, patch: bool, repo: str) -> None:
    # Here, so that making the tasks loads none of it.
    from phases.core.commits import changes
    from phases.ui.changes import patch as ui_patch
    from phases.ui.changes import table
    from phases.ui.output import GuardedStream
    from phases.ui.screen import Screen

    if patch:
        with ui_patch.Pager(sys.stdout) as pager:
            changes.read_patch(project, name, repo, pager.write)
        return
    screen = Screen(cast("IO[str]", GuardedStream(sys.stdout)))
    repositories = changes.read(project, name, repo)
    for repository in repositories:
        project.bus.emit(table.event(name, repository))
    for part in table.parts(repositories, wrap=screen.live):
        screen.line(part)
