"""The author of commits in a running habitat: the person, as the git of this machine knows them.

What the personal config, the habitat's config or the image says about it comes first.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from phases.core import events
from phases.core.cache.image_files import KnownFiles
from phases.core.config import names
from phases.core.config.mounts.mountable_paths import within
from phases.core.container import root_environment
from phases.core.errors import EngineError
from phases.core.files import git_identity
from phases.core.runtime.persistence.volumes import persistence_of
from phases.core.runtime.session.image_users import users_of_image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phases.core.engine.types import Container
    from phases.core.model import Habitat
    from phases.core.project import Project
    from phases.core.runtime.session.session import Session

# The variables of git for each key of its config.
_VARIABLES = {
    "name": ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"),
    "email": ("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"),
}

# Under this name, which is no path, KnownFiles has the keys that the git configs of an image set.
_KNOWN = "user of git"

# A section of a git config, and a key in it.
_SECTION = re.compile(rb"\s*\[([^]]*)\](.*)")
_KEY = re.compile(rb"(name|email)\s*=\s*[^\s#;]", re.IGNORECASE)


def variables(session: Session) -> dict[str, str]:
    """Return the variables for the commands of a session that is in its container."""
    habitat = session.habitat
    configured = {*habitat.env.values, *root_environment.environment_of_label(session.container.labels)}
    configured |= {one.name for one in habitat.entry.env}
    known = KnownFiles(session.project.state_folder).of(habitat.name).get(session.container.image, {})
    in_image = known.get(_KNOWN, b"").decode().split()
    free = {
        key: [name for name in of_key if name not in configured]
        for key, of_key in _VARIABLES.items()
        if key not in in_image
    }
    if not any(free.values()):
        return {}
    result: dict[str, str] = {}
    for key, value in git_identity.read(session.project.root).items():
        if names.is_git_name(value):
            result |= dict.fromkeys(free.get(key, ()), value)
        elif free.get(key) and session.was_started:
            text = f"commits in {habitat.name} don't have the user.{key} of your git: it is no line without < and >"
            session.project.bus.emit(events.Notice(habitat.name, text, warning=True))
    return result


def learn(project: Project, habitat: Habitat, container: Container) -> None:
    """Record which keys the git configs of a container's image set, unless that is known.

    container: A new container, which was never started: in another one a person may have changed the files.
    """
    known_files = KnownFiles(project.state_folder)
    known = known_files.of(habitat.name).setdefault(container.image, {})
    if _KNOWN in known:
        return
    home = users_of_image(project, habitat, container).home(habitat.user)
    mounts = [bind.dest for bind in container.binds]
    mounts += [entry.mount_point for entry in persistence_of(container).entries]
    paths = [path for path in ("/etc/gitconfig", f"{home}/.gitconfig") if not any(within(path, one) for one in mounts)]
    with suppress(EngineError):  # whatever is wrong with the container, its start reports it
        texts = [project.engine.read_file(container.id, path) or b"" for path in paths]
        known[_KNOWN] = " ".join(sorted({key for text in texts for key in _keys(text)})).encode()
        known_files.save(habitat.name)


def _keys(config: bytes) -> Iterator[str]:
    """Yield the keys of `user` that a git config sets."""
    section = b""
    for line in config.splitlines():
        if match := _SECTION.match(line):
            section, line = match[1].strip().lower(), match[2]  # noqa: PLW2901 (a key may follow on the same line)
        if section == b"user" and (match := _KEY.match(line.strip())):
            yield match[1].decode().lower()
