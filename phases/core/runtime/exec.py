"""Commands in a habitat that runs already, or that is brought up for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core import events
from phases.core.cache import image_names
from phases.core.errors import StartError
from phases.core.runtime.attach import SHELL, run_in_tty, run_piped, run_shell
from phases.core.runtime.container import ensure_running, own_container
from phases.core.runtime.session import open_session
from phases.core.runtime.temporary import thrown_away

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.core.engine.protocol import Container
    from phases.core.model import Habitat
    from phases.core.project import Project
    from phases.core.runtime.attach import Terminal


def execute(project: Project, name: str, argv: Sequence[str], terminal: Terminal) -> int:
    """Run a command as USER in WORKDIR, with a terminal or an input. Returns its exit code."""
    if not argv:
        raise StartError("there is no command to run", where=name, remedy=f"write it like doit exec:{name} -- ls -l")
    with open_session(project, name, as_it_is, guest=True) as visit:
        return visit.run(argv, run_in_tty(terminal) if terminal.interactive else run_piped(terminal))


def shell(project: Project, name: str, terminal: Terminal, *, at: str = "") -> int:
    """A shell as USER in WORKDIR; without a terminal it reads what is put in. at: a phase, of whose
    snapshot a throwaway container is made. Returns its exit code.
    """
    how = run_shell(terminal, name, f"doit exec:{name} -- COMMAND runs one without")
    place = thrown_away(project, name, at) if at else open_session(project, name, as_it_is, guest=True)
    with place as visit:
        return visit.run(SHELL, how)


def as_it_is(project: Project, habitat: Habitat) -> tuple[Container, bool]:
    """The habitat's container, of whatever image it is while it runs, and whether it did; nothing is built."""
    found = own_container(project, habitat.name)
    if found and found.running:
        return found, True
    return ensure_running(
        project, habitat, image=project.assess(habitat.name).final or _built_before(project, habitat.name)
    )


def _built_before(project: Project, name: str) -> str:
    """The id of the image that was built of an earlier config. Raises StartError."""
    image = project.inventory.tagged(image_names.final_tag(name))
    if image is None:
        raise StartError("it isn't built yet", where=name, remedy=f"doit start:{name} builds and starts it")
    if (image.labels.get(image_names.LABEL_NAME), image.labels.get(image_names.LABEL_PHASE)) != (name, "final"):
        raise StartError(
            f"{image_names.final_tag(name)} is an image that no build of {name} made",
            where=name,
            remedy=f"doit final:{name} puts its own there",
        )
    text = f"{name} was built from another config than there is now: doit final:{name} builds it anew"
    project.bus.emit(events.Notice(name, text, warning=True))
    return image.id
