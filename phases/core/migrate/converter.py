"""Which instruction of a Dockerfile becomes what of a config, in an order that keeps its meaning.

A config's phases run as env → workdir → files → setup. What no config says the same stays a Dockerfile,
and so does all that comes before it: an instruction may rest on any of those.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from phases.core.migrate import caching, copy, environment, rest, scripts
from phases.core.migrate.copy import Unsayable
from phases.core.migrate.dockerfile_state import of_image
from phases.core.migrate.result import Draft, Piece, Row, quoted
from phases.core.model import SECRETS_FOLDER, SHARINGS
from phases.protocol import PHASE_VARIABLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phases.core.migrate.base_image import BaseImage
    from phases.core.migrate.copy import Context, Copied
    from phases.core.migrate.dockerfile import Dockerfile, Instruction
    from phases.core.migrate.dockerfile_state import Machine, State

#: Where the habitat's own folders go, out of the way of a Dockerfile's WORKDIR, which it may want empty.
HABITAT_PATH = "/habitat"

# Set by BuildKit to what it builds on and for.
_AUTOMATIC = re.compile(r"(TARGET|BUILD)(PLATFORM|OS|ARCH|VARIANT)")
_SECRET = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|(API|ACCESS|PRIVATE|AUTH)_?KEY", re.IGNORECASE)
_SHELLS = [("/bin/sh",), ("sh",), ("bash",), ("/bin/bash",), ("ash",), ("/bin/ash",)]

# Folders that every image has: a file that is copied to one goes into it.
_FOLDERS = frozenset(
    f"/{name}"
    for name in [
        "",
        *[
            "bin",
            "etc",
            "home",
            "lib",
            "opt",
            "root",
            "sbin",
            "srv",
            "tmp",
            "usr",
            "usr/bin",
            "usr/local",
            "usr/local/bin",
            "var",
        ],
    ]
)

_NO_PLACE = {
    "LABEL": "a habitat's labels are its own",
    "MAINTAINER": "a config names no maintainer",
    "ONBUILD": "no image is built FROM a habitat",
    "STOPSIGNAL": "a habitat is stopped by its init, with TERM",
    "VOLUME": "what is in it stays in the container; `volumes:` mounts a folder of the host",
}


@dataclass(frozen=True)
class Existing:
    """What a config.yaml that lies beside the Dockerfile says already. env: the names that it sets; copies:
    whether files or volumes come between the Dockerfile and its setup.
    """

    user: str
    workdir: str
    env: tuple[str, ...] = ()
    copies: bool = False


class Converter:
    """Carries a Dockerfile over. base: the image that its last stage rests on, if only by way of others;
    existing: None where there is no config yet, and so the Dockerfile says who is in the habitat, and where;
    is_list: whether the setup that is there, or the shared one's, is a list, None where there is none.
    """

    def __init__(
        self,
        dockerfile: Dockerfile,
        machine: Machine,
        base: BaseImage,
        context: Context,
        existing: Existing | None,
        *,
        is_list: bool | None,
    ) -> None:
        self.dockerfile = dockerfile
        self.machine = machine
        self.base = base
        self.context = context
        self.existing = existing
        self.is_list = is_list
        self.final = dockerfile.stages[-1]
        *self.states, self.end = machine.states(self.final, of_image(base.config))

    @cached_property
    def user(self) -> str:
        """The habitat's USER; "" where the Dockerfile names none that a habitat can have."""
        if self.existing:
            return self.existing.user
        name = self.end.user.partition(":")[0]
        if name in ("", "0"):
            return "root"
        return "" if name.isdigit() else name

    @property
    def workdir(self) -> str:
        return self.existing.workdir if self.existing else self.end.workdir

    @cached_property
    def env(self) -> Mapping[str, str]:
        """What setup gives its scripts. Of what an existing config sets, nothing that a RUN ever found."""
        return {**self.end.env, **dict.fromkeys(self.existing.env if self.existing else (), "\0")}

    # What stays a Dockerfile

    def carry(self) -> Draft:
        stays = self._first_to_stay()
        while True:
            try:
                return self._carried(stays)
            except _Stays as found:
                stays[found.number] = str(found)

    def _first_to_stay(self) -> dict[int, str]:
        """Number of the instruction, -1 for FROM, to why it can't be said in a config."""
        found = {}
        if self.machine.earlier(self.final):
            found[-1] = "it goes on from another stage"
        elif self.final.start.flags:
            found[-1] = f"{self.final.start.text.split()[1]} has no place in a config"
        elif self.machine.base(self.final.start) == "scratch":
            found[len(self.final.instructions) - 1] = "scratch is no image"
        runs = [number for number, one in enumerate(self.final.instructions) if one.name == "RUN"]
        if runs and self.existing and self.existing.copies:
            found[runs[-1]] = "the config's files and volumes come after it"
        found |= self._makes_the_user(runs) | self._makes_the_workdir(runs)
        return found

    def _makes_the_user(self, runs: Sequence[int]) -> dict[int, str]:
        """USER is made before setup, if missing: what makes it in another way has to come before that."""
        if not self.user or self.user in self.base.users:
            return {}
        uses = (n for n, one in enumerate(self.final.instructions) if one.name == "USER" and one.mentions(self.user))
        before = [number for number in runs if number < next(uses, len(self.final.instructions))]
        naming = [number for number in runs if self.final.instructions[number].mentions(self.user)]
        made = [number for number in naming if number in before] or ([] if self.existing else before)
        return {made[-1]: f"it may make {self.user}, whom phase users would make before"} if made else {}

    def _makes_the_workdir(self, runs: Sequence[int]) -> dict[int, str]:
        path = self.workdir
        if path == "/":
            return {}
        until = next((n for n, state in enumerate([*self.states, self.end]) if state.workdir == path), len(self.states))
        naming = [number for number in runs if number < until and self.final.instructions[number].mentions(path)]
        return {naming[-1]: f"it may make {path}, which phase workdir would make before"} if naming else {}

    # What is carried over

    def _carried(self, stays: Mapping[int, str]) -> Draft:
        draft = Draft()
        first = max(stays, default=-2) + 1
        self._keep(draft, first, stays)
        for number, instruction in enumerate(self.final.instructions):
            if number < first:
                continue
            try:
                self._carry(draft, instruction, self.states[number])
            except Unsayable as error:
                raise _Stays(number, str(error)) from error
        said = [
            (one, self.states[number])
            for number, one in enumerate(self.final.instructions)
            if one.name == "ENV" and number >= first
        ]
        draft.env = [*self._own_env(), *environment.entries(self.machine, said)]
        self._set_entry(draft)
        if draft.alternates and self.is_list is False:
            kinds = ("RUN", "COPY", "ADD", "WORKDIR")
            last = max(n for n, one in enumerate(self.final.instructions) if one.name in kinds)
            raise _Stays(last, "users take turns up to here, and the setup that is there is a mapping")
        draft.name_places()
        draft.rows.sort(key=lambda row: row.line)
        return draft

    def _keep(self, draft: Draft, first: int, stays: Mapping[int, str]) -> None:
        """Leave the first instructions to a Dockerfile."""
        start = self.final.start
        if first < 0:
            draft.base_image = self.machine.base(start)
            for one in self.dockerfile.head:
                draft.tell(one, "base_image")
            draft.tell(start, "base_image")
            for stage in self.dockerfile.stages[:-1]:
                for one in (stage.start, *stage.instructions):
                    draft.tell(one, "", "nothing of its stage is in the image")
            return
        whole = first == len(self.final.instructions)
        draft.dockerfile = "Dockerfile" if whole and not self.machine.given else rest.NAME
        kept = [start, *self.final.instructions[:first]]
        for stage in self.dockerfile.stages[:-1]:
            kept = [stage.start, *stage.instructions, *kept]
        reasons = {(start if n < 0 else self.final.instructions[n]).line: why for n, why in stays.items()}
        kept = [*self.dockerfile.head, *kept]
        for one in kept:
            draft.tell(one, draft.dockerfile, reasons.get(one.line, ""))
            self._keep_secrets(draft, one)
        if draft.dockerfile == rest.NAME:
            draft.rest = rest.text(self.dockerfile, kept, self.machine.given)

    def _keep_secrets(self, draft: Draft, instruction: Instruction) -> None:
        for mount in instruction.flags.get("mount", []) if instruction.name == "RUN" else []:
            options = caching.options(mount)
            if options.get("type") == "secret" and options.get("id"):
                self._add_secret(draft, instruction, options, "dockerfile")

    def _add_secret(self, draft: Draft, instruction: Instruction, options: Mapping[str, str], phase: str) -> None:
        name = options["id"]
        variable = re.sub(r"\W", "_", name, flags=re.ASCII).upper()
        found = draft.secrets.setdefault(name, {"name": name, "env": variable, "phases": []})
        phases = found["phases"]
        assert isinstance(phases, list)
        if phase not in phases:
            phases.append(phase)
        if options.get("required", "false") not in ("true", "1", ""):
            found["optional"] = "true"
        told = (
            f"line {instruction.line}: secret {name} is taken from ${variable} of the host: say so if it is elsewhere"
        )
        draft.warnings = list(dict.fromkeys([*draft.warnings, told]))

    def _carry(self, draft: Draft, instruction: Instruction, state: State) -> None:  # noqa: C901 (a row for each)
        match instruction.name:
            case "RUN":
                self._run(draft, instruction, state)
            case "COPY" | "ADD":
                self._copy(draft, instruction, state)
            case "WORKDIR":
                self._workdir(draft, instruction, state)
            case "USER":
                self._user(draft, instruction, state)
            case "ENV":
                self._warn(draft, instruction, self.machine.pairs(instruction, state))
            case "ARG":
                self._arg(draft, instruction, state)
            case "ENTRYPOINT" | "CMD":
                place = "" if self.existing else "entry.command"
                draft.tell(instruction, place, "the config's entry.command is what runs" if self.existing else "")
            case "SHELL":
                draft.tell(instruction, "setup", "in each script that it is for")
            case "EXPOSE" | "HEALTHCHECK":
                self._remark(draft, instruction, state)
            case "LABEL":
                self._label(draft, instruction, state)
            case name if name in _NO_PLACE:
                draft.tell(instruction, "", _NO_PLACE[name])
            case _:
                raise Unsayable("it is not known here")

    def _run(self, draft: Draft, instruction: Instruction, state: State) -> None:
        for mount in instruction.flags.get("mount", []):
            options = caching.options(mount)
            if options.get("type") == "cache":
                continue
            target = options.get("target") or options.get("dst") or options.get("destination")
            if options.get("type") != "secret" or not options.get("id") or options.get("env"):
                raise Unsayable(f"--mount=type={options.get('type', 'bind')} is the builder's")
            if target not in (None, f"{SECRETS_FOLDER}/{options['id']}"):
                raise Unsayable(f"its secret is at {target}")
        if others := instruction.flags.keys() - {"mount"}:
            raise Unsayable(f"--{min(others)} is the builder's")
        if instruction.heredocs and instruction.heredocs[0].content.startswith("#!"):
            raise Unsayable("its document is a program")
        if automatic := [name for name in self._automatic(instruction) if name not in state.args]:
            raise Unsayable(f"{automatic[0]} is known to the builder")
        caches = [self._cache(said, state) for said in caching.of_type(instruction, "cache")]
        row = draft.tell(instruction, "setup", "all of setup has its cache" if caches else "")
        for path, sharing in caches:
            draft.caches[path] = max(sharing, draft.caches.get(path, ""), key=("", *SHARINGS).index)
        for options in caching.of_type(instruction, "secret"):
            self._add_secret(draft, instruction, options, "setup")
        script = scripts.script(instruction, state, self._given(state), self.workdir)
        draft.setup.append(Piece(script, instruction.comment, self._run_as(state), row))

    def _cache(self, said: Mapping[str, str], state: State) -> tuple[str, str]:
        path = caching.target(said, state)
        caching.check_others(path, said, self.final.instructions, self.states)
        users = [self._home, self.workdir]
        return path, caching.sharing(path, said, users, [*users, HABITAT_PATH])

    @property
    def _home(self) -> str:
        """Of USER, who is given one where the image doesn't know him."""
        return self.base.users.home(self.user) or ("/root" if self.user == "root" else f"/home/{self.user}")

    def _automatic(self, instruction: Instruction) -> list[str]:
        declared = [name for name in self.machine.named if _AUTOMATIC.fullmatch(name)]
        return sorted(name for name in declared if instruction.mentions(name))

    def _given(self, state: State) -> dict[str, str]:
        """Variables that phases set are everywhere in a habitat; what else differs is set right in the script."""
        return {name: value for name, value in self.env.items() if name not in PHASE_VARIABLES or name in state.env}

    def _run_as(self, state: State) -> str:
        name, _, group = state.user.partition(":")
        if name in ("", "0", "root") and group in ("", "0", "root"):
            return "root"
        if group:
            raise Unsayable(f"it runs as {state.user}, with a group of its own")
        return "user" if name == self.user else name

    def _copy(self, draft: Draft, instruction: Instruction, state: State) -> None:
        if instruction.heredocs:
            raise Unsayable("its document is no file of the habitat's folder")
        if others := instruction.flags.keys() - {"chown", "chmod", "link"}:
            raise Unsayable(f"--{min(others)} is the builder's")
        flags = {
            name: [self.machine.word(instruction, value, state) for value in values]
            for name, values in instruction.flags.items()
        }
        *words, dest = (self.machine.word(instruction, word, state) for word in instruction.args)
        paths = copy.sources(self.context, instruction, words)
        is_folder = len(words) > 1 or self._is_folder(dest, state)
        dest = f"{state.at(dest).rstrip('/')}/" if is_folder else state.at(dest)
        whole = self.context.is_local if draft.setup else self.context.copied_as_whole
        rights = copy.owner(flags), copy.mode(flags)
        copied = list(copy.plan(self.context, paths, dest, rights, whole))
        if any(re.search(r"[\x00-\x1f]|\{\}", one.source + one.dest) for one in copied):
            raise Unsayable("a name in it has no place in a config")
        row = draft.tell(instruction, "", "" if len(copied) == len(words) else "by name, as they are now")
        if draft.setup:
            self._copy_later(draft, instruction, copied, row)
        else:
            self._copy_first(draft, instruction, copied, row)

    @staticmethod
    def _copy_first(draft: Draft, instruction: Instruction, copied: Sequence[Copied], row: Row) -> None:
        """As `files:`, since nothing ran before."""
        first, last = len(draft.files), len(draft.files) + len(copied) - 1
        row.place = f"files[{first}]" if len(copied) == 1 else f"files[{first}…{last}]"
        for number, one in enumerate(copied):
            draft.files.append(Piece(dict(one.entry()), () if number else instruction.comment))

    def _copy_later(self, draft: Draft, instruction: Instruction, copied: Sequence[Copied], row: Row) -> None:
        """As a script at its place."""
        if not all(self.context.is_local(one.source.removeprefix(".")) for one in copied):
            raise Unsayable("it comes after a RUN, and not all of it is at $LOCAL_PATH")
        row.place = "setup"
        lines = [line for one in copied for line in one.script(_FOLDERS | {self.workdir})]
        draft.setup.append(Piece("\n".join(dict.fromkeys(lines)), instruction.comment, "root", row))

    def _is_folder(self, dest: str, state: State) -> bool:
        known = {*_FOLDERS, *(one.workdir for one in self.states), self.end.workdir}
        return dest.endswith(("/", "/.")) or dest in (".", "..") or state.at(dest) in known

    def _workdir(self, draft: Draft, instruction: Instruction, state: State) -> None:
        path = self.machine.after(instruction, state).workdir
        if path == self.workdir:
            draft.tell(instruction, "env.WORKDIR")
            return
        if path in (state.workdir, self.base.config.workdir or "/", "/"):
            draft.tell(instruction, "setup", "in each script that it is for")
            return
        row = draft.tell(instruction, "setup")
        draft.setup.append(Piece(f"mkdir -p {shlex.quote(path)}", instruction.comment, "root", row))

    def _user(self, draft: Draft, instruction: Instruction, state: State) -> None:
        user = self.machine.after(instruction, state).user
        if user == self.end.user and not self.existing:
            if self.user:
                draft.tell(instruction, "env.USER")
            else:
                draft.tell(instruction, "", "a habitat's USER is a name: say which with env: USER=NAME")
            return
        draft.tell(instruction, "setup", "in each script that it is for")

    def _arg(self, draft: Draft, instruction: Instruction, state: State) -> None:
        found = self.machine.after(instruction, state).args
        names = [word.partition("=")[0] for word in instruction.args]
        draft.tell(instruction, "setup", "in each script that finds it")
        self._warn(draft, instruction, [(name, found.get(name, "")) for name in names], tell=False)

    def _warn(
        self, draft: Draft, instruction: Instruction, pairs: Sequence[tuple[str, str]], *, tell: bool = True
    ) -> None:
        own = [name for name, _ in pairs if name in PHASE_VARIABLES]
        if tell:
            why = f"{own[0]} is the habitat's own variable" if own else ""
            draft.tell(instruction, "" if own else "env", why)
        for name, value in pairs:
            if value and _SECRET.search(name):
                told = (
                    f"line {instruction.line}: {name} looks like a secret, and is in the image: `secrets:` keeps it out"
                )
                draft.warnings.append(told)

    def _remark(self, draft: Draft, instruction: Instruction, state: State) -> None:
        if instruction.name == "EXPOSE":
            ports = [self.machine.word(instruction, word, state) for word in instruction.args]
            draft.remarks.append(f"ports: [{', '.join(ports)}]")
        elif instruction.args[0].upper() != "NONE":
            command = instruction.args[1:]
            draft.remarks.append(f"ready: {shlex.join(command) if instruction.is_json else ' '.join(command)}")
        draft.tell(instruction, "entry", "as a comment")

    def _label(self, draft: Draft, instruction: Instruction, state: State) -> None:
        labels = dict(self.machine.pairs(instruction, state))
        name = next((name for name in ("org.opencontainers.image.description", "description") if name in labels), "")
        if not name or self.existing:
            draft.tell(instruction, "", _NO_PLACE["LABEL"])
            return
        draft.description = " ".join(labels.pop(name).split())
        draft.tell(instruction, "description", f"but for {', '.join(labels)}: {_NO_PLACE['LABEL']}" if labels else "")

    # The sections that follow from all of it

    def _own_env(self) -> list[Piece]:
        """Who is in the habitat, and where, unless a config says so already."""
        if self.existing:
            return []
        own = [f"USER={self.user}"] if self.user else []
        return list(map(Piece, [*own, f"WORKDIR={quoted(self.workdir)}", f"HABITAT_PATH={HABITAT_PATH}"]))

    def _set_entry(self, draft: Draft) -> None:
        argv = (*self.end.entrypoint, *self.end.command)
        if self.existing or not argv or argv in _SHELLS:
            return
        if len(argv) == 3 and argv[:2] == ("/bin/sh", "-c"):
            draft.command = quoted(argv[2])
        else:
            draft.command = quoted(f"exec {shlex.join(argv)}")


class _Stays(Exception):
    """The instruction of this number stays a Dockerfile's."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(why)
        self.number = number
