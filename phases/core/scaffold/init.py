"""Make the repository of a person a project: one folder, `.habitats/`, with a habitat that has the repository in it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from phases.core import command_form, layout
from phases.core.config import names
from phases.core.errors import ConfigError, state_error
from phases.core.files import atomic, git_bundle
from phases.core.scaffold import editor_schema, template
from phases.core.scaffold.clone_urls import Clone
from phases.core.scaffold.create import check_extends

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Settings = Mapping[str, Mapping[str, str]]

#: The name of a habitat in a folder whose own name allows none.
DEFAULT_NAME = "main"

_GITIGNORE = f"""\
# What builds leave on this machine.
/{layout.STATE}/
"""

_DODO = """\
\"\"\"Gives doit the tasks of the habitats in this folder. The Python package `habitats` has them.\"\"\"

from pathlib import Path

from phases.dodo import open_tasks

DOIT_CONFIG, task_habitats = open_tasks(Path(__file__).resolve().parent)
"""


def root_for(folder: Path) -> Path:
    """Return the folder that `init` makes a project: the repository that `folder` is in, else `folder` itself.

    Raises:
        ConfigError: It is a project already, or a folder that holds more than one project.
    """
    root = git_bundle.top_of(folder) or folder
    if (existing := layout.find_root(folder)) and (existing == root or root in existing.parents):
        problem = f"{existing} is a project already: it has {layout.habitats_folder(existing).name}/"
        raise ConfigError(problem, remedy=f"`{command_form.command('new', 'NAME')}` adds a habitat")
    home = os.environ.get("HOME", "")
    if root == Path("/") or (home.startswith("/") and root == Path(home).resolve()):
        raise ConfigError(f"{root} holds more than one project", remedy="go to the folder of one, then run it again")
    return root


def name_for(root: Path) -> str:
    """Return a name for the habitat of a folder: that of the folder, as far as a habitat can have it."""
    name = re.sub(r"[^a-z0-9]+", "-", root.name.lower()).strip("-")
    return name if names.is_habitat_name(name) and layout.can_name_habitat(name) else DEFAULT_NAME


def is_repository(root: Path) -> bool:
    """Return whether a folder is the top of a git repository, which its habitat then clones."""
    return git_bundle.top_of(root) == root.resolve()


def create(root: Path, name: str, base: str, extend: Sequence[str] = ()) -> str:
    """Write `.habitats/` with one habitat, whole or not at all.

    Args:
        root: The folder that becomes a project.
        name: The habitat.
        base: The image that it starts from.
        extend: The names of configs for `extends:`.

    Returns:
        The path of its config, relative to the root.

    Raises:
        ConfigError: A name is not valid.
        StateError: The disk refuses.
    """
    if not names.is_habitat_name(name) or not layout.can_name_habitat(name):
        raise ConfigError(f"'{name}' can't name a habitat", remedy=f"use {names.HABITAT_NAME_RULE}, and not `shared`")
    if not names.is_image_name(base):
        problem = f"{base!r} is not the name of an image"
        raise ConfigError(problem, where="--base", remedy="write it like debian:bookworm-slim")
    check_extends(root, extend)
    clones = [Clone(".", "", by_ssh=False)] if is_repository(root) else []
    workdir = f"/workspace/{name}" if clones else ""
    schema = editor_schema.place_in(f"{layout.HIDDEN}/{layout.STATE}")
    text = template.text(base, clones, extends=extend, workdir=workdir, schema=schema)
    home = root / layout.HIDDEN
    try:
        with atomic.draft_folder(home) as fresh:
            (fresh / name).mkdir()
            (fresh / name / "config.yaml").write_text(text, encoding="utf-8")
            (fresh / ".gitignore").write_text(_GITIGNORE, encoding="utf-8")
            fresh.rename(home)
    except OSError as error:
        raise state_error(Path(layout.HIDDEN), "written", error) from error
    editor_schema.link(root)
    return f"{layout.HIDDEN}/{name}/config.yaml"


def check_doit_files(root: Path, settings: Settings) -> None:
    """Raise ConfigError if a project has a dodo.py or a doit.cfg of its own."""
    for name, text in _doit_files(settings).items():
        path = root / name
        if os.path.lexists(path) and not (path.is_file() and path.read_text(errors="replace") == text):
            remedy = "rename it, or leave --doit out: `habitat` works without that file"
            raise ConfigError("exists already, and is not the one for habitats", where=name, remedy=remedy)


def write_doit_files(root: Path, settings: Settings) -> None:
    """Write dodo.py and doit.cfg, with which doit itself has the tasks of a project.

    Args:
        root: The root of the project.
        settings: doit's settings, by the sections of doit.cfg.

    Raises:
        ConfigError: The project has one of the files, with another content.
        StateError: The disk refuses.
    """
    check_doit_files(root, settings)
    for name, text in _doit_files(settings).items():
        atomic.write_if_changed(root / name, text.encode())


def _doit_files(settings: Settings) -> dict[str, str]:
    """Return the text of each file by its name."""
    sections = [
        "".join([f"[{name}]\n", *(f"{key} = {value}\n" for key, value in rows.items())])
        for name, rows in settings.items()
    ]
    return {"dodo.py": _DODO, "doit.cfg": "\n".join(sections)}
