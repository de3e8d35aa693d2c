"""Convert the instructions that neither run nor copy anything: ENV, ARG, USER, WORKDIR, LABEL and others."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from phases.core.migrate.accounts import id_number
from phases.core.migrate.dockerfile_state import SHELL
from phases.core.migrate.result import ListItem, NotConvertible, escape_dollars
from phases.core.model import PHASE_VARIABLES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from phases.core.migrate.dockerfile import Instruction
    from phases.core.migrate.dockerfile_state import BuildState
    from phases.core.migrate.inputs import Inputs
    from phases.core.migrate.result import Conversion

_SECRET = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|(API|ACCESS|PRIVATE|AUTH)_?KEY", re.IGNORECASE)

_DESCRIPTIONS = ("org.opencontainers.image.description", "description")

#: Instructions that no config has, each with the reason.
WITHOUT_COUNTERPART = {
    "LABEL": "the phases set a habitat's labels",
    "MAINTAINER": "a config names no maintainer",
    "ONBUILD": "no image is built FROM a habitat",
    "STOPSIGNAL": "a habitat's init stops it with TERM",
    "VOLUME": "its content stays in the container; `volumes:` mounts a folder of the host",
}

_SHELLS = [("/bin/sh",), ("sh",), ("bash",), ("/bin/bash",), ("ash",), ("/bin/ash",)]

_IN_SCRIPTS = "in each script that needs it"


class SettingConverter:
    """Converts instructions that neither run nor copy anything into keys of the config."""

    def __init__(self, inputs: Inputs, conversion: Conversion) -> None:
        self._inputs = inputs
        self._conversion = conversion

    def convert(self, instruction: Instruction, state: BuildState) -> None:
        """Convert one instruction.

        Raises:
            NotConvertible: The program doesn't know the instruction.
        """
        converters = {
            "WORKDIR": self._workdir,
            "USER": self._user,
            "ENV": self._env,
            "ARG": self._arg,
            "LABEL": self._label,
            "EXPOSE": self._ports,
            "HEALTHCHECK": self._healthcheck,
        }
        if converter := converters.get(instruction.name):
            converter(instruction, state)
        elif instruction.name in ("ENTRYPOINT", "CMD"):
            why = self._command_dropped(instruction)
            self._conversion.report(instruction, "" if why else "entry.command", why)
        elif instruction.name == "SHELL":
            self._conversion.report(instruction, "setup", _IN_SCRIPTS)
        elif instruction.name in WITHOUT_COUNTERPART:
            self._conversion.report(instruction, "", WITHOUT_COUNTERPART[instruction.name])
        else:
            raise NotConvertible(f"migrate doesn't know {instruction.name}")

    def _workdir(self, instruction: Instruction, state: BuildState) -> None:
        inputs = self._inputs
        path = inputs.interpreter.after(instruction, state).workdir
        is_made = path in (state.workdir, inputs.base.config.workdir or "/", "/") or inputs.base.is_folder(path)
        # Hooks come before phase workdir, or may do.
        is_own = path == inputs.workdir
        if (is_own and not self._conversion.region) or is_made:
            row = self._conversion.report(
                instruction, "env.WORKDIR" if is_own else "setup", "" if is_own else _IN_SCRIPTS
            )
            return
        row = self._conversion.report(instruction, "setup")
        self._conversion.add_script(f"mkdir -p {shlex.quote(path)}", instruction.comment, "root", row)

    def _user(self, instruction: Instruction, state: BuildState) -> None:
        user = self._inputs.interpreter.after(instruction, state).user
        if user != self._inputs.end.user or self._inputs.existing:
            self._conversion.report(instruction, "setup", _IN_SCRIPTS)
        elif self._inputs.user:
            by_number = f"its number is {self._inputs.user}'s" if id_number(user.partition(":")[0]) >= 0 else ""
            self._conversion.report(instruction, "env.USER", "" if self._inputs.user == "root" else by_number)
        else:
            self._conversion.report(instruction, "uid", "no user of the image has the number; USER gets it")

    def _env(self, instruction: Instruction, state: BuildState) -> None:
        pairs = self._inputs.interpreter.pairs(instruction, state)
        own = [name for name, _ in pairs if name in PHASE_VARIABLES]
        self._conversion.report(instruction, "" if own else "env", f"phases set {own[0]} themselves" if own else "")
        self._warn_of_secrets(instruction, pairs)

    def _arg(self, instruction: Instruction, state: BuildState) -> None:
        values = self._inputs.interpreter.after(instruction, state).args
        names = [word.partition("=")[0] for word in instruction.args]
        self._conversion.report(instruction, "setup", _IN_SCRIPTS)
        self._warn_of_secrets(instruction, [(name, values.get(name, "")) for name in names])

    def _warn_of_secrets(self, instruction: Instruction, pairs: Iterable[tuple[str, str]]) -> None:
        for name, value in pairs:
            if value and _SECRET.search(name):
                problem = f"{name} looks like a secret and ends up in the image; use `secrets:` instead"
                self._conversion.warn(instruction, problem)

    def _command_dropped(self, instruction: Instruction) -> str:
        """Return why an ENTRYPOINT or a CMD is not in `entry.command`, "" if it is."""
        if self._inputs.existing:
            return "the config's entry.command runs instead"
        same = [one for one in self._inputs.instructions if one.name == instruction.name]
        if same[-1] is not instruction:
            return f"line {same[-1].line} replaces it"
        if not self._inputs.end.argv:
            return "it leaves no command, and a habitat without one starts a shell"
        return "" if command(self._inputs) else "a habitat starts a shell by itself: bash, if the image has it"

    def _ports(self, instruction: Instruction, state: BuildState) -> None:
        ports = [self._inputs.interpreter.expand(instruction, word, state) for word in instruction.args]
        self._hint(instruction, f"ports: [{', '.join(ports)}]")

    def _healthcheck(self, instruction: Instruction, state: BuildState) -> None:
        last = [one for one in self._inputs.instructions if one.name == instruction.name][-1]
        kind, *words = instruction.args
        if instruction is not last:
            self._conversion.report(instruction, "", f"line {last.line} replaces it")
        elif kind.upper() == "NONE":
            self._conversion.report(instruction, "", "a habitat runs no health check")
        elif instruction.is_json:
            self._hint(instruction, f"ready: {shlex.join(words)}")
        else:
            text = " ".join(words)
            own_shell = state.shell != SHELL
            self._hint(instruction, f"ready: {shlex.join([*state.shell, text]) if own_shell else text}")

    def _hint(self, instruction: Instruction, line: str) -> None:
        self._conversion.entry_hints += [line] if line else []
        self._conversion.report(instruction, "entry", "as a comment")

    def _label(self, instruction: Instruction, state: BuildState) -> None:
        labels = dict(self._inputs.interpreter.pairs(instruction, state))
        name = next((name for name in _DESCRIPTIONS if name in labels), "")
        if not name or self._inputs.existing:
            self._conversion.report(instruction, "", WITHOUT_COUNTERPART["LABEL"])
            return
        self._conversion.description = " ".join(labels.pop(name).split())
        remark = f"without {', '.join(labels)}: {WITHOUT_COUNTERPART['LABEL']}" if labels else ""
        self._conversion.report(instruction, "description", remark)


def command(inputs: Inputs) -> str:
    """Return `entry.command`, "" where the habitat's own default is as good."""
    argv = inputs.end.argv
    if inputs.existing or not argv or argv in _SHELLS:
        return ""
    if len(argv) == 3 and argv[:2] == ("/bin/sh", "-c"):
        return escape_dollars(argv[2])
    return escape_dollars(f"exec {shlex.join(argv)}")


def env_items(inputs: Inputs, numbers: Iterable[int]) -> list[ListItem]:
    """Convert ENV instructions to `env:`, where the last definition of a name holds everywhere.

    Args:
        inputs: What the conversion reads.
        numbers: The instructions to convert.

    Returns:
        For each name its last value, with earlier ones that this value refers to.
    """
    kept: list[tuple[str, ListItem]] = []
    for number in numbers:
        instruction, state = inputs.instructions[number], inputs.states[number]
        if instruction.name != "ENV":
            continue
        comment = instruction.comment
        for name, value in inputs.interpreter.pairs(instruction, state):
            if name in PHASE_VARIABLES:
                continue
            before = state.env.get(name, "")
            extends = before and before in value and value != before
            if extends and instruction.mentions(f"${name}", f"${{{name}}}"):
                head, _, tail = value.partition(before)
                text = f"{escape_dollars(head)}${{{name}}}{escape_dollars(tail)}"
            else:
                kept = [(other, item) for other, item in kept if other != name]
                text = escape_dollars(value)
            kept.append((name, ListItem(f"{name}={text}", comment)))
            comment = ()
    return [item for _, item in kept]
