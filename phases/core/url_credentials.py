"""Find passwords and tokens in URLs, to refuse them in a config and to hide them in messages.

A text is a token if it begins like the tokens of a known service, or if it is long and mixes letters and digits as no
word does.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

# The beginnings of tokens of services. No name begins like this.
_KNOWN = (
    "gh[pousr]_|github_pat_|gl(?:pat|oas|dt|rt|ft|imt|agent|soat|cbt|ptt|ffct)-|ATBB|ATCTT3|ATATT3|BBDC-|xox[abeoprs]-"
    "|xapp-|dckr_[op]at_|dop_v1_|shp(?:at|ca|pa|ss)_|[rs]k_(?:live|test)_|sk-ant-|sk-proj-|AIza|ya29\\.|pypi-AgE"
)
_KNOWN_TOKEN = re.compile(rf"(?<![A-Za-z0-9])(?:{_KNOWN})[\w.-]")
_KNOWN_IN_TEXT = re.compile(
    rf"(?<![A-Za-z0-9])(?:{_KNOWN})[\w-]{{16,}}|(?<![A-Za-z0-9])(?:npm_|hf_|sk-|pat_)(?=\w*\d)[A-Za-z0-9]{{20,}}"
)

# A token of an unknown service has at least 20 characters. Either so many letters and digits follow each other, or it
# changes at least 6 times between digits, lower case and upper case.
_MIN_TOKEN = 20
_RUN = re.compile(rf"(?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[A-Za-z0-9]{{{_MIN_TOKEN},}}")
_CHANGE = re.compile(r"(?<=[A-Za-z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])|(?<=[a-z])(?=[A-Z])")
_MIN_CHANGES = 6

# A password may contain a character that ends a host, such as a slash. Then the text behind the colon is not a port.
_AUTHORITY = re.compile(
    r"(?<![A-Za-z0-9])(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,30}):/+"
    r"(?P<user>[^/?#\s]*|[^/?#\s:@\[]*:(?!\d*(?:[/?#\s]|$))\S*)@"
)
_SCP = re.compile(r"(?P<user>[^/:@\s]+)@[^/:@\s]+:(?!//)")
_PARAMETER = re.compile(r"(?<=[?#&;])(?P<name>[^=&;#?\s]{1,100})=(?P<value>[^&;#\s\"']+)")

# The name of a parameter whose value is a credential, or the last word of the name.
_CREDENTIAL_NAME = re.compile(
    r"(?:.*[_.-])?(?:key|pat|pwd|pass|auth|sig|jwt|bearer)|.*(?:token|secret|password|passwd|passphrase|credential|signature"
    r"|authorization|apikey|accesskey|privatekey)s?",
    re.IGNORECASE,
)

# A token in the place of a host.
_TOKEN_AS_HOST = re.compile(rf"://(?:{_KNOWN})[\w-]+")

# The most times that a credential may be percent-encoded.
_MAX_ENCODINGS = 4

_STARS = "***"


def credential_in(word: str) -> str:
    """Return "a password" or "a token" if a URL contains one, else ""."""
    url = _AUTHORITY.search(word)
    if url and ":" in _decoded(url["user"]):
        return "a password"
    user = url or _SCP.match(word)
    if user and is_token(_decoded(user["user"]), by_ssh=not url or "ssh" in user["scheme"].lower()):
        return "a token"
    if (
        _KNOWN_IN_TEXT.search(_decoded(word))
        or _TOKEN_AS_HOST.search(_decoded(word))
        or any(_is_credential(match) for match in _PARAMETER.finditer(word))
    ):
        return "a token"
    return ""


def is_token(user: str, *, by_ssh: bool = False) -> bool:
    """Return whether the user name in a URL is a token.

    Args:
        user: The user name.
        by_ssh: Whether the URL is for SSH. There a name gives no access, so only tokens of known services count.
    """
    if _KNOWN_TOKEN.match(user) or _KNOWN_IN_TEXT.search(user):
        return True
    if by_ssh or len(user) < _MIN_TOKEN:
        return False
    has_both = re.search("[0-9]", user) and re.search("[A-Za-z]", user)
    return bool(_RUN.search(user) or (has_both and len(_CHANGE.findall(user)) >= _MIN_CHANGES))


def hide(text: str) -> str:
    """Return a text with stars in place of the credentials in its URLs."""

    def masked_user(url: re.Match[str]) -> str:
        name, colon, _ = url["user"].partition(":")
        is_name = not is_token(_decoded(name), by_ssh="ssh" in url["scheme"].lower())
        if is_name and ":" not in _decoded(url["user"]):
            return url[0]
        return f"{url[0].partition(url['user'] + '@')[0]}{name + colon if colon and is_name else ''}{_STARS}@"

    text = _AUTHORITY.sub(masked_user, text)
    text = _PARAMETER.sub(lambda match: f"{match['name']}={_STARS}" if _is_credential(match) else match[0], text)
    return _KNOWN_IN_TEXT.sub(_STARS, _TOKEN_AS_HOST.sub(f"://{_STARS}", text))


def _is_credential(parameter: re.Match[str]) -> bool:
    return bool(_CREDENTIAL_NAME.fullmatch(_decoded(parameter["name"])))


def _decoded(text: str) -> str:
    """Return a text without percent-encoding, which may have been applied several times."""
    for _ in range(_MAX_ENCODINGS):
        decoded = unquote(text)
        if decoded == text:
            break
        text = decoded
    return text
