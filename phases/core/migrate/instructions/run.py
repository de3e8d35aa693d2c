"""Convert RUN into a script of `setup:`, with its caches and secrets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from phases.core.migrate.inputs import HABITAT_PATH
from phases.core.migrate.instructions import cache_mounts, scripts
from phases.core.migrate.result import ListItem, NotConvertible
from phases.core.model import SECRETS_FOLDER
from phases.protocol import PHASE_VARIABLES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from phases.core.migrate.dockerfile import Instruction
    from phases.core.migrate.dockerfile_state import BuildState
    from phases.core.migrate.inputs import Inputs
    from phases.core.migrate.result import Conversion

# BuildKit sets these to the platforms that it builds on and for.
_PLATFORM = re.compile(r"(TARGET|BUILD)(PLATFORM|OS|ARCH|VARIANT)")


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
        self._check_platform(instruction, state)
        caches = [self._cache(options, state) for options in cache_mounts.of_type(instruction, "cache")]
        row = self._conversion.report(instruction, "setup", "all scripts of setup see its cache" if caches else "")
        for path, sharing in caches:
            self._conversion.add_cache(path, sharing)
        for options in cache_mounts.of_type(instruction, "secret"):
            self._conversion.add_secret(instruction, options, "setup")
        script = scripts.script(instruction, state, self._env(state), self._inputs.workdir)
        self._conversion.setup.append(ListItem(script, instruction.comment, self._run_as(state), row))

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
        if instruction.heredocs and instruction.heredocs[0].content.startswith("#!"):
            raise NotConvertible("its here-document begins with #!")

    def _check_platform(self, instruction: Instruction, state: BuildState) -> None:
        declared = sorted(name for name in self._inputs.interpreter.declared_args if _PLATFORM.fullmatch(name))
        for name in declared:
            if instruction.mentions(name) and name not in state.args:
                raise NotConvertible(f"only docker build knows {name}")

    def _cache(self, options: Mapping[str, str], state: BuildState) -> tuple[str, str]:
        inputs = self._inputs
        path = cache_mounts.path(options, state)
        cache_mounts.check_other_uses(path, options, inputs.instructions, inputs.states)
        folders = [inputs.home, inputs.workdir]
        return path, cache_mounts.sharing(path, options, folders, [*folders, HABITAT_PATH])

    def _env(self, state: BuildState) -> dict[str, str]:
        """Return the variables of setup, without those of phases that the RUN didn't have: they do no harm."""
        env = self._inputs.setup_env
        return {name: value for name, value in env.items() if name not in PHASE_VARIABLES or name in state.env}

    def _run_as(self, state: BuildState) -> str:
        name, _, group = state.user.partition(":")
        if name in ("", "0", "root") and group in ("", "0", "root"):
            return "root"
        if group:
            raise NotConvertible(f"it runs as {state.user}, and a config gives no group")
        return "user" if name == self._inputs.user else name
