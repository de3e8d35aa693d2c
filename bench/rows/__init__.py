"""The rows of the table, in its order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from bench.rows import cold, copied, disk, late, many, nothing, parallel, second, start, warm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.measure import Side, Target
    from bench.site import Site


class Row(Protocol):
    """A module with these. WORK: what is done; TARGETS: to be reached one after the other, none for what is only
    measured.
    """

    @property
    def WORK(self) -> str: ...  # noqa: N802
    @property
    def TARGETS(self) -> Sequence[Target]: ...  # noqa: N802

    def sides(self, site: Site) -> list[Side]:
        """Ours, the one it is compared with, and others; all that needs to be made once is made."""


ROWS: dict[str, Row] = {
    "cold": cold,
    "nothing": nothing,
    "start": start,
    "late": late,
    "second": second,
    "warm": warm,
    "many": many,
    "parallel": parallel,
    "disk": disk,
    "copied": copied,
}
