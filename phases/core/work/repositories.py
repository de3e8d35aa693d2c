"""Finds the repositories of a habitat in its container, and reads the state of each with the git of the container."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from msgspec import structs

from phases.core.cache.image_files import KnownFiles
from phases.core.container import identity, root_environment
from phases.core.container.users import UserDatabase
from phases.core.errors import ConfigError
from phases.core.files.shell_program import ShellProgram
from phases.core.work import git
from phases.core.work.states import ForeignRepository, RepositoryState, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from phases.core.engine.types import Container
    from phases.core.model import Habitat, RepoClone
    from phases.core.project import Project

_LOOK = ShellProgram(__file__, "repositories.sh")

# Seconds for one command of git, and for all repositories of one owner.
_SECONDS_EACH, _SECONDS = 8, 30.0

# The bytes that are read about all repositories of one owner: `git status` prints 64 KB of each at most.
_MOST_BYTES = 8 << 20


def states(project: Project, habitat: Habitat, container: Container) -> list[RepositoryState]:
    """Return the state of each repository, sorted by path.

    These are the repositories of `repos:`, WORKDIR, those directly below it, and the submodules of all of them. One
    command in the container reads those that have the same owner. What goes wrong in one is its `problem`.

    Args:
        project: The project.
        habitat: The habitat.
        container: A running container with the habitat's files.

    Raises:
        EngineError: The engine can't run a command in the container.
    """
    by_path: dict[str, RepositoryState] = {}
    foreign: dict[str, list[str]] = {}
    for user, paths in paths_by_user(project, habitat, container).items():
        for state in _look(project, container, user, habitat.workdir if user == habitat.user else "", paths):
            if isinstance(state, ForeignRepository):
                foreign.setdefault(str(state.uid), []).append(state.path)
            else:
                _add(by_path, state)
    for user, paths in foreign.items():
        for state in _look(project, container, user, "", sorted({*paths} - by_path.keys())):
            if isinstance(state, RepositoryState):
                _add(by_path, state)
    return [_without_repositories(state, by_path) for _, state in sorted(by_path.items())]


def paths_by_user(project: Project, habitat: Habitat, container: Container) -> dict[str, list[str]]:
    """Return the paths of `repos:` in a container by their owner. USER is among the owners in any case."""
    paths: dict[str, list[str]] = {habitat.user: []}
    for _, owner, path in clones(project, habitat, container):
        paths.setdefault(owner, []).append(path)
    return paths


def clones(project: Project, habitat: Habitat, container: Container) -> Iterator[tuple[RepoClone, str, str]]:
    """Yield each entry of `repos:` with its owner and its path in a container."""
    users = _users(project, habitat, container)
    for repo in habitat.repos:
        owner = habitat.user_named(repo.owner).partition(":")[0]
        try:
            path = users.expand(repo.path, owner, repo.origin)
        except ConfigError:  # its owner has no home any more, so nothing is there
            continue
        yield repo, owner, posixpath.normpath(path)


def _users(project: Project, habitat: Habitat, container: Container) -> UserDatabase:
    known = KnownFiles(project.state_folder).of(habitat.name).get(container.image, {})

    def read(path: str) -> bytes:
        return known[path] if path in known else project.engine.read_file(container.id, path) or b""

    return UserDatabase(read, identity.homes(habitat, root_environment.environment_of_label(container.labels)))


def _look(
    project: Project, container: Container, user: str, folder: str, paths: Iterable[str]
) -> Iterator[RepositoryState | ForeignRepository]:
    """Yield the state of repositories. folder: look at the repositories in it, too; "" for none."""
    command = git.script_argv(_LOOK.text, (str(_SECONDS_EACH), folder, *paths))
    output = git.run(project.engine, container.id, command, user, seconds=_SECONDS, most_bytes=_MOST_BYTES)
    looked_at = set()
    for state in parse(output.out, user):
        looked_at.add(state.path)
        yield state
    if output.code is None:
        for path in {*paths} - looked_at:
            yield RepositoryState(path, user, "the repositories before it take too long to read")


def _add(by_path: dict[str, RepositoryState], state: RepositoryState) -> None:
    """Add a state, unless the same repository was read by another path, or by a user who could read more."""
    before = by_path.get(state.path)
    if before is None or (before.problem and not state.problem):
        by_path[state.path] = state


def _without_repositories(state: RepositoryState, paths: Iterable[str]) -> RepositoryState:
    """Return the state of a repository without the other repositories among its untracked files."""
    prefix = f"{state.path.rstrip('/')}/"
    inside = {path.removeprefix(prefix) for path in paths if path.startswith(prefix)}
    names = tuple(name for name in state.untracked if name.rstrip("/") not in inside)
    return structs.replace(state, untracked=names)
