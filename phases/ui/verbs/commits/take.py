"""`doit take:NAME`: check the habitat's commits on top of a branch here, then write them into a branch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phases.ui.verbs.commits.fetch import AS, INTO, LIMIT, REPO, TIMEOUT

if TYPE_CHECKING:
    from phases.core.build.builder import Builder
    from phases.core.project import Project

NAME = "take"
DESCRIPTION = "Check its commits, then bring them here"
EXAMPLE = ("take",)
BUILDS = "verify"
HARMLESS = False
OPTIONS: tuple[dict[str, Any], ...] = (
    {
        "name": "onto",
        "long": "onto",
        "type": str,
        "default": "",
        "metavar": "BRANCH",
        "help": "the branch here to merge with [the one that is checked out]",
    },
    AS,
    REPO,
    INTO,
    LIMIT,
    TIMEOUT,
)
WORDS = False
PIPES = False


def run(  # noqa: PLR0913 (each is an option)
    project: Project,
    name: str,
    *,
    builder: Builder,
    onto: str,
    as_branch: str,
    repo: str,
    into: str,
    limit: str,
    timeout: str,
) -> None:
    from phases.core.commits import take
    from phases.core.commits.limits import limits
    from phases.ui.typed_paths import person_folder, typed_path

    request = take.TakeRequest(
        person_folder(project.root), repo, typed_path(into, project.root), as_branch, onto, limits(limit, timeout)
    )
    take.take(project, name, builder, request)
