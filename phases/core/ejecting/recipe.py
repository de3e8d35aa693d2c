"""The steps of a habitat's phases as the instructions of a Dockerfile."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from phases.core import ssh_agent
from phases.core.ejecting import own_dockerfile
from phases.core.ejecting.context import ARCHIVE, COMMANDS, FILES, Context, trees
from phases.core.ejecting.words import NEWLINE, comment, exec_form, folded, instruction, mount, template
from phases.core.errors import printable
from phases.protocol import SECRETS_FOLDER, Configure, FromDockerfile, FromImage, Put, Require, Run, slug
from phases.registry import habitat_phases, mounts_volumes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from phases.core.ejecting.context import Copied
    from phases.core.errors import Origin
    from phases.core.model import Habitat, Mount, Secret
    from phases.protocol import Entry, Phase, Step

#: Scripts of ours that steps are made of; and the folder of volumes that commands of the build see.
SCRIPTS, VOLUMES = "scripts", "volumes"

#: The stage that has all that is copied and run; the one that the next two begin with; that of the tests;
#: and the last, which is the image.
CONTEXT, BUILT, TESTED, FINAL = "context", "habitat", "test", "final"

#: The secret that holds the keys of hosts, where the SSH agent is to be used.
KNOWN_HOSTS = "known_hosts"

#: Where commands find the agent's socket.
AGENT_FOLDER = ssh_agent.ENV["SSH_AUTH_SOCK"].rpartition("/")[0]

# In a container /dev is no part of the image, so nothing that is mounted there leaves a trace.
_MOUNTED = "/dev"

_CONTEXT_STAGE = (
    f"FROM scratch AS {CONTEXT}",
    f"COPY --chmod=755 {SCRIPTS} /{SCRIPTS}",
)

_NEWLINE_GIVEN = f'[ -n "${NEWLINE}" ] || {{ echo "give the build a line break, as README.md says" >&2; exit 1; }}'

# Scripts that can be read in one line of a Dockerfile; `<<` would begin a document for newer builders.
_SHORT = re.compile(r"(?!.*<<)[^\n]{1,100}\n?")


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
    """What the image is to run as at a point of the Dockerfile, and what was said of it so far; None is
    what the base image has.
    """

    user: str | None = None
    workdir: tuple[str, Origin] | None = None
    said_workdir: tuple[str, Origin] | None = None


class _Writer:
    def __init__(self, habitat: Habitat) -> None:
        self.habitat = habitat
        self.context = Context()
        self.own = ""
        self._rows: list[str] = []
        self._stage = BUILT
        self._said = _Said()
        self._phase: Phase | None = None
        self._count = 0
        self._newline = False
        self._owned: set[str] = set()  # folders that are there for sure

    def write(self) -> Recipe:
        self._rows += self._opening()
        for phase in habitat_phases(self.habitat):
            steps = [step for step in phase.plan(self.habitat) if not isinstance(step, FromDockerfile)]
            if phase.NAME == "test":
                self._aside(phase, steps)
            elif phase.NAME == "final":
                self._rows += ["", f"FROM {self._stage} AS {FINAL}"]
                self._section(phase, steps)
            else:
                self._section(phase, steps)
        at = self._rows.index(_CONTEXT_STAGE[-1]) + 1
        self._rows[at:at] = self._copied_into_the_context()
        text = "\n".join(folded(row) for row in self._rows) + "\n"
        return Recipe(text, self.context, self.own, self._newline)

    def _opening(self) -> list[str]:
        """All that comes before phase 1."""
        if not self.habitat.has_dockerfile:
            return ["", *_CONTEXT_STAGE]
        merged = own_dockerfile.stages(self.habitat, _CONTEXT_STAGE)
        items = (item for item in self.habitat.context if item.path)
        self.context.below(own_dockerfile.FOLDER, items, archive=merged is not None)
        if merged is None:
            self.own = own_dockerfile.FOLDER
            image = own_dockerfile.image(self.habitat)
            return [
                "",
                *_CONTEXT_STAGE,
                "",
                f"# {self.own}/Dockerfile, built before this one",
                f"FROM {image} AS {BUILT}",
            ]
        return ["", *merged, "", f"FROM {own_dockerfile.STAGE} AS {BUILT}"]

    def _section(self, phase: Phase, steps: Sequence[Step]) -> None:
        if not steps:
            return
        self._phase, self._count = phase, 0
        self._rows += ["", comment(f"Phase {phase.ID}, {phase.NAME}: {phase.DESCRIPTION}")]
        for step in steps:
            # A command sees all that its phase sets, also what is said behind it.
            if isinstance(step, Configure):
                self._env(step)
        self._mountpoints(phase, steps)
        for step in steps:
            self._step(step)

    def _aside(self, phase: Phase, steps: Sequence[Step]) -> None:
        """A stage that no other rests on, and that is built only when asked for."""
        if steps:
            before = self._said
            self._said = replace(before)
            self._rows += ["", f"# docker build --target {TESTED} runs these; nothing of it is in the image"]
            self._rows += [f"FROM {self._stage} AS {TESTED}"]
            self._section(phase, steps)
            self._said = before

    def _copied_into_the_context(self) -> list[str]:
        """Instructions that bring all that was found to be needed; COPY fails for a folder that isn't there."""
        tops = {file.path.partition("/")[0] for file in self.context.files}
        rows = [f"COPY --chmod=755 {COMMANDS} /{COMMANDS}"] if COMMANDS in tops else []
        rows += [f"COPY {top} /{top}" for top in (FILES, own_dockerfile.FOLDER) if top in tops and top != self.own]
        return rows + ([f"ADD {ARCHIVE} /"] if self.context.archived else [])

    # Steps

    def _step(self, step: Step) -> None:
        match step:
            case FromImage():
                built_on = f"{comment(f'built on {self.habitat.base_id}')}\n" if self.habitat.base_id else ""
                self._rows.append(f"{built_on}FROM {instruction(step.reference, step.origin)} AS {BUILT}")
            case Run():
                self._run(step)
            case Put():
                self._put(step.entries)
            case Configure():
                self._configure(step)
            case Require():
                hint = step.hint
                paths = [path for path, _ in step.paths]
                self._script("require", self.habitat.user, hint, *paths, origin=step.paths[0][1], dests=["~"])

    def _env(self, step: Configure) -> None:
        if not step.env:
            return
        if any("\n" in value for value, _ in step.env.values()):
            self._newline = True
            self._rows += [f"ARG {NEWLINE}", f"RUN {exec_form(('/bin/sh', '-c', _NEWLINE_GIVEN))}"]
        for name, (value, _) in step.env.items():
            for other in re.findall(r"\$\{(\w+)\}", value.replace("$$", "")):
                if other != "PATH":  # which a builder has a value for
                    check = f': "${{{other}?is set neither in env nor by the base image}}"'
                    self._rows.append(f"RUN {exec_form(('/bin/sh', '-c', check))}")
            self._rows.append(f"ENV {name}={template(value)}")
        if any("\n" in value for value, _ in step.env.values()):
            # The argument ends with its stage.
            following = f"{BUILT}-{self._phase.ID}" if self._phase else BUILT
            self._rows += ["", f"FROM {self._stage} AS {following}"]
            self._stage = following

    def _configure(self, step: Configure) -> None:
        origin = self.habitat.env.origin("USER") if "USER" in self.habitat.env.values else self.habitat.base_origin
        if step.env:
            self._script("profile", *step.env, origin=origin)
        if step.user is not None:
            self._user(step.user)
        if step.workdir is not None:
            place = "WORKDIR" if "WORKDIR" in self.habitat.env.values else ""
            self._said.workdir = (step.workdir, self.habitat.env.origin(place) if place else origin)
        if step.entrypoint is not None:
            self._workdir()
            self._rows.append(f"ENTRYPOINT {exec_form(step.entrypoint)}")
        if step.command is not None:
            self._rows.append(f"CMD {exec_form(step.command)}")

    def _user(self, user: str) -> None:
        if self._said.user != user:
            self._rows.append(f"USER {user}")
            self._said.user = user

    def _workdir(self) -> None:
        """WORKDIR makes what is missing, as root; so it is said when that is there already."""
        if self._said.workdir and self._said.said_workdir != self._said.workdir:
            self._rows.append(f"WORKDIR {instruction(*self._said.workdir)}")
            self._said.said_workdir = self._said.workdir

    def _put(self, entries: Sequence[Entry]) -> None:
        folders: dict[str, list[str]] = {}
        for entry in entries:
            if entry.adopt:
                folders.setdefault(entry.owner, []).append(entry.dest)
        for owner, dests in folders.items():
            self._script("own", owner, *dests, origin=entries[0].origin, dests=dests)
            self._owned.update(dests)
        for copied in trees([entry for entry in entries if not entry.adopt]):
            self._copy(copied)

    def _copy(self, copied: Copied) -> None:
        root = copied.root
        if len(copied.entries) == 1 and root.dest in self._owned:
            return
        place = self.context.tree(self._name(), copied)
        source = f"{_MOUNTED}/{place.rpartition('/')[2]}" if place else "-"
        modes = (f"{copied.mode:04o}", f"{copied.folder_mode:04o}") if copied.mode else ()
        mounts = [_given(place, source)] if place else []
        self._script("put", source, root.dest, root.owner, *modes, origin=root.origin, mounts=mounts, dests=[root.dest])

    def _run(self, step: Run) -> None:
        assert self._phase
        secrets = self.habitat.secrets_of(self._phase.NAME)
        mounts = [*self._volumes(step.origin), *_secrets(secrets, step), *_agent(step)]
        folder = [*(["-u", step.user] if step.workdir.startswith("~") else []), "-C", step.workdir]
        options = folder if step.workdir else []
        env = {**step.env, **({"GIT_SSH_COMMAND": ssh_agent.ENV["GIT_SSH_COMMAND"]} if step.known_hosts else {})}
        options += [word for name, value in env.items() for word in ("-e", f"{name}={value}")]
        options += [word for s in secrets if s.variable for word in ("-s", f"{s.variable}={s.name}")]
        self._rows.append(comment(printable(f"{step.origin}: {step.what}")))
        if _SHORT.fullmatch(step.script):
            words = ["/bin/sh", "-e", "-c", "--", step.script, "sh"]
            script = ["--", step.script]
        else:
            path = self.context.script(self._name(), step.script)
            given = f"{_MOUNTED}/{path.rpartition('/')[2]}"
            mounts.append(_given(path, given))
            words, script = [], ["-f", given, "--"]
        if options or not words:
            mounts.insert(0, _given(SCRIPTS))
            words = [f"{_MOUNTED}/{SCRIPTS}/run", *options, *script]
        self._user(step.user)
        if not step.workdir:
            self._workdir()
        self._command(mounts, [*words, *step.args])

    def _script(
        self, name: str, *words: str, origin: Origin, mounts: Iterable[str] = (), dests: Sequence[str] = ()
    ) -> None:
        """Have a script of ours run, as root. dests: what it writes, which may be in a volume."""
        self._user("root")
        every = [_given(SCRIPTS), *mounts, *self._volumes(origin, dests)]
        self._command(every, [f"{_MOUNTED}/{SCRIPTS}/{name}", *words])

    def _command(self, mounts: Sequence[str], words: Sequence[str]) -> None:
        self._rows.append(
            " \\\n    ".join(
                ["RUN " + mounts[0], *mounts[1:], exec_form(words)] if mounts else [f"RUN {exec_form(words)}"]
            )
        )

    def _name(self) -> str:
        assert self._phase
        self._count += 1
        return f"{slug(self._phase)}-{self._count}"

    # What is mounted

    def _mountpoints(self, phase: Phase, steps: Sequence[Step]) -> None:
        """An engine makes the places of what it mounts, and they stay; a builder takes them back, or not."""
        runs = [step for step in steps if isinstance(step, Run)]
        places = []
        if phase.NAME == "files":
            places += [v.dest + ("/" if v.source.is_dir() else "") for v in self.habitat.volumes if v.present]
        if runs and self.habitat.secrets_of(phase.NAME):
            places.append(f"{SECRETS_FOLDER}/")
        if any(run.known_hosts for run in runs):
            places += [f"{SECRETS_FOLDER}/", f"{AGENT_FOLDER}/"]
        if places:
            self._user("root")
            self._command([_given(SCRIPTS)], [f"{_MOUNTED}/{SCRIPTS}/mountpoint", *dict.fromkeys(places)])

    def _volumes(self, origin: Origin, dests: Sequence[str] | None = None) -> list[str]:
        """dests: where that is all that has to do with volumes; a home may be anywhere."""
        assert self._phase
        if not mounts_volumes(self._phase):
            return []
        return [
            mount(origin, source=f"{VOLUMES}/{number}", target=volume.dest, **({} if volume.readonly else {"rw": ""}))
            for number, volume in numbered(self.habitat)
            if dests is None or any(dest[:1] == "~" or f"{dest}/".startswith(f"{volume.dest}/") for dest in dests)
        ]


