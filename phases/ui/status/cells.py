"""The cells of the table of `habitat status`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.filesize import decimal
from rich.text import Text

from phases.core import command_form
from phases.core.cache import image_labels
from phases.core.errors import printable
from phases.ui.status.signs import SIGNS

if TYPE_CHECKING:
    from datetime import datetime

    from phases.core.report.states import Base, ContainerState, HabitatState
    from phases.core.runtime.orphans import Orphan

# Units of an age: its seconds, the number at which the next unit begins, and its name.
_UNITS = ((1, 60, "s"), (60, 60, "m"), (3600, 24, "h"), (86400, 14, "d"), (604800, 9, "w"), (2629746, 24, "mo"))
_YEAR = 31556952


def age(since: datetime, now: datetime) -> str:
    """Return an age such as 42s, 5m, 3h, 2d, 3w, 5mo or 2y."""
    seconds = max(0, int((now - since).total_seconds()))
    ages = (f"{seconds // unit}{name}" for unit, most, name in _UNITS if seconds < unit * most)
    return next(ages, f"{seconds // _YEAR}y")


def container(state: ContainerState | None, now: datetime) -> Text:
    if state is None:
        return Text()
    since = f" {age(state.since, now)}" if state.since else ""
    inside = f", {len(state.pids)} in it" if state.pids else ""
    return Text(f"up{since}{inside}", "green") if state.running else Text(f"stopped{since}")


def set_aside(habitat: HabitatState, now: datetime | None = None) -> Text:
    """Return how many containers were set aside, with their size, the age of the oldest, and how many run."""
    if not habitat.set_aside:
        return Text()
    oldest = age(habitat.aside_since, now) if habitat.aside_since and now else ""
    up = f"{len(habitat.aside_up)} up" if habitat.aside_up else ""
    parts = (str(len(habitat.set_aside)), size(habitat.aside_bytes).plain, oldest, up)
    return Text(", ".join(filter(None, parts)))


def orphan(left: Orphan) -> Text:
    """Return what is left of a removed habitat, and what removes it."""
    up = f" ({len(left.running)} up)" if left.running else ""
    parts = [
        f"{_counted(len(left.containers), 'container')}{up}" if left.containers else "",
        _counted(len(left.volumes), "volume") if left.volumes else "",
        _counted(left.images, "image") if left.images else "",
    ]
    name, before = printable(left.name), ""
    verbs = ["destroy"] * bool(left.containers or left.volumes) + ["clean"] * bool(left.images)
    commands = [command_form.command(verb, name) for verb in verbs]
    if left.is_renamed:
        before = f", as {printable(image_labels.repository(left.engine_name))}"
        commands = [command_form.verb("destroy", name, "--earlier-names")]
    counted = ", ".join(filter(None, parts))
    shown = ", ".join(f"`{command}`" for command in commands)
    return Text.assemble((name, "bold"), f"{before}: {counted}; to remove: {shown}")


def _counted(count: int, kind: str) -> str:
    return f"{count} {kind}{'' if count == 1 else 's'}"


def size(count: int | None) -> Text:
    return Text(decimal(count).replace("bytes", "B") if count else "")


def base(image: Base | None, now: datetime) -> Text:
    if image is None:
        return Text()
    reference = image.reference or "of the Dockerfile"
    return Text(f"{reference}, {base_age(image, now)} old" if image.created else reference)


def base_age(image: Base | None, now: datetime) -> str:
    return age(image.created, now) if image and image.created else ""


def note(habitat: HabitatState) -> Text:
    """Return a habitat's error, or why its first phase would run. The signs show that it was never built."""
    if habitat.error:
        return Text(habitat.error)
    first = habitat.first
    if first is None or (first is habitat.phases[0] and first.state == "new"):
        return Text()
    return Text.assemble((first.name, SIGNS[first.state].style), ": ", first.reason)
