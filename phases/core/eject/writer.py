"""Write a habitat's phases as a Dockerfile."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from phases.core import copied_files
from phases.core.eject import own_dockerfile
from phases.core.eject.context import ARCHIVE, COMMANDS, FILES
from phases.core.eject.instructions import SCRIPTS, Instructions
from phases.core.eject.mounts import CONTEXT
from phases.core.eject.quoting import comment, fold
from phases.core.eject.steps import StepWriter
from phases.protocol import FromDockerfile, RequirePaths, StartInit
from phases.registry import habitat_phases

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from phases.core.eject.context import BuildContext
    from phases.core.model import Habitat
    from phases.protocol import Phase, Step

#: The stage that the next two build on; the stage of the tests; and the last one, which is the image.
BUILT, TESTED, FINAL = "habitat", "test", "final"

#: Begins the stage with the context. `_context_copies` adds to it.
CONTEXT_STAGE = (f"FROM scratch AS {CONTEXT}", f"COPY --chmod=755 {SCRIPTS} /{SCRIPTS}")


@dataclass(frozen=True)
class EjectedBuild:
    """A Dockerfile with its context.

    Attributes:
        dockerfile: Its text.
        own_folder: The folder with a Dockerfile of the habitat's own that has to be built before, "" for none.
        needs_newline: Whether the build needs a line break as an argument.
        stages: Those that a person may want to build.
    """

    dockerfile: str
    context: BuildContext
    own_folder: str
    needs_newline: bool
    stages: tuple[str, ...]


def write_dockerfile(habitat: Habitat, base_env: Mapping[str, str] | None = None) -> EjectedBuild:
    """Write a habitat as a Dockerfile.

    Args:
        habitat: The habitat.
        base_env: The environment of its base image, None if it is not known.

    Raises:
        ConfigError: No Dockerfile can express a part of it.
    """
    return _DockerfileWriter(habitat, base_env or {}).write()


def before_init(steps: Sequence[Step]) -> Iterator[Step]:
    """Return the steps that need no init command as main process, which no RUN has."""
    return takewhile(lambda step: not isinstance(step, StartInit), steps)


class _DockerfileWriter:
    """Writes the stages of one habitat, from the first to the last."""

    def __init__(self, habitat: Habitat, base_env: Mapping[str, str]) -> None:
        self._habitat = habitat
        self._out = Instructions(habitat, BUILT, habitat_phases(habitat)[0])
        self._steps = StepWriter(self._out, BUILT, base_env)
        self._own_folder = ""

    def write(self) -> EjectedBuild:
        self._out.lines += self._first_stages()
        test_steps: list[tuple[Phase, list[Step]]] = []
        for phase in habitat_phases(self._habitat):
            steps = [step for step in phase.plan(self._habitat) if not isinstance(step, FromDockerfile)]
            if not phase.SNAPSHOT:
                # The image has nothing of what hooks and tests write there. Checks of paths can fail the build.
                self._phase(phase, [step for step in steps if isinstance(step, RequirePaths)])
                test_steps.append((phase, [step for step in before_init(steps) if not isinstance(step, RequirePaths)]))
                continue
            if phase.NAME == "final":
                self._test_stage(test_steps)
            if phase.NAME == "setup" and self._habitat.caches:
                self._cache_stage(phase)
            self._phase(phase, steps, *(self._final_stage() if phase.NAME == "final" else []))
        self._out.write_workdir()
        self._out.set_user(self._habitat.user)
        at = self._out.lines.index(CONTEXT_STAGE[-1]) + 1
        self._out.lines[at:at] = self._context_copies()
        text = "\n".join(fold(line) for line in self._out.lines) + "\n"
        stages = (*((TESTED,) if any(steps for _, steps in test_steps) else ()), FINAL)
        return EjectedBuild(text, self._out.context, self._own_folder, self._steps.needs_newline, stages)

    def _final_stage(self) -> list[str]:
        """Return the first lines of the last stage. No habitat runs the health check of its base image."""
        return [f"FROM {self._out.stage} AS {FINAL}", "HEALTHCHECK NONE"]

    def _first_stages(self) -> list[str]:
        """Return the lines before phase 1: the context, and the habitat's own Dockerfile."""
        if not self._habitat.has_dockerfile:
            return ["", *CONTEXT_STAGE]
        merged = own_dockerfile.stages(self._habitat, CONTEXT_STAGE)
        context = copied_files.dockerfile_context(self._habitat)
        items = own_dockerfile.items_with_dockerfile(context) if merged is None else context.items
        files = (item for item in items if item.path)
        self._out.context.add_folder(own_dockerfile.FOLDER, files, can_archive=merged is not None)
        if merged is not None:
            return ["", *merged, "", f"FROM {own_dockerfile.STAGE} AS {BUILT}"]
        self._own_folder = own_dockerfile.FOLDER
        title = comment(f"{self._own_folder}/{self._habitat.dockerfile}, built before this one")
        return ["", *CONTEXT_STAGE, "", title, f"FROM {own_dockerfile.image(self._habitat)} AS {BUILT}"]

    def _context_copies(self) -> list[str]:
        """Return a COPY for each folder that the context has; COPY fails for a missing one."""
        tops = {file.path.partition("/")[0] for file in self._out.context.files} - {self._own_folder}
        rows = [f"COPY --chmod=755 {COMMANDS} /{COMMANDS}"] if COMMANDS in tops else []
        rows += [f"COPY {top} /{top}" for top in (FILES, own_dockerfile.FOLDER) if top in tops]
        return rows + ([f"ADD {ARCHIVE} /"] if self._out.context.archived else [])

    def _phase(self, phase: Phase, steps: Sequence[Step], *first_lines: str) -> None:
        if steps:
            self._out.begin_phase(phase)
            self._out.lines += ["", comment(f"Phase {phase.ID}, {phase.NAME}: {phase.DESCRIPTION}"), *first_lines]
            self._steps.write_all(steps)

    def _cache_stage(self, phase: Phase) -> None:
        """Make the folders that caches are mounted on, and begin another stage.

        A mount copies a new cache's first content, owner and mode from a stage other than its own.
        """
        habitat, out = self._habitat, self._out
        out.phase = phase
        out.lines += ["", "# The folders that caches are mounted on"]
        paths = (f"{cache.path}/" for cache in habitat.caches)
        out.run_script("mountpoint", habitat.user, habitat.workdir, *paths, dests=())
        self._steps.cache_stage = out.stage
        out.begin_stage(f"{BUILT}-caches")

    def _test_stage(self, phases: Sequence[tuple[Phase, Sequence[Step]]]) -> None:
        """Write the tests as a stage that no other builds on, so it is built only on request."""
        with self._out.side_stage():
            first_lines = [
                f"# docker build --target {TESTED} runs these; the image has nothing of them",
                f"FROM {self._out.stage} AS {TESTED}",
            ]
            for phase, steps in phases:
                if steps:
                    self._phase(phase, steps, *first_lines)
                    first_lines = []
