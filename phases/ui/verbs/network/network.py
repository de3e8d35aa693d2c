"""`habitat network NAME`: show which hosts the habitat asked for, and what became of that."""

from __future__ import annotations

import sys
from typing import IO, TYPE_CHECKING, Any, cast

from phases.core.errors import StartError

if TYPE_CHECKING:
    from phases.core.project import Project

NAME = "network"
DESCRIPTION = "Show the hosts that it asked for"
EXAMPLE = ("network", "--as-config")
BUILDS = False
HARMLESS = True
OPTIONS: tuple[dict[str, Any], ...] = (
    {
        "name": "as_config",
        "long": "as-config",
        "type": bool,
        "default": False,
        "help": "print the hosts that were reached as a list for the config",
    },
    {
        "name": "follow",
        "long": "follow",
        "type": bool,
        "default": False,
        "help": "show each request as it comes, until the habitat stops",
    },
    {
        "name": "prove",
        "long": "prove",
        "type": bool,
        "default": False,
        "help": "prove again that the running habitat has no other way out",
    },
)
WORDS = False
PIPES = False


def run(project: Project, name: str, *, as_config: bool = False, follow: bool = False, prove: bool = False) -> int:
    from phases.core.entry_settings import ALLOWLIST
    from phases.core.network import access_log, allowed
    from phases.ui.network import table
    from phases.ui.output import GuardedStream
    from phases.ui.screen import Screen

    habitat = project.habitat(name)
    if habitat.entry.network != ALLOWLIST:
        remedy = "write the hosts that it may reach: see docs/network.md"
        raise StartError(f"it has no allowlist: entry.network is {habitat.entry.network}", where=name, remedy=remedy)
    screen = Screen(cast("IO[str]", GuardedStream(sys.stdout)))
    if prove:
        from phases.core.network.gate import prove_again

        proofs = prove_again(project, habitat)
        for line in table.proofs(proofs):
            screen.line(line)
        return 0 if all(proof.holds for proof in proofs) else 1
    if follow:
        access_log.follow(project, name, lambda row: screen.line(table.line(row)))
        return 0
    log = access_log.read(project, name)
    if as_config:
        for line in table.config(access_log.names_of(row for row in log.requests if row.allowed)):
            screen.line(line)
        return 0
    for request in log.requests:
        project.bus.emit(table.event(name, request))
    for part in table.parts(name, log, allowed.read(project, name), habitat, wrap=screen.live):
        screen.line(part)
    return 0
