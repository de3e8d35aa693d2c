"""The environment of root's processes in a container. Nothing in it leads to a file that USER can write.

Containers are created with an environment that is safe for root. The main process, the program's own commands and a
`docker exec` by hand inherit it. USER's commands get the image's own environment back.
"""

from __future__ import annotations

import json
import posixpath
import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from phases.core.container import defaults, identity
from phases.core.engine.types import SYSTEM_PATH
from phases.core.entry_settings import ALLOWLIST
from phases.protocol import ROOT_OWNED_PATHS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from phases.core.container.users import UserDatabase
    from phases.core.engine.protocol import Engine
    from phases.core.model import Habitat

#: Where root's other processes do, `entry.init_command` among them.
ROOT_PATH = f"/usr/local/sbin:/usr/local/bin:{SYSTEM_PATH}"

#: The label of a container that says which variables USER's commands get back, as JSON.
LABEL_ENVIRONMENT = "habitat.environment"

# Variables by which a program loads code, reads a script or changes how it reads one. Some list folders or files.
_LOADERS = (
    r"LD_\w+|BASH_\w.*|ENV|IFS|SHELLOPTS|BASHOPTS|PS4|GCONV_PATH|LOCPATH|GLIBC_TUNABLES|CDPATH|GIT_\w+"
    r"|PYTHON\w+|PERL\w+|RUBY\w+|GEM_\w+|NODE_OPTIONS|NODE_PATH|LUA_\w+|JAVA_TOOL_OPTIONS|_JAVA_OPTIONS"
    r"|JDK_JAVA_OPTIONS|CLASSPATH|OPENSSL_CONF|OPENSSL_MODULES|XDG_CONFIG_\w+|HOME|TMPDIR"
)

# Variables that change how a shell reads its script. No command of root's has them.
_NEVER = r"IFS|ENV|BASH_\w.*|SHELLOPTS|BASHOPTS|PS4"

# Folders that everybody can write to.
_WORLD_WRITABLE = ("/tmp", "/var/tmp", "/dev/shm", "/run/user", "/run/lock", "/run/ssh-agent", "/proc")  # noqa: S108 (names)

