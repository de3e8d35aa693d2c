"""Dockerfile.rest: the first lines of a Dockerfile, which no config.yaml can express."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from phases.core.copied_files import DOCKERFILE_REST
from phases.core.migrate.dockerfile import DIRECTIVE
from phases.core.migrate.instructions import cache_mounts
from phases.core.migrate.instructions.settings import WITHOUT_COUNTERPART

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phases.core.migrate.dockerfile import Dockerfile, Instruction
    from phases.core.migrate.inputs import Inputs
    from phases.core.migrate.result import Conversion

_HEAD = "# `habitat migrate` kept these lines of the Dockerfile: no config.yaml can express them."


def keep(
    inputs: Inputs, conversion: Conversion, first: int, reasons: Mapping[int, str], movable: Sequence[int] = ()
) -> None:
    """Keep the instructions before `first` in a Dockerfile, or set `base_image` where there are none.

    Args:
        inputs: What the conversion reads.
        conversion: Gets the text, the report rows and the secrets.
        first: The number of the first instruction of the last stage that is converted; -1 if FROM is, too.
        reasons: From the number of an instruction to why it has to stay.
        movable: The numbers of instructions before `first` that are converted, too.
    """
    dockerfile, start = inputs.dockerfile, inputs.stage.start
    earlier = [one for stage in dockerfile.stages[:-1] for one in (stage.start, *stage.instructions)]
    if first < 0:
        conversion.base_image = inputs.interpreter.base(start)
        for one in (*dockerfile.head, start):
            conversion.report(one, "base_image")
        for one in earlier:
            conversion.report(one, "", "the image uses nothing of this stage")
        return
    # Phases keep nothing that they write to a VOLUME, so the lines that stay have none.
    to_convert = [inputs.instructions[number] for number in movable]
    volumes = [one for one in inputs.instructions[:first] if one.name == "VOLUME"]
    is_changed = bool(inputs.interpreter.build_args or volumes or to_convert)
    is_whole = first == len(inputs.instructions) and not is_changed
    conversion.dockerfile = "Dockerfile" if is_whole else DOCKERFILE_REST
    whys = {(start if number < 0 else inputs.instructions[number]).line: why for number, why in reasons.items()}
    to_keep = [
        *dockerfile.head,
        *earlier,
        start,
        *(one for one in inputs.instructions[:first] if one not in to_convert),
    ]
    for one in to_keep:
        if one in volumes:
            conversion.report(one, "", WITHOUT_COUNTERPART[one.name])
            continue
        conversion.report(one, conversion.dockerfile, whys.get(one.line, ""))
        if one.name == "RUN":
            for options in cache_mounts.of_type(one, "secret"):
                if options.get("id"):
                    conversion.add_secret(one, options, "dockerfile")
    if not is_whole:
        conversion.rest = _text(dockerfile, to_keep, volumes, to_convert, inputs.interpreter.build_args)


def _text(
    dockerfile: Dockerfile,
    to_keep: Sequence[Instruction],
    volumes: Sequence[Instruction],
    to_convert: Sequence[Instruction],
    build_args: Mapping[str, str],
) -> str:
    """Return the lines of `to_keep` without those of `to_convert`.

    Its ARGs have the values of `build_args`, and `volumes` are comments.
    """
    lines = list(dockerfile.lines[: max(one.end for one in to_keep)])
    for one in volumes:
        lines[one.line - 1 : one.end] = [f"# {line}" for line in one.lines]
    for one in to_keep:
        if one.name == "ARG" and {word.partition("=")[0] for word in one.args} & build_args.keys():
            words = (_argument(word, build_args, dockerfile.escape) for word in one.args)
            lines[one.line - 1 : one.end] = [f"ARG {' '.join(words)}", *[""] * (one.end - one.line)]
    for one in reversed(to_convert):
        del lines[one.line - 1 - len(one.comment) : one.end]
    at = next((number for number, line in enumerate(lines) if not DIRECTIVE.match(line)), 0)
    return "\n".join([*lines[:at], _HEAD, *lines[at:]]) + "\n"


def _argument(word: str, build_args: Mapping[str, str], escape: str) -> str:
    name = word.partition("=")[0]
    if name not in build_args:
        return word
    value = re.sub(rf'([{re.escape(escape)}"$])', lambda match: escape + match[1], build_args[name])
    return f'{name}="{value}"'
