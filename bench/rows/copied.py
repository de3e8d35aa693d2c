"""Ten thousand copied files with other times, and nothing else about them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bench.measure import Side, Target, command, seconds
from bench.site import BASE, BUILDKIT

if TYPE_CHECKING:
    from pathlib import Path

    from bench.site import Site

WORK = "10,000 copied files, only their times changed"
TARGETS = (Target(1.0),)

_COUNT = 10_000


def sides(site: Site) -> list[Side]:
    files = {f"tree/{number // 100:02}/{number:05}.txt": f"{number}\n" * 200 for number in range(_COUNT)}
    config = f"base_image: {BASE}\nfiles:\n  - {{source: tree, dest: /srv/tree, owner: root}}\n"
    name = site.habitat("copied", config, files)
    context = site.context("copied", f"FROM {BASE}\nCOPY tree /srv/tree\n", files)
    command(site.doit(f"final:{name}"), site.project)
    command(site.build("copied", context), context, BUILDKIT)
    return [
        Side(
            "doit",
            lambda: seconds(site.doit(f"final:{name}"), site.project),
            lambda: _touch(site.project / "habitats" / name / "tree"),
        ),
        Side(
            "docker build, cached",
            lambda: seconds(site.build("copied", context), context, BUILDKIT),
            lambda: _touch(context / "tree"),
        ),
    ]


def _touch(tree: Path) -> None:
    for path in tree.rglob("*"):
        os.utime(path)
