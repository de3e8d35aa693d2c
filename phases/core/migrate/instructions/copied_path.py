"""A path that COPY copies, as an item of `files:` or as a script that copies it from the habitat's folder."""

from __future__ import annotations

import posixpath
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from phases.core.migrate.result import NotConvertible, escape_dollars

if TYPE_CHECKING:
    from collections.abc import Collection

#: Folders that every image has: a file that is copied to one goes into it.
FOLDERS = frozenset(
    "/ /bin /etc /home /lib /opt /root /sbin /srv /tmp /usr /usr/bin /usr/local /usr/local/bin /var".split()  # noqa: SIM905 (shorter)
)


@dataclass(frozen=True)
class CopiedPath:
    """A file, link or folder that is copied at once.

    Attributes:
        source: Its path, relative to the habitat's folder.
        mode: The octal mode that `docker build` gives it, "" for a folder.
        default_mode: The mode that phase files gives it.
    """

    source: str
    dest: str
    owner: str
    mode: str
    default_mode: str
    kind: Literal["file", "dir", "link"]

    def item(self) -> dict[str, str]:
        """Return it as an item of `files:`.

        Raises:
            NotConvertible: It is a link.
        """
        if self.kind == "link":
            raise NotConvertible(f"{self.source} is a link in a folder that can't be copied as a whole")
        place = {"source": escape_dollars(self.source), "dest": escape_dollars(self.dest), "owner": self.owner}
        return place if self.mode == self.default_mode else {**place, "mode": self.mode}

    def script(self, folders: Collection[str]) -> list[str]:
        """Return the commands with which root copies it from $LOCAL_PATH.

        Args:
            folders: Folders that exist already.
        """
        source = '"$LOCAL_PATH"' if self.source == "." else f'"$LOCAL_PATH"/{shlex.quote(self.source)}'
        dest = shlex.quote(self.dest)
        if self.kind == "dir":
            return [*self._make_folder(self.dest, folders), *self._copy_below(source, dest)]
        folder = posixpath.dirname(self.dest)
        lines = [*self._make_folder(folder, folders), f"rm -f {dest}", f"cp -P {source} {dest}"]
        if self.mode != self.default_mode:
            lines.append(f"chmod {self.mode} {dest}")
        return lines if self.owner == "root" else [*lines, f"chown -h {self._chown} {dest}"]

    def _copy_below(self, source: str, dest: str) -> list[str]:
        """Copy a folder's content: existing files are replaced, existing folders keep their modes."""
        lines = [f"cd {source}", f"find . ! -type d -exec rm -f {dest}/{{}} \\;", f"cp -R . {dest}"]
        chown = f"find . ! -name . -exec chown -h {self._chown} {dest}/{{}} \\;"
        return lines if self.owner == "root" else [*lines, chown]

    def _make_folder(self, path: str, folders: Collection[str]) -> list[str]:
        """Make missing folders, which get the same owner."""
        if path in folders:
            return []
        name = shlex.quote(path)
        if self.owner == "root":
            return [f"mkdir -p {name}"]
        make = f"[ -d {name} ] || {{ mkdir {name}; chown {self._chown} {name}; }}"
        return [*self._make_folder(posixpath.dirname(path), folders), make]

    @property
    def _chown(self) -> str:
        """The owner for chown: COPY takes a lone number for the group, too, and a lone name's own group."""
        if ":" in self.owner:
            return self.owner
        return f"{self.owner}:{self.owner if self.owner.isdigit() else ''}"
