"""The verbs, in the order of a day."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.ui.verbs import destroy, exec, logs, migrate, plan, shell, start, stop  # noqa: A004 (a verb's name)

if TYPE_CHECKING:
    from phases.ui.verbs.verb import Verb

VERBS: tuple[Verb, ...] = (plan, start, shell, exec, logs, stop, destroy, migrate)

NAMES = tuple(verb.NAME for verb in VERBS)
