"""Everything that a conversion reads, and what follows from it for the habitat."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from phases.core.migrate.accounts import Accounts, id_number
from phases.core.migrate.shell_commands import commands, expanded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phases.core.migrate.base_image import BaseImage
    from phases.core.migrate.dockerfile import Dockerfile, Instruction, Stage
    from phases.core.migrate.dockerfile_state import BuildState, Interpreter
    from phases.core.migrate.habitat_folder import HabitatFolder

#: Where the habitat's own folders go. The Dockerfile's WORKDIR may have to stay empty.
HABITAT_PATH = "/habitat"

#: Stands for the value of a variable that is not known. No variable can have it.
UNKNOWN = "\0"


@dataclass(frozen=True)
class ExistingConfig:
    """The settings of a config.yaml beside the Dockerfile.

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
        return self.interpreter.states(self.stage, self.interpreter.start(self.base.config))

    @property
    def states(self) -> list[BuildState]:
        """The state before each instruction of the last stage."""
        return self._all_states[:-1]

    @property
    def end(self) -> BuildState:
        """The state behind the last instruction."""
        return self._all_states[-1]

    @cached_property
    def accounts(self) -> Accounts:
        """The users behind the last instruction."""
        accounts = Accounts(self.base.users)
        for stage in self.interpreter.chain(self.stage):
            states = self.interpreter.states(stage, self.interpreter.start(self.base.config))
            for instruction, state in zip(stage.instructions, states, strict=False):
                if instruction.name == "RUN":
                    text = expanded(instruction, state.variables)
                    accounts.apply(text, commands(text))
        return accounts

    @cached_property
    def user(self) -> str:
        """The habitat's USER, "" where the Dockerfile gives a number that no user has."""
        return self.existing.user if self.existing else self.name_of(self.end.user)

    @property
    def uid(self) -> str:
        """The number of USER, "" where the Dockerfile gives a name."""
        return "" if self.user else self.end.user.partition(":")[0].lstrip("0")

    def name_of(self, user: str) -> str:
        """Return the name of the user that a USER gives by name or number, with or without a group; "" for none."""
        name = user.partition(":")[0]
        uid = id_number(name)
        if uid > 0:
            return self.accounts.name_of(uid)
        return "root" if not name or uid == 0 else name

    @property
    def workdir(self) -> str:
        """The habitat's WORKDIR."""
        return self.existing.workdir if self.existing else self.end.workdir

    @property
    def home(self) -> str:
        """The home of USER, also where the image doesn't have that user yet."""
        return self.home_of(self.user)

    def home_of(self, user: str) -> str:
        """Return the home of a user that USER gives by name or number; / for a number that no user has."""
        name = self.name_of(user)
        account = self.accounts.users.get(name)
        return (account and account.home) or ("/root" if name == "root" else f"/home/{name}" if name else "/")

    def is_group_of(self, group: str, name: str) -> bool:
        """Return whether a group, given by name or number, is the first one of a user."""
        account = self.accounts.users.get(name)
        root = ("0", "root") if name == "root" else ()
        return group in root or (account is not None and group in self.accounts.group_names(account.group))

    @cached_property
    def setup_env(self) -> Mapping[str, str]:
        """The variables of setup scripts; what an existing config sets differs from all that a RUN had."""
        return {**self.end.env, **dict.fromkeys(self.existing.env if self.existing else (), UNKNOWN)}
