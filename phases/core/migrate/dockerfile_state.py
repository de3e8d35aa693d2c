"""The state of a build before each instruction of a Dockerfile: variables, user, folder, shell."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from phases.core.cache.dockerfile_references import platform_args
from phases.core.errors import ConfigError, did_you_mean
from phases.core.migrate import dockerfile
from phases.core.variables import DEFAULT_PATH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from phases.core.engine.types import ImageConfig
    from phases.core.migrate.dockerfile import Dockerfile, Instruction, Stage

SHELL = ("/bin/sh", "-c")

#: Variables with the platforms that BuildKit builds on and for. FROM knows them, other instructions behind an ARG.
PLATFORM = re.compile(r"(TARGET|BUILD)(PLATFORM|OS|ARCH|VARIANT)")


@dataclass(frozen=True)
class BuildState:
    """The state that an instruction starts from.

    Attributes:
        env: Variables of the image and of ENV.
        args: Variables of ARG.
        user: As USER gives it, "" for root.
        has_cmd: Whether a CMD came after the base image.
    """

    env: Mapping[str, str] = field(default_factory=dict)
    args: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    workdir: str = "/"
    shell: tuple[str, ...] = SHELL
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    has_cmd: bool = False

    @property
    def variables(self) -> dict[str, str]:
        """The variables of a RUN, and those that a word may refer to."""
        return {**self.args, **self.env}

    @property
    def argv(self) -> tuple[str, ...]:
        """The command line of a container."""
        return (*self.entrypoint, *self.command)

    def absolute(self, path: str) -> str:
        """Return an absolute path for one that is relative to WORKDIR."""
        return "/" + posixpath.normpath(posixpath.join(self.workdir, path)).lstrip("/")


def _image_state(image: ImageConfig) -> BuildState:
    """Return the state behind a FROM that names this image."""
    return BuildState(
        env={"PATH": DEFAULT_PATH, **image.env},
        user=image.user,
        workdir=image.workdir or "/",
        shell=image.shell or SHELL,
        entrypoint=image.entrypoint,
        command=image.command,
    )


def _triggers(image: ImageConfig) -> Iterator[Instruction]:
    """Yield the instructions that `docker build` runs behind a FROM that names this image."""
    if image.on_build:
        yield from dockerfile.parse("\n".join(("FROM scratch", *image.on_build)), "ONBUILD").stages[0].instructions


class Interpreter:
    """Follows the instructions of a Dockerfile as `docker build` does.

    Args:
        parsed: The Dockerfile.
        build_args: Values that replace those of ARG instructions.
        platform: The platform to build for, like linux/amd64.

    Attributes:
        by_platform: The names of variables whose values depend on the platform.
    """

    def __init__(self, parsed: Dockerfile, build_args: Mapping[str, str], platform: str = "") -> None:
        self.dockerfile = parsed
        self.build_args = build_args
        self.by_platform = {name for name in platform_args("") if name not in build_args}
        for instruction in (*parsed.head, *(one for stage in parsed.stages for one in stage.instructions)):
            if instruction.name not in ("ARG", "ENV"):
                continue
            words = instruction.args if instruction.name == "ARG" else [f"{name}=" for name in instruction.args[::3]]
            names = {word.partition("=")[0] for word in words if "=" in word} - build_args.keys()
            if self.platform_variable(instruction):
                self.by_platform |= names
            else:
                self.by_platform -= names
        self._global_args: Mapping[str, str] = {**platform_args(platform), **build_args}
        state = BuildState(args={name: self._global_args[name] for name in platform_args("")})
        for instruction in parsed.head:
            state = self.after(instruction, state)
        self._global_args = state.args

    def platform_variable(self, instruction: Instruction) -> str:
        """Return a variable that an instruction refers to and that depends on the platform, "" for none."""
        names = re.findall(r"\$\{?(\w+)", "\n".join(instruction.lines))
        return next((name for name in names if name in self.by_platform), "")

    def expand(self, instruction: Instruction, text: str, state: BuildState, *, quoted: bool = False) -> str:
        """Return a text of an instruction with its variables replaced.

        Args:
            instruction: The instruction.
            text: The text.
            state: The variables.
            quoted: Whether its quotes stay.

        Raises:
            ConfigError: Its quotes or variables are wrong.
        """
        from e2b_dockerfile_utils import ShellLex

        try:
            return ShellLex(
                self.dockerfile.escape, skip_process_quotes=quoted, env=state.variables, skip_unset_env=False
            ).process_word(text)
        except ValueError as error:
            where = self.dockerfile.where(instruction)
            raise ConfigError(str(error), where=where, remedy="fix the line, then run the same command") from error

    def base(self, instruction: Instruction) -> str:
        """Return the image or stage that a FROM names; it has only the ARGs before the first FROM."""
        return self.expand(instruction, instruction.args[0], BuildState(args=self._global_args))

    def parent(self, stage: Stage) -> Stage | None:
        """Return the stage that a stage is built on, None where that is an image."""
        base = self.base(stage.start).lower()
        before = self.dockerfile.stages[: self.dockerfile.stages.index(stage)]
        return next((one for one in reversed(before) if one.alias == base), None)

    def chain(self, stage: Stage) -> list[Stage]:
        """Return the stages that a stage is built on, the one on an image first, and itself."""
        parent = self.parent(stage)
        return [*(self.chain(parent) if parent else ()), stage]

    @property
    def first_stage(self) -> Stage:
        """The stage whose FROM names the image that the last stage is built on."""
        return self.chain(self.dockerfile.stages[-1])[0]

    def start(self, image: ImageConfig) -> BuildState:
        """Return the state behind a FROM that names this image, its ONBUILD included."""
        state = _image_state(image)
        for instruction in _triggers(image):
            state = self.after(instruction, state)
        return replace(state, args={})

    def states(self, stage: Stage, base: BuildState) -> list[BuildState]:
        """Return the state before each instruction of a stage, and behind the last.

        Args:
            stage: The stage.
            base: The state of the image that it is built on, directly or through other stages.
        """
        parent = self.parent(stage)
        state = self.states(parent, base)[-1] if parent else base
        states = [replace(state, args={})]
        for instruction in stage.instructions:
            states.append(self.after(instruction, states[-1]))
        return states

    def check_build_args(self) -> None:
        """Check that the Dockerfile has an ARG for each build argument.

        Raises:
            ConfigError: It lacks one.
        """
        stages = (one for stage in self.dockerfile.stages for one in stage.instructions)
        args = (one for one in (*self.dockerfile.head, *stages) if one.name == "ARG")
        names = {word.partition("=")[0] for one in args for word in one.args}
        for name in self.build_args:
            if name not in names:
                remedy = did_you_mean(name, names) if names else f"leave out --arg {name}=…"
                raise ConfigError(f"there is no ARG {name}", where=self.dockerfile.shown, remedy=remedy)

    def after(self, instruction: Instruction, state: BuildState) -> BuildState:  # noqa: PLR0911 (a row for each)
        """Return the state behind an instruction."""
        match instruction.name:
            case "ARG":
                return replace(state, args={**state.args, **self._args(instruction, state)})
            case "ENV":
                return replace(state, env={**state.env, **dict(self.pairs(instruction, state))})
            case "USER":
                return replace(state, user=self.expand(instruction, instruction.args[0], state))
            case "WORKDIR":
                return replace(state, workdir=state.absolute(self.expand(instruction, instruction.args[0], state)))
            case "SHELL":
                return replace(state, shell=instruction.args)
            case "ENTRYPOINT":
                command = state.command if state.has_cmd else ()
                return replace(state, entrypoint=_argv(instruction, state), command=command)
            case "CMD":
                return replace(state, command=_argv(instruction, state), has_cmd=True)
            case _:
                return state

    def _args(self, instruction: Instruction, state: BuildState) -> dict[str, str]:
        values = {}
        for word in instruction.args:
            name, has_default, default = word.partition("=")
            if name in self.build_args:
                values[name] = self.build_args[name]
            elif has_default:
                values[name] = self.expand(instruction, default, replace(state, args={**state.args, **values}))
            elif name in self._global_args:
                values[name] = self._global_args[name]
        return values

    def pairs(self, instruction: Instruction, state: BuildState) -> list[tuple[str, str]]:
        """Return the names and values of ENV or LABEL."""
        # The parser gives three words for each: name, value and the sign between them.
        pairs = zip(instruction.args[::3], instruction.args[1::3], strict=True)
        return [
            (self.expand(instruction, name, state), self.expand(instruction, value, state)) for name, value in pairs
        ]


def _argv(instruction: Instruction, state: BuildState) -> tuple[str, ...]:
    if instruction.is_json and instruction.args == ("",):
        return ()  # an engine takes it for none
    return instruction.args if instruction.is_json else (*state.shell, *instruction.args)
