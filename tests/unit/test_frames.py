"""What an engine sends of a command, taken apart however it comes."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from phases.core.engine.exec import FrameDecoder, PidReader


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=20), st.booleans())), st.integers(1, 30))
def test_frames_in_any_chunks_keep_stdout_and_stderr_complete(chunks: list[tuple[bytes, bool]], size: int) -> None:
    data = b"".join(struct.pack(">BxxxL", 1 + is_err, len(chunk)) + chunk for chunk, is_err in chunks)
    frames = FrameDecoder()
    actual = [part for at in range(0, len(data), size) for part in frames.feed(data[at : at + size])]
    for kind in (False, True):
        sent = b"".join(chunk for chunk, is_err in chunks if is_err is kind)
        assert b"".join(chunk for chunk, is_err in actual if is_err is kind) == sent


@given(st.integers(0, 10**6), st.binary(max_size=20), st.integers(1, 30))
def test_pid_reader_in_any_chunks_separates_pid_from_output(number: int, rest: bytes, size: int) -> None:
    data = f"{number}\n".encode() + rest
    first = PidReader()
    assert b"".join(first.feed(data[at : at + size]) for at in range(0, len(data), size)) == rest
    assert first.pid == number


def test_pid_reader_without_pid_passes_output_through() -> None:
    first = PidReader()
    assert (first.feed(b"OCI runtime: "), first.feed(b"7\n"), first.pid) == (b"OCI runtime: ", b"7\n", 0)