#: The environment of the program's own commands, whatever their container has.
OWN: Mapping[str, str] = MappingProxyType(
    {
        "PATH": SYSTEM_PATH,
        **dict.fromkeys(
            ("LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "BASH_ENV", "ENV", "SHELLOPTS", "PS4", "GCONV_PATH"), ""
        ),
    }
)


def for_container(env: Mapping[str, str], path: str = ROOT_PATH) -> dict[str, str]:
    """Return the variables that a container gets with another value than in `env`, its image's environment.

    An empty value stands for an unset variable: engines differ in how they unset one.
    """
    loaders = {name: "" for name, value in env.items() if value and re.fullmatch(_LOADERS, name)}
    return loaders | ({"PATH": path} if env.get("PATH", path) != path else {})


def for_main_process(env: Mapping[str, str]) -> dict[str, str]:
    """Return `for_container` for a container in which people work: its main process, and `docker exec`, are root's."""
    names = {name: "root" for name in ("USER", "LOGNAME", "USERNAME") if env.get(name, "root") != "root"}
    others = {name: "" for name in ("MAIL", "SHELL") if env.get(name)}
    return for_container(env) | names | others | defaults.locale(env)


def is_safe_for_root(name: str) -> bool:
    """Return whether a variable leads root's processes to no code, and does not say who they run as."""
    return not (name == "PATH" or re.fullmatch(_LOADERS, name) or identity.depends_on_user(name))


def label_for(env: Mapping[str, str]) -> str:
    """Return the value of LABEL_ENVIRONMENT for a container of an image with the environment `env`."""
    changed = for_main_process(env)
    return json.dumps({name: env[name] for name in env if name in changed or identity.depends_on_user(name)})


def environment_of_label(labels: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that USER's commands get back. A container of an older version has none."""
    try:
        variables = json.loads(labels.get(LABEL_ENVIRONMENT) or "{}")
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in variables.items()} if isinstance(variables, dict) else {}


def for_user(labels: Mapping[str, str], habitat: Habitat, users: UserDatabase, user: str) -> dict[str, str]:
    """Return the variables of a person's command beside the container's own.

    Args:
        labels: Those of the container.
        habitat: The habitat.
        users: The users of the container's image.
        user: The user who runs the command.
    """
    env = environment_of_label(labels)
    own = identity.variables(habitat, users, user, env)
    if is_root_beside_user(habitat, user):
        env = for_root_command(env, user_writable_folders(habitat, identity.homes(habitat, env).get(habitat.user, "")))
    return with_local_bin({**env, **own}, habitat, user)


def with_local_bin(env: Mapping[str, str], habitat: Habitat, user: str) -> dict[str, str]:
    """Return the environment of a user's command with `~/.local/bin` on PATH, for root only if USER can't write there.

    env: without PATH, the container's own counts.
    """
    home = env.get("HOME", "")
    if is_root_beside_user(habitat, user) and _is_users(home, user_writable_folders(habitat), relative=True):
        return dict(env)
    return {**env, "PATH": defaults.path_with_local_bin(env.get("PATH") or ROOT_PATH, home)}


def proxies(engine: Engine, habitat: Habitat) -> dict[str, str]:
    """Return the proxies for a command. What the config sets itself comes first, as `docker run --env` does."""
    return {name: value for name, value in engine.proxies.items() if name not in habitat.env.values}


def proxies_of_running(engine: Engine, habitat: Habitat) -> dict[str, str]:
    """Return the proxies for a command of a running habitat: that of its gate if it has one."""
    if habitat.entry.network != ALLOWLIST:
        return proxies(engine, habitat)
    from phases.core.container import gate_variables  # imported late: many habitats have no gate

    return {name: value for name, value in gate_variables.variables().items() if name not in habitat.env.values}


def is_root_beside_user(habitat: Habitat, user: str) -> bool:
    """Return whether `user` is root while the habitat's USER is another user."""
    return user in ("root", "0") and habitat.user != "root"


def user_writable_folders(habitat: Habitat, home: str = "") -> list[str]:
    """List the folders in which USER can write. home: as the image has it, "" for /home/USER."""
    folders = [path for name, path in habitat.paths.items() if name not in ROOT_OWNED_PATHS]
    folders += [volume.dest for volume in habitat.volumes if not volume.readonly and volume.dest.startswith("/")]
    folders += [cache.path for cache in habitat.caches if cache.path.startswith("/")]
    return [path for path in (home or f"/home/{habitat.user}", habitat.workdir, *folders) if path != "/"]


def for_root_command(env: Mapping[str, str], places: Collection[str]) -> dict[str, str]:
    """Return `env` for a command of the config that root runs, without paths in `places`, where USER can write.

    PATH keeps its other folders. Another variable that loads code is emptied, since half of an option is wrong.
    """
    cleaned = dict(env)
    for name, value in env.items():
        if name == "PATH":
            cleaned[name] = ":".join(part for part in value.split(":") if not _is_users(part, places, relative=True))
        elif re.fullmatch(_NEVER, name):
            cleaned[name] = ""
        elif re.fullmatch(_LOADERS, name):
            words = re.split(r"[:;,=\s]+", value)
            if any(_is_users(word, places, relative=name.endswith("PATH")) for word in words if word):
                cleaned[name] = ""
    return cleaned


def _is_users(word: str, places: Collection[str], *, relative: bool) -> bool:
    """Return whether USER can write where a path leads. relative: assume so for a path without a slash at its start."""
    if not word.startswith("/"):
        return relative or "/" in word or word.startswith("~")
    path = "/" + posixpath.normpath(word).lstrip("/")
    return any(path == place or path.startswith(f"{place.rstrip('/')}/") for place in (*places, *_WORLD_WRITABLE))


def run(engine: Engine, container: str, script: str, *args: str, stdin: bytes = b"") -> tuple[int, str]:
    """Run a script of the program as root in a container. Returns its exit code and its output."""
    printed: list[bytes] = []
    code = engine.exec(
        container,
        ("/bin/sh", "-e", "-c", "--", script, "sh", *args),
        user="0",
        workdir="/",
        env=OWN,
        stdin=stdin,
        on_output=lambda data, _: printed.append(data),
    )
    return code, b"".join(printed).decode(errors="replace").strip()
