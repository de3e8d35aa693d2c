"""Find the images that a Dockerfile names, in its FROM, `COPY --from` and `RUN --mount=from=`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from phases.core.files import safe_open

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from e2b_dockerfile_utils import DockerfileInstruction

    from phases.core.model import Habitat

# Bytes of a Dockerfile: no person writes a longer one.
_MOST = 1_000_000

_FROM_OPTION = re.compile(r"(?:^|,)from=([^,]+)")


def dockerfile_text(habitat: Habitat) -> str:
    """Return the text of a habitat's Dockerfile, "" if it can't be read, which `docker build` reports."""
    try:
        data = safe_open.read(habitat.folder / habitat.dockerfile, _MOST)
    except OSError:
        return ""
    return (data or b"").decode("utf-8-sig", errors="replace")


def references(text: str, platform: str) -> list[str]:
    """Return the images that a Dockerfile names, in the order of its lines, each once.

    Stages are none of them, nor is an image by digest, which is always the same. A Dockerfile that can't be parsed
    names no image: `docker build` reports what is wrong.

    Args:
        text: The Dockerfile.
        platform: The platform that the engine builds for, like linux/amd64.
    """
    stages = {"scratch"}
    images: dict[str, None] = {}
    for word, alias in _words(text, platform):
        if word and word.lower() not in stages and not word.isdecimal() and "@" not in word:
            images[word] = None
        stages.add(alias.lower())
    return list(images)


def problem(text: str) -> str:
    """Return why the images of a Dockerfile are not known, "" if it can be parsed."""
    from e2b_dockerfile_utils import DockerfileSyntaxError, parse_dockerfile_ast

    try:
        parse_dockerfile_ast(text)
    except DockerfileSyntaxError as error:
        return str(error)
    return ""


def base(text: str, platform: str) -> str:
    """Return the image that the last stage is built on, "" if that is `scratch` or not known."""
    bases = {"scratch": ""}
    last = ""
    for word, alias in _words(text, platform):
        if alias:
            last = bases.get(word.lower(), word)
            bases[alias.lower()] = last
    return last


def _words(text: str, platform: str) -> Iterator[tuple[str, str]]:
    """Yield what stands behind each FROM and `from=`, with the name of the stage that a FROM begins."""
    from e2b_dockerfile_utils import DockerfileSyntaxError, ShellLex, parse_dockerfile_ast

    try:
        dockerfile = parse_dockerfile_ast(text)
    except DockerfileSyntaxError:
        return

    def expand(word: str, args: Mapping[str, str]) -> str:
        try:
            return ShellLex(dockerfile.escape_token, env=args, skip_unset_env=False).process_word(word)
        except ValueError:
            return ""

    global_args = platform_args(platform)
    args: dict[str, str] | None = None
    for number, one in enumerate(dockerfile.instructions):
        if one.name == "FROM" and one.args:
            yield expand(one.args[0], global_args), one.args[2] if len(one.args) > 2 else f"stage at {number}"
            args = {}
        scope = global_args if args is None else args
        for name, value in _assignments(one):
            scope[name] = global_args.get(name, "") if value is None else expand(value, scope)
        for word in _from_options(one):
            yield expand(word, scope), ""


def _assignments(one: DockerfileInstruction) -> Iterator[tuple[str, str | None]]:
    """Yield the names and values of an ARG or ENV. The value is None for an ARG without one."""
    if one.name == "ARG":
        for word in one.args:
            name, has_value, value = word.partition("=")
            yield name, value if has_value else None
    elif one.name == "ENV":
        # The parser gives three words for each: name, value and the sign between them.
        yield from zip(one.args[::3], one.args[1::3], strict=False)


def _from_options(one: DockerfileInstruction) -> Iterator[str]:
    """Yield the value of each `--from=` of a COPY, and of each `from=` in a `--mount=` of a RUN."""
    for flag in one.flags:
        name, _, value = flag.partition("=")
        if (one.name, name) == ("COPY", "--from"):
            yield value
        elif (one.name, name) == ("RUN", "--mount") and (source := _FROM_OPTION.search(value)):
            yield source[1].strip("\"'")


def platform_args(platform: str) -> dict[str, str]:
    """Return the variables that match PLATFORM, for a platform like linux/arm/v7."""
    system, arch, variant = (*platform.split("/"), "", "", "")[:3]
    values = {"PLATFORM": platform, "OS": system, "ARCH": arch, "VARIANT": variant}
    return {f"{side}{name}": value for side in ("TARGET", "BUILD") for name, value in values.items()}
