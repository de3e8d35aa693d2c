"""A setup that installs packages, built again with what it has downloaded before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.measure import Side, command, seconds
from bench.site import BASE, BUILDKIT, PREFIX

if TYPE_CHECKING:
    from bench.site import Site

WORK = "a setup of Debian packages built again, its cache warm"
TARGETS = ()

_PACKAGES = "git jq openssh-client python3"
_KEEP = "rm -f /etc/apt/apt.conf.d/docker-clean"
_INSTALL = f"apt-get update && apt-get install -y --no-install-recommends {_PACKAGES}"

_FOLDERS = ("/var/cache/apt", "/var/lib/apt/lists")

_CONFIG = f"""\
base_image: {BASE}
env: [USER=root, SYSTEM_PATH=, SHARED_PATH=]
setup:
  root:
    - {_KEEP}
    - {_INSTALL}
"""

_CACHES = "caches:\n" + "".join(f"  - {{path: {folder}, sharing: locked}}\n" for folder in _FOLDERS)

_MOUNTS = " ".join(
    f"--mount=type=cache,id={PREFIX}{folder},target={folder},sharing=locked,from={BASE},source={folder}"
    for folder in _FOLDERS
)

_DOCKERFILE = f"""\
FROM {BASE}
RUN {_KEEP}
RUN {_MOUNTS} {_INSTALL}
"""


def sides(site: Site) -> list[Side]:
    """Each begins anew with setup; what comes before it is the image, and is there."""
    context = site.context("warm", _DOCKERFILE)
    return [
        _ours(site, "doit", site.habitat("warm", _CONFIG + _CACHES, {})),
        Side(
            "docker build --no-cache, with its cache mounts",
            lambda: seconds(site.build("warm", context, "--no-cache"), context, BUILDKIT),
        ),
        _ours(site, "doit without caches", site.habitat("warm-without", _CONFIG, {})),
    ]


def _ours(site: Site, called: str, name: str) -> Side:
    command(site.doit(f"final:{name}"), site.project)
    return Side(
        called,
        lambda: seconds(site.doit(f"final:{name}"), site.project),
        lambda: command(site.doit("clean", f"setup:{name}"), site.project),
    )
