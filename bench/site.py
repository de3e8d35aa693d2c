"""Where the sides work: a project of its own for ours, a folder each for the others, an engine for all."""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from bench.measure import command
from phases.core.build import cache_volumes
from phases.core.engine import select
from phases.core.engine.docker_api import buildkit_cli
from phases.core.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

ROOT = Path(__file__).resolve().parents[1]

#: Of all habitats, images and containers of a benchmark.
PREFIX = "habbench"

BASE = "debian:bookworm-slim"

#: What a `docker build` is told, beside what it finds in its environment.
BUILDKIT = {"DOCKER_BUILDKIT": "1"}

#: What a habitat is told that builds all of its own, and one that may take over another's snapshots.
ALONE, SHARING = {"HABITATS_SHARING": "off"}, {"HABITATS_SHARING": "on"}


class Site:
    """In `folder`. Raises RuntimeError where a tool is missing that a side needs."""

    def __init__(self, folder: Path) -> None:
        # The rows are about what a build costs: none is to be quicker since another one's habitat is alike.
        os.environ.update(ALONE)
        self.folder = folder
        self.project = folder / "project"
        for name in ("habitats", "shared", ".stamps"):
            (self.project / name).mkdir(parents=True)
        for name in ("dodo.py", "pyproject.toml"):
            shutil.copy(ROOT / name, self.project / name)
        self.engine = select.connect()
        # Those that there are may be other habitats' as well.
        self._caches = {volume.name for volume in self.engine.volumes(label=cache_volumes.LABEL_CACHES)}
        found = buildkit_cli.find()
        if not found or not found.buildkit:
            raise RuntimeError("no docker command on the PATH builds with BuildKit: install docker-buildx")
        self.docker = found.program

    # Ours

    def habitat(self, name: str, config: str, files: Mapping[str, str]) -> str:
        """A habitat's folder. Returns its name."""
        name = f"{PREFIX}-{name}"
        write(self.project / "habitats" / name, {"config.yaml": config, **files})
        return name

    def doit(self, *words: str) -> list[str]:
        return [str(Path(sys.executable).with_name("doit")), *words]

    def forget(self, name: str) -> None:
        """Nothing of a habitat is built any more."""
        subprocess.run(self.doit("clean", f"base:{name}"), cwd=self.project, check=True, capture_output=True)

    # The others

    def context(self, name: str, dockerfile: str, files: Mapping[str, str] = MappingProxyType({})) -> Path:
        """A folder with a Dockerfile and what it copies."""
        folder = self.folder / "contexts" / f"{PREFIX}-{name}"  # which the devcontainer CLI names its image after
        write(folder, {"Dockerfile": dockerfile, **files})
        return folder

    def build(self, name: str, folder: Path, *flags: str) -> list[str]:
        """BuildKit's command, which needs the environment BUILDKIT. Its label tells whose an image is that has lost
        its tag to the next.
        """
        return [self.docker, "build", "--quiet", *flags, "--label", PREFIX, "--tag", f"{PREFIX}-{name}", str(folder)]

    def devcontainer(self) -> str | None:
        """The devcontainer CLI, installed from npm; None where that can't be had."""
        program = self.folder / "npm" / "node_modules" / ".bin" / "devcontainer"
        if not program.exists():
            install = ["npm", "install", "--silent", "--prefix", str(self.folder / "npm"), "@devcontainers/cli"]
            with contextlib.suppress(OSError):
                subprocess.run(install, check=False, capture_output=True)
        return str(program) if program.exists() else None

    # What both build on, and what becomes of it

    def image_with_git(self) -> str:
        """BASE, and git in it."""
        install = "apt-get update && apt-get install -y --no-install-recommends git"
        folder = self.context("git", f"FROM {BASE}\nRUN {install}\n")
        command(self.build("git", folder), folder, BUILDKIT)
        return f"{PREFIX}-git"

    def gateway(self) -> str:
        """The address at which containers reach this machine."""
        form = "{{(index .IPAM.Config 0).Gateway}} {{(index .IPAM.Config 0).Subnet}}"
        *told, subnet = self._ask("network", "inspect", "bridge", "--format", form).split()
        # A daemon that has made the network itself tells only once it was started again: it is the first address.
        return told[0] if told else str(ipaddress.ip_network(subnet)[1])

    def tags(self, repository: str) -> list[str]:
        return self._ask("image", "ls", "--format", "{{.Tag}}", repository).split()

    def layers_size(self, images: Iterable[str], base: str) -> int:
        """The bytes of all layers of `images`, each counted once, but for those of `base`."""
        sizes = {layer: size for image in images for layer, size in self._layers(image)}
        beneath = {layer for layer, _ in self._layers(base)}
        return sum(size for layer, size in sizes.items() if layer not in beneath)

    def _layers(self, image: str) -> Iterator[tuple[str, int]]:
        """Each layer, known by all that led to it, and its size."""
        form = "{{.CreatedAt}} {{.CreatedBy}}\t{{.Size}}"
        rows = self._ask("history", "--no-trunc", "--human=false", "--format", form, image).splitlines()
        lineage = hashlib.sha256()
        for row in reversed(rows):
            text, _, size = row.rpartition("\t")
            lineage.update(text.encode())
            yield lineage.hexdigest(), int(size)

    def _ask(self, *words: str) -> str:
        return subprocess.run([self.docker, *words], check=True, capture_output=True, text=True).stdout.strip()

    # The end

    def clear(self) -> None:
        """Remove what the sides made on the engine, which has our prefix."""
        for container in self.engine.containers():
            theirs = f"/{PREFIX}-" in container.labels.get("devcontainer.local_folder", "")
            if theirs or container.name.startswith((f"habitat-{PREFIX}", f"habitat_build_{PREFIX}", PREFIX)):
                self.engine.remove(container.id)
        for image in self.engine.images():
            for tag in image.tags:
                if tag.startswith((f"habitat-{PREFIX}", f"vsc-{PREFIX}", PREFIX)):
                    self.engine.untag(tag)
            if not image.tags and PREFIX in image.labels:
                self.engine.remove_image(image.id)
        for folder in (self.project / ".stamps").iterdir():
            for volume in cache_volumes.recorded(folder) - self._caches:
                with contextlib.suppress(Conflict):
                    self.engine.remove_volume(volume)


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip())
        path.chmod(0o755 if text.startswith("#!") else 0o644)
