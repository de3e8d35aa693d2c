"""Find the instructions that stay in a Dockerfile or come before a phase, as far as one can tell before converting."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from phases.core.migrate import accounts
from phases.core.migrate.harmless_commands import only_harmless
from phases.core.migrate.instructions import scripts
from phases.core.migrate.instructions.copied_path import FOLDERS
from phases.core.migrate.shell_commands import commands, expanded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.core.migrate.inputs import Inputs

# Instructions, beside RUN, that leave the value of a variable in the image.
_PLACED = ("ENV", "COPY", "ADD", "WORKDIR", "USER")

_USER_COMMANDS = "|".join(accounts.CREATE_USER)
_ACCOUNT_COMMANDS = "|".join((*accounts.CREATE_USER, *accounts.CREATE_GROUP))


def reasons_to_stay(inputs: Inputs) -> dict[int, str]:
    """Find instructions that have to stay in a Dockerfile, as far as one can tell before converting.

    Returns:
        From the number of the instruction, -1 for FROM, to the reason.
    """
    reasons = {}
    start = inputs.stage.start
    if inputs.interpreter.parent(inputs.stage):
        reasons[-1] = "it builds on another stage"
    elif start.flags:
        reasons[-1] = f"a config has no {start.text.split()[1]}"
    elif inputs.interpreter.base(start) == "scratch":
        reasons[len(inputs.instructions) - 1] = "scratch is not an image"
    elif inputs.interpreter.platform_variable(start):
        reasons[-1] = "the platform decides which image it is"
    elif inputs.base.config.on_build:
        reasons[-1] = "its image has ONBUILD, which only docker build runs"
    for number, instruction in enumerate(inputs.instructions):
        if instruction.name in ("RUN", "COPY", "ADD") and (volume := _used_volume(inputs, number)):
            reasons[number] = f"phases keep nothing in {volume}, a VOLUME of the image"
        variable = inputs.interpreter.platform_variable(instruction)
        if variable and instruction.name in _PLACED:
            reasons[number] = f"only docker build knows {variable}"
    return reasons


def reasons_for_hooks(inputs: Inputs) -> dict[str, tuple[int, str]]:
    """Find the last instruction that has to come before a phase.

    Returns:
        From the phases of POINTS, in their order, to the number of the instruction, and the reason.
    """
    runs = [number for number, instruction in enumerate(inputs.instructions) if instruction.name == "RUN"]
    copied = {runs[-1]: "the config's files and volumes come after it"} if runs else {}
    regions = {
        "users": _user_created_by(inputs, runs),
        "workdir": _workdir_created_by(inputs, runs),
        "files": copied if inputs.existing and inputs.existing.has_copies else {},
    }
    return {region: (max(reasons), reasons[max(reasons)]) for region, reasons in regions.items() if reasons}


def _used_volume(inputs: Inputs, number: int) -> str:
    """Return the VOLUME of the base image that an instruction may write to, "" for none."""
    instruction, state = inputs.instructions[number], inputs.states[number]
    if instruction.name == "RUN":
        texts = [_text(inputs, number), state.workdir]
    else:
        texts = [state.absolute(inputs.interpreter.expand(instruction, instruction.args[-1], state))]
    pattern = r"(?<![\w.-]){}(?![\w.-])"
    volumes = inputs.base.config.volumes
    return next((one for one in volumes for text in texts if re.search(pattern.format(re.escape(one)), text)), "")


def _user_created_by(inputs: Inputs, runs: Sequence[int]) -> dict[int, str]:
    """Find the RUN that creates USER: phase users would create a missing USER before it."""
    user = inputs.user
    if user in inputs.base.users:
        return {}
    first_use = next((n for n in range(len(inputs.states)) if _needs_user(inputs, n)), len(inputs.states))
    before = [number for number in runs if number < first_use]
    naming = [number for number in before if _mentions(inputs, number, user or inputs.uid)]
    if any(_creates(inputs, number, _USER_COMMANDS) for number in naming):
        naming = [number for number in naming if _creates(inputs, number, _ACCOUNT_COMMANDS)]
    candidates = naming or ([] if inputs.existing or not user else before)
    who = user or f"the user with the number {inputs.uid}"
    if candidates:
        return {candidates[-1]: f"it may create {who}, and phase users would do so first"}
    if user in inputs.accounts.users:
        return {}
    others = [number for number in runs if accounts.creates_regular_account(commands(_text(inputs, number)))]
    return {others[-1]: "it creates an account, and phase users would take its number"} if others else {}


def _needs_user(inputs: Inputs, number: int) -> bool:
    """Return whether an instruction fails in an image without USER."""
    instruction, state = inputs.instructions[number], inputs.states[number]
    owners = [inputs.interpreter.expand(instruction, owner, state) for owner in instruction.flags.get("chown", [])]
    names = [state.user] if instruction.name == "RUN" else owners
    return inputs.user in map(inputs.name_of, names)


def _creates(inputs: Inputs, number: int, names: str) -> bool:
    """Return whether a RUN has one of these commands with USER as the name to create.

    It is the last word, or the first with an option behind it. In `adduser USER GROUP` and `useradd -G USER NAME`
    it is not.
    """
    name = re.escape(inputs.user)
    words = rf"(?:[^\n;&|<>]*\s)?{name}\s*(?:$|[\n;&|<>)}}]|\d>)|{name}\s+-"
    return bool(re.search(rf"\b(?:{names})\s+(?:{words})", _text(inputs, number)))


def _mentions(inputs: Inputs, number: int, word: str) -> bool:
    """Return whether a RUN has a word, as it is or as the value of a variable."""
    return bool(re.search(rf"(?<![\w.-]){re.escape(word)}(?![\w.-])", _text(inputs, number)))


def _text(inputs: Inputs, number: int) -> str:
    """Return the script of a RUN without quotes, with known variables replaced."""
    return re.sub("[\"']", "", expanded(inputs.instructions[number], inputs.states[number].variables))


def _workdir_created_by(inputs: Inputs, runs: Sequence[int]) -> dict[int, str]:
    """Find the RUN that creates WORKDIR or a folder above it: phase workdir would create it before."""
    path = inputs.workdir
    states = [*inputs.states, inputs.end]
    first_use = next((n for n, state in enumerate(states) if f"{state.workdir}/".startswith(f"{path}/")), len(states))
    folders = []
    while path not in FOLDERS and not inputs.base.is_folder(path):
        folders.append(path)
        path = posixpath.dirname(path)
    naming = [number for number in runs if number < first_use and _may_create(inputs, number, folders)]
    return {naming[-1]: f"it may create {inputs.workdir}, and phase workdir would do so first"} if naming else {}


def _may_create(inputs: Inputs, number: int, folders: Sequence[str]) -> bool:
    """Return whether a RUN names one of these folders, by its path or by its last part, and may depend on its absence.

    The last part may be the name of an archive, of a repository, or of the user whose home it is.
    """
    if not folders:
        return False
    state = inputs.states[number]
    words = "|".join(map(re.escape, (*folders, *map(posixpath.basename, folders))))
    naming = re.compile(rf"(?<![\w.-])({words})(?![\w-]|\.(?!git|tar|tgz|zip|t.z))")
    if not naming.search(_text(inputs, number)):
        return False
    # A missing folder above WORKDIR belongs to who makes it, and to root if phase workdir does.
    is_root = inputs.name_of(state.user) == "root"
    parsed = commands(expanded(inputs.instructions[number], state.variables))
    is_list = scripts.is_list(inputs.instructions[number])
    is_harmless = parsed and only_harmless(parsed, folders, naming, is_list=is_list)
    return not is_harmless or not (is_root or len(folders) == 1)
