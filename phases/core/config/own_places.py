"""Which places of the host are a person's own data, and which are what the host runs or reads as config."""

from __future__ import annotations

import os
import pwd
import sys
from functools import cached_property
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

from phases.core.config.host_paths import within

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from phases.core.config.host_paths import MountTable

#: The folder that has the package of this program.
CHECKOUT = Path(__file__).resolve().parents[3]

# Where anybody may make files.
_TEMPORARY = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))  # noqa: S108 (names, no files of ours)

# In the root of a project: what doit, Python, tests and a person's tools read or run.
_TOP = frozenset(("phases", "script", "scripts", "tests", "bench", "habitats", "shared", "Makefile", "sitecustomize"))
_TOP_ENDS = (".py", ".pth", ".toml", ".cfg", ".ini")

# In the folder of a layer.
_LAYER = frozenset(("tools", "tests"))

# Of these, what a link leads to.
_READ = ("config.yaml", "Dockerfile", ".habignore", ".dockerignore", "tools", "tests")
_READ_AT_TOP = ("dodo.py", "pyproject.toml", "habitats", "shared", "phases", ".git", ".venv")

_BY_PYTHON = "which Python would read in the place of its own"
_CONFIG = "which this program reads as config"


class OwnPlaces:
    """Of the person who runs this. root: the project's; layers: the folders that its config is read from; also: a
    file that is read as config.
    """

    def __init__(self, root: Path, layers: Iterable[Path], table: MountTable, also: Iterable[Path] = ()) -> None:
        self.root = root.resolve()
        self._layers = [folder.resolve() for folder in layers if _is_folder(folder)]
        self._also = list(also)
        self._table = table
        self._uid = os.geteuid()

    # Whose is it

    def is_own(self, place: Path) -> bool:
        """Return whether it is below a home of the person's, in the project, or where anybody may make files."""
        return any(within(place, folder) for folder in (self.root, *self.homes, *self._temporary))

    @cached_property
    def _temporary(self) -> list[Path]:
        return [folder.resolve() for folder in _TEMPORARY]

    @cached_property
    def homes(self) -> list[Path]:
        """The person's, and where root works for somebody by sudo, that one's."""
        sudo = os.environ.get("SUDO_UID", "") if self._uid == 0 else ""
        uids = {self._uid, *([int(sudo)] if sudo.isdecimal() else [])}
        named = [Path(home)] if (home := os.environ.get("HOME", "")).startswith("/") else []
        paths = [*named, *(Path(row.pw_dir) for row in pwd.getpwall() if row.pw_uid in uids)]
        found = dict.fromkeys(path.resolve() for path in paths if _is_folder(path))
        return [home for home in found if home != Path("/") and home.stat().st_uid in uids]

    @cached_property
    def _others_homes(self) -> dict[Path, str]:
        rows = ((Path(row.pw_dir), row.pw_name) for row in pwd.getpwall() if row.pw_dir.startswith("/"))
        homes = {home.resolve(): name for home, name in rows if _is_folder(home)}
        return {home: name for home, name in homes.items() if home not in (Path("/"), *self.homes)}

    # What must not be written to

    def flaw(self, place: Path) -> str:
        """Return what `place` is that a person's own data is not; "" for nothing. It has no link in it."""
        return self._holding(place) or self._in_code(place) or self._in_config(place) or self._not_own(place)

    def _holding(self, place: Path) -> str:
        held = ((path, what) for path, what in self._whole if within(path, place))
        return next((path_told(path, what) for path, what in held), "")

    @cached_property
    def _whole(self) -> list[tuple[Path, str]]:
        """What no mount may be or hold, by each of its paths."""
        found = [
            *((home, "your home") for home in self.homes),
            *((home, f"the home of {name}") for home, name in self._others_homes.items()),
            (self.root, "this project"),
            (CHECKOUT, "this program"),
            *((path, "whose programs you run") for path in self._on_path()),
            *((path, _BY_PYTHON) for path in self._pythons),
            *((path, _CONFIG) for path in self._read_as_config()),
        ]
        first: dict[Path, str] = {}
        for path, what in found:
            first.setdefault(path, what)
        return [(path, what) for given, what in first.items() for path in self._table.spellings(given)]

    def _on_path(self) -> Iterator[Path]:
        """The folders in which commands are looked up."""
        for text in os.environ.get("PATH", "").split(os.pathsep):
            if _is_folder(path := self.root / text):
                yield path.resolve()

    @cached_property
    def _pythons(self) -> list[Path]:
        """What Python is made of. That a project is found by it makes the project no part of it."""
        texts = (sys.prefix, sys.base_prefix, sys.exec_prefix, *sys.path)
        paths = dict.fromkeys(Path(text).resolve() for text in texts if text.startswith("/"))
        return [path for path in paths if not any(within(base, path) for base in (self.root, CHECKOUT))]

    def _read_as_config(self) -> Iterator[Path]:
        yield from self._layer_folders
        yield from (path.resolve() for path in (*self._of_programs, *self._also))
        # What isn't a link is in a folder that is looked at by name.
        files = [folder / name for folder in self._layer_folders for name in _READ]
        tops = [base / name for base in (self.root, CHECKOUT) for name in _READ_AT_TOP]
        yield from (path.resolve() for path in (*files, *tops) if path.is_symlink())

    @cached_property
    def _layer_folders(self) -> list[Path]:
        """Of all habitats of the project, since each of them can run commands here."""
        found = list(self._layers)
        for base in (self.root, CHECKOUT):
            above = base / "habitats"
            entries = sorted(above.iterdir()) if _is_folder(above) else []
            found += [path.resolve() for path in (*entries, base / "shared") if _is_folder(path)]
        return list(dict.fromkeys(found))

    @cached_property
    def _of_programs(self) -> list[Path]:
        """Where programs of the session keep what they run or trust, if that isn't below a hidden folder."""
        names = ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "DOCKER_CONFIG", "GNUPGHOME")
        texts = (os.environ.get(name, "") for name in names)
        return [Path(text) for text in texts if text.startswith("/") and text.strip("/")]

    def _in_code(self, place: Path) -> str:
        for path in self._pythons:
            if within(place, path) and not within(self.root, path):
                return path_told(place, _BY_PYTHON)
        for path in (path.resolve() for path in self._of_programs):
            if within(place, path) and not any(within(own, path) for own in (self.root, *self.homes)):
                return path_told(place, _CONFIG)
        return ""

    def _in_config(self, place: Path) -> str:
        for folder in self._layer_folders:
            if within(place, folder) and _is_read_of_layer(place.relative_to(folder).parts[0]):
                return path_told(place, _CONFIG)
        for base in (self.root, CHECKOUT):
            if within(place, base) and (why := self._flaw_at_top(place.relative_to(base).parts)):
                return path_told(place, why)
        return ""

    def _flaw_at_top(self, parts: tuple[str, ...]) -> str:
        """Why what is at `parts` of a project's root is no data."""
        first, *rest = parts
        if first in ("habitats", "shared"):
            return "" if len(rest) > (first == "habitats") else _CONFIG
        if first.startswith(".") or first in _TOP or (not rest and first.endswith(_TOP_ENDS)):
            return "which this machine runs, or reads as config"
        # Python looks there first, and finds what has just been put there.
        return "" if rest or not self._is_module(first) else _BY_PYTHON

    def _is_module(self, name: str) -> bool:
        if not name.isidentifier():
            return False
        others = [text for text in sys.path if text and Path(text).resolve() not in (self.root, CHECKOUT, Path.cwd())]
        return name in sys.stdlib_module_names or PathFinder.find_spec(name, others) is not None

    def _not_own(self, place: Path) -> str:
        if within(place, self.root):
            return ""
        info = place.stat()
        is_other = self._uid not in (0, info.st_uid)
        home = next((home for home in self.homes if within(place, home)), None)
        if home:
            first = place.relative_to(home).parts[0]
            hidden = first.startswith(".") or first in ("bin", "Library")
            return path_told(place, "which programs of yours run, or read as config") if hidden else ""
        folder = next((folder for folder in self._temporary if within(place, folder)), None)
        if folder and place.relative_to(folder).parts[:1] and place.relative_to(folder).parts[0].startswith("."):
            return path_told(place, "where programs of the session listen")
        if folder is None and info.st_uid == 0:
            return path_told(place, "which is root's")
        name = self._owner_of_home(place) if folder is None else ""
        if name and (is_other or self._uid == 0 or _is_hidden(place)):
            return path_told(place, f"which is in the home of {name}")
        is_closed = is_other and not os.access(place, os.W_OK, effective_ids=os.access in os.supports_effective_ids)
        return path_told(place, "which you can't write to yourself") if is_closed else ""

    def _owner_of_home(self, place: Path) -> str:
        """Whose home it is in, "" for nobody's; a home that holds the project or a home of the person's is none."""
        mine = (self.root, *self.homes)
        homes = ((home, name) for home, name in self._others_homes.items() if within(place, home))
        return next((name for home, name in homes if not any(within(own, home) for own in mine)), "")


def path_told(path: Path, what: str) -> str:
    return f"{path}, {what}"


def _is_read_of_layer(name: str) -> bool:
    lower = name.lower()
    is_dockerfile = "dockerfile" in lower or "containerfile" in lower
    return name.startswith((".", "config.yaml")) or name in _LAYER or is_dockerfile


def _is_hidden(place: Path) -> bool:
    return any(part.startswith(".") for part in place.parts)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # closed to this person
        return False
