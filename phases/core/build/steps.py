"""The steps of a phase that need no command: put entries into the container, and check that paths exist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from phases.core import events
from phases.core.build.container.outbox import PendingEntry
from phases.core.errors import PathsMissing, StepError
from phases.core.files import git_bundle
from phases.core.files.safe_open import MAX_LINKS
from phases.core.files.temporary_folder import temporary_folder
from phases.protocol import Copy, Entry

if TYPE_CHECKING:
    from pathlib import Path

    from phases.core.build.container.container import BuildContainer
    from phases.core.build.context import PhaseContext
    from phases.core.container.users import UserDatabase
    from phases.core.files.git_bundle import Bundle
    from phases.protocol import CopyRepository, RequirePaths


class Fillable(Protocol):
    """A container that takes files, such as a build container."""

    @property
    def users(self) -> UserDatabase:
        """The users of its image."""

    def put(self, dest: str, entry: PendingEntry) -> None:
        """Put something at `dest`, as PendingFiles.put does."""


def copy(container: Fillable, step: Copy) -> None:
    """Put the entries of a step into the container. Raises StepError, with the place of the entry."""
    users = container.users
    for entry in step.entries:
        dest = users.expand(entry.dest, entry.owner, entry.origin)
        owner = users.ids(entry.owner, entry.origin)
        pending = PendingEntry(
            entry.kind,
            entry.mode,
            owner,
            entry.source,
            entry.content,
            entry.target,
            entry.adopt,
            entry.sha256,
            origin=entry.origin,
        )
        try:
            container.put(dest, pending)
        except StepError as error:
            error.where = error.where or entry.origin
            raise


def copy_repository(container: BuildContainer, step: CopyRepository, work: PhaseContext) -> None:
    """Put a repository of this machine into the container, with a notice about what is not committed.

    Raises:
        StepError: The repository can't be read.
    """
    with temporary_folder(work.log.parent) as folder:
        try:
            bundle = git_bundle.write(step.source, folder / "bundle")
        except StepError as error:
            error.where = error.where or step.origin
            raise
        copy(container, Copy(bundle_entries(step, bundle, source=folder / "bundle")))
    if bundle.uncommitted:
        several = bundle.uncommitted > 1
        count = f"{bundle.uncommitted} changed or new file{'s' if several else ''}"
        text = f"{count} of {step.source} {'are' if several else 'is'} not committed, and so not cloned"
        work.emit(events.Notice(work.habitat.name, f"{step.origin}: {text}"))


def bundle_entries(
    step: CopyRepository, bundle: Bundle, *, source: Path | None = None, content: bytes = b""
) -> tuple[Entry, ...]:
    """Return the files that a step puts: the bundle, which has a source or a content, and what it can't hold."""
    remote = f"{bundle.origin}\n{bundle.branch}\n".encode()
    others = {"origin": remote, **({"shallow": bundle.shallow} if bundle.shallow else {})}
    return (
        Entry(step.dest, "file", step.owner, 0o644, step.origin, source, content),
        *(
            Entry(f"{step.dest}.{name}", "file", step.owner, 0o644, step.origin, content=text)
            for name, text in others.items()
        ),
    )


def require_paths(container: BuildContainer, step: RequirePaths, user: str) -> None:
    """Raise PathsMissing unless all paths of a step exist. user: whose home `~` is."""
    users = container.users
    paths = [(users.expand(path, user, origin), origin) for path, origin in step.paths]
    missing = [(path, origin) for path, origin in paths if not _exists(container, path)]
    if missing:
        names = ", ".join(path for path, _ in missing)
        count = f"{len(missing)} required path{'s are' if len(missing) > 1 else ' is'} missing"
        raise PathsMissing(f"{count}: {names}", where=missing[0][1], remedy=step.hint)


def _exists(container: BuildContainer, path: str) -> bool:
    for _ in range(MAX_LINKS):
        stat = container.stat(path)
        if stat is None or not stat.link:
            return stat is not None
        path = stat.link
    return False
