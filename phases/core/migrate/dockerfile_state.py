"""What an instruction of a Dockerfile finds: variables, user, folder, shell."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from phases.core.errors import ConfigError, did_you_mean
from phases.core.variables import DEFAULT_PATH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from phases.core.engine.protocol import ImageConfig
    from phases.core.migrate.dockerfile import Dockerfile, Instruction, Stage

SHELL = ("/bin/sh", "-c")


@dataclass(frozen=True)
class State:
    """env: the image's, with ENV; args: what ARG brought into scope; user: "" for root; entrypoint and
    command: as the image has them; has_cmd: whether CMD was said since the base image.
    """

    env: Mapping[str, str] = field(default_factory=dict)
    args: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    workdir: str = "/"
    shell: tuple[str, ...] = SHELL
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    says_cmd: bool = False

    @property
    def variables(self) -> dict[str, str]:
        """What a word may name, and a RUN finds in its environment."""
        return {**self.args, **self.env}

    def at(self, path: str) -> str:
        """A path of the image, relative to the folder."""
        return "/" + posixpath.normpath(posixpath.join(self.workdir, path)).lstrip("/")


def of_image(image: ImageConfig) -> State:
    return State(
        env={"PATH": DEFAULT_PATH, **image.env},
        user=image.user,
        workdir=image.workdir or "/",
        entrypoint=image.entrypoint,
        command=image.command,
    )


class Machine:
    """Goes through the instructions of a Dockerfile, as `docker build` would. given: values of ARGs that
    override what it says.
    """

    def __init__(self, dockerfile: Dockerfile, given: Mapping[str, str]) -> None:
        self.dockerfile = dockerfile
        self.given = given
        self.named: set[str] = set()
        self.top: Mapping[str, str] = {}
        top = State()
        for instruction in dockerfile.head:
            top = self.after(instruction, top)
        self.top = top.args

    def word(self, instruction: Instruction, text: str, state: State) -> str:
        """A text with its variables replaced and its quotes taken off."""
        from e2b_dockerfile_utils import ShellLex

        try:
            return ShellLex(self.dockerfile.escape, env=state.variables, skip_unset_env=False).process_word(text)
        except ValueError as error:
            raise self._wrong(instruction, error) from error

    def _wrong(self, instruction: Instruction, error: ValueError) -> ConfigError:
        return ConfigError(str(error), where=self.dockerfile.where(instruction), remedy="mend the line")

    def base(self, instruction: Instruction) -> str:
        """The image, or stage, that a FROM names; only what stands before the first FROM is known there."""
        return self.word(instruction, instruction.args[0], State(args=self.top))

    def earlier(self, stage: Stage) -> Stage | None:
        """The stage that one goes on from; None where that is an image."""
        base = self.base(stage.start).lower()
        before = self.dockerfile.stages[: self.dockerfile.stages.index(stage)]
        return next((one for one in reversed(before) if one.alias == base), None)

    @property
    def first(self) -> Stage:
        """The stage that begins with the image on which the last one rests."""
        stage = self.dockerfile.stages[-1]
        while before := self.earlier(stage):
            stage = before
        return stage

    def states(self, stage: Stage, base: State) -> list[State]:
        """What each instruction of a stage finds, and at last what they leave. base: what the image leaves
        that the first one begins with.
        """
        before = self.earlier(stage)
        state = self.states(before, base)[-1] if before else base
        found = [replace(state, args={})]
        for instruction in stage.instructions:
            found.append(self.after(instruction, found[-1]))
        return found

    def check_given(self) -> None:
        """Raises ConfigError for a value of an ARG that is none of this Dockerfile's."""
        stages = (one for stage in self.dockerfile.stages for one in stage.instructions)
        args = (one for one in (*self.dockerfile.head, *stages) if one.name == "ARG")
        names = {word.partition("=")[0] for one in args for word in one.args}
        for name in self.given:
            if name not in names:
                remedy = did_you_mean(name, names) if names else "leave it out"
                raise ConfigError(f"there is no ARG {name}", where=self.dockerfile.shown, remedy=remedy)

    def after(self, instruction: Instruction, state: State) -> State:  # noqa: PLR0911 (a row for each)
        """The state that an instruction leaves."""
        match instruction.name:
            case "ARG":
                return replace(state, args={**state.args, **self._args(instruction, state)})
            case "ENV":
                return replace(state, env={**state.env, **dict(self.pairs(instruction, state))})
            case "USER":
                return replace(state, user=self.word(instruction, instruction.args[0], state))
            case "WORKDIR":
                return replace(state, workdir=state.at(self.word(instruction, instruction.args[0], state)))
            case "SHELL":
                return replace(state, shell=instruction.args)
            case "ENTRYPOINT":
                command = state.command if state.says_cmd else ()
                return replace(state, entrypoint=_argv(instruction, state), command=command)
            case "CMD":
                return replace(state, command=_argv(instruction, state), says_cmd=True)
            case _:
                return state

    def _args(self, instruction: Instruction, state: State) -> dict[str, str]:
        found = {}
        for word in instruction.args:
            name, has_default, default = word.partition("=")
            self.named.add(name)
            if name in self.given:
                found[name] = self.given[name]
            elif has_default:
                found[name] = self.word(instruction, default, replace(state, args={**state.args, **found}))
            elif name in self.top:
                found[name] = self.top[name]
        return found

    def pairs(self, instruction: Instruction, state: State) -> list[tuple[str, str]]:
        """NAME and value of ENV or LABEL."""
        triples = zip(instruction.args[::3], instruction.args[1::3], strict=True)
        return [(self.word(instruction, name, state), self.word(instruction, value, state)) for name, value in triples]


def _argv(instruction: Instruction, state: State) -> tuple[str, ...]:
    return instruction.args if instruction.is_json else (*state.shell, *instruction.args)
