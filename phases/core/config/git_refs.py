"""Check the URLs and refs that git gets, so that each can only mean a repository, a branch, a tag or a commit.

git takes more than that: a URL can name a program to run (`ext::sh -c …`), a host name can be an option, and a ref can
be an expression or a refspec.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from phases.core.config.mounts.mountable_paths import within
from phases.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from phases.core.config.schema import RepoKeys
    from phases.core.config.scope import Scope

_SCHEMES = {"https", "http", "ssh", "git", "git+ssh", "ssh+git", "file", "ftp", "ftps"}

_NOT_IN_URL = re.compile(r"[\x00-\x20\x7f]")
_HELPER = re.compile(r"[A-Za-z0-9+.-]+::")
_URL = re.compile(r"([A-Za-z0-9+.-]+)://([^/?#]*)")
_SCP = re.compile(r"([^/:]+):")

# The rules of `git check-ref-format`.
_NO_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|^[-/]|^@\Z|/(?=[./]|\Z)|^\.|\.lock(?=/|\Z)|\.\Z")

# A path of this machine.
_LOCAL = re.compile(r"(\.{1,2}|~)(/|\Z)")

_MAX_URL, _MAX_REF = 4096, 255

_URL_RULE = f"use up to {_MAX_URL} characters, without spaces and not beginning with -, like https://host/name.git"
_REF_RULE = f"use up to {_MAX_REF} letters and digits, with single - _ . or / between them, like feature/log-in"

_INSTEAD = "name a secret with token: instead"


class GitValueError(ValueError):
    """A URL or a ref is refused.

    Its `args` are the problem, with `{}` for the key of the config, and the remedy.
    """


def check_ref(word: str) -> None:
    """Check a branch, tag or commit, where "" means none. Raises GitValueError."""
    if word and (_NO_REF.search(word) or len(word.encode()) > _MAX_REF):
        raise GitValueError(f"git doesn't accept {_quoted(word)} as a {{}}", _REF_RULE)


def check_url(word: str) -> None:
    """Check a URL. Raises GitValueError, without quoting a password or a token."""
    check_credentials(word)
    if not word or word.startswith("-") or _NOT_IN_URL.search(word) or len(word) > _MAX_URL:
        raise GitValueError(f"git doesn't accept {_quoted(word)} as a {{}}", _URL_RULE)
    if _HELPER.match(word):
        raise GitValueError(_quoted(word) + " makes git run a program", "use https://, ssh:// or a path")
    if not (url := _URL.match(word)):
        scp = _SCP.match(word)
        _check_host(scp[1].rpartition("@")[2] if scp else "", word)
        return
    if url[1].lower() not in _SCHEMES:
        raise GitValueError(f"git has no {url[1]}://", "use https://, ssh:// or a path")
    port = re.sub(r"^\[.*\]", "", url[2].rpartition("@")[2]).partition(":")[2]
    if port and not port.isdecimal():  # or it is the part of a password behind a slash
        raise GitValueError("there is a password in the {}", _INSTEAD)
    _check_host(url[2].rpartition("@")[2], word)


def check_credentials(word: str) -> None:
    """Check that a URL, with variables filled in or not, holds no password and no token. Raises GitValueError."""
    from phases.core import url_credentials  # imported late: most habitats have no URL, and its patterns take time

    if credential := url_credentials.credential_in(word):
        raise GitValueError(f"there is {credential} in the {{}}", _INSTEAD)


def local_repository(scope: Scope, i: int, entry: RepoKeys, url: str, dests: Iterable[str] = ()) -> Path | None:
    """Return the folder of the repository of this machine that an entry of `repos:` names, None for another URL.

    It is the repository that the path is in: `.` in .habitats/api/config.yaml is the project around it. An absolute
    path is one of the habitat, unless this machine has a repository there, and no volume has the path.

    Raises:
        ConfigError: There is none, or the entry has keys that need a server.
    """
    is_absolute = url.startswith(("/", "file:///"))
    if not (_LOCAL.match(url) or is_absolute):
        return None
    from phases.core.files import git_bundle  # imported late: most habitats copy no local repository

    if is_absolute:
        path = Path(unquote(url.removeprefix("file://")) if url.startswith("file:") else url)
        is_inside = any(within(posixpath.normpath(path), dest) for dest in dests)
        if is_inside or not (os.path.lexists(path / ".git") or git_bundle.is_bare(path)):
            return None
    else:
        path = scope.host_path(url, "repos", i, "url").path
    top = path if git_bundle.is_bare(path) else git_bundle.top_of(path)
    if not top:
        remedy = "run `git init` there and commit, or write a URL"
        raise ConfigError(f"repos: {url!r} is in no git repository", where=scope.at("repos", i, "url"), remedy=remedy)
    for key, word in (("depth", entry.depth), ("submodules", entry.submodules), ("lfs", entry.lfs)):
        if word and isinstance(word, bool | int):
            problem = f"repos: a repository of this machine can't have {key}"
            raise ConfigError(problem, where=scope.at("repos", i, key), remedy="fetch it in its setup:, with git")
    return top


def _check_host(host: str, word: str) -> None:
    if host.lstrip("[").startswith("-"):
        raise GitValueError(f"the host in {_quoted(word)} begins with -", "write the host's name")


def _quoted(word: str) -> str:
    """Return the repr of a word, escaped for str.format."""
    return repr(word).replace("{", "{{").replace("}", "}}")
