"""A Docker engine for tests that break it: a dockerd of its own, far from the machine's.

It lives in namespaces of its own (network, mounts, processes): a dockerd without a bridge would take
the machine's docker0 away, and when the first process of the namespaces ends, the kernel ends
everything in them, containers and their shims included, and takes every mount.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from conftest import PREFIX, wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

# The first process of the namespaces reaps what is orphaned in them.
_FIRST = "while :; do sleep 86400 & wait $!; done"
_SPACES = ("--net", "--mount", "--pid")

# Ends a command when the tests end, however they do.
_WITH_US = ("setpriv", "--pdeathsig", "KILL")


class PrivateEngine:
    """Use it in a `with`. size: of the disk it has to itself, as for tmpfs; "" for a folder. bridge: for
    what needs a network, as BuildKit does; it is seen in the namespace only; options: of its dockerd.
    """

    def __init__(self, size: str = "", *, bridge: bool = False, options: Sequence[str] = ()) -> None:
        self._network = () if bridge else ("--bridge", "none")
        self._options = options
        self._folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}-engine-"))  # short: a socket's path has an end
        self._socket = self._folder / "docker.sock"
        self.host = f"unix://{self._socket}"
        self._data = self._folder / "data"
        self._data.mkdir()
        argv = (*_WITH_US, "unshare", *_SPACES, "--fork", "--mount-proc", "--kill-child", "sh", "-c", _FIRST)
        self._spaces = subprocess.Popen(argv, start_new_session=True)
        self._dockerd: subprocess.Popen[bytes] | None = None
        try:
            wait_until(lambda: self._children(self._spaces))
            self._first = self._children(self._spaces)[0]
            wait_until(lambda: Path(f"/proc/{self._first}/comm").read_text() == "sh\n")
            if size:
                self._inside("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(self._data))
            self.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._spaces.kill()
        self._spaces.wait()
        if self._dockerd:
            self._dockerd.wait()
        for folder in (Path("/sys/fs/cgroup").glob(pattern) for pattern in (self._cgroup, f"*/{self._cgroup}")):
            for path in folder:
                _remove_cgroup(path)
        shutil.rmtree(self._folder)

    @property
    def _cgroup(self) -> str:
        return self._folder.name

    @property
    def env(self) -> dict[str, str]:
        """What points a command at it."""
        return {"DOCKER_HOST": self.host}

    @property
    def data(self) -> Path:
        """Its disk, as seen from here."""
        return Path(f"/proc/{self._first}/root{self._data}")

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text()

    # Its life

    def start(self) -> None:
        """Start its dockerd, and wait until it answers."""
        with (self._folder / "log").open("a") as log:
            self._dockerd = subprocess.Popen(
                self._entering(*self._argv), stdout=log, stderr=log, env={**os.environ, "DOCKER_HOST": ""}
            )
        try:
            wait_until(self._answers, 30)
        except AssertionError as error:
            raise AssertionError(f"the private engine does not answer:\n{self.log[-2000:]}") from error

    @property
    def _argv(self) -> tuple[str, ...]:
        return (
            "dockerd",
            *self._listening,
            *("--data-root", str(self._data)),
            *("--exec-root", str(self._folder / "exec")),
            *("--pidfile", str(self._folder / "pid")),
            *("--cgroup-parent", f"/{self._cgroup}"),
            *(*self._network, "--iptables=false", "--ip6tables=false"),
            *self._options,
        )

    @property
    def _listening(self) -> tuple[str, ...]:
        return ("--host", self.host)

    @property
    def runs(self) -> bool:
        return self._dockerd is not None and self._dockerd.poll() is None

    def _answers(self) -> bool:
        assert self.runs, self.log[-2000:]
        argv = ("docker", "--host", self.host, "version")
        return self._socket.exists() and subprocess.run(argv, capture_output=True, check=False).returncode == 0

    def kill(self) -> None:
        """As a crash, or the kernel when memory is short. What it kept running runs on."""
        self._end(signal.SIGKILL)
        # A dockerd takes any process that has a number left in these files for one of its own.
        (self._folder / "pid").unlink(missing_ok=True)
        (self._folder / "exec/containerd/containerd.pid").unlink(missing_ok=True)

    def terminate(self) -> None:
        """As `systemctl stop docker`."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        assert self._dockerd
        (pid,) = self._children(self._dockerd)
        containerd = self._children_of(pid)
        os.kill(pid, number)
        self._dockerd.wait(30)
        wait_until(lambda: not any(Path(f"/proc/{child}").exists() for child in containerd), 30)

    # What tests do to it, and ask of it

    def docker(self, *argv: str) -> str:
        """What a docker command that has to succeed prints."""
        result = subprocess.run(("docker", "--host", self.host, *argv), capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"docker {' '.join(argv)}: {result.stderr}"
        return result.stdout.strip()

    def import_image(self, reference: str) -> None:
        """Copy an image of the machine's engine."""
        with subprocess.Popen(("docker", "save", reference), stdout=subprocess.PIPE) as save:
            subprocess.run(("docker", "--host", self.host, "load"), stdin=save.stdout, check=True, capture_output=True)

    # Namespaces

    def _entering(self, *argv: str) -> tuple[str, ...]:
        return ("nsenter", "--target", str(self._first), *_SPACES, *argv)

    def _inside(self, *argv: str) -> None:
        subprocess.run(self._entering(*argv), check=True)

    @staticmethod
    def _children_of(pid: int) -> list[int]:
        with contextlib.suppress(FileNotFoundError):
            return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return []

    def _children(self, process: subprocess.Popen[bytes]) -> list[int]:
        return self._children_of(process.pid)


def _remove_cgroup(path: Path) -> None:
    """A control group and those below it, once the kernel has seen that nothing is in them."""
    for folder in (*sorted(path.rglob("*/"), reverse=True), path):

        def removed(folder: Path = folder) -> bool:
            with contextlib.suppress(OSError):
                folder.rmdir()
            return not folder.exists()

        wait_until(removed, 10)
