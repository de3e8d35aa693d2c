"""A habitat whose setup leaves two gigabytes, and clones a repository after that; and its Dockerfile."""

from __future__ import annotations

import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from bench.site import PREFIX, write

if TYPE_CHECKING:
    from pathlib import Path

    from bench.site import Site

_SETUP = "head -c 2000000000 /dev/urandom >/srv/big"

_CONFIG = """
base_image: {base}
env:
  - USER=dev
  - WORKDIR=/work
setup:
  root:
    - {setup}
repos:
  - {{url: "{url}", path: project, branch: {branch}}}
entry:
  command: echo hello
"""

_DOCKERFILE = """
FROM {base}
RUN useradd --create-home --shell /bin/bash --user-group dev
ENV USER=dev WORKDIR=/work
RUN install -d -o dev -g dev /work
WORKDIR /work
RUN {setup}
USER dev
RUN git clone --branch {branch} {url} project
CMD ["/bin/sh", "-c", "echo hello"]
"""


class Big:
    """One of its own for each row, so that none finds what another has built. setup: what is done instead."""

    def __init__(self, site: Site, name: str, setup: str = _SETUP) -> None:
        self.site = site
        self.base = site.image_with_git()
        self.repository = Repository(site.folder / f"{name}-repository", site.gateway())
        self.name = f"{PREFIX}-{name}"
        self.context = site.folder / "contexts" / f"{PREFIX}-{name}"
        # So that the two gigabytes of one row are not in BuildKit's cache for the next.
        self._setup = f"{setup}; echo {name} >/srv/name"

    def write(self, branch: str, habitat: str = "") -> None:
        """Both say that this branch is wanted. habitat: another one than its own that does."""
        words = {"base": self.base, "setup": self._setup, "url": self.repository.url, "branch": branch}
        write(self.site.project / "habitats" / (habitat or self.name), {"config.yaml": _CONFIG.format(**words)})
        write(self.context, {"Dockerfile": _DOCKERFILE.format(**words)})


class Repository:
    """A git repository that containers can clone, in a folder that this process serves."""

    def __init__(self, folder: Path, address: str) -> None:
        self._folder = folder
        self._git("init", "--quiet", "--initial-branch=main")
        self._git(*_AUTHOR, "commit", "--quiet", "--allow-empty", "--message=First")
        handler = partial(_Quiet, directory=str(folder))
        server = ThreadingHTTPServer((address, 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.url = f"http://{address}:{server.server_port}/.git"
        self._git("update-server-info")

    def branch(self, name: str) -> None:
        """Create a branch with one commit."""
        self._git("checkout", "--quiet", "-b", name)
        self._git(*_AUTHOR, "commit", "--quiet", "--allow-empty", f"--message={name}")
        self._git("update-server-info")

    def _git(self, *words: str) -> None:
        self._folder.mkdir(exist_ok=True)
        subprocess.run(["git", *words], cwd=self._folder, check=True)


_AUTHOR = ("-c", "user.name=bench", "-c", "user.email=bench@example.org")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""
