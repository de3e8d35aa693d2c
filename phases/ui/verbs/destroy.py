"""`habitat destroy NAME`: remove its containers, with the work in them, and what persists, or its workspaces."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from phases.core import command_form
from phases.core.errors import StartError
from phases.ui.verbs.verb import YES

if TYPE_CHECKING:
    from phases.core.project import Project

NAME = "destroy"
DESCRIPTION = "Remove its containers and what persists"
EXAMPLE = ("destroy",)
BUILDS = False
HARMLESS = False
OPTIONS: tuple[dict[str, Any], ...] = (
    YES,
    {
        "name": "keep_volumes",
        "long": "keep-volumes",
        "type": bool,
        "default": False,
        "help": "keep the volumes of entry.persist",
    },
    {
        "name": "set_aside",
        "long": "set-aside",
        "type": bool,
        "default": False,
        "help": "remove only containers that were set aside for a newer one",
    },
    {
        "name": "earlier_names",
        "long": "earlier-names",
        "type": bool,
        "default": False,
        "help": "remove only what it has under an earlier name, with the images",
    },
    {
        "name": "workspace",
        "long": "workspace",
        "type": bool,
        "default": False,
        "help": "remove the workspaces, which nothing else removes, and the containers that have them",
    },
    {
        "name": "shared",
        "long": "shared",
        "type": bool,
        "default": False,
        "help": "also remove the volumes that it shares with your other habitats, such as logins",
    },
)
WORDS = False
PIPES = False


def run(
    project: Project,
    name: str,
    *,
    yes: bool = False,
    keep_volumes: bool = False,
    set_aside: bool = False,
    earlier_names: bool = False,
    workspace: bool = False,
    shared: bool = False,
) -> int:
    from phases.core.runtime import destroy, orphans

    removing = "--workspace" if workspace else "--shared" if shared else ""
    if removing and (keep_volumes or set_aside or (workspace and shared)):
        other = "--keep-volumes" if keep_volumes else "--set-aside" if set_aside else "--shared"
        keeps = "removes what persists too" if other == "--shared" else "keeps them"
        raise StartError(f"{removing} removes volumes, but {other} {keeps}", where=name, remedy="use one of them")
    confirm = (lambda _: True) if yes else partial(ask_to_remove, name, NAME)
    if earlier_names:
        return 0 if orphans.destroy_earlier(project, name, confirm, workspace=workspace) else 1
    is_done = destroy.destroy(
        project,
        name,
        confirm,
        keep_volumes=keep_volumes,
        only_set_aside=set_aside,
        workspace=workspace,
        with_shared=shared,
    )
    return 0 if is_done else 1


def ask_to_remove(name: str, verb: str, question: str) -> bool:
    """Ask the person. Raises StartError if there is no terminal."""
    from phases.ui.question import ask

    answer = ask(question)
    if answer is None:
        raise StartError(
            "nothing was removed, since there is no terminal to ask on",
            where=name,
            remedy=f"`{command_form.verb(verb, name)} --yes` removes them",
        )
    return answer
