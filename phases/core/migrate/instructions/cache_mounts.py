"""Convert `RUN --mount=type=cache` into an item of `caches:`, which all of setup has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.config.mounts import caches
from phases.core.config.mounts.mountable_paths import overlap, within
from phases.core.config.schema.sections import SHARINGS
from phases.core.migrate.result import NotConvertible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phases.core.migrate.dockerfile import Instruction
    from phases.core.migrate.dockerfile_state import BuildState

_TARGETS = ("target", "dst", "destination")

# The other options that are allowed. Neither a cache's id nor its initial content matters.
_KNOWN = frozenset({"type", *_TARGETS, "sharing", "id", "uid", "gid", "mode"})


def parse(mount: str) -> dict[str, str]:
    """Return the options of a `--mount=`."""
    return dict(part.partition("=")[::2] for part in mount.split(","))


def of_type(instruction: Instruction, kind: str) -> list[dict[str, str]]:
    """Return the options of each mount of a RUN that has this type."""
    mounts = map(parse, instruction.flags.get("mount", []))
    return [options for options in mounts if options.get("type") == kind]


def path(options: Mapping[str, str], state: BuildState) -> str:
    """Return where a cache is mounted.

    Raises:
        NotConvertible: The path has a variable.
    """
    target = next((options[key] for key in _TARGETS if options.get(key)), "")
    if not target or "$" in target or '"' in target:
        raise NotConvertible("only docker build knows the path of its cache")
    return state.absolute(target)


def sharing(path: str, options: Mapping[str, str], home_folders: Sequence[str], built: Sequence[str]) -> str:
    """Return how a cache is shared; a private one becomes locked, since both have one user at a time.

    Args:
        path: Where the cache is mounted.
        options: Those of its mount.
        home_folders: Folders in which a new folder belongs to USER.
        built: Folders that the build fills.

    Raises:
        NotConvertible: The config can't have such a cache, or none at this path.
    """
    if others := options.keys() - _KNOWN:
        raise NotConvertible(f"a config's cache has no {min(others)}=")
    is_users = any(path != folder and within(path, folder) for folder in home_folders if folder != "/")
    is_owned = any(options.get(key, "0") != "0" for key in ("uid", "gid"))
    if (is_owned and not is_users) or options.get("mode", "755").lstrip("0") != "755":
        raise NotConvertible(f"a config can't set the owner or mode of {path}")
    if flaw := caches.flaw(path, built):
        raise NotConvertible(f"{path} can't be a cache: {flaw}")
    return SHARINGS[options.get("sharing") in ("locked", "private")]


def check_other_uses(
    path: str, options: Mapping[str, str], instructions: Sequence[Instruction], states: Sequence[BuildState]
) -> None:
    """Check that no other instruction uses the path of a cache as a part of the image.

    Raises:
        NotConvertible: One does, or has another cache there.
    """
    for instruction, state in zip(instructions, states, strict=True):
        if instruction.name == "RUN":
            _check_run(path, options, instruction, state)
        elif instruction.name in ("COPY", "ADD") and within(state.absolute(instruction.args[-1]), path):
            raise NotConvertible(f"line {instruction.line} copies to {path}, which is its cache")


def _check_run(cache: str, options: Mapping[str, str], run: Instruction, state: BuildState) -> None:
    has_cache = False
    for other in of_type(run, "cache"):
        place = path(other, state)
        if place == cache and other.get("id") == options.get("id"):
            has_cache = True
        elif overlap(place, cache):
            raise NotConvertible(f"line {run.line} has another cache at {place}")
    if not has_cache and run.mentions(cache):
        raise NotConvertible(f"line {run.line} uses {cache} without the cache")
