"""Choose a folder for each repository of `habitat new --repo`, and whether git uses SSH for it."""

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

# Bytes of a folder's name, with room for a number.
_LONGEST = 240

# The habitat's own folder, which is in WORKDIR by default.
_TAKEN = "habitat"


@dataclass(frozen=True)
class Clone:
    """A repository to clone.

    Attributes:
        folder: Its name in WORKDIR, "" for WORKDIR itself.
        by_ssh: Whether git fetches it with SSH, which needs an SSH agent.
    """

    url: str
    folder: str
    by_ssh: bool


def clones(urls: Iterable[str], where: str) -> list[Clone]:
    """Return a clone for each URL, each in a folder of its own.

    Args:
        urls: The URLs.
        where: The option that has them, for errors.

    Raises:
        ConfigError: A URL can't be cloned in a habitat.
    """
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
    except git_refs.GitValueError as error:
        problem, remedy = error.args
        raise ConfigError(problem.format("url"), where=where, remedy=remedy) from None
    if not url.isprintable():
        raise ConfigError(f"{url!r} has unprintable characters", where=where, remedy="write them as %XX")
    if not _SCHEME.match(url) and not _SCP.match(url):
        raise ConfigError(
            f"{url!r} is a path of this machine, and a habitat can't read it",
            where=where,
            remedy="write a URL; file:///… is a path in the habitat, for example in a volume",
        )


def _by_ssh(url: str) -> bool:
    scheme = _SCHEME.match(url)
    return "ssh" in scheme[1].lower() if scheme else True


def _name(url: str, where: str) -> str:
    """Return the last part of the path, as git names a clone."""
    scheme = _SCHEME.match(url)
    path = url[scheme.end() :].partition("/")[2] if scheme else url.partition(":")[2]
    path = re.split(r"[?#]", path, maxsplit=1)[0] if scheme else path
    name = re.sub(r"(/|/\.git)+$", "", path).rpartition("/")[2].removesuffix(".git")
    if name in ("", ".", "..", "~") or len(name.encode()) > _LONGEST:
        problem = f"{url!r} doesn't end with the name of a repository"
        raise ConfigError(problem, where=where, remedy="write the whole URL, or add it to repos: with a path")
    return name
