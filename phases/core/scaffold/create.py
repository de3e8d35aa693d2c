"""Make a new habitat: a folder with a config.yaml to start from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from phases.core import command_form, layout
from phases.core.config import names
from phases.core.config.layers import extends
from phases.core.errors import ConfigError, did_you_mean, state_error
from phases.core.files import atomic
from phases.core.scaffold import editor_schema, template
from phases.core.scaffold.clone_urls import clones

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: The image that script/bootstrap pulls.
DEFAULT_BASE = "debian:bookworm-slim"


def create(root: Path, name: str, base: str, urls: Sequence[str], extend: Sequence[str] = ()) -> str:
    """Make a habitat, whole or not at all, and never over an existing one.

    Args:
        root: The project's root.
        name: The habitat.
        base: The image that it starts from.
        urls: The repositories to clone.
        extend: The names of configs for `extends:`.

    Returns:
        The config's path, relative to the root.

    Raises:
        ConfigError: A name or URL is not valid, or the habitat exists.
        StateError: The disk refuses.
    """
    _check_name(name)
    if not names.is_image_name(base):
        problem = f"{base!r} is not the name of an image"
        raise ConfigError(problem, where="--base", remedy="write it like debian:bookworm-slim")
    check_extends(root, extend)
    schema = template.SCHEMA if (root / template.SCHEMA).is_file() else editor_schema.place_of(root)
    text = template.text(base, clones(urls, "--repo"), extends=extend, schema=schema)
    config = new_folder(root, name, lambda folder: (folder / "config.yaml").write_text(text, encoding="utf-8"))
    editor_schema.link(root)
    return config


def _check_name(name: str) -> None:
    if not names.is_habitat_name(name):
        raise ConfigError(f"'{name}' can't name a habitat", remedy=f"use {names.HABITAT_NAME_RULE}")


def check_extends(root: Path, extend: Sequence[str]) -> None:
    """Raise ConfigError unless a project has all extends of these names."""
    folders = extends.places_of(root)
    for name in extend:
        if name not in (known := extends.names_in(folders)):
            raise ConfigError(f"there is no extend '{name}'", where="--extends", remedy=did_you_mean(name, known))


def new_folder(root: Path, name: str, write: Callable[[Path], object]) -> str:
    """Make a habitat's folder, whole or not at all.

    Args:
        root: The project's root.
        name: The habitat.
        write: Writes the files into the folder that it gets.

    Returns:
        The config's path, relative to the root.

    Raises:
        ConfigError: The name is not valid, or the habitat exists.
        StateError: The disk refuses.
    """
    _check_name(name)
    home = layout.habitat_folder(root, name)
    shown = str(home.relative_to(root))
    if not layout.names_habitat(root, name):
        raise ConfigError(f"{shown} is the shared layer", where=name, remedy="choose another name")
    if os.path.lexists(home) and not _is_empty(home):
        raise _taken(name, shown)
    try:
        _put(home, write)
    except FileExistsError:
        raise _taken(name, shown) from None
    return f"{shown}/config.yaml"


def _is_empty(folder: Path) -> bool:
    """Return whether it is an empty folder, which is not a habitat yet."""
    return folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir())


def _taken(name: str, shown: str) -> ConfigError:
    remedy = f"edit it, or choose another name; `{command_form.verb('start', name)}` builds and starts it"
    return ConfigError("already exists", where=shown, remedy=remedy)


def _put(home: Path, write: Callable[[Path], object]) -> None:
    """Write the folder under a hidden name, then rename it. The rename fails if a habitat exists."""
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        atomic.sweep(home.parent, home.name)
        with atomic.draft_folder(home) as fresh:
            write(fresh)
            fresh.rename(home)
    except OSError as error:
        if os.path.lexists(home) and not _is_empty(home):
            raise FileExistsError from error  # another run was faster
        raise state_error(Path(home.parent.name), "written", error) from error
