"""A path that COPY copies, as an item of `files:` or as a script that copies it from the habitat's folder."""

from __future__ import annotations

import posixpath
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from phases.core.migrate.accounts import id_number
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
        may_go_into: Whether `dest` may be a folder by then, into which the file goes.
    """

    source: str
    dest: str
    owner: str
    mode: str
    default_mode: str
    kind: Literal["file", "dir", "link"]
    may_go_into: bool = False

    def item(self) -> dict[str, str]:
        """Return it as an item of `files:`.

        Raises:
            NotConvertible: It is a link.
        """
        if self.kind == "link":
            raise NotConvertible(f"{self.source} is a link in a folder that can't be copied as a whole")
        place = {"source": escape_dollars(self.source), "dest": escape_dollars(self.dest), "owner": self.owner}
        return place if self.mode == self.default_mode else {**place, "mode": self.mode}

    def script(self, folders: Collection[str], *, has_folders: bool) -> list[str]:
        """Return the commands with which root copies it from $LOCAL_PATH.

        Args:
            folders: Folders that exist already.
            has_folders: Whether there are folders in it.
        """
        source = '"$LOCAL_PATH"' if self.source == "." else f'"$LOCAL_PATH"/{shlex.quote(self.source)}'
        dest = shlex.quote(self.dest)
        if self.kind == "dir":
            return [
                *make_folder(self.dest, self.owner, folders),
                *self._copy_below(source, dest, has_folders=has_folders),
            ]
        lines = make_folder(posixpath.dirname(self.dest), self.owner, folders)
        if self.may_go_into:
            name = shlex.quote(posixpath.basename(self.source))
            lines += [f"dest={dest}", f'[ ! -d "$dest" ] || dest=$dest/{name}']
            dest = '"$dest"'
        lines += [f"rm -f {dest}", f"cp -P {source} {dest}"]
        if self.mode != self.default_mode:
            lines.append(f"chmod {self.mode} {dest}")
        return lines if self.owner == "root" else [*lines, f"chown -h {group_too(self.owner)} {dest}"]

    def _copy_below(self, source: str, dest: str, *, has_folders: bool) -> list[str]:
        """Copy a folder's content. Existing files are replaced, existing folders in it get its owner and mode."""
        lines = [f"cd {source}", f"find . ! -type d -exec rm -f {dest}/{{}} \\;", f"cp -R . {dest}"]
        owner = "0:0" if self.owner == "root" else group_too(self.owner)
        folders = "find . ! -name . -type d -exec"
        if has_folders:
            lines.append(f"{folders} chmod 0755 {dest}/{{}} \\;")
        if self.mode:
            lines.append(f"find . -type f -exec chmod {self.mode} {dest}/{{}} \\;")
        if self.owner != "root":
            lines.append(f"find . ! -name . -exec chown -h {owner} {dest}/{{}} \\;")
        elif has_folders:
            lines.append(f"{folders} chown {owner} {dest}/{{}} \\;")
        return lines


def make_folder(path: str, owner: str, folders: Collection[str]) -> list[str]:
    """Return the commands that make a missing folder, and those above it. All get the same owner."""
    if path in folders:
        return []
    name = shlex.quote(path)
    if owner == "root":
        return [f"mkdir -p {name}"]
    make = f"[ -d {name} ] || {{ mkdir {name}; chown {group_too(owner)} {name}; }}"
    return [*make_folder(posixpath.dirname(path), owner, folders), make]


def group_too(owner: str) -> str:
    """Return an owner for chown: COPY takes a lone number for the group, too, and a lone name's own group."""
    if ":" in owner:
        return owner
    return f"{owner}:{owner if id_number(owner) >= 0 else ''}"
