"""A shell in what is left of a phase that failed, as the command had it that failed; nothing of it stays."""

from __future__ import annotations

import shlex
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from phases.core import events
from phases.core.build import cache_volumes, phase_log
from phases.core.build import failure as build_failure
from phases.core.cache import mounts
from phases.core.cache.mounts import mounts_in
from phases.core.cache.stamps import state_dir
from phases.core.container import root_environment
from phases.core.errors import StartError
from phases.core.files import safe_open
from phases.core.files.tar import Archive
from phases.core.files.temporary_folder import passing_folder
from phases.core.runtime.attach import SHELL, run_shell
from phases.core.runtime.session import Session
from phases.core.runtime.temporary import accounts, passing, started, where
from phases.core.secrets import ssh_agent
from phases.core.secrets.store import deliver
from phases.core.variables import DEFAULT_PATH
from phases.protocol import Run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phases.core.build.failure import Failure
    from phases.core.engine.protocol import Bind, Container, Image
    from phases.core.model import Habitat
    from phases.core.project import Project
    from phases.core.runtime.attach import Terminal
    from phases.core.secrets.store import Value
    from phases.protocol import Phase

#: What runs the failed command once more, and the folder it is in: one that no image has, so that what
#: is written there is in the throwaway container, and on no volume.
AGAIN = "again"
_FOLDER = "/.habitat-debug"

# Lines of a command, and of what it printed, that are shown; both are in files.
_SHOWN = 12


def debug(project: Project, name: str, terminal: Terminal) -> int:
    """Tell of what failed last, and open a shell there; without a terminal it reads what is put in.
    Returns its exit code. Raises HabitatError.
    """
    habitat = project.habitat(name)
    phase, image, failure = _last(project, name)
    how = run_shell(terminal, name, f"doit logs:{name} --phase {phase.NAME} shows what it printed")
    if phase.NAME not in project.look(name).stale:
        text = f"{phase.NAME} is up to date by now: this is how it failed before"
        project.bus.emit(events.Notice(name, text, warning=True))
    with _entered(project, habitat, phase, image, failure) as visit:
        for line in _briefing(project, visit, phase, failure):
            project.bus.emit(events.Line(name, *line))
        code = visit.run(SHELL, how)
    # A build that succeeded meanwhile could only take its tag away.
    project.engine.remove_image(image.id)
    return code


def _last(project: Project, name: str) -> tuple[Phase, Image, Failure]:
    found = project.store.failed(name)
    failure = build_failure.told_by(found[1].labels) if found else None
    if found is None or failure is None:
        remedy = f"doit start:{name} builds it, doit shell:{name} --at PHASE looks around in what is built"
        raise StartError("nothing is kept of a phase that failed", where=name, remedy=remedy)
    return *found, failure


# The container


@contextmanager
def _entered(project: Project, habitat: Habitat, phase: Phase, image: Image, failure: Failure) -> Iterator[Session]:
    secrets = project.vault.values(habitat.secrets_of(phase.NAME))
    own = mounts_in(habitat, phase)
    mounts.admit(project, habitat, own)
    mounted = [cache_volumes.CacheMount(**row) for row in failure.caches]

    def tell(text: str) -> None:
        project.bus.emit(events.Notice(habitat.name, text))

    with (
        cache_volumes.held(project.locks, mounted, tell),
        _lent_agent(project, habitat, phase, failure) as (agent, host_keys),
        passing(
            project,
            habitat,
            image,
            f"{phase.NAME}-failed",
            (*own, *(cache.mount for cache in mounted), *agent),
        ) as container,
    ):
        user = failure.user if failure.user in accounts(project, container) else "root"
        workdir = where(project, container, failure.workdir or "/")
        env = dict(failure.env)
        if failure.script:
            _put_again(project, container, failure)
            own_env = root_environment.for_user(container.labels, habitat, user) | env
            path = own_env.get("PATH") or DEFAULT_PATH
            env["PATH"] = f"{_FOLDER}:{path}"
        started(project, habitat, container)
        deliver(project.engine, container.id, (*secrets, *host_keys), user)
        project.bus.emit(events.ContainerUp(habitat.name, container.name, container.id, was_running=False))
        yield Session(project, habitat, container, secrets, user, workdir, more_env=env)


