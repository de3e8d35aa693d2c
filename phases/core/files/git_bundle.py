"""A git repository of this machine as a bundle: one file that git clones from.

Only branches and tags are in it: no hooks, no config and no stash, and nothing that isn't committed.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

from phases.core import layout, url_credentials
from phases.core.errors import StepError

# The environment of git: the person's, without variables by which a hook or a config redirects it.
_DROPPED = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE", "GIT_EXTERNAL_DIFF")

# Reading a repository must not run a program that its config names.
_OPTIONS = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")


# How many clones of clones are followed to the first repository.
_MOST_CLONES = 5


class Bundle(NamedTuple):
    """A bundle.

    Attributes:
        origin: The URL of a server that the repository was cloned from; "" if there is none, or one with a password.
        branch: The branch that is checked out, "" for none.
        uncommitted: The number of changed and new files outside of `.habitats/`, which the bundle doesn't have.
        shallow: The content of git's file of the commits whose parents a shallow clone lacks, b"" for a whole one.
    """

    origin: str
    branch: str
    uncommitted: int
    shallow: bytes = b""


def top_of(folder: Path) -> Path | None:
    """Return the folder of the repository that a folder is in, None if it is in none."""
    real = Path(os.path.realpath(folder))
    return next((path for path in (real, *real.parents) if os.path.lexists(path / ".git")), None)


def is_bare(folder: Path) -> bool:
    """Return whether a folder is a repository without files of its own."""
    return (folder / "HEAD").is_file() and (folder / "objects").is_dir() and (folder / "refs").is_dir()


def origin_of(folder: Path) -> str:
    """Return words that are equal for the same folder in all clones of a repository; "" if it is in none.

    They are the URL that the repository was cloned from, without scheme, user and password, else the folder of the
    repository itself, and the place of `folder` in it.
    """
    top = top_of(folder)
    if top is None:
        return ""
    try:
        return f"{_first_origin(top, _MOST_CLONES)} {Path(os.path.realpath(folder)).relative_to(top)}"
    except StepError:
        return ""  # there is no git, or it doesn't trust the owner of the folder


def _first_origin(repository: Path, depth: int) -> str:
    """Return the origin of a repository; if that is a repository of this machine, the origin of that one."""
    url = _git(repository, "config", "--default", "", "remote.origin.url")
    path = repository / Path(url.removeprefix("file://")).expanduser()
    if url and depth and path.is_dir():
        return _first_origin(path, depth - 1)
    if not url or path.is_dir():
        common = _git(repository, "rev-parse", "--git-common-dir")  # one for all work trees
        return os.path.realpath(repository / common)
    return address(url)


def address(url: str) -> str:
    """Return host and path of a URL, which are equal for all ways to reach a repository of a server."""
    place = url.partition("://")[2] or url.replace(":", "/", 1)  # host:path is a URL of ssh
    host, _, rest = place.partition("/")
    return f"{host.rpartition('@')[2].lower()}/{rest.strip('/').removesuffix('.git')}"


def problem(top: Path) -> StepError | None:
    """Return why the repository of the folder `top` can't be cloned; None if it can."""
    try:
        _check(top)
    except StepError as error:
        return error
    return None


def write(top: Path, target: Path) -> Bundle:
    """Write the repository of the folder `top` to the file `target`.

    Raises:
        StepError: There is no git, or it refuses.
    """
    _check(top)
    _git(top, "bundle", "create", "--quiet", str(target), "HEAD", "--branches", "--tags")
    origin = _origin_url(top, _MOST_CLONES)
    branch = _git(top, "branch", "--show-current")
    return Bundle("" if url_credentials.credential_in(origin) else origin, branch, _uncommitted(top), _shallow(top))


def _shallow(top: Path) -> bytes:
    path = top / _git(top, "rev-parse", "--git-path", "shallow")
    return path.read_bytes() if path.is_file() else b""


def _origin_url(repository: Path, depth: int) -> str:
    """Return the URL of a repository's remote; if that is a repository of this machine, the URL of its remote."""
    url = _git(repository, "config", "--default", "", "remote.origin.url")
    if not re.match(r"[/.~]|file://", url):
        return url
    try:
        path = repository / Path(url.removeprefix("file://")).expanduser()
        return _origin_url(path, depth - 1) if depth and path.is_dir() else ""
    except (StepError, RuntimeError):  # it is no repository any more, or there is no such user
        return ""


def _uncommitted(top: Path) -> int:
    """Return the number of changed and new files. A filter of the config, which is a program, isn't run."""
    if _git(top, "rev-parse", "--is-inside-work-tree") != "true":
        return 0
    keys = re.findall(r"^filter\..*(?=\n)", _git(top, "config", "--null", "--list").replace("\0", "\n\n"), re.MULTILINE)
    if any("=" in key for key in keys):
        return 0  # -c can't change it
    off = [word for key in keys for word in ("-c", f"{key}=")]
    words = ("status", "--porcelain", "--ignore-submodules=all", "--", ":/", f":(exclude,top){layout.HIDDEN}")
    return len(_git(top, *off, *words).splitlines())


def _check(top: Path) -> None:
    if not _git(top, "for-each-ref", "--count=1", "refs/heads"):
        raise _error(top, "has no commit, so there is nothing to clone", "commit something there")


def _git(top: Path, *words: str) -> str:
    env = {name: value for name, value in os.environ.items() if name not in _DROPPED} | {"LC_ALL": "C"}
    command = ["git", *_OPTIONS, "-C", str(top), *words]
    try:
        done = subprocess.run(
            command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
        )
    except FileNotFoundError as error:
        raise _error(top, "can't be read without git on this machine", "install git") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"git ended with exit code {done.returncode}"]
        raise _error(top, f"can't be read: {lines[0]}", f"try `git -C {top} {words[0]}`")
    return done.stdout.strip()


def _error(top: Path, problem: str, remedy: str) -> StepError:
    return StepError(f"the repository {top} {problem}", remedy=remedy)
