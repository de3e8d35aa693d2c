"""Remedies for problems that programs in a container report in known words."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from phases.core.errors import full_disk_remedy

if TYPE_CHECKING:
    from collections.abc import Callable

    from phases.core.model import Habitat

# The kernel's words for a program that is for another architecture, as shells, engines and Python give them.
_ARCHITECTURE = re.compile(r"exec format error", re.IGNORECASE)

# Since 2.35.2 git refuses a repository of another user.
_OWNER = re.compile(
    r"detected dubious ownership in repository at '(?P<path>.+)'"
    r"|unsafe repository \('(?P<old>.+)' is owned by someone else\)"
)

_NO_LFS = re.compile(r"git-lfs: (?:command )?not found|git: 'lfs' is not a git command|cannot run git-lfs")
_LFS = re.compile(
    r"smudge filter '?lfs'? failed|external filter 'git-lfs [^']*' failed|Smudge error|LFS: Client error"
    r"|Failed to fetch some objects|Error downloading object: "
)
# The words of OpenSSL (git, curl, pip), npm, Go and Java for a certificate that they can't check.
_CERTIFICATE = re.compile(
    r"CERTIFICATE_VERIFY_FAILED|self[- ]signed certificate in certificate chain|SELF_SIGNED_CERT_IN_CHAIN"
    r"|unable to get (?:local )?issuer cert|UNABLE_TO_GET_ISSUER_CERT|UNABLE_TO_VERIFY_LEAF_SIGNATURE"
    r"|server certificate verification failed|certificate signed by unknown authority|PKIX path building failed",
    re.IGNORECASE,
)
_READ_ONLY = re.compile(r"[Rr]ead-only file system")
_DENIED = re.compile(r"[Pp]ermission denied")
_BUSY = re.compile(r"[Dd]evice or resource busy")


def architecture_remedy(text: str, platform: Callable[[], str]) -> str:
    """Return what to do about a program for another architecture. platform: returns that of the engine."""
    if not _ARCHITECTURE.search(text):
        return ""
    return f"a program or its image is for another architecture: the engine is {platform()}"


def remedy_for(text: str, habitat: Habitat, platform: Callable[[], str]) -> str:
    """Return what to do about a command that failed.

    Args:
        text: The last lines that it printed.
        habitat: The habitat.
        platform: Returns the platform of the engine.

    Returns:
        The remedy, "" for an unknown problem.
    """
    return (
        full_disk_remedy(text)
        or architecture_remedy(text, platform)
        or _privileges_remedy(text)
        or _owner_remedy(text)
        or _lfs_remedy(text)
        or _certificate_remedy(text)
        or _mount_remedy(text, habitat)
    )


def _privileges_remedy(text: str) -> str:
    if "no new privileges" not in text:
        return ""
    return "run it as root in setup, or write `build: {new_privileges: true}`"


def _owner_remedy(text: str) -> str:
    match = _OWNER.search(text)
    if not match:
        return ""
    path = match["path"] or match["old"]
    command = f"git config --system --add safe.directory {shlex.quote(path)}"
    return f"{path} belongs to another user: write `{command}` in setup: root"


def _lfs_remedy(text: str) -> str:
    if _NO_LFS.search(text):
        return "install git-lfs in setup, or write `lfs: false`"
    if _LFS.search(text):
        return "check that the server has the files of Git LFS and that token may read them, or write `lfs: false`"
    return ""


def _certificate_remedy(text: str) -> str:
    if not _CERTIFICATE.search(text):
        return ""
    return (
        "install ca-certificates in setup; if a proxy of your network signs HTTPS itself, the habitat needs its "
        "certificate: see docs/running.md of Habitats"
    )


def _mount_remedy(text: str, habitat: Habitat) -> str:
    """Return what to do about a path on a volume that can't be written. The last line that names one counts."""
    for line in reversed(text.splitlines()):
        volumes = [v for v in habitat.volumes if re.search(rf"{re.escape(v.dest)}(?![\w.-])", line)]
        if not volumes:
            continue
        volume = max(volumes, key=lambda volume: len(volume.dest))
        place = f"{volume.dest} is a volume ({volume.origin})"
        if _READ_ONLY.search(line) and volume.readonly:
            return f"{place} with `readonly: true`: write elsewhere, or remove that"
        if _DENIED.search(line):
            return f"{place}, whose files belong to a user of the host: `uid: host` gives {habitat.user} that number"
        if _BUSY.search(line):
            return f"{place}, which can't be replaced or removed: name another path"
    return ""
