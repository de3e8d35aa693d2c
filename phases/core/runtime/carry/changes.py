"""Lists the changes in a container since its image was built, also in containers whose files it has taken over."""

from __future__ import annotations

import json
import posixpath
from typing import TYPE_CHECKING, Self

from msgspec import Struct
from msgspec.structs import replace

from phases.core.config.mounts.mountable_paths import within
from phases.core.engine.types import Change
from phases.core.errors import printable
from phases.core.model import SECRETS_FOLDER
from phases.core.runtime.persistence.volumes import persistence_of
from phases.core.work import places

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from phases.core.engine.protocol import Engine
    from phases.core.engine.types import Container

#: The label of a carried image: what has changed in it since the final image, as JSON.
LABEL_CHANGES = "habitat.changes"

# Folders of temporary files.
_TEMPORARY = ("/run", "/tmp")  # noqa: S108 (names in a container)

# Paths that a label lists, and bytes that all of them may have. Of others only the number is kept.
_LISTED, _LISTED_BYTES = 200, 20_000

_SHOWN_PATHS = 5


class UnkeptChanges(Struct, frozen=True):
    """Changes that may be somebody's work. more: how many more there are that the label doesn't list."""

    changes: tuple[Change, ...] = ()
    more: int = 0

    def __bool__(self) -> bool:
        return bool(self.changes or self.more)

    @property
    def summary(self) -> str:
        """Describe the changes in one line."""
        if not self:
            return "nothing has changed in it since its image"
        kinds = [change.kind for change in self.changes]
        counts = [f"{kinds.count(kind)} {kind}" for kind in ("added", "changed", "deleted") if kind in kinds]
        more = [f"{self.more} more"] if self.more else []
        paths = ", ".join(printable(change.path) for change in self.changes[:_SHOWN_PATHS])
        is_all = len(self.changes) <= _SHOWN_PATHS and not self.more
        return f"{', '.join((*counts, *more))}: {paths}" + ("" if is_all else ", …")

    def without(self, paths: Collection[str]) -> Self:
        """Return all changes but those of some paths."""
        return replace(self, changes=tuple(change for change in self.changes if change.path not in paths))

    @property
    def label(self) -> str:
        """Return the value of LABEL_CHANGES for an image with these changes."""
        rows: list[tuple[str, str]] = []
        size = 0
        for change in self.changes[:_LISTED]:
            size += len(json.dumps(change.path))
            if size > _LISTED_BYTES:
                break
            rows.append((change.kind, change.path))
        return json.dumps([rows, self.more + len(self.changes) - len(rows)])


def changes_since_build(engine: Engine, container: Container) -> UnkeptChanges:
    """Return the changes in a container that may be somebody's work, since the image that was built.

    Raises:
        EngineError: The engine can't list them.
    """
    before = _of_label(container.labels)
    merged = _merged(before.changes, _without_parents(engine.changes(container.id)))
    return UnkeptChanges(tuple(_unkept(merged, container, _TEMPORARY)), before.more)


def unkept_changes(changes: Iterable[Change], container: Container, *, with_temporary: bool = False) -> list[Change]:
    """Return the changes in a container that may be somebody's work.

    Left out are folders that only contain changes, paths on volumes and other mounts, and temporary files.

    with_temporary: whether temporary files count, too.
    """
    return _unkept(_without_parents(changes), container, (SECRETS_FOLDER,) if with_temporary else _TEMPORARY)


def _without_parents(changes: Iterable[Change]) -> list[Change]:
    """Return changes without the folders that only contain others."""
    changes = list(changes)
    parents = {posixpath.dirname(change.path) for change in changes}
    return [change for change in changes if change.path not in parents]


def _unkept(changes: Iterable[Change], container: Container, temporary: Iterable[str]) -> list[Change]:
    persistent = [entry.resolved for entry in persistence_of(container).entries]
    others = (*temporary, *persistent)
    return [
        change
        for change in changes
        if not places.is_kept(container, change.path) and not any(within(change.path, path) for path in others)
    ]


def _of_label(labels: Mapping[str, str]) -> UnkeptChanges:
    try:
        rows, more = json.loads(labels.get(LABEL_CHANGES) or "[[], 0]")
        return UnkeptChanges(tuple(Change(str(path), kind) for kind, path in rows), int(more))
    except (ValueError, TypeError):
        return UnkeptChanges(more=1)  # somebody else wrote it: there may be work


def _merged(before: Iterable[Change], after: Iterable[Change]) -> list[Change]:
    """Return changes since an image, from those up to some moment and those after it."""
    merged = {change.path: change for change in before}
    for change in after:
        earlier = merged.pop(change.path, None)
        if change.kind == "deleted":
            for path in [path for path in merged if path.startswith(f"{change.path}/")]:
                del merged[path]
            if earlier and earlier.kind == "added":
                continue
            merged[change.path] = change
        elif earlier:
            merged[change.path] = earlier if earlier.kind == "added" else Change(change.path, "changed")
        else:
            merged[change.path] = change
    return sorted(merged.values(), key=lambda change: change.path)
