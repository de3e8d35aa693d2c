"""What git is given to clone: words that mean a repository, a branch, a tag or a commit, and no more.

git reads programs to run out of a URL (`ext::sh -c …`), options out of a host's name, and expressions
and refspecs out of what ought to be a name.
"""

from __future__ import annotations

import re

from phases.core import url_credentials

_SCHEMES = {"https", "http", "ssh", "git", "git+ssh", "ssh+git", "file", "ftp", "ftps"}

_UNFIT = re.compile(r"[\x00-\x20\x7f]")
_HELPER = re.compile(r"[A-Za-z0-9+.-]+::")
_URL = re.compile(r"([A-Za-z0-9+.-]+)://([^/?#]*)")
_SCP = re.compile(r"([^/:]+):")

# As `git check-ref-format` has it.
_NO_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|^[-/]|^@\Z|/(?=[./]|\Z)|^\.|\.lock(?=/|\Z)|\.\Z")

_LONGEST_URL, _LONGEST_REF = 4096, 255

_INSTEAD = "name a secret with token: instead"


class Unfit(ValueError):
    """args: what is wrong, and what to do; `{}` in the first is for the key."""


def check_ref(word: str) -> None:
    """A branch, tag or commit; "" is none. Raises Unfit."""
    if word and (_NO_REF.search(word) or len(word.encode()) > _LONGEST_REF):
        raise Unfit(_quoted(word) + " is no {} for git", "mend it")


def check_url(word: str) -> None:
    """Raises Unfit; what looks like a password or a token is not repeated."""
    check_credentials(word)
    if not word or word.startswith("-") or _UNFIT.search(word) or len(word) > _LONGEST_URL:
        raise Unfit(_quoted(word) + " is no {} for git", "mend it")
    if _HELPER.match(word):
        raise Unfit(_quoted(word) + " has git run a program", "use https://, ssh:// or a path")
    if not (url := _URL.match(word)):
        scp = _SCP.match(word)
        _check_host(scp[1].rpartition("@")[2] if scp else "", word)
        return
    if url[1].lower() not in _SCHEMES:
        raise Unfit(f"git has no {url[1]}://", "use https://, ssh:// or a path")
    port = re.sub(r"^\[.*\]", "", url[2].rpartition("@")[2]).partition(":")[2]
    if port and not port.isdecimal():  # or what follows a slash in a password
        raise Unfit("there is a password in the {}", _INSTEAD)
    _check_host(url[2].rpartition("@")[2], word)


def check_credentials(word: str) -> None:
    """Raises Unfit where a password or a token is written into a URL, also one whose variables aren't filled in yet."""
    if found := url_credentials.in_url(word):
        raise Unfit(f"there is {found} in the {{}}", _INSTEAD)


def _check_host(host: str, word: str) -> None:
    if host.lstrip("[").startswith("-"):
        raise Unfit(_quoted(word) + " has an option for a host", "mend it")


def _quoted(word: str) -> str:
    """Safe to be a part of a format."""
    return repr(word).replace("{", "{{").replace("}", "}}")
