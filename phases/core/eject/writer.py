"""The steps of a habitat's phases as the instructions of a Dockerfile."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from phases.core.build.executor import PROFILE
from phases.core.eject import mounts, own_dockerfile
from phases.core.eject.context import ARCHIVE, COMMANDS, FILES, Context, trees
from phases.core.eject.mounts import CONTEXT, PLACE
from phases.core.eject.quoting import NEWLINE, comment, exec_form, folded, instruction, template
from phases.core.errors import printable
from phases.core.secrets import ssh_agent
from phases.protocol import Copy, FromDockerfile, FromImage, RequirePaths, Run, SetImageConfig, slug
from phases.registry import habitat_phases, mounts_volumes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from phases.core.eject.context import Copied
    from phases.core.errors import Origin
    from phases.core.model import Habitat
    from phases.protocol import Entry, Phase, Step

#: Scripts of ours that steps are made of.
SCRIPTS = "scripts"

#: The stage that the next two begin with; that of the tests; and the last, which is the image.
BUILT, TESTED, FINAL = "habitat", "test", "final"

_CONTEXT_STAGE = (f"FROM scratch AS {CONTEXT}", f"COPY --chmod=755 {SCRIPTS} /{SCRIPTS}")

_SHELL = "/bin/sh"

_NEWLINE_GIVEN = f'[ -n "${NEWLINE}" ] || {{ echo "give the build a line break, as README.md says" >&2; exit 1; }}'

# Scripts that can be read in one line of a Dockerfile; `<<` would begin a document for newer builders.
_SHORT = re.compile(r"(?!.*<<)[^\n]{1,100}\n?")

# A variable of the image in a value of `env:`, and the dollar sign that begins none.
_VARIABLE = re.compile(r"\$\$|\$\{(\w+)\}")


@dataclass(frozen=True)
class Recipe:
    """dockerfile: its text, but for the first lines, which say whose it is; own: the folder of a Dockerfile
    of the habitat's that has to be built before, "" where there is none; newline: whether the build has to
    be given one.
    """

    dockerfile: str
    context: Context
    own: str
    newline: bool


def recipe(habitat: Habitat) -> Recipe:
    """Raises ConfigError for what no Dockerfile can say."""
    return _Writer(habitat).write()


@dataclass
class _Said:
    """As what the next command runs, as far as it was said; None is what the base image has."""

    user: str | None = None
    workdir: str | None = None


class _Writer:
    """Writes the instructions of one habitat, from the first to the last."""

    def __init__(self, habitat: Habitat) -> None:
        self.habitat = habitat
        self.context = Context()
        self._own = ""
        self._rows: list[str] = []
        self._stage = BUILT
        self._phase: Phase = habitat_phases(habitat)[0]
        self._count = 0  # what the phase has brought into the context
        self._said = _Said()
        self._workdir: str | None = None  # of the image, said when a command needs it
        self._profile: list[str] = []  # variables that login shells are yet to be told of
        self._owned: set[str] = set()  # folders that are there for sure
        self._newline = False
        self._uncached = ""  # the stage that has the places of caches

    def write(self) -> Recipe:
        self._rows += self._opening()
        for phase in habitat_phases(self.habitat):
            steps = [step for step in phase.plan(self.habitat) if not isinstance(step, FromDockerfile)]
            if phase.NAME == "test":
                self._aside(phase, steps)
                continue
            if phase.NAME == "setup" and self.habitat.caches:
                self._places_of_caches(phase)
            self._section(phase, steps, *([f"FROM {self._stage} AS {FINAL}"] if phase.NAME == "final" else []))
        self._say_workdir()
        at = self._rows.index(_CONTEXT_STAGE[-1]) + 1
        self._rows[at:at] = self._copied_into_the_context()
        text = "\n".join(folded(row) for row in self._rows) + "\n"
        return Recipe(text, self.context, self._own, self._newline)

    def _opening(self) -> list[str]:
        """All that comes before phase 1."""
        if not self.habitat.has_dockerfile:
            return ["", *_CONTEXT_STAGE]
        merged = own_dockerfile.stages(self.habitat, _CONTEXT_STAGE)
        items = (item for item in self.habitat.context if item.path)
        self.context.below(own_dockerfile.FOLDER, items, archive=merged is not None)
        if merged is not None:
            return ["", *merged, "", f"FROM {own_dockerfile.STAGE} AS {BUILT}"]
        self._own = own_dockerfile.FOLDER
        image = own_dockerfile.image(self.habitat)
        return ["", *_CONTEXT_STAGE, "", f"# {self._own}/Dockerfile, built before this one", f"FROM {image} AS {BUILT}"]

    def _copied_into_the_context(self) -> list[str]:
        """What brings all that was found to be needed; COPY fails for a folder that isn't there."""
        tops = {file.path.partition("/")[0] for file in self.context.files} - {self._own}
        rows = [f"COPY --chmod=755 {COMMANDS} /{COMMANDS}"] if COMMANDS in tops else []
        rows += [f"COPY {top} /{top}" for top in (FILES, own_dockerfile.FOLDER) if top in tops]
        return rows + ([f"ADD {ARCHIVE} /"] if self.context.archived else [])

    def _section(self, phase: Phase, steps: Sequence[Step], *rows: str) -> None:
        """rows: what it begins with."""
        if not steps:
            return
        self._phase, self._count = phase, 0
        self._rows += ["", comment(f"Phase {phase.ID}, {phase.NAME}: {phase.DESCRIPTION}"), *rows]
        for step in steps:
            # A command sees all that its phase sets, also what is said behind it.
            if isinstance(step, SetImageConfig) and step.env:
                self._env(step.env)
        if mounts_volumes(phase):
            self._tell_login_shells()  # before that nothing could notice
        if places := mounts.places(self.habitat, phase, steps):
            self._script("mountpoint", *places, dests=())
        for step in steps:
            self._step(step)

    def _places_of_caches(self, phase: Phase) -> None:
        """A stage that has them: what a new cache begins with comes from another than it is mounted in."""
        self._phase = phase
        self._rows += ["", "# What caches are mounted on"]
        habitat = self.habitat
        self._script("cache", habitat.user, habitat.workdir, *(cache.path for cache in habitat.caches), dests=())
        self._uncached = self._stage
        self._stage = f"{BUILT}-caches"
        self._rows += ["", f"FROM {self._uncached} AS {self._stage}"]

    def _aside(self, phase: Phase, steps: Sequence[Step]) -> None:
        """A stage that no other rests on, and that is built only when asked for."""
        if steps:
            before = replace(self._said)
            said = f"# docker build --target {TESTED} runs these; nothing of it is in the image"
            self._section(phase, steps, said, f"FROM {self._stage} AS {TESTED}")
            self._said = before

    # Steps

    def _step(self, step: Step) -> None:
        match step:
            case FromImage():
                self._rows += [comment(f"built on {self.habitat.base_id}")] if self.habitat.base_id else []
                self._rows.append(f"FROM {instruction(step.reference, step.origin)} AS {BUILT}")
            case Run():
                self._run(step)
            case Copy():
                self._put(step.entries)
            case SetImageConfig():
                self._configure(step)
            case RequirePaths():
                self._require(step)

    def _env(self, env: dict[str, tuple[str, Origin]]) -> None:
        has_newline = any("\n" in value for value, _ in env.values())
        if has_newline:
            self._newline = True
            self._rows += [f"ARG {NEWLINE}", f"RUN {exec_form((_SHELL, '-c', _NEWLINE_GIVEN))}"]
        for name, (value, _) in env.items():
            for other in _VARIABLE.findall(value):
                if other not in ("", "PATH"):  # which a builder has a value for
                    check = f': "${{{other}?is set neither in env nor by the base image}}"'
                    self._rows.append(f"RUN {exec_form((_SHELL, '-c', check))}")
            self._rows.append(f"ENV {name}={template(value)}")
        if has_newline:
            # The argument ends with its stage.
            following = f"{BUILT}-{self._phase.ID}"
            self._rows += ["", f"FROM {self._stage} AS {following}"]
            self._stage = following

    def _configure(self, step: SetImageConfig) -> None:
        self._profile += step.env
        if mounts_volumes(self._phase):
            self._tell_login_shells()
        if step.user is not None:
            self._say_user(step.user)
        if step.workdir is not None:
            self._workdir = step.workdir
        if step.entrypoint is not None:
            self._rows.append(f"ENTRYPOINT {exec_form(step.entrypoint)}")
        if step.command is not None:
            self._rows.append(f"CMD {exec_form(step.command)}")

    def _tell_login_shells(self) -> None:
        if self._profile:
            self._script("profile", *self._profile, dests=[PROFILE])
            self._profile = []

    def _require(self, step: RequirePaths) -> None:
        paths = [path for path, _ in step.paths]
        if paths == [_SHELL]:
            self._rows.append(comment(f"{step.hint}, {_SHELL}"))  # without, nothing of this runs
        else:
            self._script("require", self.habitat.user, step.hint, *paths, dests=["~"])

    def _put(self, entries: Sequence[Entry]) -> None:
        for (owner, adopt), group in groupby(entries, lambda entry: (entry.owner, entry.adopt)):
            found = list(group)
            if adopt:
                dests = [entry.dest for entry in found]
                self._script("own", owner, *dests, dests=dests)
                self._owned.update(dests)
            else:
                for copied in trees(found):
                    self._copy(copied)

    def _copy(self, copied: Copied) -> None:
        root = copied.root
        if len(copied.entries) == 1 and root.dest in self._owned:
            return
        path = self.context.tree(self._name(), copied)
        source = f"{PLACE}/{path.rpartition('/')[2]}" if path else "-"
        modes = (f"{copied.mode:04o}", f"{copied.folder_mode:04o}") if copied.mode else ()
        found = [mounts.given(path, source)] if path else []
        self._script("put", source, root.dest, root.owner, *modes, given=found, dests=[root.dest])

    def _run(self, step: Run) -> None:
        self._rows.append(comment(printable(f"{step.origin}: {step.title}")))
        self._say_user(step.user)
        if not step.workdir:
            self._say_workdir()
        found = [
            *mounts.volumes(self.habitat, self._phase),
            *mounts.caches(self.habitat, self._phase, self._uncached),
            *mounts.secrets(self.habitat, self._phase, step),
            *mounts.agent(step),
        ]
        options = self._options(step)
        short = _SHORT.fullmatch(step.script)
        if short and not options:
            self._command(found, (_SHELL, "-e", "-c", "--", step.script, "sh", *step.args))
            return
        script = ["--", step.script]
        if not short:
            path = self.context.script(self._name(), step.script)
            place = f"{PLACE}/{path.rpartition('/')[2]}"
            found.insert(0, mounts.given(path, place))
            script = ["-f", place, "--"]
        found.insert(0, _scripts())
        self._command(found, (f"{PLACE}/{SCRIPTS}/run", *options, *script, *step.args))

    def _options(self, step: Run) -> list[str]:
        """What our script has to do before it runs that of the config."""
        env = step.env | ({"GIT_SSH_COMMAND": ssh_agent.ENV["GIT_SSH_COMMAND"]} if step.known_hosts else {})
        variables = [(s.variable, s.name) for s in self.habitat.secrets_of(self._phase.NAME) if s.variable]
        return [
            *(("-u", step.user) if step.workdir.startswith("~") else ()),
            *(("-C", step.workdir) if step.workdir else ()),
            *(word for name, value in env.items() for word in ("-e", f"{name}={value}")),
            *(word for variable, name in variables for word in ("-s", f"{variable}={name}")),
        ]

    # Instructions

    def _script(self, name: str, *words: str, dests: Sequence[str], given: Iterable[str] = ()) -> None:
        """Have a script of ours run, as root. dests: what it writes or looks at, which may be in a volume."""
        self._say_user("root")
        volumes = mounts.volumes(self.habitat, self._phase, dests)
        self._command([_scripts(), *given, *volumes], (f"{PLACE}/{SCRIPTS}/{name}", *words))

    def _command(self, found: Sequence[str], words: Sequence[str]) -> None:
        self._rows.append("RUN " + " \\\n    ".join([*found, exec_form(words)]))

    def _say_user(self, user: str) -> None:
        if self._said.user != user:
            self._rows.append(f"USER {user}")
            self._said.user = user

    def _say_workdir(self) -> None:
        """WORKDIR makes what is missing, as root; so it is said when that is there already."""
        if self._workdir is not None and self._said.workdir != self._workdir:
            env = self.habitat.env
            origin = env.origin("WORKDIR") if "WORKDIR" in env.values else self.habitat.base_origin
            self._rows.append(f"WORKDIR {instruction(self._workdir, origin)}")
            self._said.workdir = self._workdir

    def _name(self) -> str:
        self._count += 1
        return f"{slug(self._phase)}-{self._count}"


def _scripts() -> str:
    return mounts.given(SCRIPTS, f"{PLACE}/{SCRIPTS}")
