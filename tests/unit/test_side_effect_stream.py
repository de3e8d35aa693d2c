"""The output of a command with a side effect probe: all that the command prints passes, and the report doesn't."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from phases.core.container.side_effects import SideEffectProbe

#: Output that may be taken for the beginning of the report.
PARTS = st.lists(st.binary(max_size=8) | st.just(b"\0") | st.just(b"\0a"), max_size=8)


def heard(chunks: list[tuple[bytes, bool]], *, says: bool) -> tuple[bytes, bytes, bool]:
    """Return stdout, stderr, and whether the command left nothing but changed files."""
    got, fed = {False: b"", True: b""}, {False: b"", True: b""}

    def on_output(data: bytes, is_err: bool) -> None:
        got[is_err] += data

    watch = SideEffectProbe(on_output)
    sign = b"\0" + watch.argv(())[3].encode()
    for data, is_err in chunks:
        watch.feed(data, is_err)
        fed[is_err] += data
        late = fed[is_err].removeprefix(got[is_err])
        assert got[is_err] + late == fed[is_err]
        assert not late or (is_err and sign.startswith(late)), "only what may be the beginning of the sign is late"
    if says:
        for byte in sign:
            watch.feed(bytes([byte]), True)
    settled = watch.end()
    return got[False], got[True], settled


@given(st.lists(st.tuples(st.binary(max_size=8), st.booleans()), max_size=8), PARTS, st.booleans())
def test_side_effect_probe_passes_command_output_unchanged(
    chunks: list[tuple[bytes, bool]], more: list[bytes], says: bool
) -> None:
    chunks += [(part, True) for part in more]
    out, err, settled = heard(chunks, says=says)
    assert out == b"".join(data for data, is_err in chunks if not is_err)
    assert err == b"".join(data for data, is_err in chunks if is_err)
    assert settled == says


def test_side_effect_probe_ignores_its_marker_before_end() -> None:
    got: list[bytes] = []
    watch = SideEffectProbe(lambda data, _: got.append(data))
    output = b"\0" + watch.argv(())[3].encode()
    watch.feed(output, True)
    watch.feed(b"more", True)
    assert not watch.end()
    assert b"".join(got) == output + b"more"


def test_side_effect_probe_markers_are_unique() -> None:
    one, other = SideEffectProbe(lambda *_: None), SideEffectProbe(lambda *_: None)
    assert one.argv(("true",)) != other.argv(("true",))
