"""What all the images of a build take on the disk, beyond their base."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.big import Big
from bench.measure import Side, Target, command
from bench.site import BUILDKIT, PREFIX

if TYPE_CHECKING:
    from bench.site import Site

WORK = "bytes on disk, a setup of 2 GB and what comes after"
TARGETS = (Target(1.05),)


def sides(site: Site) -> list[Side]:
    big = Big(site, "disk")
    big.write("main")
    command(site.doit(f"final:{big.name}"), site.project)
    command(site.build("disk", big.context), big.context, BUILDKIT)
    ours = [f"habitat-{big.name}:{tag}" for tag in site.tags(f"habitat-{big.name}")]
    return [
        Side("doit", lambda: float(site.layers_size(ours, big.base))),
        Side("docker build", lambda: float(site.layers_size([f"{PREFIX}-disk"], big.base))),
    ]
