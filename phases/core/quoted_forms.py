"""How programs write a text inside quotes: the forms in which a secret may be met beside its own.

Each form is what stands between the quotes, since the secret may be a part of what is quoted.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterator

# What is left as it is in a URL: by the strictest, in a path, by JavaScript.
_UNQUOTED = ("", "/", "!'()*")

# What bash puts a backslash before (`printf %q`); `~` and `#` only where a word begins, and zsh and ksh some more.
_OF_WORDS = re.compile(rb"[ \t!\"$&'()*,;<>?\[\\\]^`{|}]")
_OF_MORE_WORDS = re.compile(rb"[ \t!\"#$&'()*,;<=>?\[\\\]^`{|}~]")
_OF_DOUBLE_QUOTES = re.compile(rb"[\"$`\\]")

# In $'...': what has a letter of its own there.
_LETTERS = {7: b"a", 8: b"b", 9: b"t", 10: b"n", 11: b"v", 12: b"f", 13: b"r", 27: b"E", 39: b"'", 92: b"\\"}

# How the two kinds of quotes are written in HTML and XML; whoever writes neither leaves them.
_QUOTES = (
    ('"', "'"),
    ("&quot;", "'"),
    ("&quot;", "&#x27;"),
    ("&quot;", "&#39;"),
    ("&quot;", "&#039;"),
    ("&quot;", "&apos;"),
    ("&#34;", "&#39;"),
    ("&#x22;", "&#x27;"),
)


def of(text: bytes) -> Iterator[bytes]:
    """All forms, `text` itself among them, some more than once."""
    yield text
    yield from in_a_shell(text)
    yield from _in_a_url(text)
    yield from _in_code(text)
    yield from _in_html(text)


def in_a_shell(text: bytes) -> Iterator[bytes]:
    """As `set -x`, `printf %q` and `declare -p` print it, and as shlex.quote writes it."""
    yield text.replace(b"'", b"'\\''")
    # dash has quotes in a row in one pair of double ones, and ends with those.
    yield text.replace(b"'", b"'\"'\"'").removesuffix(b"'")
    yield re.sub(b"'+", lambda run: b"'\"" + run[0] + b"\"'", text).removesuffix(b"'")
    for signs in (_OF_WORDS, _OF_MORE_WORDS, _OF_DOUBLE_QUOTES):
        yield signs.sub(rb"\\\g<0>", text)
    for is_ascii in (False, True):
        yield b"".join(_ansi_c(byte, is_ascii=is_ascii) for byte in text)
    # GNU's programs go in and out of quotes for what can't be printed.
    for unprintable in (rb"[\0-\x1f\x7f]+", rb"[\0-\x1f\x7f-\xff]+"):
        yield re.sub(unprintable, _gone_out, text.replace(b"'", b"'\\''"))


def _ansi_c(byte: int, *, is_ascii: bool) -> bytes:
    if byte in _LETTERS:
        return b"\\" + _LETTERS[byte]
    if byte < 32 or byte == 127 or (is_ascii and byte > 127):
        return b"\\%03o" % byte
    return bytes((byte,))


def _gone_out(run: re.Match[bytes]) -> bytes:
    inside = b"".join(_ansi_c(byte, is_ascii=True) for byte in run[0])
    return b"'$'" + inside.replace(b"\\E", b"\\033") + b"''"


def _in_a_url(text: bytes) -> Iterator[bytes]:
    for quoted in (*(quote_from_bytes(text, safe=signs) for signs in _UNQUOTED), quote_plus(text)):
        yield quoted.encode()
        yield re.sub("%..", lambda found: found[0].lower(), quoted).encode()


def _in_code(text: bytes) -> Iterator[bytes]:
    """As JSON, and as Python's repr and ascii have it, of text and of bytes."""
    plain = text.decode(errors="surrogateescape")
    for is_ascii in (False, True):
        written = json.dumps(plain, ensure_ascii=is_ascii)[1:-1]
        for signs in ("", "<>&", "<>&'", "/"):  # as Go, as PHP and Ruby, so that it may stand in HTML
            safe = re.sub(f"[{signs}]", _escaped_for_html, written) if signs else written
            yield safe.encode(errors="surrogateescape")
    # With a double quote before it repr takes single ones, and with a single one as well it escapes that.
    for written in (repr('"' + plain)[2:-1], ascii('"' + plain)[2:-1], repr(b'"' + text)[3:-1]):
        for quoted in (written, written.replace("\\'", "'")):
            yield quoted.encode(errors="surrogateescape")


def _escaped_for_html(sign: re.Match[str]) -> str:
    return "\\/" if sign[0] == "/" else f"\\u{ord(sign[0]):04x}"


def _in_html(text: bytes) -> Iterator[bytes]:
    # html.escape would load all of HTML's entities.
    bare = text.decode(errors="surrogateescape").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for double, single in _QUOTES:
        escaped = bare.replace('"', double).replace("'", single)
        for form in (escaped, re.sub("[\t\n\r]", lambda sign: f"&#{ord(sign[0])};", escaped)):
            yield form.encode(errors="surrogateescape")
            yield form.encode("ascii", "xmlcharrefreplace")
