"""The personal layer: what a person's running habitats get, whatever their project.

It may hold only what no image and no hash depends on. So nobody's build differs from a teammate's because of it.
"""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING

from phases.core import copied_files
from phases.core.config import names
from phases.core.config.schema import Config, EntryKeys
from phases.core.config.yaml_tree import Tree
from phases.core.errors import ConfigError, did_you_mean
from phases.core.json_types import dotted
from phases.core.origin import ConfigLayer
from phases.core.problems import Problems

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phases.core.model import FileCopy, Habitat
    from phases.core.origin import Origin

#: The keys that it may have, and those below `entry`.
SECTIONS = ("entry", "identity", "instructions", "secrets", "workspace")
ENTRY = ("env", "files", "persist", "ssh_agent")

_ALLOWED = "entry.env, files, persist and ssh_agent, identity, instructions, workspace, and secrets with start: true"
_REMEDY = "write it into the config of a habitat, or of the shared layer"

#: The variables of git for each key of `identity`.
IDENTITY = {
    "name": ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"),
    "email": ("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"),
}

# The mode bits that let the group and others write.
_BY_GROUP, _BY_OTHERS = 0o020, 0o002


def folder() -> Path | None:
    """Return the folder of the personal config, None for a person without a home.

    It is where platformdirs has it on Linux. Importing that package would take longer than the rest of a config's load.
    """
    base = os.environ.get("XDG_CONFIG_HOME", "")
    text = base if base.startswith("/") else os.path.expanduser("~/.config")  # noqa: PTH111 (raises nothing)
    return Path(text, "habitats") if text.startswith("/") else None


def shown_file() -> str:
    """Return the personal config.yaml as a person sees it."""
    place = folder()
    return f"{_shown(place) if place else '~/.config/habitats'}/config.yaml"


def _shown(place: Path) -> str:
    home = os.environ.get("HOME", "").rstrip("/")
    return f"~/{place.relative_to(home)}" if home and place.is_relative_to(home) else str(place)


def find() -> ConfigLayer | None:
    """Return the personal layer, None without a config. Raises ConfigError if another user could write to it."""
    place = folder()
    if place is None or not os.path.lexists(place / "config.yaml"):
        return None
    layer = ConfigLayer("personal", place, _shown(place))
    for path in (place, place / "config.yaml"):
        _check_own(path, f"{layer.shown}/config.yaml", "your personal config")
    return layer


def check_files(habitat: Habitat) -> None:
    """Check that the files that the personal config names belong to the person alone. Raises ConfigError."""
    copies = [(copy.source, copy.shown, copy.origin) for copy in habitat.entry.files]
    texts = [(text.source, text.shown, text.origin) for text in habitat.instructions if text.source]
    problems = Problems()
    for path, shown, origin in (*copies, *texts):
        if origin.role == "personal":
            with problems:
                _check_own(path, origin, shown)
    problems.raise_all()


def check_tree(habitat: Habitat, copy: FileCopy) -> None:
    """Check all that is in a folder that the personal config names, as `check_files` does. Raises ConfigError."""
    if copy.origin.role == "personal":
        for item in copied_files.file_tree(habitat, copy):
            if item.kind != "link":
                _check_own(item.source, copy.origin, str(item.source))


def _check_own(path: Path, where: str | Origin, shown: str) -> None:
    """Check that a path belongs to the person alone: it reaches each habitat, and its commands run without a question.

    Args:
        path: The path.
        where: The place of the error.
        shown: What the error calls the path.
    """
    try:
        info = path.stat()
    except OSError as error:
        raise ConfigError(f"can't be read ({error.strerror})", where=where, remedy="check that it is a file") from error
    sudo = os.environ.get("SUDO_UID", "") if os.geteuid() == 0 else ""
    owners = {0, os.geteuid(), *([int(sudo)] if sudo.isdecimal() else [])}
    by_group = info.st_mode & _BY_GROUP and not _is_own_group(info.st_gid, info.st_uid)
    if info.st_uid not in owners or info.st_mode & _BY_OTHERS or by_group:
        remedy = f"make it yours alone: chown $(id -u) {path}; chmod go-w {path}"
        raise ConfigError(f"another user could write to {shown}", where=where, remedy=remedy)


