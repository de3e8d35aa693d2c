"""Write a text as programs quote it: for shells, in URLs, in code, and in HTML.

Each form is the text between the quotes, since a secret may be only a part of what a program quotes.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterator

# The characters that programs leave as they are in a URL: none, those of a path, those of JavaScript.
_UNQUOTED = ("", "/", "!'()*")

# The characters before which bash puts a backslash (`printf %q`), those of zsh and ksh, and those inside double quotes.
# bash does it for `~` and `#` only at the beginning of a word.
_IN_BASH = re.compile(rb"[ \t!\"$&'()*,;<>?\[\\\]^`{|}]")
_IN_ZSH = re.compile(rb"[ \t!\"#$&'()*,;<=>?\[\\\]^`{|}~]")
_IN_DOUBLE_QUOTES = re.compile(rb"[\"$`\\]")

# The bytes that have an escape of one letter in $'...'.
_LETTERS = {7: b"a", 8: b"b", 9: b"t", 10: b"n", 11: b"v", 12: b"f", 13: b"r", 27: b"E", 39: b"'", 92: b"\\"}

# How programs write double and single quotes in HTML and XML. Some leave them as they are.
_HTML_QUOTES = (
    ('"', "'"),
    ("&quot;", "'"),
    ("&quot;", "&#x27;"),
    ("&quot;", "&#39;"),
    ("&quot;", "&#039;"),
    ("&quot;", "&apos;"),
    ("&#34;", "&#39;"),
    ("&#x22;", "&#x27;"),
)


def all_forms(text: bytes) -> Iterator[bytes]:
    """Yield all forms, `text` itself among them, some more than once."""
    yield text
    yield from in_a_shell(text)
    yield from _in_a_url(text)
    yield from _in_code(text)
    yield from _in_html(text)


def in_a_shell(text: bytes) -> Iterator[bytes]:
    """Yield the forms of `set -x`, `printf %q`, `declare -p` and shlex.quote."""
    yield text.replace(b"'", b"'\\''")
    # dash writes single quotes in a row in one pair of double ones, and ends with those.
    yield text.replace(b"'", b"'\"'\"'").removesuffix(b"'")
    yield re.sub(b"'+", lambda run: b"'\"" + run[0] + b"\"'", text).removesuffix(b"'")
    for characters in (_IN_BASH, _IN_ZSH, _IN_DOUBLE_QUOTES):
        yield characters.sub(rb"\\\g<0>", text)
    for is_ascii in (False, True):
        yield b"".join(_ansi_c(byte, is_ascii=is_ascii) for byte in text)
    # GNU's programs close the quotes for bytes that can't be printed, and write those as $'...'.
    for unprintable in (rb"[\0-\x1f\x7f]+", rb"[\0-\x1f\x7f-\xff]+"):
        yield re.sub(unprintable, _outside_quotes, text.replace(b"'", b"'\\''"))


def _ansi_c(byte: int, *, is_ascii: bool) -> bytes:
    if byte in _LETTERS:
        return b"\\" + _LETTERS[byte]
    if byte < 32 or byte == 127 or (is_ascii and byte > 127):
        return b"\\%03o" % byte
    return bytes((byte,))


def _outside_quotes(run: re.Match[bytes]) -> bytes:
    escapes = b"".join(_ansi_c(byte, is_ascii=True) for byte in run[0])
    return b"'$'" + escapes.replace(b"\\E", b"\\033") + b"''"


def _in_a_url(text: bytes) -> Iterator[bytes]:
    for quoted in (*(quote_from_bytes(text, safe=characters) for characters in _UNQUOTED), quote_plus(text)):
        yield quoted.encode()
        yield re.sub("%..", lambda escape: escape[0].lower(), quoted).encode()


def _in_code(text: bytes) -> Iterator[bytes]:
    """Yield the forms of JSON, and those of Python's repr and ascii for text and bytes."""
    plain = text.decode(errors="surrogateescape")
    for is_ascii in (False, True):
        written = json.dumps(plain, ensure_ascii=is_ascii)[1:-1]
        for characters in ("", "<>&", "<>&'", "/"):  # Go, PHP and Ruby escape these, so that JSON can be part of HTML
            safe = re.sub(f"[{characters}]", _escaped_for_html, written) if characters else written
            yield safe.encode(errors="surrogateescape")
    # With a double quote before the text, repr puts it in single quotes, and escapes single quotes in it.
    for written in (repr('"' + plain)[2:-1], ascii('"' + plain)[2:-1], repr(b'"' + text)[3:-1]):
        for quoted in (written, written.replace("\\'", "'")):
            yield quoted.encode(errors="surrogateescape")


def _escaped_for_html(character: re.Match[str]) -> str:
    return "\\/" if character[0] == "/" else f"\\u{ord(character[0]):04x}"


def _in_html(text: bytes) -> Iterator[bytes]:
    # Not html.escape, since importing it loads all of HTML's entities.
    bare = text.decode(errors="surrogateescape").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for double, single in _HTML_QUOTES:
        escaped = bare.replace('"', double).replace("'", single)
        for form in (escaped, re.sub("[\t\n\r]", lambda character: f"&#{ord(character[0])};", escaped)):
            yield form.encode(errors="surrogateescape")
            yield form.encode("ascii", "xmlcharrefreplace")
