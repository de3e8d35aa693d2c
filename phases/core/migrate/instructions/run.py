"""Convert RUN into a script of `setup:`, with its caches and secrets."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from phases.core.migrate.accounts import id_number
from phases.core.migrate.dockerfile_state import PLATFORM
from phases.core.migrate.harmless_commands import has_p
from phases.core.migrate.inputs import HABITAT_PATH, UNKNOWN
from phases.core.migrate.instructions import cache_mounts, scripts
from phases.core.migrate.result import NotConvertible
from phases.core.migrate.shell_commands import commands, expanded
from phases.core.model import PHASE_VARIABLES, SECRETS_FOLDER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from phases.core.migrate.dockerfile import Instruction
    from phases.core.migrate.dockerfile_state import BuildState
    from phases.core.migrate.inputs import Inputs
    from phases.core.migrate.result import Conversion

# Variables that say whose process it is. Setup may set them for the user of each script.
_PERSONAL = ("HOME", "USER", "LOGNAME", "SHELL")


class RunConverter:
    """Converts RUN instructions."""

    def __init__(self, inputs: Inputs, conversion: Conversion) -> None:
        self._inputs = inputs
        self._conversion = conversion

    def convert(self, instruction: Instruction, state: BuildState) -> None:
        """Convert one RUN.

        Raises:
            NotConvertible: It needs something that only `docker build` has.
        """
        self._check_flags(instruction)
        if self._conversion.region and instruction.flags.get("mount"):
            raise NotConvertible("it comes before a phase, and only setup has its caches and secrets")
        platform = self._platform(instruction, state)
        caches = [self._cache(options, state) for options in cache_mounts.of_type(instruction, "cache")]
        row = self._conversion.report(instruction, "setup", "all scripts of setup see its cache" if caches else "")
        for path, sharing in caches:
            self._conversion.add_cache(path, sharing)
        for options in cache_mounts.of_type(instruction, "secret"):
            self._conversion.add_secret(instruction, options, "setup")
        script = scripts.script(instruction, self._with_home(state), self._env(state), self._workdir, platform=platform)
        if self._makes_workdir(instruction, state):
            script = re.sub(r"\bmkdir(?= )", "mkdir -p", script)
        self._conversion.add_script(script, instruction.comment, self._run_as(state), row)

    @staticmethod
    def _check_flags(instruction: Instruction) -> None:
        for mount in instruction.flags.get("mount", []):
            options = cache_mounts.parse(mount)
            if options.get("type") == "cache":
                continue
            target = options.get("target") or options.get("dst") or options.get("destination")
            if options.get("type") != "secret" or not options.get("id") or options.get("env"):
                raise NotConvertible(f"only docker build has --mount=type={options.get('type', 'bind')}")
            if target not in (None, f"{SECRETS_FOLDER}/{options['id']}"):
                raise NotConvertible(f"its secret is at {target}, and a config's are in {SECRETS_FOLDER}")
        if others := instruction.flags.keys() - {"mount"}:
            raise NotConvertible(f"only docker build has --{min(others)}")
        first = next(iter(instruction.heredocs), None)
        if first and first.content.startswith("#!") and not scripts.is_document(instruction):
            raise NotConvertible("its here-document begins with #!, and isn't the whole script")

    def _platform(self, instruction: Instruction, state: BuildState) -> list[str]:
        """Return the names of the platform's variables that the script has to find out.

        Raises:
            NotConvertible: Only `docker build` knows the value of a variable in it.
        """
        interpreter = self._inputs.interpreter
        names = sorted(name for name in interpreter.by_platform & state.args.keys() if name not in state.env)
        known = [name for name in names if PLATFORM.fullmatch(name) and not name.endswith("VARIANT")]
        has_flag = any("platform" in stage.start.flags for stage in interpreter.chain(self._inputs.stage))
        for name in names:
            if instruction.mentions(name) and (has_flag or name not in known):
                raise NotConvertible(f"only docker build knows {name}")
        return known

    def _makes_workdir(self, instruction: Instruction, state: BuildState) -> bool:
        """Return whether a mkdir may fail, since phase workdir makes its folder before. -p changes nothing else."""
        parts = self._inputs.workdir.strip("/").split("/")
        return scripts.is_list(instruction) and any(
            words[0] == "mkdir" and not has_p(words) and not {*parts}.isdisjoint("/".join(words[1:]).split("/"))
            for words in commands(expanded(instruction, state.variables))
        )

    def _cache(self, options: Mapping[str, str], state: BuildState) -> tuple[str, str]:
        inputs = self._inputs
        path = cache_mounts.path(options, state)
        cache_mounts.check_other_uses(path, options, inputs.instructions, inputs.states)
        folders = [inputs.home, inputs.workdir]
        return path, cache_mounts.sharing(path, options, folders, [*folders, HABITAT_PATH])

    @property
    def _workdir(self) -> str:
        """The folder in which the script runs. Phase workdir sets that of later ones."""
        is_before = self._conversion.region in ("users", "workdir")
        return self._conversion.start.workdir if is_before else self._inputs.workdir

    def _with_home(self, state: BuildState) -> BuildState:
        """Return the state with HOME as `docker build` sets it, if the config sets another."""
        if "HOME" in state.variables or "HOME" not in self._given():
            return state
        return replace(state, env={"HOME": self._inputs.home_of(state.user), **state.env})

    def _given(self) -> dict[str, str]:
        """Return the variables of the point where the script runs. Phase env sets those of the config."""
        base, setup = dict(self._conversion.start.env), self._inputs.setup_env
        if self._conversion.region == "users":
            return base
        if self._conversion.region == "workdir":
            return {name: value if base.get(name) == value else UNKNOWN for name, value in setup.items()}
        return dict(setup)

    def _env(self, state: BuildState) -> dict[str, str]:
        """Return the variables that setup gives the script. A value that no variable can have is not certain."""
        inputs, given = self._inputs, self._given()
        env = {name: value for name, value in given.items() if name not in PHASE_VARIABLES}
        for name in (*PHASE_VARIABLES, *_PERSONAL):
            if name in env or name in state.variables:
                env[name] = inputs.workdir if name == "WORKDIR" and not self._conversion.region else UNKNOWN
        home = inputs.home_of(state.user)
        if given.get("HOME") == home:
            env["HOME"] = home
        return env

    def _run_as(self, state: BuildState) -> str:
        inputs = self._inputs
        name, _, group = state.user.partition(":")
        name = inputs.name_of(name) or name
        if group and not inputs.is_group_of(group, name):
            raise NotConvertible(f"it runs as {state.user}, and a config gives no group")
        is_before = self._conversion.region == "users"
        if (
            not is_before
            and id_number(name) >= 0
            and inputs.user != "root"
            and inputs.user not in inputs.accounts.users
        ):
            raise NotConvertible(f"it runs as {name}, a number that phase users may give to USER")
        return "root" if name == "root" else "user" if name == inputs.user else name
