"""From the command line to the first line that the habitat's command prints, all of it built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import steps
from bench.measure import Side, Target, command, seconds_until
from bench.site import BUILDKIT

if TYPE_CHECKING:
    from bench.site import Site

WORK = "all built, to a command's first output"
TARGETS = (Target(1.2),)


def sides(site: Site) -> list[Side]:
    name = site.habitat("start", steps.CONFIG, steps.FILES)
    context = site.context("start", steps.DOCKERFILE, steps.FILES)
    build = site.build("start", context)
    run = f"{' '.join(build)} && {site.docker} run --rm {build[build.index('--tag') + 1]}"
    command(site.doit(f"start:{name}"), site.project)
    command(build, context, BUILDKIT)
    found = [
        Side("doit", lambda: seconds_until("hello", site.doit(f"start:{name}"), site.project)),
        Side("docker build && docker run", lambda: seconds_until("hello", ["/bin/sh", "-c", run], context, BUILDKIT)),
    ]
    if program := site.devcontainer():
        (context / ".devcontainer").mkdir()
        (context / ".devcontainer" / "devcontainer.json").write_text(steps.DEVCONTAINER)
        where = f"--docker-path {site.docker} --workspace-folder {context}"
        both = f"{program} up {where} >/dev/null && {program} exec {where} echo hello"
        command(["/bin/sh", "-c", both], context, BUILDKIT)
        argv = ["/bin/sh", "-c", both]
        found.append(Side("devcontainer up && exec", lambda: seconds_until("hello", argv, context, BUILDKIT)))
    return found