def _is_own_group(gid: int, uid: int) -> bool:
    """Return whether a group is that of one user alone, as where the umask is 002."""
    try:
        user, group = pwd.getpwuid(uid), grp.getgrgid(gid)
    except KeyError:
        return False
    return user.pw_gid == gid and user.pw_name == group.gr_name and not {*group.gr_mem} - {user.pw_name}


def checked(tree: Tree, problems: Problems) -> Tree:
    """Return a personal config as one of `entry` and `secrets`, without the keys that don't belong there.

    Args:
        tree: The config as it was read.
        problems: Collects an error for each such key.
    """
    sections = dict(_mapping(tree))
    for key in [key for key in sections if key not in SECTIONS and key in Config.__struct_encode_fields__]:
        problems.add(_misplaced(sections.pop(key), key))
    if entry := sections.get("entry"):
        keys = dict(_mapping(entry))
        for key in [key for key in keys if key not in ENTRY and key in EntryKeys.__struct_encode_fields__]:
            problems.add(_misplaced(keys.pop(key), "entry", key))
        if isinstance(entry.value, dict):
            sections["entry"] = Tree(keys, entry.origin, entry.is_wrong)
    if (secrets := sections.get("secrets")) and isinstance(secrets.value, list):
        rows = [one for i, one in enumerate(secrets.value) if _is_for_start(one, i, problems)]
        sections["secrets"] = Tree(rows, secrets.origin, secrets.is_wrong)
    if identity := sections.pop("identity", None):
        _add_identity(sections, identity, problems)
    return Tree(sections, tree.origin, tree.is_wrong)


def _mapping(tree: Tree) -> dict[str, Tree]:
    return tree.value if isinstance(tree.value, dict) else {}


def _misplaced(tree: Tree, *key: str | int) -> ConfigError:
    problem = f"{dotted(*key)} can't be in the personal config, which may have {_ALLOWED}"
    return ConfigError(problem, where=tree.origin, remedy=_REMEDY)


def _is_for_start(secret: Tree, i: int, problems: Problems) -> bool:
    """Return whether a secret is for running habitats only. Otherwise an error is collected."""
    keys = _mapping(secret)
    if (phases := keys.get("phases")) and phases.value is not None:
        problems.add(_misplaced(phases, "secrets", i, "phases"))
        return False
    start = keys.get("start")
    if keys and (start is None or str(start.value).lower() not in ("true", "1")):
        problem = f"secrets[{i}] is for no running habitat, and the personal config may have only such secrets"
        problems.add(ConfigError(problem, where=(start or secret).origin, remedy="write start: true"))
        return False
    return True


def _add_identity(sections: dict[str, Tree], identity: Tree, problems: Problems) -> None:
    """Put the variables of git before those of `entry.env`, which may set others."""
    with problems:
        variables = list(_git_variables(identity))
        entry = sections.get("entry") or Tree({}, identity.origin)
        env = _mapping(entry).get("env")
        if not isinstance(entry.value, dict | None) or (env and not isinstance(env.value, list | None)):
            return  # the schema refuses it
        rows = env.value if env and isinstance(env.value, list) else []
        merged = Tree([*variables, *rows], env.origin if env else identity.origin)
        sections["entry"] = Tree({**_mapping(entry), "env": merged}, entry.origin, entry.is_wrong)


def _git_variables(identity: Tree) -> Iterator[Tree]:
    if not isinstance(identity.value, dict):
        if identity.value is None:
            return
        raise ConfigError(f"identity must be a mapping, is {identity.kind}", where=identity.origin, remedy=_example())
    for key, tree in identity.value.items():
        if key not in IDENTITY:
            remedy = did_you_mean(key, IDENTITY)
            raise ConfigError(f"identity: unknown key '{key}'", where=tree.origin, remedy=remedy)
        text = tree.value
        if not isinstance(text, str) or not names.is_git_name(text):
            problem = f"identity.{key} must be one line of text, without < and >"
            raise ConfigError(problem, where=tree.origin, remedy=_example())
        value = text.replace("$", "$$")
        yield from (Tree(f"{variable}={value}", tree.origin) for variable in IDENTITY[key])


def _example() -> str:
    return "write it like identity: {name: Ada Lovelace, email: ada@example.org}"
