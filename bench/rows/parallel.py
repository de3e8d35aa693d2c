"""Four builds at once with nothing there yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import steps
from bench.measure import Side, Target, seconds, seconds_of_all
from bench.site import BUILDKIT

if TYPE_CHECKING:
    from bench.site import Site

WORK = "four cold builds at once"
TARGETS = (Target(1.0),)


def sides(site: Site) -> list[Side]:
    letters = "abcd"
    # What differs between them differs from the first step on, so that none can take over another's.
    configs = {letter: steps.CONFIG.replace("USER=dev", f"USER=dev{letter}") for letter in letters}
    names = [site.habitat(f"parallel-{letter}", config, steps.FILES) for letter, config in configs.items()]
    builds = []
    for letter in letters:
        dockerfile = steps.DOCKERFILE.replace("dev\n", f"dev{letter}\n").replace("dev:dev", f"dev{letter}:dev{letter}")
        dockerfile = dockerfile.replace("USER=dev", f"USER=dev{letter}").replace("-o dev -g dev", f"-o dev{letter}")
        context = site.context(f"parallel-{letter}", dockerfile, steps.FILES)
        builds.append(site.build(f"parallel-{letter}", context, "--no-cache"))
    doit = site.doit("-n", "4", "-P", "thread", *(f"final:{name}" for name in names))

    def forget() -> None:
        for name in names:
            site.forget(name)

    return [
        Side("doit -n 4", lambda: seconds(doit, site.project), forget),
        Side("docker build --no-cache × 4", lambda: seconds_of_all(builds, site.folder, BUILDKIT)),
    ]
