"""Tell a person's own data on the host from the files that the host runs or reads as config."""

from __future__ import annotations

import os
import pwd
import sys
from functools import cached_property
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

from phases.core import layout
from phases.core.config.mounts.host_paths import within

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from phases.core.config.mounts.host_paths import MountTable

#: The folder with this program's package.
CHECKOUT = Path(__file__).resolve().parents[4]

# Folders in which every user may create files.
_TEMPORARY = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))  # noqa: S108 (names, no files of ours)

# Names in the root of a project that doit, Python, tests and a person's tools read or run.
_AT_ROOT = frozenset(
    ("phases", "script", "scripts", "tests", "bench", "habitats", "shared", "Makefile", "sitecustomize")
)
_SUFFIXES_AT_ROOT = (".py", ".pth", ".toml", ".cfg", ".ini")

# Names in the folder of a layer that a build runs.
_IN_LAYER = frozenset(("tools", "tests"))

# Names in both folders that are read through a link.
_LINKS_IN_LAYER = ("config.yaml", "Dockerfile", ".habignore", ".dockerignore", "tools", "tests")
_LINKS_AT_ROOT = ("dodo.py", "pyproject.toml", "habitats", "shared", "phases", ".git", ".venv")

# Why a path is not data.
_IMPORTED = "which Python would import in place of its own"
_CONFIG = "which this program reads as config"


class _Homes:
    """The homes of this machine's users.

    Attributes:
        own: The homes of the person; with sudo, those of root and of the person who used it.
    """

    def __init__(self, root: Path, uid: int) -> None:
        self._root = root
        sudo = os.environ.get("SUDO_UID", "") if uid == 0 else ""
        uids = {uid, *([int(sudo)] if sudo.isdecimal() else [])}
        from_env = [Path(home)] if (home := os.environ.get("HOME", "")).startswith("/") else []
        paths = [*from_env, *(Path(user.pw_dir) for user in pwd.getpwall() if user.pw_uid in uids)]
        homes = dict.fromkeys(path.resolve() for path in paths if _is_folder(path))
        self.own = [home for home in homes if home != Path("/") and home.stat().st_uid in uids]

    @cached_property
    def others(self) -> dict[Path, str]:
        """The other homes, with the name of their user."""
        rows = ((Path(user.pw_dir), user.pw_name) for user in pwd.getpwall() if user.pw_dir.startswith("/"))
        homes = {home.resolve(): name for home, name in rows if _is_folder(home)}
        return {home: name for home, name in homes.items() if home not in (Path("/"), *self.own)}

    def owner(self, place: Path) -> str:
        """Return the other user in whose home a path is, "" for none.

        A home that holds the project, or a home of the person, doesn't count.
        """
        homes = ((home, name) for home, name in self.others.items() if within(place, home))
        return next((name for home, name in homes if not any(within(own, home) for own in (self._root, *self.own))), "")


