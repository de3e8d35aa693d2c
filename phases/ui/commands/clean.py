"""`habitat clean [TASK…]`: remove what was built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from doit import cmd_clean
from doit.exceptions import InvalidCommand

from phases.core import command_form
from phases.core.errors import HabitatError
from phases.core.problems import with_count
from phases.core.runtime import clean
from phases.ui.commands import arguments, selection
from phases.ui.commands.options import FROM, checked_phase, explained
from phases.ui.commands.printing import Printing
from phases.ui.tasks import current_project, parse_task, phase_named

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from phases.protocol import Phase


class Clean(Printing, cmd_clean.Clean):
    """Removes snapshots, stamps, slices and logs.

    Without a task those of every habitat, and the unused caches, but no container that a person started. With
    PHASE:HABITAT those of the phase and the phases behind it; with --clean-dep, or with the HABITAT alone, those of the
    whole habitat, also of one that was removed or renamed.
    """

    doc_purpose = "remove its images, logs and stamps"
    doc_usage = "[NAME … | PHASE:NAME …] [--from PHASE]"
    example = ("clean", "api")
    cmd_options = (
        *explained(
            cmd_clean.Clean.cmd_options,
            {
                "cleandep": "with PHASE:NAME, clean all phases of the habitat",
                "cleanall": "clean every habitat, as without a name",
                "dryrun": "show what would be removed, and remove nothing",
                "cleanforget": "has no effect: stamps are always removed",
            },
        ),
        FROM,
    )

    def _execute(
        self,
        dryrun: bool,
        cleandep: bool,
        cleanall: bool,
        cleanforget: bool,
        first: str,
        pos_args: list[str] | None = None,
    ) -> int:
        del cleanforget  # stamps are always removed
        checked_phase(first, "--from")
        try:
            if first and not pos_args:
                raise InvalidCommand(arguments.needs_habitat(self.name, clean.cleanable(current_project())))
            if pos_args and not cleanall:
                named, tasks = _split(pos_args)
                if first:
                    named, tasks = [], [*tasks, *(f"{first}:{name}" for name in named)]
                firsts = _first_phases(selection.expand(tasks, self.task_list))
                for name in named:
                    self._clean_habitat(name, dryrun=dryrun)
                for name, phase in firsts.items():
                    self._clean_from(name, current_project().phases(name)[0] if cleandep else phase, dryrun=dryrun)
            else:
                self._clean_all(dryrun=dryrun)
        except HabitatError as error:
            raise InvalidCommand(with_count(error)) from error
        return 0

    def _clean_from(self, name: str, phase: Phase, *, dryrun: bool) -> None:
        project = current_project()
        count = clean.count(project, name, phase) if dryrun else clean.clean_from(project, name, phase)
        self._print(name, count, f", from {phase.NAME} on", dryrun=dryrun)

    def _clean_all(self, *, dryrun: bool) -> None:
        project = current_project()
        count = clean.count_caches(project) if dryrun else clean.clean_caches(project)
        for name in clean.cleanable(project):
            self._clean_habitat(name, dryrun=dryrun)
        if count:
            verb = "would remove" if dryrun else "removed"
            self.outstream.write(f"{verb} {count} cache{'' if count == 1 else 's'}\n")

    def _clean_habitat(self, name: str, *, dryrun: bool) -> None:
        project = current_project()
        own, others = clean.containers_of(project, name)
        count = clean.count(project, name, None) if dryrun else clean.clean_all(project, name)
        if count:
            self._print(name, count, "", dryrun=dryrun)
        if own:
            self._print_kept(name, own, command_form.verb("destroy", name))
        if others:
            self._print_kept(name, others, f"docker rm -f {' '.join(others)} && {command_form.command('clean', name)}")

    def _print_kept(self, name: str, containers: Sequence[str], command: str) -> None:
        it = "it" if len(containers) == 1 else "them"
        self.outstream.write(
            f"{name}: kept {', '.join(containers)}, which you started; to remove {it} too: `{command}`\n"
        )

    def _print(self, name: str, count: int, scope: str, *, dryrun: bool) -> None:
        verb = "would remove" if dryrun else "removed"
        self.outstream.write(f"{name}: {verb} {count} image{'' if count == 1 else 's'}{scope}\n")


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words that name a habitat, also one that was removed or renamed, and the others, which are tasks."""
    known = clean.cleanable(current_project())
    return [word for word in words if word in known], [word for word in words if word not in known]


def _first_phases(tasks: Iterable[str]) -> dict[str, Phase]:
    """Return the first of the named phases of each habitat: cleaning it removes those behind it."""
    firsts: dict[str, Phase] = {}
    for task in tasks:
        kind, name = parse_task(task)
        phase = phase_named(kind)
        if phase and (name not in firsts or phase.ID < firsts[name].ID):
            firsts[name] = phase
    return firsts
