"""`habitat fetch NAME`: bring the habitat's commits into a branch of a repository of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phases.core.project import Project

NAME = "fetch"
DESCRIPTION = "Bring its commits into a branch here"
EXAMPLE = ("fetch", "--wip")
BUILDS = False
HARMLESS = False

REPO: dict[str, Any] = {
    "name": "repo",
    "long": "repo",
    "type": str,
    "default": "",
    "metavar": "PATH",
    "help": "only this repository of the habitat",
}
INTO: dict[str, Any] = {
    "name": "into",
    "long": "into",
    "type": str,
    "default": "",
    "metavar": "FOLDER",
    "help": "the repository of this machine [the one that repos: names, or that you are in]",
}
AS: dict[str, Any] = {
    "name": "as_branch",
    "long": "as",
    "type": str,
    "default": "",
    "metavar": "BRANCH",
    "help": "the branch to write [habitat/NAME/BRANCH]",
}
LIMIT: dict[str, Any] = {
    "name": "limit",
    "long": "limit",
    "type": str,
    "default": "1g",
    "metavar": "SIZE",
    "help": "take no more than this from a repository [1g]",
}
TIMEOUT: dict[str, Any] = {
    "name": "timeout",
    "long": "timeout",
    "type": str,
    "default": "10m",
    "metavar": "TIME",
    "help": "the longest time for each command of git [10m]",
}
OPTIONS: tuple[dict[str, Any], ...] = (
    {
        "name": "wip",
        "long": "wip",
        "type": bool,
        "default": False,
        "help": "bring uncommitted work, too, as a commit on top",
    },
    AS,
    REPO,
    INTO,
    LIMIT,
    TIMEOUT,
)
WORDS = False
PIPES = False


def run(
    project: Project, name: str, *, wip: bool, as_branch: str, repo: str, into: str, limit: str, timeout: str
) -> None:
    from phases.core.commits import fetch
    from phases.core.commits.limits import limits
    from phases.ui.typed_paths import person_folder, typed_path

    request = fetch.FetchRequest(
        person_folder(project.root), repo, typed_path(into, project.root), as_branch, wip, limits(limit, timeout)
    )
    fetch.fetch(project, name, request)