class OwnPlaces:
    """The places of the host that are the data of the person who runs this, and those that are not.

    Args:
        root: The root of the project.
        layers: The folders that the habitat's config is read from.
        table: The mounts of this machine.
        config_files: Other files that are read as config.
    """

    def __init__(
        self, root: Path, layers: Iterable[Path], table: MountTable, config_files: Iterable[Path] = ()
    ) -> None:
        self.root = root.resolve()
        self._layers = [folder.resolve() for folder in layers if _is_folder(folder)]
        self._config_files = list(config_files)
        self._table = table
        self._uid = os.geteuid()
        self._temporary = [folder.resolve() for folder in _TEMPORARY]

    @cached_property
    def _homes(self) -> _Homes:
        return _Homes(self.root, self._uid)

    def is_own(self, place: Path) -> bool:
        """Return whether a path is in the project, in a home of the person, or in a temporary folder."""
        return any(within(place, folder) for folder in (self.root, *self._homes.own, *self._temporary))

    def flaw(self, place: Path) -> str:
        """Return why a path is not the person's data, as a path and a relative clause; "" if it is.

        Args:
            place: A path without a link in it.
        """
        return self._flaw_inside(place) or self._flaw_above(place) or self._flaw_of_owner(place)

    # Places that no mount may be or contain

    def _flaw_inside(self, place: Path) -> str:
        """Return the flaw of a path that contains something that is not data."""
        return next((f"{path}, {reason}" for path, reason in self._not_data if within(path, place)), "")

    @cached_property
    def _not_data(self) -> list[tuple[Path, str]]:
        """The places that are not data, by each of their paths, with the reason."""
        places = [
            *((home, "your home") for home in self._homes.own),
            *((home, f"the home of {name}") for home, name in self._homes.others.items()),
            (self.root, "this project"),
            (CHECKOUT, "this program"),
            *((path, "whose programs you run") for path in _command_folders(self.root)),
            *((path, _IMPORTED) for path in self._python_folders),
            *((path, _CONFIG) for path in self._config_places()),
        ]
        reasons: dict[Path, str] = {}
        for path, reason in places:
            reasons.setdefault(path, reason)
        return [(path, reason) for place, reason in reasons.items() for path in self._table.all_paths(place)]

    @cached_property
    def _python_folders(self) -> list[Path]:
        """The folders of Python and its packages, but not the project and this program, even if on Python's path."""
        texts = (sys.prefix, sys.base_prefix, sys.exec_prefix, *sys.path)
        paths = dict.fromkeys(Path(text).resolve() for text in texts if text.startswith("/"))
        return [path for path in paths if not any(within(base, path) for base in (self.root, CHECKOUT))]

    def _config_places(self) -> Iterator[Path]:
        yield from self._layer_folders
        yield from (path.resolve() for path in (*_program_folders(), *self._config_files))
        # Names that are not links are in folders that _flaw_above checks.
        in_layers = [folder / name for folder in self._layer_folders for name in _LINKS_IN_LAYER]
        at_root = [base / name for base in (self.root, CHECKOUT) for name in _LINKS_AT_ROOT]
        yield from (path.resolve() for path in (*in_layers, *at_root) if path.is_symlink())

    @cached_property
    def _layer_folders(self) -> list[Path]:
        """The folders of all habitats and extends of the project: each of them can run commands on the host."""
        folders = list(self._layers)
        for base in (self.root, CHECKOUT):
            entries = sorted(folder.iterdir()) if _is_folder(folder := layout.habitats_folder(base)) else []
            folders += map(Path.resolve, filter(_is_folder, (*entries, *layout.shared_folders(base))))
        return list(dict.fromkeys(folders))

    # Places that no mount may be inside

    def _flaw_above(self, place: Path) -> str:
        """Return the flaw of a path that is in a folder of code or config."""
        reason = self._reason_in_code(place) or self._reason_in_config(place)
        return f"{place}, {reason}" if reason else ""

    def _reason_in_code(self, place: Path) -> str:
        if any(within(place, path) and not within(self.root, path) for path in self._python_folders):
            return _IMPORTED
        for path in (path.resolve() for path in _program_folders()):
            if within(place, path) and not any(within(own, path) for own in (self.root, *self._homes.own)):
                return _CONFIG
        return ""

    def _reason_in_config(self, place: Path) -> str:
        for folder in self._layer_folders:
            if within(place, folder) and _is_read_in_layer(place.relative_to(folder).parts[0]):
                return _CONFIG
        bases = [base for base in (self.root, CHECKOUT) if within(place, base)]
        reasons = (self._reason_at_root(place.relative_to(base).parts) for base in bases)
        return next(filter(None, reasons), "")

    def _reason_at_root(self, parts: tuple[str, ...]) -> str:
        """Return why the path of these parts, below a project's root, is not data."""
        first, *rest = parts
        if first in ("habitats", "shared", layout.HIDDEN) and rest[:1] != [layout.STATE]:
            return "" if len(rest) > (first != "shared") else _CONFIG
        if first.startswith(".") or first in _AT_ROOT or (not rest and first.endswith(_SUFFIXES_AT_ROOT)):
            return "which this machine runs, or reads as config"
        # Python looks in the root of the project first.
        return "" if rest or not _is_module(first, self.root) else _IMPORTED

    # Places of others

    def _flaw_of_owner(self, place: Path) -> str:
        """Return the flaw of a path that belongs to root, to another person, or to programs of the session."""
        if within(place, self.root):
            return ""
        home = next((home for home in self._homes.own if within(place, home)), None)
        temporary = next((folder for folder in self._temporary if within(place, folder)), None)
        if home:
            name = place.relative_to(home).parts[0]
            is_data = not name.startswith(".") and name not in ("bin", "Library")
            reason = "" if is_data else "which your programs run, or read as config"
        elif temporary:
            is_hidden = any(part.startswith(".") for part in place.relative_to(temporary).parts[:1])
            reason = "where programs of the session listen" if is_hidden else _reason_not_writable(place, self._uid)
        else:
            reason = self._reason_elsewhere(place)
        return f"{place}, {reason}" if reason else ""

    def _reason_elsewhere(self, place: Path) -> str:
        owner = place.stat().st_uid
        if owner == 0:
            return "which is root's"
        name = self._homes.owner(place)
        if name and (self._uid != owner or any(part.startswith(".") for part in place.parts)):
            return f"which is in the home of {name}"
        return _reason_not_writable(place, self._uid)


def _reason_not_writable(place: Path, uid: int) -> str:
    if uid in (0, place.stat().st_uid):
        return ""
    can_write = os.access(place, os.W_OK, effective_ids=os.access in os.supports_effective_ids)
    return "" if can_write else "which you can't write to yourself"


def _command_folders(root: Path) -> Iterator[Path]:
    """Yield the folders of PATH; relative ones are relative to the project."""
    for text in os.environ.get("PATH", "").split(os.pathsep):
        if _is_folder(path := root / text):
            yield path.resolve()


def _program_folders() -> list[Path]:
    """Return the folders that environment variables name for the config of the person's programs."""
    names = ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "DOCKER_CONFIG", "GNUPGHOME")
    texts = (os.environ.get(name, "") for name in names)
    return [Path(text) for text in texts if text.startswith("/") and text.strip("/")]


def _is_module(name: str, root: Path) -> bool:
    """Return whether Python has a module of this name outside the project."""
    if not name.isidentifier():
        return False
    others = [text for text in sys.path if text and Path(text).resolve() not in (root, CHECKOUT, Path.cwd())]
    return name in sys.stdlib_module_names or PathFinder.find_spec(name, others) is not None


def _is_read_in_layer(name: str) -> bool:
    is_dockerfile = any(word in name.lower() for word in ("dockerfile", "containerfile"))
    return name.startswith((".", "config.yaml")) or name in _IN_LAYER or is_dockerfile


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # not readable for this person
        return False
