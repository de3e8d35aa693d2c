"""A registry of images on this machine, which gives them to one person only: Debian's docker-registry."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from typing import TYPE_CHECKING, Self

from conftest import docker, inspect, wait_until

if TYPE_CHECKING:
    from pathlib import Path

_LOGIN, _PASSWORD = "ada", "s3cret"

# As `htpasswd -B` writes it.
_HTPASSWD = f"{_LOGIN}:$2b$05$abcdefghijklmnopqrstuuLK7U1u6pVRmL7L1BBM2aS35PSZnDXlK\n"

_CONFIG = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}/data}}}}
http: {{addr: 127.0.0.1:0}}
auth: {{htpasswd: {{realm: tests, path: {folder}/htpasswd}}}}
"""


class Registry:
    """Use it in a `with`. folder: an empty one. host: as a reference to an image begins."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = folder / "log"
        (folder / "htpasswd").write_text(_HTPASSWD)
        (folder / "config.yml").write_text(_CONFIG.format(folder=folder))
        with self._log.open("wb") as log:
            argv = ("docker-registry", "serve", str(folder / "config.yml"))
            self._process = subprocess.Popen(argv, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_until(lambda: self._process.poll() is not None or self._listens())
            actual = self._listens()
            assert actual, self._log.read_text()
        except BaseException:
            self.close()
            raise
        self.host = actual[1]

    def _listens(self) -> re.Match[str] | None:
        return re.search(r"listening on (127\.0\.0\.1:\d+)", self._log.read_text())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def login(self) -> dict[str, str]:
        """An environment in which docker, and whoever asks what docker would, is who may pull."""
        auth = base64.b64encode(f"{_LOGIN}:{_PASSWORD}".encode()).decode()
        folder = self._folder / "login"
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps({"auths": {self.host: {"auth": auth}}}))
        return {"DOCKER_CONFIG": str(folder)}

    def take(self, reference: str) -> str:
        """Take an image over from the engine, where it is called as it will be here. Returns its name by digest."""
        docker("--config", self.login["DOCKER_CONFIG"], "push", "--quiet", reference)
        (digest,) = inspect(reference)["RepoDigests"]
        self.clear()
        return str(digest)

    def lose_layers(self) -> None:
        """From now on it says what images it has, and can give none of them."""
        for data in (self._folder / "data/docker/registry/v2/blobs").glob("*/*/*/data"):
            if data.read_bytes().startswith(b"\x1f\x8b"):  # a layer, compressed
                data.unlink()

    def clear(self) -> None:
        """Remove what came from here to the engine."""
        form = "{{.Repository}}:{{.Tag}} {{.Repository}}@{{.Digest}}"
        for row in docker("image", "ls", "--digests", "--format", form, f"{self.host}/*/*").splitlines():
            tag, digest = row.split()
            docker("image", "rm", digest if tag.endswith(":<none>") else tag)
