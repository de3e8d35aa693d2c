"""Stamps: doit's record that a task succeeded, one file each, written the moment it does.

doit's own databases are written when a run ends, so a killed run keeps nothing, and two runs at
once lose rows. Here `.stamps/NAME/7-setup.stamp` is written to a temporary file and renamed.

A stamp is in one of three states: absent (the labels on the engine decide), present, or forgotten,
which is what `doit forget` leaves: matching labels are not believed until the phase was built again.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from phases.core.errors import StateError, state_error
from phases.core.files import atomic, digest_cache, safe_open
from phases.protocol import slug
from phases.registry import NAMES, named

if TYPE_CHECKING:
    from collections.abc import Callable

    from phases.protocol import Phase

Record: TypeAlias = dict[str, Any]

_FORGOTTEN = "forgotten"

# Far above any record: what is larger is none, and json says so of its beginning.
_MAX_BYTES = 1_000_000

# Time, size and digest: what doit keeps of a dependency.
_STATE = 3


@cache
def state_dir(root: Path, habitat: str) -> Path:
    """Where slices, stamps, logs and the lock of a habitat live. Asked for many times for each task."""
    return root / ".stamps" / habitat


def task_name(phase: Phase, habitat: str) -> str:
    """Return the name of the doit task of a phase."""
    return f"{phase.NAME}:{habitat}"


@cache
def stamp_path(root: Path, task: str) -> Path | None:
    """The file of a task PHASE:HABITAT; None for tasks that leave no stamp (groups, start)."""
    phase, _, habitat = task.partition(":")
    if not habitat or phase not in NAMES:
        return None
    return state_dir(root, habitat) / f"{slug(named(phase))}.stamp"


def _settled_state(path: Path) -> digest_cache.State | None:
    """What tells a file from itself after a write; None where nothing does, or nothing is there."""
    try:
        now = digest_cache.state(path.stat())
    except OSError:
        return None
    return now if digest_cache.settled(now) else None


def _well_formed(record: object) -> bool:
    """Whether it has the form that doit, and we, find our way in."""
    if not isinstance(record, dict):
        return False
    values, deps = record.get("_values_:", {}), record.get("deps:", [])
    if not isinstance(values, dict) or not isinstance(deps, list):
        return False
    states = (record.get(dep) for dep in deps if isinstance(dep, str))
    return all(isinstance(state, list) and len(state) == _STATE for state in states)


class Stamps:
    """The stamps of a project. warn: called with a line for a stamp that can't be read."""

    def __init__(self, root: Path, warn: Callable[[str], None] | None = None) -> None:
        self.root = root
        self._warn = warn
        self._seen: dict[Path, tuple[digest_cache.State, Record]] = {}

    def read(self, task: str) -> Record:
        """What is recorded of `task`, {} where nothing is. A stamp that is no record counts as absent.

        doit asks for each thing in it by itself, so a file that wasn't written to since is not read again.
        """
        path = stamp_path(self.root, task)
        if path is None:
            return {}
        state = _settled_state(path)
        seen = self._seen.get(path)
        if seen and seen[0] == state:
            return seen[1]
        record = self._read(path)
        if state:
            self._seen[path] = (state, record)
        return record

    def _read(self, path: Path) -> Record:
        try:
            text = safe_open.read(path, _MAX_BYTES)
            if text is None:
                return {}
            record = json.loads(text)
        except (OSError, ValueError, RecursionError) as error:
            return self._damaged(path, str(error))
        return record if _well_formed(record) else self._damaged(path, "it has another form")

    def _damaged(self, path: Path, why: str) -> Record:
        if self._warn:
            shown = path.relative_to(self.root)
            self._warn(f"{shown}: the stamp can't be read ({why}): going by the labels of the image")
        return {}

    def write(self, task: str, record: Record) -> None:
        """Record `task`. Raises StateError."""
        if path := stamp_path(self.root, task):
            atomic.write_if_changed(path, json.dumps(record).encode())

    def is_forgotten(self, task: str) -> bool:
        return bool(self.read(task).get(_FORGOTTEN))

    def forget(self, task: str) -> None:
        self.write(task, {_FORGOTTEN: True})

    def drop(self, task: str) -> None:
        """Make a present stamp absent; a forgotten one stays forgotten, since nothing was built."""
        path = stamp_path(self.root, task)
        if path is None or self.is_forgotten(task):
            return
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise state_error(path, "removed", error) from error


class StampBackend:
    """doit's database interface over Stamps.

    doit calls `set` several times for one success, with `deps:` last, and not at all for a
    dependency that has not changed; only the whole record is written.
    It calls `remove` for every task that failed, and for every one that waited for it in vain. That
    is no reason to forget an earlier verdict, so the build itself drops the stamp of what failed.
    """

    desc = "one file per task, written when it succeeds"

    def __init__(self, name: str, codec: object, *, module_name: str | None = None) -> None:
        """name: doit's `dep_file`, the .stamps folder; a stamp is JSON whatever codec doit offers."""
        del codec, module_name
        self.name = name
        self.stamps = Stamps(Path(name).resolve().parent)
        self._pending: dict[str, Record] = {}

    def set(self, task_id: str, dependency: str, value: Any) -> None:
        record = self._pending.setdefault(task_id, {})
        record[dependency] = value
        if dependency == "deps:":
            before = self.stamps.read(task_id)
            unchanged = {dep: before[dep] for dep in value if dep in before}
            self.stamps.write(task_id, {**unchanged, **self._pending.pop(task_id)})

    def get(self, task_id: str, dependency: str) -> Any:
        pending = self._pending.get(task_id, {})
        return pending.get(dependency, self.stamps.read(task_id).get(dependency))

    def in_(self, task_id: str) -> bool:
        return bool(self.stamps.read(task_id))

    def remove(self, task_id: str) -> None:
        self._pending.pop(task_id, None)

    def remove_all(self) -> None:
        raise StateError("all stamps at once are forgotten by `doit forget` only")

    def dump(self) -> None:
        """What is left is no success but a mark, as `doit ignore` sets it: it joins the stamp."""
        for task_id, marks in self._pending.items():
            self.stamps.write(task_id, {**self.stamps.read(task_id), **marks})
        self._pending.clear()
