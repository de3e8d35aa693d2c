"""`habitat exec NAME -- COMMAND ARG…`: run a command in the habitat, and end with its exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phases.core.project import Project

NAME = "exec"
DESCRIPTION = "Run a command in it"
EXAMPLE = ("exec", "--", "make", "test")
BUILDS = False
HARMLESS = True
OPTIONS: tuple[dict[str, Any], ...] = ()
WORDS = "COMMAND"
PIPES = True


def run(project: Project, name: str, *, words: list[str] | None = None) -> int:
    from phases.core.runtime import exec as runtime_exec
    from phases.ui.terminal import LocalTerminal

    return runtime_exec.execute(project, name, words or [], LocalTerminal())
