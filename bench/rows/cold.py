"""A build of small steps with nothing there yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import steps
from bench.measure import Side, Target, seconds
from bench.site import BUILDKIT

if TYPE_CHECKING:
    from bench.site import Site

WORK = "cold build, 12 phases of small steps"
TARGETS = (Target(0.8), Target(0.6))


def sides(site: Site) -> list[Side]:
    name = site.habitat("cold", steps.CONFIG, steps.FILES)
    context = site.context("cold", steps.DOCKERFILE, steps.FILES)
    found = [
        Side("doit", lambda: seconds(site.doit(f"final:{name}"), site.project), lambda: site.forget(name)),
        Side("docker build --no-cache", lambda: seconds(site.build("cold", context, "--no-cache"), context, BUILDKIT)),
    ]
    if program := site.devcontainer():
        folder = site.context("cold-devcontainer", steps.DOCKERFILE, steps.FILES)
        (folder / ".devcontainer").mkdir()
        (folder / ".devcontainer" / "devcontainer.json").write_text(steps.DEVCONTAINER)
        up = [
            *(program, "up", "--docker-path", site.docker, "--workspace-folder", str(folder)),
            *("--build-no-cache", "--remove-existing-container"),
        ]
        found.append(Side("devcontainer up", lambda: seconds(up, folder, BUILDKIT)))
    return found
