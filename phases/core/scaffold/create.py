"""Making a new habitat: a folder with a config.yaml to begin with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from phases.core.config import names
from phases.core.errors import ConfigError, state_error
from phases.core.files import atomic
from phases.core.scaffold import template
from phases.core.scaffold.clone_urls import clones

if TYPE_CHECKING:
    from collections.abc import Sequence

#: What script/bootstrap brings.
DEFAULT_BASE = "debian:bookworm-slim"


def create(root: Path, name: str, base: str, urls: Sequence[str]) -> str:
    """Make the habitat `name`, on the image `base`, with the repositories at `urls`.

    Returns the config's path, relative to the project's root. Whole or not at all, and never over
    one that is there. Raises ConfigError for what can't be written, StateError where nothing can.
    """
    if not names.names_a_habitat(name):
        raise ConfigError(f"'{name}' can't name a habitat", remedy=f"use {names.RULE}")
    if not names.names_an_image(base):
        problem = f"{base!r} is no name of an image"
        raise ConfigError(problem, where="--base", remedy="write it like debian:bookworm-slim")
    text = template.text(base, clones(urls, "--repo"))
    home = root / "habitats" / name
    if os.path.lexists(home) and not _is_empty(home):
        raise _taken(name)
    try:
        _put(home, text)
    except FileExistsError:
        raise _taken(name) from None
    return f"habitats/{name}/config.yaml"


def _is_empty(folder: Path) -> bool:
    """Whether it is a folder with nothing in it, which is no habitat yet."""
    return folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir())


def _taken(name: str) -> ConfigError:
    remedy = f"edit it, or take another name; `doit start:{name}` builds and starts it"
    return ConfigError("is there already", where=f"habitats/{name}", remedy=remedy)


def _put(home: Path, text: str) -> None:
    """The folder with all that is in it takes its name at once. A folder that is not empty keeps its own."""
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        atomic.sweep(home.parent, home.name)
        with atomic.draft_folder(home) as fresh:  # hidden: nobody's habitat
            (fresh / "config.yaml").write_text(text, encoding="utf-8")
            fresh.rename(home)
    except OSError as error:
        if os.path.lexists(home) and not _is_empty(home):
            raise FileExistsError from error  # another run was faster
        raise state_error(Path("habitats"), "written", error) from error
