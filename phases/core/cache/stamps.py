"""Stamps: doit's records that tasks succeeded, one file per task, written when the task succeeds.

doit writes its own databases at the end of a run, so a killed run keeps nothing, and two runs at once lose rows.
`.stamps/NAME/7-setup.stamp` is written atomically instead.

A stamp is absent (the labels on the engine decide), present, or forgotten (`habitat forget`: the phase has to run even
if the labels match).
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from phases.core import layout
from phases.core.errors import StateError, state_error
from phases.core.files import atomic, digest_cache, safe_open
from phases.protocol import slug
from phases.registry import NAMES, named

if TYPE_CHECKING:
    from collections.abc import Callable

    from phases.protocol import Phase

Record: TypeAlias = dict[str, Any]

_FORGOTTEN = "forgotten"

# The largest stamp that is read, in bytes: far larger than any. Of a larger file only the first part is read, which is
# no JSON.
_MAX_BYTES = 1_000_000

# How many values doit keeps of a dependency: time, size and digest.
_STATE_LENGTH = 3


@cache
def state_dir(root: Path, habitat: str) -> Path:
    """Return the folder of a habitat's slices, stamps, logs and lock. Cached: each task needs it many times."""
    return layout.state_folder(root) / habitat


def task_name(phase: Phase, habitat: str) -> str:
    """Return the name of the doit task of a phase."""
    return f"{phase.NAME}:{habitat}"


@cache
def stamp_path(root: Path, task: str) -> Path | None:
    """Return the stamp of a task PHASE:HABITAT; None for tasks without one, like groups and start."""
    phase, _, habitat = task.partition(":")
    if not habitat or phase not in NAMES:
        return None
    return state_dir(root, habitat) / f"{slug(named(phase))}.stamp"


def _settled_state(path: Path) -> digest_cache.State | None:
    """Return a file's state if any later write is sure to change that state; None if not, or if there is no file."""
    try:
        now = digest_cache.state(path.stat())
    except OSError:
        return None
    return now if digest_cache.settled(now) else None


def _well_formed(record: object) -> bool:
    """Return whether a parsed stamp has the form that doit and this program expect."""
    if not isinstance(record, dict):
        return False
    values, deps = record.get("_values_:", {}), record.get("deps:", [])
    if not isinstance(values, dict) or not isinstance(deps, list):
        return False
    states = (record.get(dep) for dep in deps if isinstance(dep, str))
    return all(isinstance(state, list) and len(state) == _STATE_LENGTH for state in states)


class Stamps:
    """The stamps of a project.

    Args:
        root: The root of the project.
        warn: Called with one line for each stamp that can't be read.
    """

    def __init__(self, root: Path, warn: Callable[[str], None] | None = None) -> None:
        self.root = root
        self._warn = warn
        self._seen: dict[Path, tuple[digest_cache.State, Record]] = {}

    def read(self, task: str) -> Record:
        """Return the stamp of a task, {} if there is none. A damaged stamp counts as absent.

        doit asks for each value separately, so a file that has not changed since the last call is not read again.
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
        return record if _well_formed(record) else self._damaged(path, "it is no stamp")

    def _damaged(self, path: Path, why: str) -> Record:
        if self._warn:
            shown = path.relative_to(self.root)
            self._warn(f"{shown}: the stamp can't be read ({why}): the labels of the image decide")
        return {}

    def write(self, task: str, record: Record) -> None:
        """Write the stamp of a task. Raises StateError."""
        if path := stamp_path(self.root, task):
            atomic.write_if_changed(path, json.dumps(record).encode())

    def is_forgotten(self, task: str) -> bool:
        """Return whether `forget` was called since the task's last success."""
        return bool(self.read(task).get(_FORGOTTEN))

    def forget(self, task: str) -> None:
        """Have the task run again, whatever the labels of images say. Raises StateError."""
        self.write(task, {_FORGOTTEN: True})

    def drop(self, task: str) -> None:
        """Remove a present stamp. A forgotten one stays, since nothing was built. Raises StateError."""
        path = stamp_path(self.root, task)
        if path is None or self.is_forgotten(task):
            return
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise state_error(path, "removed", error) from error


class StampBackend:
    """Stamps in the form of a doit database backend.

    doit calls `set` several times for one success, with `deps:` last, and not at all for a dependency that has not
    changed. This writes the stamp once, when it is complete.

    doit calls `remove` for every task that failed and for every task behind it. The tasks behind keep their stamps, so
    `remove` removes none: the build drops the stamp of the phase that failed.
    """

    desc = "one file per task, written when it succeeds"

    def __init__(self, name: str, codec: object, *, module_name: str | None = None) -> None:
        """Open the backend.

        Args:
            name: doit's `dep_file`, which is the folder of the state.
            codec: Unused, since stamps are JSON.
            module_name: Unused.
        """
        del codec, module_name
        self.name = name
        self.stamps = Stamps(layout.root_of(Path(name).resolve()))
        self._pending: dict[str, Record] = {}

    def set(self, task_id: str, dependency: str, value: Any) -> None:
        """Set one value of a task; `deps:` completes the stamp."""
        record = self._pending.setdefault(task_id, {})
        record[dependency] = value
        if dependency == "deps:":
            before = self.stamps.read(task_id)
            unchanged = {dep: before[dep] for dep in value if dep in before}
            self.stamps.write(task_id, {**unchanged, **self._pending.pop(task_id)})

    def get(self, task_id: str, dependency: str) -> Any:
        """Return one value of a task, None if there is none."""
        pending = self._pending.get(task_id, {})
        return pending.get(dependency, self.stamps.read(task_id).get(dependency))

    def in_(self, task_id: str) -> bool:
        """Return whether a task has a stamp."""
        return bool(self.stamps.read(task_id))

    def remove(self, task_id: str) -> None:
        """Discard what was set since the last complete stamp."""
        self._pending.pop(task_id, None)

    def remove_all(self) -> None:
        """Refuse, since only `habitat forget` forgets all tasks."""
        raise StateError("only the command `forget` can forget all stamps at once")

    def dump(self) -> None:
        """Add to the stamps what was set without `deps:`, like the mark of `doit ignore`."""
        for task_id, marks in self._pending.items():
            self.stamps.write(task_id, {**self.stamps.read(task_id), **marks})
        self._pending.clear()
