"""A habitat that differs from another one, which is built, from its repositories on."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from bench.big import Big
from bench.measure import Side, command, seconds
from bench.site import BUILDKIT, SHARING

if TYPE_CHECKING:
    from bench.site import Site

WORK = "a second habitat, different from repos on"
TARGETS = ()


def sides(site: Site) -> list[Side]:
    """Theirs has one Dockerfile after the other, which agree up to the clone, as BuildKit's cache wants it."""
    first = Big(site, "second", "head -c 20000000 /dev/urandom >/srv/small")
    name = f"{first.name}-other"
    branches = (f"work-{number}" for number in itertools.count())

    def another() -> None:
        """Nothing of it is there, and nobody has seen its branch."""
        branch = next(branches)
        first.repository.branch(branch)
        first.write(branch, name)
        site.forget(name)

    first.write("main")
    command(site.doit(f"final:{first.name}"), site.project)
    command(site.build("second", first.context), first.context, BUILDKIT)
    return [
        Side("doit", lambda: seconds(site.doit(f"final:{name}"), site.project, SHARING), another),
        Side("docker build", lambda: seconds(site.build("second", first.context), first.context, BUILDKIT)),
    ]
