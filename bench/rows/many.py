"""A hundred habitats with nothing to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import steps
from bench.measure import Side, Target, command, seconds
from bench.site import BUILDKIT

if TYPE_CHECKING:
    from bench.site import Site

WORK = "nothing to do, 100 habitats"
TARGETS = (Target(1.0, in_seconds=True),)

_COUNT = 100


def sides(site: Site) -> list[Side]:
    names = [site.habitat(f"many-{number:02}", steps.CONFIG, steps.FILES) for number in range(_COUNT)]
    context = site.context("many", steps.DOCKERFILE, steps.FILES)
    tasks = [f"final:{name}" for name in names]
    command(site.doit("-n", "4", *tasks), site.project)
    builds = [site.build(f"many-{number:02}", context) for number in range(_COUNT)]
    for build in builds:
        command(build, context, BUILDKIT)
    return [
        Side("doit", lambda: seconds(site.doit(*tasks), site.project)),
        Side("100 × docker build, cached", lambda: sum(seconds(build, context, BUILDKIT) for build in builds)),
    ]
