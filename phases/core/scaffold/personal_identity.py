"""The name and the e-mail for commits in the personal config, for a person whose git has none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from phases.core.config import names, yaml_tree
from phases.core.config.layers import personal
from phases.core.errors import ConfigError, HabitatError, state_error
from phases.core.files import atomic, git_identity, safe_open

if TYPE_CHECKING:
    from pathlib import Path

# Bytes of a config.
_MAX_BYTES = 1_000_000


def is_missing(root: Path) -> bool:
    """Return whether neither the person's git, in a project, nor the personal config says who makes commits."""
    if personal.folder() is None or {"name", "email"} <= git_identity.read(root).keys():
        return False
    try:
        layer = personal.find()
        tree = yaml_tree.load(layer.folder / "config.yaml", layer="personal", shown=layer.shown) if layer else None
    except HabitatError:
        return False  # the next command that reads the config reports it
    return tree is None or tree.at(("identity",)) is None


def check(key: str, text: str) -> None:
    """Raise ConfigError for a name or an e-mail that git can't write into a commit."""
    if not names.is_git_name(text):
        raise ConfigError(f"this is no {key} for commits", remedy="type one line of text, without < and >")


def write(name: str, email: str) -> str:
    """Add an identity to the personal config, which keeps all else that it has. Return the path as a person sees it.

    Raises:
        HabitatError: The config can't be read or written, or has no place for it.
    """
    folder, shown = personal.folder(), personal.shown_file()
    assert folder, "is_missing has found one"
    try:
        path = (folder / "config.yaml").resolve()
        before = safe_open.read(path, _MAX_BYTES) or b""
        rows = f"identity:\n  name: {json.dumps(name, ensure_ascii=False)}\n"
        rows += f"  email: {json.dumps(email, ensure_ascii=False)}\n"
        after = before + (b"" if before.endswith(b"\n") or not before else b"\n") + rows.encode()
        _check(after, shown)
        if not folder.exists():
            folder.mkdir(mode=0o700, parents=True)
        mode = path.stat().st_mode & 0o777 if before else 0o600
        with atomic.draft_file(path) as (draft, out):
            out.write(after)
            draft.chmod(mode)
            draft.replace(path)
    except OSError as error:
        raise state_error(folder / "config.yaml", "written", error) from error
    return shown


def _check(config: bytes, shown: str) -> None:
    """Raise ConfigError unless the end of a config is a key of it."""
    try:
        tree = yaml_tree.parse(config, layer="personal", shown=shown)
    except ConfigError as error:
        raise ConfigError("has no place for an identity", where=shown, remedy="write identity: into it") from error
    if tree.at(("identity", "email")) is None:
        raise ConfigError("has no place for an identity", where=shown, remedy="write identity: into it")
