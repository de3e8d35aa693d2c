"""Repositories that a person names by their URL alone: where each is cloned to, and how."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phases.core.config import git_refs
from phases.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

_SCHEME = re.compile(r"([A-Za-z0-9+.-]+)://")
_SCP = re.compile(r"[^/:]+:")

# Bytes of a name in a path, with room for a number.
_LONGEST = 240

# In WORKDIR by default: the habitat's own folder.
_TAKEN = "habitat"


@dataclass(frozen=True)
class Clone:
    """folder: in WORKDIR; by_ssh: whether git has ssh fetch it, and so wants an agent."""

    url: str
    folder: str
    by_ssh: bool


def clones(urls: Iterable[str], where: str) -> list[Clone]:
    """One for each URL, in folders that differ. where: the URLs come from there. Raises ConfigError."""
    taken = {_TAKEN}
    result = []
    for url in urls:
        _check(url, where)
        base = folder = _name(url, where)
        number = 1
        while folder in taken:
            number += 1
            folder = f"{base}-{number}"
        taken.add(folder)
        result.append(Clone(url, folder, _by_ssh(url)))
    return result


def _check(url: str, where: str) -> None:
    try:
        git_refs.check_url(url)
    except git_refs.Unfit as error:
        problem, remedy = error.args
        raise ConfigError(problem.format("url"), where=where, remedy=remedy) from None
    if not url.isprintable():
        raise ConfigError(f"{url!r} has signs that can't be seen", where=where, remedy="write them as %XX")
    if not _SCHEME.match(url) and not _SCP.match(url):
        raise ConfigError(
            f"{url!r} is a path, and a habitat doesn't see those of this machine",
            where=where,
            remedy="write a URL; file:///… is a path in the habitat, as of a volume",
        )


def _by_ssh(url: str) -> bool:
    scheme = _SCHEME.match(url)
    return "ssh" in scheme[1].lower() if scheme else True


def _name(url: str, where: str) -> str:
    """The last part of the path, as git itself names a clone."""
    scheme = _SCHEME.match(url)
    path = url[scheme.end() :].partition("/")[2] if scheme else url.partition(":")[2]
    path = re.split(r"[?#]", path, maxsplit=1)[0] if scheme else path
    name = re.sub(r"(/|/\.git)+$", "", path).rpartition("/")[2].removesuffix(".git")
    if name in ("", ".", "..", "~") or len(name.encode()) > _LONGEST:
        problem = f"{url!r} doesn't end in a repository's name"
        raise ConfigError(problem, where=where, remedy="write its whole URL, or add it to repos: with a path")
    return name
