"""The rows of the table, in its order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from bench.rows import cold, copied, disk, late, many, nothing, parallel, second, start, warm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.measure import Side, Target
    from bench.site import Site


class Row(Protocol):
    """A row of the table: a module with these names."""

    @property
    def WORK(self) -> str:  # noqa: N802
        """The work that the row measures."""

    @property
    def TARGETS(self) -> Sequence[Target]:  # noqa: N802
        """The targets, to be reached one after the other; none if the row is only for information."""

    def sides(self, site: Site) -> list[Side]:
        """Prepare the sides and return them: ours, the one it is compared with, and others."""


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