def numbered(habitat: Habitat) -> list[tuple[int, Mount]]:
    """The volumes that this host has; a number is what a copy of one is called in the context."""
    return list(enumerate((volume for volume in habitat.volumes if volume.present), start=1))


def _given(path: str, target: str = "") -> str:
    """A path of the context, for a command to find at `target`."""
    return f"--mount=from={CONTEXT},source={path},target={target or f'{_MOUNTED}/{path}'}"


def _secrets(secrets: Sequence[Secret], step: Run) -> list[str]:
    """Who a user is, is known in the image only; nobody else runs there meanwhile."""
    mode = "0400" if step.user == "root" else "0444"
    given = [
        f"--mount=type=secret,id={s.name},target={SECRETS_FOLDER}/{s.name},mode={mode}"
        + ("" if s.optional else ",required=true")
        for s in secrets
    ]
    if step.known_hosts:
        given.append(
            f"--mount=type=secret,id={KNOWN_HOSTS},target={SECRETS_FOLDER}/.known_hosts,mode={mode},required=true"
        )
    return [f"--mount=type=tmpfs,target={SECRETS_FOLDER}", *given] if given else []


def _agent(step: Run) -> list[str]:
    if not step.known_hosts:
        return []
    socket = ssh_agent.ENV["SSH_AUTH_SOCK"]
    return [f"--mount=type=tmpfs,target={AGENT_FOLDER}", f"--mount=type=ssh,target={socket},mode=0666,required=true"]
