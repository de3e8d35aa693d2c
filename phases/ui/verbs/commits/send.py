"""`doit send:NAME`: bring the commits of this machine into the habitat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phases.ui.verbs.commits.fetch import REPO, TIMEOUT

if TYPE_CHECKING:
    from phases.core.project import Project

NAME = "send"
DESCRIPTION = "Bring your commits into it"
EXAMPLE = ("send",)
BUILDS = False
HARMLESS = False
OPTIONS: tuple[dict[str, Any], ...] = (
    {
        "name": "no_forward",
        "long": "no-forward",
        "type": bool,
        "default": False,
        "help": "leave the branch in the habitat where it is, even if nothing was changed there",
    },
    {
        "name": "branch",
        "long": "branch",
        "type": str,
        "default": "",
        "metavar": "BRANCH",
        "help": "the branch to send [the one that is checked out here]",
    },
    REPO,
    {
        "name": "from_folder",
        "long": "from",
        "type": str,
        "default": "",
        "metavar": "FOLDER",
        "help": "the repository of this machine [the one that repos: names, or that you are in]",
    },
    TIMEOUT,
)
WORDS = False
PIPES = False


def run(
    project: Project, name: str, *, no_forward: bool, branch: str, repo: str, from_folder: str, timeout: str
) -> None:
    from phases.core.commits import send
    from phases.core.commits.limits import limits
    from phases.ui.typed_paths import person_folder, typed_path

    source = typed_path(from_folder, project.root)
    folder = person_folder(project.root)
    send.send(project, name, send.SendRequest(folder, repo, source, branch, not no_forward, limits("", timeout)))
