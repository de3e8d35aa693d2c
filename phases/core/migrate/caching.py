"""`RUN --mount=type=cache` as an element of `caches:`, which all of setup has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.config import caches
from phases.core.config.mount_rules import overlap, within
from phases.core.migrate.copy import Unsayable
from phases.core.model import SHARINGS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phases.core.migrate.dockerfile import Instruction
    from phases.core.migrate.dockerfile_state import State

_TARGETS = ("target", "dst", "destination")

# What else may be said of one: what is in it, and which it is, counts for nothing.
_KNOWN = frozenset({"type", *_TARGETS, "sharing", "id", "uid", "gid", "mode"})


def options(mount: str) -> dict[str, str]:
    """Of a `--mount=`."""
    return dict(part.partition("=")[::2] for part in mount.split(","))


def of_type(instruction: Instruction, kind: str) -> list[dict[str, str]]:
    """The mounts of a RUN that are of a type."""
    return [said for mount in instruction.flags.get("mount", []) if (said := options(mount)).get("type") == kind]


def target(said: Mapping[str, str], state: State) -> str:
    """Where a cache is mounted. Raises Unsayable."""
    path = next((said[key] for key in _TARGETS if said.get(key)), "")
    if not path or "$" in path or '"' in path:
        raise Unsayable("where its cache is, is known to the builder")
    return state.at(path)


def sharing(path: str, said: Mapping[str, str], users: Sequence[str], built: Sequence[str]) -> str:
    """How the cache at `path` is shared. users: folders in which a missing one is USER's; built: those that hold
    what the build makes. A private one is nobody else's meanwhile, which a locked one is as well. Raises Unsayable
    where the place is none for a cache, or where another's would be there.
    """
    if others := said.keys() - _KNOWN:
        raise Unsayable(f"{min(others)} of its cache is the builder's")
    is_users = any(path != folder and within(path, folder) for folder in users if folder != "/")
    is_owned = any(said.get(key, "0") != "0" for key in ("uid", "gid"))
    if (is_owned and not is_users) or said.get("mode", "755").lstrip("0") != "755":
        raise Unsayable(f"whose {path} is, or its mode, is the builder's")
    if flaw := caches.flaw(path, built):
        raise Unsayable(f"{path} can't be a cache: {flaw}")
    return SHARINGS[said.get("sharing") in ("locked", "private")]


def check_others(
    path: str, said: Mapping[str, str], instructions: Sequence[Instruction], states: Sequence[State]
) -> None:
    """Raises Unsayable for what would be in the cache, and is in the image; or the other way round."""
    for one, state in zip(instructions, states, strict=True):
        if one.name == "RUN":
            _check_run(path, said, one, state)
        elif one.name in ("COPY", "ADD") and one.args and within(state.at(one.args[-1]), path):
            raise Unsayable(f"line {one.line} copies to {path}, which is its cache")


def _check_run(path: str, said: Mapping[str, str], run: Instruction, state: State) -> None:
    there = False
    for other in of_type(run, "cache"):
        place = target(other, state)
        if place == path and other.get("id") == said.get("id"):
            there = True
        elif overlap(place, path):
            raise Unsayable(f"line {run.line} has another cache at {place}")
    if not there and run.mentions(path):
        raise Unsayable(f"line {run.line} uses {path}, and not as a cache")
