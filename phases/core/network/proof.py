"""The proof that a habitat's network namespace has no way out but its proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from phases.core.container.gate_variables import PORT
from phases.core.network.proxy import PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from phases.core.engine.protocol import Engine

# Seconds that the proxy may take to answer for the first time.
_PATIENCE = 10


class Proof(Struct, frozen=True):
    """One thing that was looked for. text: what holds if it was not missed."""

    text: str
    holds: bool


def prove(engine: Engine, gate: str, *, learns: bool) -> list[Proof]:
    """Run the proof in a gate. learns: whether the proxy allows every host, so that none can be refused."""
    printed: list[bytes] = []
    argv = (f"{PROGRAMS}/prove.sh", str(PORT), str(_PATIENCE), "learns" if learns else "")
    code = engine.exec(
        gate, argv, user="65534", on_output=lambda data, is_err: None if is_err else printed.append(data)
    )
    lines = b"".join(printed).decode(errors="replace").splitlines()
    proofs = [Proof(text, verdict == "ok") for verdict, tab, text in (line.partition("\t") for line in lines) if tab]
    if code and all(proof.holds for proof in proofs):
        proofs.append(Proof(f"the proof ran to its end (it ended with {code})", holds=False))
    return proofs


def missed(proofs: Iterable[Proof]) -> list[str]:
    """Return what was missed."""
    return [f"missed: {proof.text}" for proof in proofs if not proof.holds]
