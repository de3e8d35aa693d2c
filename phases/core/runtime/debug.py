"""Opens a shell in the container of the phase that failed last, in the environment of the command that failed."""

from __future__ import annotations

import shlex
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from phases.core import command_form, events
from phases.core.build import cache_locks, cache_volumes
from phases.core.build import failure as build_failure
from phases.core.cache import host_mounts
from phases.core.cache.host_mounts import mounts_in
from phases.core.cache.stamps import state_dir
from phases.core.container import root_environment
from phases.core.errors import StartError
from phases.core.files import phase_log, safe_open
from phases.core.files.tar import Archive
from phases.core.files.temporary_folder import temporary_folder
from phases.core.runtime.session.attach import SHELL, run_shell
from phases.core.runtime.session.session import Session
from phases.core.runtime.temporary import existing_folder, start_container, temporary_container, user_database
from phases.core.secrets import ssh_agent
from phases.core.secrets.delivery import deliver
from phases.core.variables import DEFAULT_PATH
from phases.protocol import Run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from phases.core.build.failure import Failure
    from phases.core.engine.types import Bind, Container, Image
    from phases.core.model import Habitat, Value
    from phases.core.project import Project
    from phases.core.runtime.session.attach import Terminal
    from phases.protocol import Phase

#: The command that runs the failed one again, and its folder. No image has that folder, so it is on no volume.
AGAIN = "again"
_FOLDER = "/.habitat-debug"

# Lines of a command, and of its output, that are shown.
_SHOWN_LINES = 12


def debug(project: Project, name: str, terminal: Terminal) -> int:
    """Describe the last failure and open a shell in its container.

    Without a terminal, the shell reads its commands from standard input.

    Returns:
        The exit code of the shell.

    Raises:
        HabitatError: No phase has failed, or the container can't be started.
    """
    habitat = project.habitat(name)
    phase, image, failure = _last_failure(project, name)
    runner = run_shell(terminal, name, f"`{command_form.verb('logs', name)} --phase {phase.NAME}` shows its output")
    if not failure.of_take and phase.NAME not in project.assessments.look(name).stale:
        text = f"{phase.NAME} is up to date now: this is an earlier failure"
        project.bus.emit(events.Notice(name, text, warning=True))
    with _open_session(project, habitat, phase, image, failure) as session:
        for line, heading in _describe(project, session, phase, failure):
            project.bus.emit(events.Line(name, line, heading=heading))
        code = session.run(SHELL, runner)
    # A build that succeeded meanwhile could remove the tag of the image, but not the image.
    project.engine.remove_image(image.id)
    return code


def _last_failure(project: Project, name: str) -> tuple[Phase, Image, Failure]:
    failed = project.store.failed(name)
    failure = build_failure.read_labels(failed[1].labels) if failed else None
    if failed is None or failure is None:
        snapshot = command_form.verb("shell", name, "--at", "PHASE")
        remedy = f"`{command_form.verb('start', name)}` builds it, `{snapshot}` opens a shell in a snapshot"
        raise StartError("there is no failed phase to debug", where=name, remedy=remedy)
    return *failed, failure


# The container


@contextmanager
def _open_session(
    project: Project, habitat: Habitat, phase: Phase, image: Image, failure: Failure
) -> Iterator[Session]:
    secrets = project.vault.values(habitat.secrets_of(phase.NAME))
    phase_mounts = mounts_in(habitat, phase)
    host_mounts.admit(project.need_trust, habitat, phase_mounts)
    caches = [cache_volumes.CacheMount(**row) for row in failure.caches]

    def on_wait(text: str) -> None:
        project.bus.emit(events.Notice(habitat.name, text))

    with (
        cache_locks.held(project.locks, caches, on_wait),
        _ssh_agent(project, habitat, phase, failure) as (agent, host_keys),
        temporary_container(
            project,
            habitat,
            image,
            f"{phase.NAME}-failed",
            (*phase_mounts, *(cache.mount for cache in caches), *agent),
        ) as container,
    ):
        users = user_database(project, habitat, container)
        user = failure.user if failure.user in users else "root"
        workdir = existing_folder(project, container, failure.workdir or "/")
        env = dict(failure.env)
        if failure.script:
            _add_again_command(project, container, failure)
            container_env = root_environment.for_user(container.labels, habitat, users, user) | env
            path = container_env.get("PATH") or DEFAULT_PATH
            env["PATH"] = f"{_FOLDER}:{path}"
        start_container(project, habitat, container)
        deliver(project.engine, container.id, (*secrets, *host_keys), user, habitat)
        project.bus.emit(events.ContainerUp(habitat.name, container.name, container.id, was_running=False))
        yield Session(project, habitat, container, secrets, user, workdir, extra_env=env, users=users)


