"""The cells of the table of `doit status`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.filesize import decimal
from rich.text import Text

from phases.ui.status.signs import SIGNS

if TYPE_CHECKING:
    from datetime import datetime

    from phases.core.report.states import Base, ContainerState, HabitatState

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


def set_aside(habitat: HabitatState) -> Text:
    return Text(str(len(habitat.set_aside) or ""))


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
