"""Shared by all tests: projects in temporary folders, and a guard before the real engine."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import measurements
import pytest

from phases.core.engine import lock_volumes, select
from phases.registry import NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from phases.core.engine.docker_api.client import DockerEngine

ROOT = Path(__file__).resolve().parent.parent

#: All that tests make on an engine carries this, and only what carries it is removed.
PREFIX = "habtest"

# Tests of all else count what is built, of configs that are alike.
os.environ["HABITATS_SHARING"] = "off"

# No test reads the personal config of the person who runs it.
os.environ["XDG_CONFIG_HOME"] = "/nonexistent"

# Nor that person's name in git.
os.environ["GIT_CONFIG_GLOBAL"] = "/dev/null"
os.environ["GIT_CONFIG_NOSYSTEM"] = "1"

# Tests of all else have nobody to ask whether a secret's command may run.
os.environ["HABITATS_TRUST"] = "all"

# What a shell runs in the background ignores Ctrl-C, and so would every doit that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

DEBIAN = "debian:bookworm-slim"
#: One for each session: two at once would take each other's away.
BUSYBOX = f"{PREFIX}-busybox:{os.getpid()}"


def pytest_configure() -> None:
    """Let other users reach a checkout below the temporary folder: some tests run as another user.

    `mktemp -d` makes a folder that its owner alone can enter.
    """
    temporary = Path(tempfile.gettempdir()).resolve()
    for folder in ROOT.parents:
        if temporary in folder.parents and folder.owner() == ROOT.owner():
            folder.chmod(folder.stat().st_mode | 0o011)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Fast ones first. In one of several processes: the files that take long first, so that all end together."""
    shared = hasattr(config, "workerinput")
    sizes = Counter(item.path for item in items)

    def place(item: pytest.Item) -> tuple[bool, int]:
        is_slow = item.get_closest_marker("engine") is not None
        return is_slow != shared, -sizes[item.path] if shared else 0

    items.sort(key=place)


