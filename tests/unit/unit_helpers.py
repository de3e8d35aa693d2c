"""Projects in a folder, for tests that need no doit."""

from __future__ import annotations

import contextlib
import copy
import json
import re
import shutil
import socket
import tempfile
import textwrap
import threading
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from fake_engine import FakeEngine

from phases.core import events
from phases.core.build.builder import Builder
from phases.core.cache.stamps import task_name
from phases.core.config import loader
from phases.core.engine.types import Image
from phases.core.errors import HabitatError
from phases.core.origin import Origin
from phases.core.project import Project
from phases.core.runtime.container import ensure_running, final_image
from phases.p02_users import CREATE_USER
from phases.registry import NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fake_engine import Command

    from phases.core.engine.protocol import Exec, Piped
    from phases.core.engine.types import Container
    from phases.core.masking import Mask
    from phases.core.model import Habitat
    from phases.protocol import Phase

#: A place that no test looks at.
SOMEWHERE = Origin("local", "habitats/demo/config.yaml", 1)


def write(root: Path, path: str, text: str = "", mode: int = 0o644) -> Path:
    """A file below `root`; an indented text is dedented."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(textwrap.dedent(text))
    file.chmod(mode)
    return file


def load(root: Path, text: str | None = None, name: str = "demo") -> Habitat:
    """The habitat `name` of the project at `root`. text: of its config.yaml, where it isn't written yet."""
    if text is not None:
        write(root, f"habitats/{name}/config.yaml", text)
    return loader.load(root, name, NAMES)


def make_user(command: Command) -> tuple[int, str] | None:
    """For FakeEngine.on_execute: what phase 2's script does."""
    if command.script != CREATE_USER.text:
        return None
    (name,) = command.args
    files = command.container.files
    passwd = files.nodes["/etc/passwd"].content.decode()
    files.write("/etc/passwd", f"{passwd}{name}:x:1000:1000::/home/{name}:/bin/sh\n")
    return 0, ""


class DemoProject:
    """A project on a fake engine that has `base:1`, with one habitat `demo`."""

    def __init__(self, root: Path, text: str = "base_image: base:1\n") -> None:
        self.root = root
        write(root, "habitats/demo/config.yaml", text)
        self.engine = FakeEngine()
        self.engine.on_execute = make_user
        self.base = self.engine.add_image("base:1", command=("serve",))
        self.builder = Builder(Project(root, lambda: self.engine))
        self.run_anew()

    @property
    def project(self) -> Project:
        """The project that `builder` builds."""
        return self.builder.project

    def run_anew(self) -> Project:
        """Return the project as the next `doit` sees it: the same folder and engine, nothing in memory."""
        self.builder.close()
        self.builder = Builder(Project(self.root, lambda: self.engine))
        self.seen: list[events.Event] = []
        self.project.bus.subscribe(self.seen.append)
        return self.project

    def build(self, until: str = "final") -> list[str]:
        """Run what is stale, as doit would, stamps included. Returns the phases that ran."""
        project = self.run_anew()
        phases = project.phases("demo")
        last = next(index for index, phase in enumerate(phases) if until == phase.NAME)
        try:
            ran = [phase.NAME for phase in phases[: last + 1] if self._ran(phase)]
        except HabitatError:
            self.builder.close()
            raise
        self.builder.close()
        return ran

    def _ran(self, phase: Phase) -> bool:
        if phase.NAME not in self.project.assess("demo").stale:
            return False
        values = self.builder.build("demo", phase).values()
        self.project.stamps.write(task_name(phase, "demo"), {"_values_:": values})
        return True

    def copy_to(self, root: Path) -> Self:
        """The same project in another folder, on an engine of its own."""
        shutil.copytree(self.root, root, symlinks=True, dirs_exist_ok=True)
        other = copy.copy(self)
        other.root = root
        other.engine, seen = copy.deepcopy((self.engine, self.seen))
        other.engine.address = f"fake://{uuid.uuid4()}"
        other.builder = Builder(Project(root, lambda: other.engine))
        other.run_anew()
        other.seen += seen
        return other

    def container(self) -> Container:
        """The habitat's container, which must exist."""
        container = self.engine.container("habitat-demo")
        assert container is not None
        return container

    def notices(self) -> list[str]:
        return [event.text for event in self.seen if isinstance(event, events.Notice)]

    def lines(self) -> list[str]:
        """The lines that a person asked for."""
        texts = []
        for event in self.seen:
            if isinstance(event, events.Line):
                texts.append(event.text)
            elif isinstance(event, events.LineBlock):
                texts += event.lines
        return texts

    def phases_with_new_container(self) -> list[str]:
        """The phases that a container was created for."""
        return [call[2].rpartition("_")[2] for call in self.engine.called("create")]


