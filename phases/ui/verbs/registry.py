"""All verbs, in the order in which a person uses them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.ui.verbs import (
    debug,
    destroy,
    eject,
    exec,  # noqa: A004 (a verb's name)
    layer_tests,
    login,
    logs,
    migrate,
    plan,
    shell,
    start,
    stop,
    trust,
)
from phases.ui.verbs.commits import changes, fetch, send, take
from phases.ui.verbs.network import allow, deny, network
from phases.ui.verbs.set_aside import prune, restore

if TYPE_CHECKING:
    from phases.ui.verbs.verb import Verb

VERBS: tuple[Verb, ...] = (
    plan,
    start,
    debug,
    shell,
    exec,
    login,
    logs,
    changes,
    fetch,
    take,
    send,
    network,
    allow,
    deny,
    stop,
    restore,
    prune,
    destroy,
    trust,
    layer_tests,
    migrate,
    eject,
)

NAMES = tuple(verb.NAME for verb in VERBS)

#: The verbs that a habitat still has when it was removed or renamed.
FOR_REMOVED: tuple[Verb, ...] = (stop, prune, destroy)
