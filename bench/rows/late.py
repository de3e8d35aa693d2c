"""Another branch of a repository, after a phase that is large."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from bench.big import Big
from bench.measure import Side, Target, command, seconds
from bench.site import BUILDKIT

if TYPE_CHECKING:
    from bench.site import Site

WORK = "another branch, after a setup of 2 GB"
TARGETS = (Target(1.1),)


def sides(site: Site) -> list[Side]:
    big = Big(site, "late")
    branches = (f"work-{number}" for number in itertools.count())
    now = {"branch": "main"}

    def another() -> None:
        """Nobody has seen it: a branch that was built before would be in BuildKit's cache."""
        now["branch"] = next(branches)
        big.repository.branch(now["branch"])
        big.write(now["branch"])

    another()
    command(site.doit(f"final:{big.name}"), site.project)
    command(site.build("late", big.context), big.context, BUILDKIT)
    return [
        Side("doit", lambda: seconds(site.doit(f"final:{big.name}"), site.project), another),
        Side("docker build", lambda: seconds(site.build("late", big.context), big.context, BUILDKIT)),
    ]
