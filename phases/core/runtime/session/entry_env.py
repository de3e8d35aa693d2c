"""The variables of `entry.env`, with the values that they have in a container.

A command gets them when it begins, so a changed value counts from the next command on. The main process has those with
which its container was created.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from phases.core.container import root_environment
from phases.core.json_types import digest
from phases.core.variables import in_image

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from phases.core.container.users import UserDatabase
    from phases.core.engine.protocol import Engine
    from phases.core.engine.types import Container
    from phases.core.entry_settings import EntryVariable
    from phases.core.model import Habitat

#: The label of a container whose main process has variables of `entry.env`, with a digest of them.
LABEL_ENTRY_ENV = "habitat.entry-env"

_REFERENCE = re.compile(r"\$\{(\w+)\}", re.ASCII)

# What `$HOME` and the like are for the main process, which is root's.
_ROOT = {"HOME": "/root", "USER": "root", "LOGNAME": "root", "SHELL": "/bin/sh"}


def for_commands(
    engine: Engine, habitat: Habitat, container: Container, users: UserDatabase, user: str
) -> dict[str, str]:
    """Return the variables for the commands of a user in a container.

    Args:
        engine: The engine.
        habitat: The habitat.
        container: The container.
        users: The users of its image.
        user: The user, whose home `$HOME` is.

    Raises:
        HabitatError: A value needs a variable that the image lacks, or the engine can't be asked for the image.
    """
    entries = habitat.entry.env
    if not entries:
        return {}
    env = root_environment.for_user(container.labels, habitat, users, user)
    if _references(entries) - env.keys():
        config = engine.image_config(container.image)
        env = {**(config.env if config else {}), **env}
    values = _values(entries, env)
    if "PATH" in values:
        values["PATH"] = root_environment.with_local_bin({**env, **values}, habitat, user)["PATH"]
    return values


def for_main_process(habitat: Habitat, image_env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for the init command, which is root's. Raises ConfigError."""
    return _values(of_main_process(habitat), {**_ROOT, **image_env})


def label(habitat: Habitat) -> dict[str, str]:
    """Return the label for a new container, none if its main process gets no variables of `entry.env`."""
    entries = of_main_process(habitat)
    return {LABEL_ENTRY_ENV: digest([[one.name, one.value] for one in entries])} if entries else {}


def of_main_process(habitat: Habitat) -> list[EntryVariable]:
    """Return the variables that the init command gets: as of `env:`, none that loads code or says who runs it."""
    entries = habitat.entry.env if habitat.entry.init_command else ()
    return [one for one in entries if root_environment.is_safe_for_root(one.name)]


def _references(entries: Iterable[EntryVariable]) -> set[str]:
    """Return the variables of the image that values need."""
    return {name for one in entries for name in _REFERENCE.findall(one.value.replace("$$", ""))}


def _values(entries: Iterable[EntryVariable], env: Mapping[str, str]) -> dict[str, str]:
    return {one.name: in_image(one.value, env, one.origin) for one in entries}
