"""The verbs, in the order of a day."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.ui.verbs import plan, start

if TYPE_CHECKING:
    from phases.ui.verbs.verb import Verb

VERBS: tuple[Verb, ...] = (plan, start)

NAMES = tuple(verb.NAME for verb in VERBS)