@pytest.fixture(autouse=True)
def _no_litter(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is only for a while, and what a test that lets nothing go leaves, is with what pytest removes."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.getbasetemp()))


@pytest.fixture(autouse=True)
def _no_engine_by_accident(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.node.get_closest_marker("engine"):

        def refuse() -> None:
            raise AssertionError("a test that is not marked `engine` asked for the real one")

        monkeypatch.setattr(select, "connect", refuse)
        monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")


@pytest.fixture(scope="session")
def summary() -> list[str]:
    """Lines that are printed when all tests have run."""
    return measurements.LINES


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In one of several processes that share the tests: send the figures to the one that prints."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["figures"] = measurements.gathered()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    if messages := getattr(node, "workeroutput", {}).get("figures"):
        measurements.add(messages)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for title, rows in measurements.sections():
        terminalreporter.section(title)
        for row in rows:
            terminalreporter.line(row)


@dataclass
class CommandResult:
    """A command that ended. out: stdout and stderr together, as a person sees them."""

    code: int
    out: str

    def __contains__(self, text: str) -> bool:
        return text in self.out

    @property
    def ran(self) -> list[str]:
        """The phases that ran, in the order of phases. Those with nothing to do share a line."""
        names = [name for line in self.out.splitlines() for name in phases_of_line(line)]
        return sorted(names, key=NAMES.index)


def phases_of_line(line: str) -> list[str]:
    """The phases that a line of a run reports as done: one, or all that had nothing to do."""
    _, done, text = line.partition("✅ ")
    return re.split(r" \(|: nothing", text)[0].split(", ") if done and line.startswith("[") else []


class Project:
    """A project in a folder of its own, with the program of this checkout."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("dodo.py", "pyproject.toml"):
            shutil.copy(ROOT / name, root / name)
        for name in ("habitats", "shared", ".stamps"):
            (root / name).mkdir(exist_ok=True)

    def write(self, path: str, text: str = "", mode: int = 0o644) -> Path:
        """A file of the project; an indented text is dedented."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
        file.chmod(mode)
        return file

    def habitat(self, name: str, config: str) -> str:
        """habitats/NAME/config.yaml. Returns the name."""
        self.write(f"habitats/{name}/config.yaml", config)
        return name

    def run(self, *argv: str, env: dict[str, str] | None = None, timeout: float = 300) -> CommandResult:
        result = subprocess.run(
            argv,
            cwd=self.root,
            env={**os.environ, "COLUMNS": "200", **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        return CommandResult(result.returncode, result.stdout)

    def doit(self, *args: str, env: dict[str, str] | None = None, timeout: float = 300) -> CommandResult:
        """`doit ARGS`, as a person runs it, without a terminal."""
        return self.run(sys.executable, "-m", "doit", *args, env=env, timeout=timeout)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


# The real engine


@pytest.fixture(scope="session")
def engine() -> DockerEngine:
    """The engine of this machine: script/bootstrap brought one."""
    return select.connect()


@pytest.fixture(scope="session")
def busybox(engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A tiny image with busybox and nothing else: Alpine's tools in two megabytes."""
    root = tmp_path_factory.mktemp("busybox")
    for folder in ("bin", "etc", "tmp", "root"):
        (root / folder).mkdir()
    (root / "tmp").chmod(0o1777)
    shutil.copy("/bin/busybox", root / "bin" / "busybox")
    applets = subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    for applet in applets:
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    (root / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc" / "group").write_text("root:x:0:\n")
    import_image(root, BUSYBOX)
    yield BUSYBOX
    engine.untag(BUSYBOX)


def import_image(root: Path, reference: str, *changes: str) -> None:
    """An image from a folder. changes: Dockerfile instructions."""
    flags = [part for change in changes for part in ("--change", change)]
    with subprocess.Popen(["tar", "-C", str(root), "--numeric-owner", "-c", "."], stdout=subprocess.PIPE) as tar:
        subprocess.run(["docker", "import", *flags, "-", reference], stdin=tar.stdout, check=True, capture_output=True)


@pytest.fixture
def name(engine: DockerEngine) -> Iterator[str]:
    """A habitat's name that nobody else has. What was built of it is gone afterwards."""
    name = f"{PREFIX}-{uuid.uuid4().hex[:8]}"
    yield name
    clear(engine, name)


def clear(engine: DockerEngine, name: str) -> None:
    """Remove the containers, volumes and images of a test's habitat, and of no other."""
    assert name.startswith(PREFIX)
    for container in engine.containers(label=f"habitat.name={name}"):
        engine.remove(container.id)
    for container in [
        *engine.containers(name_prefix=f"habitat_build_{name}"),
        *engine.containers(name_prefix=f"habitat_start_{name}"),
        *engine.containers(name_prefix=f"habitat_shell_{name}"),
        *engine.containers(name_prefix=f"habitat-{name}"),
    ]:
        engine.remove(container.id)
    for volume in engine.volumes(label=f"habitat.name={name}"):
        engine.remove_volume(volume.name)
    clear_locks(engine, name)
    for image in engine.images():
        for tag in image.tags:
            if tag.startswith(f"habitat-{name}:"):
                engine.untag(tag)
    for image in engine.images():
        if not image.tags and image.labels.get("habitat.name") == name:
            engine.remove_image(image.id)


def clear_locks(engine: DockerEngine, name: str) -> None:
    """Those of a test's habitat, and those that any run has left that was killed."""
    for claim in lock_volumes.contenders(engine.volumes(label=lock_volumes.LABEL_LOCK)):
        if claim.key.endswith(f" {name}") or claim.has_ended:
            for volume in claim.names:
                engine.remove_volume(volume)


# For the tests of the whole program on the real engine


def clones_of_one_repository(*folders: Path) -> None:
    """Give each folder a git repository with the same origin. Nothing is fetched."""
    for folder in folders:
        subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
        origin = ["remote", "add", "origin", "https://example.org/habitats-test/clones"]
        subprocess.run(["git", "-C", str(folder), *origin], check=True)


def same_project(first: Path, second: Path) -> None:
    """Give a folder the id of another one, as a copy with its state has it: both are one project."""
    (second / ".stamps").mkdir(exist_ok=True)
    shutil.copy(first / ".stamps" / "_project.json", second / ".stamps")


def fresh_name() -> str:
    """As the `name` fixture gives it, for what lives longer than a test; ends with `clear`."""
    return f"{PREFIX}-{uuid.uuid4().hex[:8]}"


def docker(*argv: str) -> str:
    """What a docker command that has to succeed prints."""
    result = subprocess.run(("docker", *argv), capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"docker {' '.join(argv)}: {result.stderr}"
    return result.stdout.strip()


def gateway() -> str:
    """An address of this machine that is not its own alone: the one that containers know it by."""
    form = "{{(index .IPAM.Config 0).Gateway}} {{(index .IPAM.Config 0).Subnet}}"
    *messages, subnet = docker("network", "inspect", "bridge", "--format", form).split()
    # A daemon that has made the network itself tells only once it was started again: it is the first address.
    return messages[0] if messages else str(ipaddress.ip_network(subnet)[1])


def inspect(image: str) -> dict[str, Any]:
    """An image as the engine describes it: Id, Config, RootFS, …"""
    actual: list[dict[str, Any]] = json.loads(docker("image", "inspect", image))
    return actual[0]


def snapshots(name: str) -> dict[str, str]:
    """What the engine has of a habitat: tag to image id."""
    return {tag: image for tag, image in _tagged(name).items() if not tag.endswith("-failed")}


def failed(name: str) -> dict[str, str]:
    """What is kept of its phases that failed: tag to image id."""
    return {tag: image for tag, image in _tagged(name).items() if tag.endswith("-failed")}


def _tagged(name: str) -> dict[str, str]:
    rows = docker("image", "ls", "--no-trunc", "--format", "{{.Tag}} {{.ID}}", f"habitat-{name}").splitlines()
    return {tag: image for tag, image in (row.split() for row in rows) if tag != "<none>"}


def untagged(name: str) -> list[str]:
    """Images of a habitat without a tag, those that tagged ones rest on apart."""
    label = f"label=habitat.name={name}"
    return docker("image", "ls", "--quiet", "--filter", "dangling=true", "--filter", label).split()


def build_containers(name: str) -> list[str]:
    return docker("container", "ls", "--all", "--quiet", "--filter", f"name=habitat_build_{name}").split()


def left_containers(name: str, seconds: float = 5) -> list[str]:
    """The build containers that stay: a run that is through doesn't wait for the engine to remove its last."""
    actual: list[str] = []

    def are_gone() -> bool:
        actual[:] = build_containers(name)
        return not actual

    with contextlib.suppress(AssertionError):
        wait_until(are_gone, seconds)
    return actual


def wait_until(true: Callable[[], object], seconds: float = 60) -> None:
    asked = time.monotonic()
    deadline = asked + seconds
    while not true():
        now = time.monotonic()
        assert now < deadline, "waited in vain"
        # What starts a process to find out would else take a processor from what it waits for.
        time.sleep(min(max(0.02, 2 * (now - asked)), 0.2))
        asked = time.monotonic()


class RunningDoit:
    """A `doit ARGS` that goes on while the test looks at it. lines: what it has said so far."""

    def __init__(self, project: Project, *args: str, env: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            (sys.executable, "-m", "doit", *args),
            cwd=project.root,
            env={**os.environ, "COLUMNS": "200", **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.end()

    def _read(self) -> None:
        assert self.process.stdout
        with self.process.stdout as stream:
            self.lines.extend(stream)

    @property
    def out(self) -> str:
        return "".join(self.lines)

    def wait_for(self, text: str) -> None:
        """Wait until it has said `text`."""
        wait_until(lambda: text in self.out or self.process.poll() is not None)
        assert text in self.out, self.out

    def settle(self, seconds: float = 3) -> None:
        """Wait until it has ended, or for as long as it takes to be sure that it waits for something."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)

    def end(self, seconds: float = 60) -> CommandResult:
        """Wait for its end."""
        code = self.process.wait(seconds)
        self._reader.join(seconds)
        return CommandResult(code, self.out)


def put_programs(root: Path, *names: str) -> None:
    """This machine's programs, with the libraries they need, in the folder of an image to be."""
    for name in names:
        program = shutil.which(name)
        assert program
        libraries = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        for source in (program, *(word for word in libraries.split() if word.startswith("/"))):
            target = root / (f"usr/bin/{name}" if source == program and "/" not in name else source[1:])
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)


@pytest.fixture(scope="session")
def git_image(engine: DockerEngine, busybox: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The tiny image with this machine's git in it, and with an entrypoint, a command and more of its own."""
    root = tmp_path_factory.mktemp("git")
    put_programs(root, "git", "ssh", "/usr/lib/git-core/git-remote-https")
    (root / "usr/bin/git-upload-pack").symlink_to("git")
    (root / "usr/share/git-core/templates").mkdir(parents=True)
    # The repositories that are cloned belong to whoever runs the tests.
    (root / "etc").mkdir()
    (root / "etc" / "gitconfig").write_text("[safe]\n\tdirectory = *\n")
    reference = f"{PREFIX}-git-{uuid.uuid4().hex[:8]}:1"
    container = docker("container", "create", busybox, "true")
    docker("container", "cp", f"{root}/.", f"{container}:/")
    changes = ('ENTRYPOINT ["/bin/env"]', 'CMD ["true"]', "WORKDIR /tmp", "ENV ORIGIN=image", "LABEL maker=tests")
    docker("container", "commit", *(part for change in changes for part in ("--change", change)), container, reference)
    docker("container", "rm", container)
    yield reference
    engine.untag(reference)
