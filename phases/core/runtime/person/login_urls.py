"""Finds the URL that a login prints for the browser, also where the program breaks it into lines."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

# Sequences that move the cursor or change colours, and other bytes that no person sees.
_CONTROL = re.compile(
    rb"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-9;?<=>]*[ -/]*[@-~]|\x1b[()][0-9A-Z]|\x1b.|[\x00-\x08\x0b-\x1f]"
)

# The characters of a URL.
_SIGNS = rb"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]"
_URL = re.compile(rb"https://" + _SIGNS + rb"+")
_REST = re.compile(rb" {0,4}(" + _SIGNS + rb"+)")

# A URL is for a login if one of these words is in it.
_WORDS = re.compile(r"oauth|auth|login|device|activate", re.IGNORECASE)

# Bytes of output that are searched, and of a URL.
_WINDOW, _LONGEST = 32_768, 8_192

# The end of a line that is this near to the terminal's edge may be a break within a URL.
_MARGIN = 6

_HERE = ("localhost", "127.0.0.1", "::1")


class LoginUrl(NamedTuple):
    """A URL for a login, and the port of 127.0.0.1 to which it leads the browser in the end, 0 for none."""

    url: str
    port: int


class LoginUrls:
    """Reads the output of a login.

    Attributes:
        columns: The columns of its terminal.
    """

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self._text = b""
        self._known: set[str] = set()

    def feed(self, data: bytes) -> list[LoginUrl]:
        """Return the URLs that are complete with the next bytes of the output, each once."""
        self._text = (self._text + data)[-_WINDOW:]
        lines = _CONTROL.sub(b"", self._text.replace(b"\r\n", b"\n")).split(b"\n")
        urls = [url for i, line in enumerate(lines) if (url := self._url(line, lines[i + 1 :]))]
        new = [url for url in dict.fromkeys(urls) if url not in self._known]
        self._known.update(new)
        return [LoginUrl(url, callback_port(url)) for url in new]

    def _url(self, line: bytes, following: list[bytes]) -> str:
        """Return the URL in a line, "" without one, or if more of it may follow."""
        if not (match := _URL.search(line)):
            return ""
        url, is_cut = match[0], match.end() == len(line)
        while is_cut and following:
            rest = _REST.match(following[0])
            if len(line) < self.columns - _MARGIN or not rest:
                break
            line, *following = following
            url += rest[1]
            is_cut = rest.end() == len(line)
        if (is_cut and not following) or len(url) > _LONGEST:
            return ""
        text = url.decode().rstrip(".,;:!?')]")
        return text if _WORDS.search(text) else ""


def callback_port(url: str) -> int:
    """Return the port of this machine to which a URL leads the browser in the end, 0 for none."""
    for target in parse_qs(urlsplit(url).query).get("redirect_uri", []):
        try:
            parts = urlsplit(target)
            if parts.scheme == "http" and parts.hostname in _HERE:
                return parts.port or 0
        except ValueError:
            continue
    return 0
