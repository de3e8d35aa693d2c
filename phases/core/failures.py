"""What is told of a phase that failed, in the labels of the image that is kept of it."""

from __future__ import annotations

import contextlib
import itertools
import json
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field
from msgspec.structs import asdict

from phases.core.errors import without_credentials
from phases.core.snapshots import FAILED, LABEL_RESULT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Numbered, since the engine takes no more than 64 KB for one.
LABEL_FAILURE = "habitat.failure"

# Signs of one label: what it is written in may make two of each.
_PART = 30_000


class Failure(Struct, frozen=True):
    """message: what was wrong; where: in the config, or another place; when: in seconds since 1970.

    user, workdir: of the command that failed, or of the habitat where none did; what: how a person would
    call it; env: what it had beside the image's, but for secrets; script, args: as of a Run; code: its exit
    code, None where it did not end by itself; caches: that were mounted, the fields of each.
    """

    message: str
    where: str
    when: float
    user: str
    workdir: str
    what: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    script: str = ""
    args: Sequence[str] = ()
    code: int | None = None
    caches: Sequence[Mapping[str, Any]] = ()

    def labels(self) -> dict[str, str]:
        text = json.dumps(asdict(self))
        parts = (text[start : start + _PART] for start in range(0, len(text), _PART))
        return {LABEL_RESULT: FAILED, **{f"{LABEL_FAILURE}.{number}": part for number, part in enumerate(parts)}}


def told_by(labels: Mapping[str, str]) -> Failure | None:
    """The failure that an image's labels tell of; None where they tell of none that this program knows."""
    parts = (labels.get(f"{LABEL_FAILURE}.{number}") for number in itertools.count())
    text = "".join(part for part in itertools.takewhile(lambda part: part is not None, parts) if part)
    with contextlib.suppress(ValueError, TypeError):
        return Failure(**json.loads(text))
    return None


def argv(script: str, args: Sequence[str]) -> tuple[str, ...]:
    """How a script of a phase is run."""
    return ("/bin/sh", "-e", "-c", "--", script, "sh", *args)


def typed(script: str, args: Sequence[str]) -> list[str]:
    """A script as a shell would show it being typed; our own, which take arguments, stay ours."""
    if args:
        return []
    rows = without_credentials(script.strip()).splitlines()
    return [f"{'>' if number else '$'} {line}" for number, line in enumerate(rows)]
