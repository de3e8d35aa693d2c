"""What is hidden of a command's output, however it arrives."""

from __future__ import annotations

import base64
import html
import json
import os
import re
import shlex
import subprocess
from itertools import pairwise
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus
from xml.sax import saxutils

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from phases.core.engine.output import LineSplitter
from phases.core.masking import Mask, is_long_enough

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = b"tok-4f9 a/b"


def through(mask: Mask, *chunks: bytes) -> bytes:
    return b"".join(map(mask.feed, chunks)) + mask.flush()


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (b"hello", b"hello"),
        (b"x " + SECRET + b" y", b"x *** y"),
        (SECRET * 2, b"******"),
        (quote(SECRET.decode(), safe="").encode(), b"***"),
        (base64.b64encode(SECRET), b"***Qg==".replace(b"Qg==", base64.b64encode(SECRET)[12:])),
        (b"tok-4f9", b"tok-4f9"),
    ],
)
def test_mask_hides_secret_and_its_encodings(message: bytes, shown: bytes) -> None:
    assert through(Mask([SECRET]), message) == shown


@pytest.mark.guarantee("secret-hidden-in-output")
@pytest.mark.parametrize("user", ["", "a:", "me:", "x-access-token:"])
def test_mask_hides_base64_of_secret_at_any_offset(user: str) -> None:
    secret = b"a-rather-long-token-0123456789"
    shown = through(Mask([secret]), base64.b64encode(user.encode() + secret))
    assert b"***" in shown
    assert len(shown.replace(b"***", b"")) <= 8 + len(base64.b64encode(user.encode()))


@pytest.mark.guarantee("secret-hidden-in-output")
@pytest.mark.parametrize("width", [64, 76])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_mask_hides_wrapped_base64_in_any_chunks(width: int, end: bytes) -> None:
    """As `base64` prints all that is longer than 57 bytes, which some tokens are."""
    secret = b"pat_" + bytes(range(48, 123)) + b"0123456789"
    printed = base64.b64encode(b"me:" + secret)
    lines = end.join(printed[begin : begin + width] for begin in range(0, len(printed), width))
    whole = through(Mask([secret]), lines)
    assert whole.startswith(b"bWU6***")
    assert len(whole) < 12
    for cut in range(len(lines)):
        assert through(Mask([secret]), lines[:cut], lines[cut:]) == whole


@pytest.mark.guarantee("secret-hidden-in-output")
@pytest.mark.parametrize(
    "form",
    [
        quote('p(a)/s s"\\é'),
        quote('p(a)/s s"\\é', safe="!'()*"),
        quote('p(a)/s s"\\é', safe="").lower(),
        quote_plus('p(a)/s s"\\é'),
        json.dumps('p(a)/s s"\\é')[1:-1],
        json.dumps('p(a)/s s"\\é', ensure_ascii=False)[1:-1],
    ],
)
def test_mask_hides_secret_in_url_and_json_quoting(form: str) -> None:
    assert through(Mask(['p(a)/s s"\\é'.encode()]), b"<" + form.encode() + b">") == b"<***>"


#: Each with what quotings trip over: both quotes, what a shell reads, what can't be printed, what isn't ASCII.
AWKWARD = [
    "it's-a-secret",
    "two''in-a-row'",
    "'begins-and-ends'",
    """both'and"quotes""",
    "back\\slash\\'s",
    "tab\tand\x1bescape",
    "two\nlines'of\n\nit",
    "dollar$(x)`y`;&|<>*?[]{}!#~=^",
    "caf\xe9-\u20ac-\U0001f600-it's",
    '<a href="x">&\'s</a>',
    "plain-word-0123",
    "#begins-with-a-comment",
    "~begins-with-home",
]

#: The locale decides how a shell quotes what isn't ASCII, and nothing else.
IN_LOCALE = [(secret, "C.UTF-8") for secret in AWKWARD] + [(secret, "C") for secret in AWKWARD if not secret.isascii()]

