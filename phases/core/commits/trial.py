"""Runs the checks of a config on commits that are to be taken, in a temporary container.

Its image is the snapshot that phase test starts from, as `final` does. So a test that fails in the image without the
commits prevents nothing.

It has what the habitat itself has, and no more: the network of `entry.network`, or none where that is an allowlist, the
limits of `entry.limits`, secrets that a start gets, and no folder of this machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from phases.core import events
from phases.core.build.failure import TAKE_LOG
from phases.core.entry_settings import BRIDGE
from phases.core.errors import StepError
from phases.core.files.shell_program import ShellProgram
from phases.protocol import Copy, Entry, Run, StartInit
from phases.registry import named

if TYPE_CHECKING:
    from pathlib import Path

    from phases.core.build.builder import Builder
    from phases.core.build.context import PhaseContext
    from phases.core.commits.image_repository import ImageRepository
    from phases.core.commits.merge import Sides
    from phases.core.model import Habitat
    from phases.core.project import Project
    from phases.protocol import Step

_CHECK_OUT = ShellProgram(__file__, "check_out.sh")


def describe(habitat: Habitat) -> str:
    """Return what has been checked, such as `which passed 2 tests and 1 check`."""
    counts = ((len(habitat.tests), "test"), (len(habitat.take_check), "check"))
    parts = [f"{count} {word}{'s' if count > 1 else ''}" for count, word in counts if count]
    return f"which passed {' and '.join(parts)}" if parts else "without a check"


def run(
    project: Project,
    builder: Builder,
    habitat: Habitat,
    repository: ImageRepository,
    pack: Path,
    sides: Sides,
    result: str,
) -> None:
    """Run `take.check` and `tests` on a commit.

    Args:
        project: The project.
        builder: The builder of the run.
        habitat: The habitat.
        repository: The repository in the image.
        pack: What the image lacks of the commit.
        sides: What was merged.
        result: The commit.

    Raises:
        HabitatError: A check failed. The container is kept for `debug`, and the error says so.
    """
    if habitat.volumes:
        text = "the checks run without the folders of volumes:, which could be written to"
        project.bus.emit(events.Notice(habitat.name, text))
    confined = replace(
        habitat,
        volumes=(),
        build=replace(habitat.build, limits=habitat.entry.limits, new_privileges=False),
        secrets=tuple(secret for secret in habitat.secrets if secret.start),
    )
    log = project.state_folder(habitat.name) / TAKE_LOG

    def adapt(context: PhaseContext) -> PhaseContext:
        return replace(context, log=log, network=habitat.entry.network == BRIDGE)

    try:
        builder.try_out(confined, _plan(confined, repository, pack, sides, result), adapt)
    except StepError as error:
        error.remedy = f"{error.remedy}; nothing was written on this machine" if error.remedy else ""
        raise


def _plan(habitat: Habitat, repository: ImageRepository, pack: Path, sides: Sides, result: str) -> list[Step]:
    clone, user = repository.clone, repository.user
    dest = f"{clone.path.rstrip('/')}/.git/habitat-take.pack"
    steps: list[Step] = [
        Copy((Entry(dest, "file", user, 0o644, clone.origin, pack),)),
        Run(
            user,
            _CHECK_OUT.text,
            clone.origin,
            f"git checkout {result[:12]}",
            args=(clone.path, dest, sides.onto, result),
            workdir="/",
        ),
        *(
            Run(check.user, check.script, check.origin, f"check {check.script.splitlines()[0]}", workdir=clone.path)
            for check in habitat.take_check
        ),
    ]
    tests = named("test").plan(habitat)
    return [*steps, *(replace(step, keeps=True) if isinstance(step, StartInit) else step for step in tests)]
