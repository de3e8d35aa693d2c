"""The verbs, in the order of a day."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.ui.verbs import destroy, eject, exec, logs, plan, shell, start, stop  # noqa: A004 (a verb's name)

if TYPE_CHECKING:
    from phases.ui.verbs.verb import Verb

VERBS: tuple[Verb, ...] = (plan, start, shell, exec, logs, stop, destroy, eject)

NAMES = tuple(verb.NAME for verb in VERBS)