SHELLS = [
    ("bash", 'set -x; : "$1"'),
    ("bash", 'set -x; : "a $1 b"'),
    ("bash", 'printf %q "$1"'),
    ("bash", 'printf %q "a $1 b"'),
    ("bash", "declare -p 1 2>&1; x=$1; declare -p x"),
    ("bash", "export x=\"$1\"; export -p | grep -A9 ' x='"),
    ("bash", "x=$1; set | grep -A9 ^x="),
    ("bash", 'echo "${1@Q}"'),
    ("dash", 'set -x; : "$1"'),
    ("dash", 'set -x; : "a $1 b"'),
    ("dash", "export x=\"$1\"; export -p | grep -A9 ' x='"),
    ("dash", 'env printf %q "$1"'),
]


@pytest.mark.guarantee("masking-covers-quoted-forms")
@pytest.mark.parametrize(("secret", "locale"), IN_LOCALE)
@pytest.mark.parametrize(("shell", "script"), SHELLS)
def test_mask_hides_secret_quoted_by_shell(secret: str, shell: str, script: str, locale: str) -> None:
    env = {"PATH": os.environ["PATH"], "LC_ALL": locale}
    result = subprocess.run([shell, "-c", script, shell, secret], env=env, capture_output=True, check=True)
    output = result.stdout + result.stderr
    shown = through(Mask([secret.encode()]), output)
    assert b"***" in shown, output
    for word in re.findall(r"[A-Za-z0-9]{4,}", secret):
        assert word.encode() not in shown.replace(script.encode(), b""), output


CODE = [
    repr,
    ascii,
    lambda secret: repr(secret.encode()),
    lambda secret: repr({"a": f"x {secret}"}),
    lambda secret: repr(f"'\"{secret}"),
    lambda secret: ascii(f"'\"{secret}"),
    shlex.quote,
    lambda secret: shlex.quote(f"a {secret} b"),
    json.dumps,
    lambda secret: re.sub("[<>&]", lambda sign: f"\\u{ord(sign[0]):04x}", json.dumps(secret)),
    lambda secret: json.dumps(secret).replace("/", "\\/"),
    html.escape,
    lambda secret: html.escape(secret, quote=False),
    lambda secret: html.escape(secret).replace("&#x27;", "&#39;"),
    lambda secret: html.escape(secret).replace("&#x27;", "&apos;"),
    lambda secret: html.escape(secret).replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
    lambda secret: html.escape(secret).encode("ascii", "xmlcharrefreplace").decode(),
    lambda secret: saxutils.quoteattr(secret)[1:-1],
    lambda secret: secret.encode().hex(),
    lambda secret: secret.encode().hex().upper(),
    lambda secret: f"a{secret}b".encode().hex(),
    quote,
    quote_plus,
]


@pytest.mark.guarantee("masking-covers-quoted-forms")
@pytest.mark.parametrize("secret", AWKWARD)
@pytest.mark.parametrize("quoted", CODE)
def test_mask_hides_secret_quoted_by_program(secret: str, quoted: Callable[[str], str]) -> None:
    """Without its quotes and what stands around it, nothing of the text is left."""
    shown = through(Mask([secret.encode()]), b"<" + quoted(secret).encode() + b">")
    assert b"***" in shown
    assert not re.search(rb"\w{5}", shown.replace(b"***", b"")), shown


@pytest.mark.guarantee("masking-covers-quoted-forms")
def test_mask_hides_wrapped_hex_of_secret() -> None:
    secret = b"a-rather-long-token-0123456789-that-takes-two-lines"
    output = subprocess.run(["xxd", "-p"], input=secret, capture_output=True, check=True).stdout
    assert output.count(b"\n") == 2
    assert through(Mask([secret]), output) == b"***\n"


@pytest.mark.guarantee("short-secret-not-masked")
@pytest.mark.parametrize(
    "secret", [b"1", b"true", b"1234567", b" secret\n", "\u00fc\u00e4\u00f6123".encode(), b"\xff" * 7]
)
def test_mask_shows_secret_of_fewer_than_eight_characters(secret: bytes) -> None:
    text = b"|".join((secret, secret.hex().encode(), base64.b64encode(secret * 2), b"x" + secret + b"y"))
    assert through(Mask([secret]), text) == text


@pytest.mark.parametrize("secret", [b"12345678", "\u00fc\u00e4\u00f612345".encode(), b"\xff" * 8])
def test_mask_hides_secret_of_eight_characters(secret: bytes) -> None:
    assert through(Mask([secret]), b"x" + secret + b"y") == b"x***y"


