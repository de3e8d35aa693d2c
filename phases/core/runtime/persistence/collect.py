"""Moves files that have replaced their links to their volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core import events
from phases.core.config.mounts import mountable_paths
from phases.core.container import root_environment, safe_paths, timed_exec
from phases.core.errors import EngineError, LinkInTheWay
from phases.core.files.shell_program import ShellProgram
from phases.core.runtime.persistence.volumes import persistence_of

if TYPE_CHECKING:
    from phases.core.engine.protocol import Engine
    from phases.core.engine.types import Container, PathInfo
    from phases.core.project import Project
    from phases.core.runtime.persistence.volumes import PersistentPath

_COLLECT = ShellProgram(__file__, "collect_replaced_file.sh")

# Seconds for a file: USER can stop or hang whatever runs as USER.
_TIMEOUT = 20


def collect_replaced_files(project: Project, habitat: str, container: Container) -> None:
    """Move files that have replaced their links, or that are new, to their volumes, and warn of those that stay.

    In a container that runs, USER does it. So nothing is read or written that USER could not read or write.
    """
    persistence = persistence_of(container)
    if not persistence.files:
        return
    current = project.engine.container(container.id)
    collect = _collect_as_user if current and current.running else _collect_stopped
    for entry in persistence.files:
        try:
            problem = collect(project.engine, container, entry, persistence.owner)
        except EngineError as error:
            problem = error.message
        if problem:
            text = f"{entry.path} does not persist yet: {problem}; it is in {container.name}"
            project.bus.emit(events.Notice(habitat, text, warning=True))


def _collect_as_user(engine: Engine, container: Container, entry: PersistentPath, owner: tuple[int, int]) -> str:
    """Collect a file in a container that runs. Returns why it can't be, "" on success."""
    argv = ("/bin/sh", "-e", "-c", "--", _COLLECT.text, "sh", entry.resolved, entry.file, entry.path)
    user = ":".join(map(str, owner))
    env = root_environment.OWN
    exit_code, output = timed_exec.run(engine, container.id, argv, user=user, env=env, seconds=_TIMEOUT)
    if exit_code is None:
        return f"collecting it took longer than {_TIMEOUT}s"
    return (output or f"exit code {exit_code}") if exit_code else ""


def _collect_stopped(engine: Engine, container: Container, entry: PersistentPath, owner: tuple[int, int]) -> str:
    """Collect a file in a container that doesn't run. Returns why it can't be, "" on success."""
    try:
        path = safe_paths.paths_in(engine, container.id).resolve(entry.resolved, last=False)
    except LinkInTheWay as error:
        return error.message
    if volume := next((bind.dest for bind in container.binds if mountable_paths.within(path, bind.dest)), ""):
        return f"it is in the volume {volume}"
    stat = engine.stat(container.id, path)
    if stat and stat.link == entry.file:
        return ""
    info = engine.path_info(container.id, path, content=True) if stat else None
    if info and (refusal := _refusal(info, entry, owner)):
        return refusal
    if info is None and engine.stat(container.id, entry.file) is None:
        return ""
    from phases.core.files.tar import Archive

    with Archive() as archive:
        if info:
            archive.add(entry.file, "file", info.mode & 0o777, owner, content=info.content)
        archive.add(path, "link", 0o777, owner, target=entry.file)
        engine.put_archive(container.id, "/", archive.finish())
    return ""


def _refusal(info: PathInfo, entry: PersistentPath, owner: tuple[int, int]) -> str:
    """Return why a path is not collected, "" for a file of USER. `collect_replaced_file.sh` has the same rules."""
    if info.kind == "link":
        return "it is a link, which is not followed"
    if info.kind == "dir":
        return f"it is a folder, which {entry.path}/ would keep"
    if info.kind == "other":
        return "it is no file"
    return "" if info.uid == owner[0] else "it belongs to another user"