#: Built projects by the text of their config. A build takes most of a test's time, so tests get copies.
_BUILT: dict[str, DemoProject] = {}


def built_demo(root: Path, text: str = "") -> DemoProject:
    """A built habitat `demo` on `base:1`. text: the rest of its config.yaml."""
    text = f"base_image: base:1\n{text}"
    if "secrets:" in text or any(root.iterdir()):  # the build depends on more than the text
        demo = DemoProject(root, text)
        demo.build()
        return demo
    if text not in _BUILT:
        _BUILT[text] = DemoProject(Path(tempfile.mkdtemp(dir=root.parent)), text)
        _BUILT[text].build()
    return _BUILT[text].copy_to(root)


def bring_up(project: Project, habitat: Habitat, *, fresh: bool = False) -> tuple[Container, bool]:
    """The container of what is built, for `open_session`."""
    return ensure_running(project, habitat, image=final_image(project, habitat.name), fresh=fresh)


class FakeTerminal:
    """Keeps what is printed; a person in front of it types `typed`. shown: whether both outputs are terminals."""

    def __init__(
        self, *, interactive: bool = False, piped: bool = False, typed: bytes = b"exit 0\n", shown: bool = False
    ) -> None:
        self.shown = shown
        self.interactive = interactive
        self.piped = piped
        self.typed = typed
        self.printed: list[tuple[bytes, bool]] = []
        self.size = (24, 80)

    def write(self, data: bytes, is_err: bool) -> None:
        self.printed.append((data, is_err))

    def shows(self, is_err: bool) -> bool:
        return self.shown

    def connect(self, process: Piped, show: Callable[[bytes, bool], None]) -> None:
        typed = self.typed
        while typed:
            typed = typed[process.write(typed) :]
        process.end_input()
        while (chunks := process.read()) is not None:
            for data, is_err in chunks:
                show(data, is_err)

    def hand_over(self, process: Exec, mask: Mask) -> None:
        process.write(self.typed)
        while (data := process.read()) is not None:
            self.printed.append((mask.feed(data), False))


ROWS = [
    {"Id": "sha256:1", "RepoTags": ["habitat-x:final", "habitat-x:12-final"], "Labels": {"habitat.name": "x"}},
    {"Id": "sha256:2", "RepoTags": ["<none>:<none>"], "Labels": None},
    {"Id": "sha256:3", "RepoTags": None},
]
IMAGES = [
    Image("sha256:1", ("habitat-x:final", "habitat-x:12-final"), {"habitat.name": "x"}),
    Image("sha256:2", (), {}),
    Image("sha256:3", (), {}),
]


def http(body: bytes, status: str = "200 OK", length: int | None = None) -> bytes:
    """An engine's answer."""
    expected = "" if length is None else f"Content-Length: {length}\r\n"
    return f"HTTP/1.0 {status}\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\n{expected}\r\n".encode() + body


LISTED = http(json.dumps(ROWS).encode())


def _small_request(line: socket.socket) -> bytes:
    """Return a request with its body, without the body if that is large."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += line.recv(65536)
    length = re.search(rb"(?i)content-length: (\d+)", data)
    if length and int(length[1]) < 10_000:
        while len(data.partition(b"\r\n\r\n")[2]) < int(length[1]):
            data += line.recv(65536)
    return data


@contextmanager
def answering(path: Path, *answer: bytes, when: threading.Event | None = None) -> Iterator[list[bytes]]:
    """An engine on a socket that gives a request that answer, all at once or in pieces, and once `when` is set. Yields
    what it was asked.
    """
    asked: list[bytes] = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    listener.settimeout(20)  # a test that fails before it asks anything is to end

    def serve() -> None:
        line, _ = listener.accept()
        with line:
            asked.append(_small_request(line))
            if when:
                when.wait()
            for number, piece in enumerate(answer):
                time.sleep(0.01 if number else 0)
                with contextlib.suppress(BrokenPipeError):
                    line.sendall(piece)
        listener.close()  # a second request is refused at once, and not left waiting

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield asked
    finally:
        thread.join()
        listener.close()
