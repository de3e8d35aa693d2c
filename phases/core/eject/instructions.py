"""The instructions of a Dockerfile so far, and the USER and WORKDIR that they leave."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from phases.core.eject import mounts
from phases.core.eject.context import BuildContext
from phases.core.eject.mounts import MOUNT_FOLDER
from phases.core.eject.quoting import exec_form, quote_word
from phases.protocol import slug

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from phases.core.model import Habitat
    from phases.protocol import Phase

#: The folder of the context with this program's own scripts.
SCRIPTS = "scripts"

#: Where a command finds them.
SCRIPT_FOLDER = f"{MOUNT_FOLDER}/{SCRIPTS}"

#: Makes them visible to a command.
SCRIPTS_MOUNT = mounts.context_mount(SCRIPTS, SCRIPT_FOLDER)


class Instructions:
    """Collects the lines of a Dockerfile, and the files that they need.

    Attributes:
        lines: The lines so far.
        stage: The name of the current stage.
        phase: The phase that the lines are written for.
    """

    def __init__(self, habitat: Habitat, stage: str, phase: Phase) -> None:
        self.habitat = habitat
        self.context = BuildContext()
        self.lines: list[str] = []
        self.stage = stage
        self.phase = phase
        self._names = 0
        # None is what the base image has.
        self._user: str | None = None
        self._workdir: str | None = None
        self._wanted_workdir: str | None = None

    def begin_phase(self, phase: Phase) -> None:
        """Write for another phase from now on."""
        self.phase, self._names = phase, 0

    def begin_stage(self, name: str) -> None:
        """Begin another stage that continues the current one."""
        self.lines += ["", f"FROM {self.stage} AS {name}"]
        self.stage = name

    def new_name(self) -> str:
        """Return a name that nothing else of the phase has in the context."""
        self._names += 1
        return f"{slug(self.phase)}-{self._names}"

    def run(self, flags: Sequence[str], words: Sequence[str]) -> None:
        """Add a RUN in exec form."""
        self.lines.append("RUN " + " \\\n    ".join([*flags, exec_form(words)]))

    def run_script(self, name: str, *words: str, dests: Sequence[str], flags: Iterable[str] = ()) -> None:
        """Add a RUN of one of this program's own scripts, as root.

        Args:
            name: The script.
            words: Its arguments.
            dests: The paths that it reads or writes, which may be in a volume.
            flags: Further flags of the RUN.
        """
        self.set_user("root")
        volumes = mounts.volumes(self.habitat, self.phase, dests)
        self.run([SCRIPTS_MOUNT, *flags, *volumes], (f"{SCRIPT_FOLDER}/{name}", *words))

    def set_user(self, user: str) -> None:
        """Add a USER, unless the next command has it already."""
        if self._user != user:
            self.lines.append(f"USER {user}")
            self._user = user

    def set_workdir(self, path: str) -> None:
        """Set the folder that `write_workdir` writes."""
        self._wanted_workdir = path

    def write_workdir(self) -> None:
        """Add a WORKDIR where one is due. It makes a missing folder as root, so it has to come after the phase's."""
        if self._wanted_workdir is not None and self._workdir != self._wanted_workdir:
            env = self.habitat.env
            origin = env.origin("WORKDIR") if "WORKDIR" in env.values else self.habitat.base_origin
            self.lines.append(f"WORKDIR {quote_word(self._wanted_workdir, origin)}")
            self._workdir = self._wanted_workdir

    @contextmanager
    def side_stage(self) -> Iterator[None]:
        """Forget the USER and WORKDIR of the lines that are added meanwhile: no later stage builds on them."""
        before = self._user, self._workdir
        yield
        self._user, self._workdir = before
