"""The key `entry.env`: variables of all that runs in the habitat, which no build and no image has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.entry_settings import EntryVariable
from phases.core.errors import ConfigError
from phases.core.model import PHASE_VARIABLES
from phases.core.variables import Env, expand

if TYPE_CHECKING:
    from collections.abc import Iterable

    from phases.core.config.scope import Scope

_KEY = ("entry", "env")


def variables(scope: Scope, texts: Iterable[str]) -> tuple[EntryVariable, ...]:
    """Return the variables, whose values stay templates where they need a variable of the image. Collects errors."""
    entries = scope.each(_KEY, texts, lambda i, text: (scope.argument(text, *_KEY, i), scope.at(*_KEY, i)))
    own = Env(entries, scope.problems, ".".join(_KEY))
    result = []
    for name, value in own.values.items():
        origin = own.origin(name)
        with scope.problems:
            if name in PHASE_VARIABLES:  # the build makes USER and the folders, so a running habitat can't have others
                problem = f"entry.env: {name} can't be another one than in the build"
                raise ConfigError(problem, where=origin, remedy="set it in env: of the habitat, or remove it")
            # The value is a template, so the text around its variables must stay one too.
            template = expand(value.replace("$$", "$$$$"), lambda other: _of_build(scope, other), origin)
            result.append(EntryVariable(name, template, origin))
    return tuple(result)


def _of_build(scope: Scope, name: str) -> str:
    """Return the value that `env:` gives to a variable as a template; `${NAME}` if the image decides it."""
    value = scope.env.values.get(name, "${")
    return f"${{{name}}}" if "${" in value.replace("$$", "") else value
