"""Everything that a conversion reads, and what follows from it for the habitat."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from phases.core.migrate.dockerfile_state import image_state

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phases.core.migrate.base_image import BaseImage
    from phases.core.migrate.dockerfile import Dockerfile, Instruction, Stage
    from phases.core.migrate.dockerfile_state import BuildState, Interpreter
    from phases.core.migrate.habitat_folder import HabitatFolder

#: Where the habitat's own folders go. The Dockerfile's WORKDIR may have to stay empty.
HABITAT_PATH = "/habitat"


@dataclass(frozen=True)
class ExistingConfig:
    """What a config.yaml beside the Dockerfile sets.

    Attributes:
        env: The names of the variables that it sets.
        has_copies: Whether it has files or volumes, which come between the Dockerfile and its setup.
    """

    user: str
    workdir: str
    env: tuple[str, ...] = ()
    has_copies: bool = False


@dataclass(frozen=True)
class Inputs:
    """Everything that a conversion reads.

    Attributes:
        base: The image that the last stage is built on, directly or through other stages.
        existing: None where there is no config.yaml: the Dockerfile decides on USER and WORKDIR.
        setup_is_list: Whether the existing setup, or the shared one, is a list; None where there is none.
    """

    dockerfile: Dockerfile
    interpreter: Interpreter
    base: BaseImage
    folder: HabitatFolder
    existing: ExistingConfig | None
    setup_is_list: bool | None

    @property
    def stage(self) -> Stage:
        """The last stage, which makes the image."""
        return self.dockerfile.stages[-1]

    @property
    def instructions(self) -> Sequence[Instruction]:
        """The instructions of the last stage."""
        return self.stage.instructions

    @cached_property
    def _all_states(self) -> list[BuildState]:
        return self.interpreter.states(self.stage, image_state(self.base.config))

    @property
    def states(self) -> list[BuildState]:
        """The state before each instruction of the last stage."""
        return self._all_states[:-1]

    @property
    def end(self) -> BuildState:
        """The state behind the last instruction."""
        return self._all_states[-1]

    @cached_property
    def user(self) -> str:
        """The habitat's USER, "" where the Dockerfile gives a number, which a habitat can't have."""
        if self.existing:
            return self.existing.user
        name = self.end.user.partition(":")[0]
        if name in ("", "0"):
            return "root"
        return "" if name.isdigit() else name

    @property
    def workdir(self) -> str:
        """The habitat's WORKDIR."""
        return self.existing.workdir if self.existing else self.end.workdir

    @property
    def home(self) -> str:
        """The home of USER, also where the image doesn't have that user yet."""
        return self.base.users.home(self.user) or ("/root" if self.user == "root" else f"/home/{self.user}")

    @cached_property
    def setup_env(self) -> Mapping[str, str]:
        """The variables of setup scripts; what an existing config sets differs from all that a RUN had."""
        return {**self.end.env, **dict.fromkeys(self.existing.env if self.existing else (), "\0")}