@contextmanager
def _lent_agent(
    project: Project, habitat: Habitat, phase: Phase, failure: Failure
) -> Iterator[tuple[tuple[Bind, ...], tuple[Value, ...]]]:
    """The host's SSH agent, and the host keys to trust, where the failed command had them."""
    had_it = ssh_agent.ENV.items() <= failure.env.items()
    lenders = [step for step in phase.plan(habitat) if isinstance(step, Run) and step.known_hosts] if had_it else []
    lender = next((step for step in lenders if step.what == failure.what), next(iter(lenders), None))
    if lender is None or lender.known_hosts is None:
        yield (), ()
        return
    with passing_folder(state_dir(project.root, habitat.name)) as folder:
        relay = ssh_agent.AgentRelay(folder, lender.origin)
        try:
            yield (relay.bind,), (ssh_agent.known_hosts(lender.known_hosts, lender.origin),)
        finally:
            relay.close()


def _put_again(project: Project, container: Container, failure: Failure) -> None:
    """As a file, so that any shell there has it, and what that shell exports is there for it."""
    command = shlex.join(build_failure.argv(failure.script, failure.args))
    folder = shlex.quote(failure.workdir or "/")
    text = f"#!/bin/sh\n# The command that failed, as the build ran it.\ncd {folder} && exec {command}\n"
    with Archive() as archive:
        archive.add(_FOLDER, "dir", 0o755)
        archive.add(f"{_FOLDER}/{AGAIN}", "file", 0o755, content=text.encode())
        project.engine.put_archive(container.id, "/", archive.finish())


# What is told


def _briefing(project: Project, visit: Session, phase: Phase, failure: Failure) -> Iterator[tuple[str, bool]]:
    """Lines, and whether each is a heading: what failed, what it said, how to go on."""
    name = visit.habitat.name
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(failure.when))
    yield f"── {phase.NAME} failed at {when}: {failure.where}", True
    yield failure.message, False
    for line in _first(build_failure.typed(failure.script, failure.args)):
        yield f"    {line}", False
    if said := _said(project, name, phase, failure):
        yield f"── it said last ({project.log_path(name, phase).relative_to(project.root)})", True
        for line in said:
            yield f"    {line}", False
    yield f"── a shell there, as {visit.user} in {visit.workdir}", True
    if visit.user != failure.user:
        yield f"    there is no user '{failure.user}' in it", False
    rows = [(AGAIN, "runs the failed command again")] if failure.script else []
    rows += [
        ("exit", "leaves, and throws away what was changed in there"),
        (f"doit start:{name}", "goes on with the build, once that is mended"),
    ]
    width = max(len(word) for word, _ in rows)
    for word, what in rows:
        yield f"    {word:<{width}}  {what}", False


def _first(lines: list[str]) -> list[str]:
    more = len(lines) - _SHOWN
    return [*lines[:_SHOWN], f"… and {more} lines more"] if more > 0 else lines


def _said(project: Project, name: str, phase: Phase, failure: Failure) -> list[str]:
    """The last of what the failed command printed, as it was logged: without secrets. In a log that was cut, where it
    begins may be left out.
    """
    if not failure.what:
        return []
    begun = f"$ {failure.what} (as {failure.user})\n".encode()
    rows: deque[bytes] | None = None
    try:
        with safe_open.open_read(project.log_path(name, phase)) as file:
            for line in file:
                if line == begun or (rows is None and phase_log.is_cut(line)):
                    rows = deque(maxlen=_SHOWN)
                elif rows is not None:
                    rows.append(line)
    except OSError:
        return []  # it was removed, and all else is known without it
    return [row.rstrip(b"\n").decode(errors="replace") for row in rows or ()]
