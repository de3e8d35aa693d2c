"""What is hidden of a command's output, however it arrives."""

from __future__ import annotations

import base64
from itertools import pairwise
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phases.core.engine import LineSplitter
from phases.core.masking import Mask

SECRET = b"tok-4f9 a/b"


def through(mask: Mask, *chunks: bytes) -> bytes:
    return b"".join(map(mask.feed, chunks)) + mask.flush()


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b"hello", b"hello"),
        (b"x " + SECRET + b" y", b"x *** y"),
        (SECRET * 2, b"******"),
        (quote(SECRET.decode(), safe="").encode(), b"***"),
        (base64.b64encode(SECRET), b"***Qg==".replace(b"Qg==", base64.b64encode(SECRET)[12:])),
        (b"tok-4f9", b"tok-4f9"),
    ],
)
def test_a_secret_and_its_encodings_are_hidden(said: bytes, shown: bytes) -> None:
    assert through(Mask([SECRET]), said) == shown


@pytest.mark.parametrize("user", ["", "a:", "me:", "x-access-token:"])
def test_base64_hides_it_wherever_it_begins(user: str) -> None:
    secret = b"a-rather-long-token-0123456789"
    shown = through(Mask([secret]), base64.b64encode(user.encode() + secret))
    assert b"***" in shown
    assert len(shown.replace(b"***", b"")) <= 8 + len(base64.b64encode(user.encode()))


def test_each_line_of_a_secret_is_hidden_but_for_what_tells_nothing() -> None:
    key = b"-----BEGIN KEY-----\nabcdefgh\n}\n"
    assert through(Mask([key]), b"1: abcdefgh\n2: }\n") == b"1: ***\n2: }\n"
    assert through(Mask([key]), key) == b"***\n"


def test_the_longer_of_two_secrets_is_hidden_whole() -> None:
    assert through(Mask([b"tok", b"tok123"]), b"a tok", b"123 tok b") == b"a *** *** b"


def test_what_may_become_a_secret_waits_and_anything_else_does_not() -> None:
    mask = Mask([SECRET])
    assert mask.feed(b"$ tok") == b"$ "
    assert mask.holds
    assert mask.flush() == b"tok"
    assert mask.feed(b"$ ") == b"$ "
    assert not mask.holds


def test_a_screen_keeps_its_width() -> None:
    assert through(Mask([SECRET], keep_width=True), b"|" + SECRET + b"|") == b"|" + b"*" * len(SECRET) + b"|"


def test_without_secrets_everything_passes() -> None:
    assert Mask([]).feed(b"anything") == b"anything"
    assert Mask([b"\n"]).text("anything") == "anything"


@given(
    secrets=st.lists(st.binary(min_size=1, max_size=12), min_size=1, max_size=3),
    parts=st.lists(st.binary(max_size=8), max_size=8),
    cuts=st.lists(st.integers(0, 200), max_size=6),
)
def test_no_way_to_cut_a_stream_shows_a_secret(secrets: list[bytes], parts: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(part + secret for part in (parts or [b""]) for secret in secrets)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    chunks = [stream[a:b] for a, b in pairwise(edges)]
    whole, pieces = through(Mask(secrets), stream), through(Mask(secrets), *chunks)
    assert pieces == whole
    for secret in secrets:
        bare = secret.strip()
        if bare and not set(bare) <= set(b"*"):
            assert bare not in whole.replace(b"***", b"\0") or b"\0" in bare


def test_a_line_that_is_cut_for_its_length_shows_none() -> None:
    lines: list[str] = []
    splitter = LineSplitter(lines.append, Mask([SECRET]))
    for size in range(65536 - 12, 65536):
        splitter.feed(b"x" * size + SECRET)
    splitter.close()
    assert "tok" not in "".join(lines)
