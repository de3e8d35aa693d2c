"""Which project made an image, a container or a volume of an engine, as its labels show.

A project has an id, random digits in the folder of its state. It is also known by its folder, since the state may be
removed, and by its origin, which all clones of a repository have in common. So clones share images, as do all projects
with the same `project:` in the shared layer.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

from phases.core import layout
from phases.core.config import names, yaml_tree
from phases.core.errors import ConfigError, state_error
from phases.core.files import atomic, git_bundle, safe_open

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: The folder of the project that made an image, a container or a persistent volume.
LABEL_PROJECT = "habitat.project"

#: The id of that project. What earlier versions made has none, and counts as every project's own.
LABEL_ID = "habitat.project.id"

#: What all clones of that project have in common: `project:` of the shared layer, or a digest of the git origin.
LABEL_ORIGIN = "habitat.project.origin"

# The file with the id. No habitat can have this name.
_FILE = "_project.json"

# The largest such file that is read, and the largest shared layer, in bytes.
_MAX_BYTES, _MAX_CONFIG = 10_000, 1_000_000

# A config without such a line has no `project:`. Most have none, and are not parsed.
_KEY = re.compile(rb"""^["']?project["']?\s*:""", re.MULTILINE)


class ProjectIdentity:
    """The identity of the project at `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._record: dict[str, str] = {}

    @cached_property
    def folder(self) -> str:
        """The folder of the project, without links."""
        return str(self._root.resolve())

    @cached_property
    def given_name(self) -> str:
        """The value of `project:` in the shared layer; "" for none, or for one that is reported when it is loaded."""
        path = layout.shared_folder(self._root) / "config.yaml"
        with suppress(OSError, ConfigError):
            text = safe_open.read(path, _MAX_CONFIG) or b""
            tree = yaml_tree.parse(text, layer="shared", shown=path.name) if _KEY.search(text) else None
            value = tree.at(("project",)) if tree else None
            if value and isinstance(value.value, str) and names.is_project_name(value.value):
                return value.value
        return ""

    @property
    def name(self) -> str:
        """The name of the project: `project:`, else the name of its folder, in the form that an image's name needs."""
        return self.given_name or names.as_project_name(self._root.resolve().name)

    @cached_property
    def origin(self) -> str:
        """The value of LABEL_ORIGIN, "" if the project has no name and is in no git repository."""
        if self.given_name:
            return f"name:{self.given_name}"
        words = git_bundle.origin_of(self._root)
        return f"git:{hashlib.sha256(words.encode()).hexdigest()[:16]}" if words else ""

    @property
    def labels(self) -> dict[str, str]:
        """The labels of what this project makes. Creates the id. Raises StateError."""
        return {LABEL_PROJECT: self.folder, LABEL_ID: self._create_id(), LABEL_ORIGIN: self.origin}

    def is_foreign(self, labels: Mapping[str, str]) -> bool:
        """Return whether the labels are those of another project."""
        of_labels = labels.get(LABEL_ID)
        if not of_labels or of_labels == self.id:
            return False
        origin = labels.get(LABEL_ORIGIN, "")
        if origin and not self.given_name and origin == self._record.get("origin"):
            return False  # asking git takes time
        if labels.get(LABEL_PROJECT) == self.folder:  # its state was removed, or it is a container of a CI system
            return bool(origin and self.origin and origin != self.origin)
        return not origin or origin != self.origin

    @property
    def id(self) -> str:
        """The id of the project, "" if it has none yet."""
        if not self._record:
            self._record = self._read()
        return self._record.get("id", "")

    @property
    def _path(self) -> Path:
        return layout.state_folder(self._root) / _FILE

    def _read(self) -> dict[str, str]:
        """Return what the file has: the id, and the origin in git when it was created. A damaged file has nothing."""
        with suppress(OSError, ValueError, RecursionError):
            record = json.loads(safe_open.read(self._path, _MAX_BYTES) or b"{}")
            if isinstance(record, dict) and re.fullmatch("[0-9a-f]{32}", str(record.get("id"))):
                return {key: value for key, value in record.items() if isinstance(value, str)}
        return {}

    def _create_id(self) -> str:
        """Return the id, which is created if there is none. Of two runs at once, one creates it."""
        if self.id:
            return self.id
        origin = "" if self.given_name else self.origin
        path, text = self._path, json.dumps({"id": os.urandom(16).hex(), "origin": origin}).encode()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic.draft_file(path) as (draft, out):
                out.write(text)
                out.flush()
                with suppress(FileExistsError):
                    path.hardlink_to(draft)
                draft.unlink()
            if not self.id:  # the file is damaged
                atomic.write_if_changed(path, text)
        except OSError as error:
            raise state_error(path, "written", error) from error
        return self.id
