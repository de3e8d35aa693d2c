"""Starts a habitat: for its command, or detached."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from phases.core import command_form, events
from phases.core.runtime.container import ensure_running, final_image
from phases.core.runtime.own_containers import container_name
from phases.core.runtime.session.attach import SHELL, run_captured, run_in_tty
from phases.core.runtime.session.open import open_session

if TYPE_CHECKING:
    from phases.core.project import Project
    from phases.core.runtime.session.attach import Terminal


def start(
    project: Project,
    name: str,
    terminal: Terminal,
    *,
    command: str = "",
    fresh: bool = False,
) -> int:
    """Run a command in the habitat's container, and stop the container when the command ends.

    The container is reused while its image and its config are the same. An older one is renamed and kept.

    Args:
        project: The project.
        name: The name of the habitat.
        terminal: Where the command's input comes from and its output goes to.
        command: A shell command, "" for the habitat's own.
        fresh: Whether to create a new container in any case.

    Returns:
        The command's exit code.

    Raises:
        HabitatError: The habitat can't be started.
    """
    bring_up = partial(ensure_running, image=final_image(project, name))
    with open_session(project, name, bring_up, fresh=fresh) as session:
        is_given = bool(command)
        command = command or session.habitat.entry.command
        if not command and not terminal.interactive:
            text = "there is no entry.command and no terminal: nothing to run; set entry.command, or give --cmd"
            project.bus.emit(events.Notice(name, text))
            return 0
        argv = ("/bin/sh", "-c", "--", command) if command else SHELL
        if session.habitat.entry.ports:
            from phases.core.runtime.session import ports  # imported late: most habitats publish no port

            if session.was_started:
                ports.report(session)
            session.companions.append(ports.PortWatch(session, at_once=not terminal.interactive))
        runner = run_in_tty(terminal) if terminal.interactive else run_captured(terminal, is_data=is_given)
        return session.run(argv, runner)


def start_detached(project: Project, name: str, *, fresh: bool = False) -> None:
    """Start the habitat's container, with secrets and init, and leave it running. Raises HabitatError."""
    bring_up = partial(ensure_running, image=final_image(project, name))
    with open_session(project, name, bring_up, fresh=fresh) as session:
        session.check_shell()  # no command follows that would fail
        session.keep_running()
        urls = ", ".join(port.url for port in session.ports)
        if urls:
            from phases.core.runtime.session import ports

            ports.warn_of_unreachable(session)
        is_agent_wanted = session.habitat.entry.ssh_agent
    at = f" at {urls}" if urls else ""
    shell, stop = (command_form.verb(verb, name) for verb in ("shell", "stop"))
    text = f"{container_name(project.names.of(name))} is running{at}: `{shell}` opens a shell in it, `{stop}` stops it"
    project.bus.emit(events.Notice(name, text))
    if is_agent_wanted:
        text = "your SSH agent is lent to each shell and exec while that runs, and to nothing else in it"
        project.bus.emit(events.Notice(name, text))