def test_mask_limits_are_documented() -> None:
    """Each of these passes, and docs/running.md says so; who closes one takes it off there."""
    secret = b"tok-4f9a-rather-long"
    twice = base64.b64encode(base64.b64encode(secret))
    coloured = secret.replace(b"-", b"-\x1b[1m")
    for form in (twice, secret.upper(), coloured, secret[::-1]):
        assert through(Mask([secret]), form) == form
    text = " ".join((ROOT / "docs/running.md").read_text().split())
    for words in ("base64 of base64", "in capitals", "colour codes", "partly on stdout and partly on stderr"):
        assert words in text


def test_mask_hides_urlsafe_base64() -> None:
    secret = b"~~~???>>>"
    assert through(Mask([secret]), base64.urlsafe_b64encode(secret)) == b"***"


def test_mask_hides_secret_with_terminal_line_ends() -> None:
    assert through(Mask([b"abcd\nefgh\n"]), b"abcd\r\nefgh\r\n") == b"***\r\n"


def test_mask_hides_each_line_of_secret_except_trivial_ones() -> None:
    key = b"-----BEGIN KEY-----\nabcdefgh\n}\nTRUE=1\n"
    assert through(Mask([key]), b"1: abcdefgh\n2: }\n3: TRUE=1\n") == b"1: ***\n2: }\n3: TRUE=1\n"
    assert through(Mask([key]), key) == b"***\n"


def test_mask_hides_longer_of_overlapping_secrets_completely() -> None:
    assert through(Mask([b"tok-tok-", b"tok-tok-123"]), b"a tok-tok-", b"123 tok-tok- b") == b"a *** *** b"


def test_mask_holds_back_only_possible_beginning_of_secret() -> None:
    mask = Mask([SECRET])
    assert mask.feed(b"$ tok") == b"$ "
    assert mask.holds
    assert mask.flush() == b"tok"
    assert mask.feed(b"$ ") == b"$ "
    assert not mask.holds


def test_mask_does_not_hold_back_complete_line_for_base64() -> None:
    secret = b"i-am-a-token-0123456789"
    begin = base64.b64encode(secret)[:3]
    assert Mask([secret]).feed(b"here " + begin + b"\n") == b"here " + begin + b"\n"


def test_mask_keep_width_hides_secret_with_same_length() -> None:
    assert through(Mask([SECRET], keep_width=True), b"|" + SECRET + b"|") == b"|" + b"*" * len(SECRET) + b"|"


def test_mask_hides_long_secret_in_pieces_that_contains_short_secret() -> None:
    assert through(Mask([b"token-9f", b"a-token-9f31"]), b"a-token", b"-9f31") == b"***"


def test_mask_without_secrets_passes_everything() -> None:
    assert Mask([]).feed(b"anything") == b"anything"
    assert Mask([b"\n"]).text("anything") == "anything"


#: Few signs, so that secrets overlap, and those that quoting and lines are made of.
SIGNS = st.lists(st.sampled_from(b"ab+%= \n\r\0\xff'\"\\&"), max_size=16).map(bytes)


@pytest.mark.guarantee("secret-hidden-in-output")
@given(
    secrets=st.lists(SIGNS.filter(bool), min_size=1, max_size=3),
    parts=st.lists(SIGNS, max_size=8),
    cuts=st.lists(st.integers(0, 200), max_size=6),
)
def test_mask_in_any_chunks_shows_no_secret(secrets: list[bytes], parts: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(part + secret for part in (parts or [b""]) for secret in secrets)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    chunks = [stream[a:b] for a, b in pairwise(edges)]
    whole, pieces = through(Mask(secrets), stream), through(Mask(secrets), *chunks)
    assert pieces == whole
    for secret in secrets:
        bare = secret.strip()
        if is_long_enough(bare) and not set(bare) <= set(b"*"):
            assert bare not in whole.replace(b"***", b"\0") or b"\0" in bare


def test_mask_of_line_split_for_length_shows_no_secret() -> None:
    lines: list[str] = []
    splitter = LineSplitter(lines.append, Mask([SECRET]))
    for size in range(65536 - 12, 65536):
        splitter.feed(b"x" * size + SECRET)
    splitter.close()
    assert "tok" not in "".join(lines)
