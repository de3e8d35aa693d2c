"""Find passwords and tokens that are written into a URL, to refuse them, and to hide them where a text is shown.

A token is known by its look. What begins as the tokens of a known service do is one at any length; any other is long,
and mixes letters and digits as no word does.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

# How tokens of services begin that no name begins with.
_KNOWN = (
    "gh[pousr]_|github_pat_|gl(?:pat|oas|dt|rt|ft|imt|agent|soat|cbt|ptt|ffct)-|ATBB|ATCTT3|ATATT3|BBDC-|xox[abeoprs]-"
    "|xapp-|dckr_[op]at_|dop_v1_|shp(?:at|ca|pa|ss)_|[rs]k_(?:live|test)_|sk-ant-|sk-proj-|AIza|ya29\\.|pypi-AgE"
)
_KNOWN_TOKEN = re.compile(rf"(?<![A-Za-z0-9])(?:{_KNOWN})[\w.-]")
_KNOWN_IN_TEXT = re.compile(
    rf"(?<![A-Za-z0-9])(?:{_KNOWN})[\w-]{{16,}}|(?<![A-Za-z0-9])(?:npm_|hf_|sk-|pat_)(?=\w*\d)[A-Za-z0-9]{{20,}}"
)

# Signs of a token; letters and digits in a row are one, or so many changes between digits, small and large letters.
_LONG = 20
_RUN = re.compile(rf"(?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[A-Za-z0-9]{{{_LONG},}}")
_CHANGE = re.compile(r"(?<=[A-Za-z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])|(?<=[a-z])(?=[A-Z])")
_CHANGES = 6

# A password may hold what ends a host: then what looks like a port is no number.
_AUTHORITY = re.compile(
    r"(?<![A-Za-z0-9])(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,30}):/+"
    r"(?P<user>[^/?#\s]*|[^/?#\s:@\[]*:(?!\d*(?:[/?#\s]|$))\S*)@"
)
_SCP = re.compile(r"(?P<user>[^/:@\s]+)@[^/:@\s]+:(?!//)")
_PARAMETER = re.compile(r"(?<=[?#&;])(?P<name>[^=&;#?\s]{1,100})=(?P<value>[^&;#\s\"']+)")

# The last word of a parameter's name, or all of it.
_NAMES_ONE = re.compile(
    r"(?:.*[_.-])?(?:key|pat|pwd|pass|auth|sig|jwt|bearer)|.*(?:token|secret|password|passwd|passphrase|credential|signature"
    r"|authorization|apikey|accesskey|privatekey)s?",
    re.IGNORECASE,
)

# Where a host ought to be.
_HOST = re.compile(rf"://(?:{_KNOWN})[\w-]+")

# How many times a credential may be percent-encoded, one over the other.
_ENCODINGS = 4

_STARS = "***"


def in_url(word: str) -> str:
    """What of a URL is a credential, as a person would call it: "a password", "a token"; "" for none."""
    url = _AUTHORITY.search(word)
    if url and ":" in _plain(url["user"]):
        return "a password"
    user = url or _SCP.match(word)
    if user and is_token(_plain(user["user"]), by_ssh=not url or "ssh" in user["scheme"].lower()):
        return "a token"
    if (
        _KNOWN_IN_TEXT.search(_plain(word))
        or _HOST.search(_plain(word))
        or any(_is_one(found) for found in _PARAMETER.finditer(word))
    ):
        return "a token"
    return ""


def is_token(user: str, *, by_ssh: bool = False) -> bool:
    """Return whether a URL's user name is a token. by_ssh: over SSH an unknown form is a name, which opens nothing."""
    if _KNOWN_TOKEN.match(user) or _KNOWN_IN_TEXT.search(user):
        return True
    if by_ssh or len(user) < _LONG:
        return False
    has_both = re.search("[0-9]", user) and re.search("[A-Za-z]", user)
    return bool(_RUN.search(user) or (has_both and len(_CHANGE.findall(user)) >= _CHANGES))


def hidden(text: str) -> str:
    """A text with stars for what is a credential in each URL of it."""

    def starred_user(url: re.Match[str]) -> str:
        name, colon, _ = url["user"].partition(":")
        is_name = not is_token(_plain(name), by_ssh="ssh" in url["scheme"].lower())
        if is_name and ":" not in _plain(url["user"]):
            return url[0]
        return f"{url[0].partition(url['user'] + '@')[0]}{name + colon if colon and is_name else ''}{_STARS}@"

    text = _AUTHORITY.sub(starred_user, text)
    text = _PARAMETER.sub(lambda found: f"{found['name']}={_STARS}" if _is_one(found) else found[0], text)
    return _KNOWN_IN_TEXT.sub(_STARS, _HOST.sub(f"://{_STARS}", text))


def _is_one(parameter: re.Match[str]) -> bool:
    return bool(_NAMES_ONE.fullmatch(_plain(parameter["name"])))


def _plain(text: str) -> str:
    """Without percent signs, however often it was encoded."""
    for _ in range(_ENCODINGS):
        plain = unquote(text)
        if plain == text:
            break
        text = plain
    return text