@contextmanager
def _ssh_agent(
    project: Project, habitat: Habitat, phase: Phase, failure: Failure
) -> Iterator[tuple[tuple[Bind, ...], tuple[Value, ...]]]:
    """Yield the mount of the host's SSH agent and the trusted host keys, if the failed command had them."""
    had_agent = ssh_agent.ENV.items() <= failure.env.items()
    steps = [step for step in phase.plan(habitat) if isinstance(step, Run) and step.known_hosts] if had_agent else []
    step = next((step for step in steps if step.title == failure.what), next(iter(steps), None))
    if step is None or step.known_hosts is None:
        yield (), ()
        return
    with temporary_folder(state_dir(project.root, habitat.name)) as folder:
        relay = ssh_agent.AgentRelay(folder, step.origin)
        try:
            yield (relay.bind,), (ssh_agent.known_hosts(step.known_hosts, step.origin),)
        finally:
            relay.close()


def _add_again_command(project: Project, container: Container, failure: Failure) -> None:
    """Add the command that runs the failed one again.

    It is a file, so that every shell finds it and its exported variables reach the command.
    """
    command = shlex.join(build_failure.argv(failure.script, failure.args))
    folder = shlex.quote(failure.workdir or "/")
    text = f"#!/bin/sh\n# The command that failed, as the build ran it.\ncd {folder} && exec {command}\n"
    with Archive() as archive:
        archive.add(_FOLDER, "dir", 0o755)
        archive.add(f"{_FOLDER}/{AGAIN}", "file", 0o755, content=text.encode())
        project.engine.put_archive(container.id, "/", archive.finish())


# The description


def _describe(project: Project, session: Session, phase: Phase, failure: Failure) -> Iterator[tuple[str, bool]]:
    """Yield the lines to show, and whether each is a heading."""
    name = session.habitat.name
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(failure.when))
    yield f"── {phase.NAME} failed at {when}: {failure.where}", True
    yield failure.message, False
    for line in _shortened(build_failure.typed(failure.script, failure.args)):
        yield f"    {line}", False
    if output := _last_output(project, name, phase, failure):
        yield f"── the end of its output ({_log(project, name, phase, failure).relative_to(project.root)})", True
        for line in output:
            yield f"    {line}", False
    yield f"── a shell there, as {session.user} in {session.workdir}", True
    if session.user != failure.user:
        yield f"    the image has no user '{failure.user}'", False
    rows = [(AGAIN, "runs the failed command again")] if failure.script else []
    verb, effect = ("take", "checks again") if failure.of_take else ("start", "continues the build")
    rows += [
        ("exit", "ends the shell and discards all changes"),
        (command_form.verb(verb, name), f"{effect}, once the cause is fixed"),
    ]
    width = max(len(word) for word, _ in rows)
    for word, effect in rows:
        yield f"    {word:<{width}}  {effect}", False


def _shortened(lines: list[str]) -> list[str]:
    more = len(lines) - _SHOWN_LINES
    return [*lines[:_SHOWN_LINES], f"… and {more} lines more"] if more > 0 else lines


def _log(project: Project, name: str, phase: Phase, failure: Failure) -> Path:
    """Return the log of what failed."""
    return project.state_folder(name) / build_failure.TAKE_LOG if failure.of_take else project.log_path(name, phase)


def _last_output(project: Project, name: str, phase: Phase, failure: Failure) -> list[str]:
    """Return the last lines that the failed command printed, as the log has them: without secrets.

    In a log that was cut, the line with which the command begins may be missing.
    """
    if not failure.what:
        return []
    first_line = f"$ {failure.what} (as {failure.user})\n".encode()
    rows: deque[bytes] | None = None
    try:
        with safe_open.open_read(_log(project, name, phase, failure)) as file:
            for line in file:
                if line == first_line or (rows is None and phase_log.is_cut(line)):
                    rows = deque(maxlen=_SHOWN_LINES)
                elif rows is not None:
                    rows.append(line)
    except OSError:
        return []  # the log was removed
    return [row.rstrip(b"\n").decode(errors="replace") for row in rows or ()]
