"""A build with nothing to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import steps
from bench.measure import Side, Target, command, seconds
from bench.site import BUILDKIT

if TYPE_CHECKING:
    from bench.site import Site

WORK = "nothing to do"
TARGETS = (Target(0.25, in_seconds=True), Target(1.0))


def sides(site: Site) -> list[Side]:
    name = site.habitat("nothing", steps.CONFIG, steps.FILES)
    context = site.context("nothing", steps.DOCKERFILE, steps.FILES)
    command(site.doit(f"final:{name}"), site.project)
    command(site.build("nothing", context), context, BUILDKIT)
    found = [
        Side("doit", lambda: seconds(site.doit(f"final:{name}"), site.project)),
        Side("docker build, cached", lambda: seconds(site.build("nothing", context), context, BUILDKIT)),
    ]
    if program := site.devcontainer():
        (context / ".devcontainer").mkdir()
        (context / ".devcontainer" / "devcontainer.json").write_text(steps.DEVCONTAINER)
        build = [program, "build", "--docker-path", site.docker, "--workspace-folder", str(context)]
        found.append(Side("devcontainer build, cached", lambda: seconds(build, context, BUILDKIT)))
    return found
