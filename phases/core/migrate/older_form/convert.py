"""Convert a config.yaml in the form of claude-habitat, in the order in which one conversion needs another."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import yaml

from phases.core.config import older_form, yaml_tree
from phases.core.errors import ConfigError
from phases.core.migrate.older_form import brackets, commands, edits, entry_and_timeouts, sections, volumes
from phases.core.migrate.older_form.document import Document, scalars

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from phases.core.migrate.result import ReportRow

# References that the older tool filled in, and that no form of today has.
_LOST = re.compile(r"(?<!\$)\{(?:config|image|repositories|container)\.[\w.]+\}")


@dataclass(frozen=True)
class Converted:
    """A config in today's form.

    Attributes:
        text: The config.
        rows: The result for each key in the older form, by line.
        build_args: Arguments for the build of the Dockerfile.
    """

    text: str
    rows: list[ReportRow]
    build_args: dict[str, str] = field(default_factory=dict)


def convert(text: str, shown: str, *, is_local: bool) -> Converted:
    """Convert a config.

    Args:
        text: The text of a config.yaml that can be parsed.
        shown: The file's name in errors.
        is_local: Whether it is a habitat's own config; else it is that of a layer below.

    Raises:
        ConfigError: It has an anchor, whose value is at several places, or can't be edited line by line.
    """
    with refusing(shown):
        _check_anchors(text, shown)
        document, build_args = _convert(text, shown, is_local=is_local)
        config = document.text.rstrip() + "\n"
        check(config, shown)
    return Converted(config, sorted(document.rows, key=lambda row: row.line), build_args)


def _check_anchors(text: str, shown: str) -> None:
    """Refuse an anchor, whose value is at several places."""
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        if isinstance(token, yaml.AnchorToken):
            where = f"{shown}:{token.start_mark.line + 1}"
            problem = f"the anchor &{token.value} can't be converted"
            raise ConfigError(problem, where=where, remedy="write the value at each place that uses it")


@contextmanager
def refusing(shown: str) -> Iterator[None]:
    """Raise ConfigError where a config is written in a way that can't be edited line by line."""
    try:
        yield
    except (yaml.YAMLError, AssertionError, ValueError, LookupError) as error:
        first = next(iter(str(error).splitlines()), "") or type(error).__name__
        remedy = "write its lists and mappings without brackets, one element a line, then run the same command again"
        raise ConfigError(f"can't be converted ({first})", where=shown, remedy=remedy) from error


def check(config: str, shown: str) -> None:
    """Check that a converted config can be read. Raises ValueError."""
    try:
        yaml_tree.parse(config.encode(), layer="local", shown=shown)
    except ConfigError as error:
        raise ValueError(f"the result would have this error: {error.message}") from error


def _convert(text: str, shown: str, *, is_local: bool) -> tuple[Document, dict[str, str]]:
    """Return the edited config, and the arguments for the build of its Dockerfile."""
    document = Document(text)
    brackets.root_to_block(document)
    _convert_references(document, shown)
    build_args = sections.image(document)
    sections.environment(document)
    sections.repos(document)
    sections.files(document)
    volumes.volumes(document)
    user = entry_and_timeouts.entry(document)
    entry_and_timeouts.timeouts(document)
    commands.scripts(document, user)
    commands.setup(document, user, after_repos=is_local)
    if not is_local:
        sections.names_of_layer(document)
    return document, build_args


def _convert_references(document: Document, shown: str) -> None:
    """Write {env.NAME} and other references to values as ${NAME}: in paths, and everywhere if the config has old keys.

    Without such keys, braces in a command may be part of a program.
    """
    variables = {"user": "${USER}", "work_dir": "${WORKDIR}"}

    def change(text: str) -> str:
        text = older_form.TEMPLATE.sub(lambda match: f"${{{match[1]}}}" if match[1] else variables[match[2]], text)
        return text.replace("${work_dir}", "${WORKDIR}")

    tree = yaml_tree.parse(document.text.encode(), layer="local", shown=shown)
    names = document.names() if older_form.has_keys(tree) else older_form.PATH_SECTIONS
    referring = [node for node in _scalars_of(document, names) if change(node.value) != node.value]
    if referring:
        document.report(
            referring[-1], "{env.NAME}", "${NAME}", f"in {len(referring)} value{'s' if len(referring) > 1 else ''}"
        )
        edits.edit_scalars(document, referring, change)
    for node in _scalars_of(document, names):
        for match in _LOST.finditer(node.value):
            document.report(node, match[0], "", "write the value in its place")


def _scalars_of(document: Document, names: Iterable[str]) -> list[yaml.ScalarNode]:
    """Return the scalars in sections, the last one first."""
    return [node for key, value in reversed(document.root.value) if key.value in names for node in scalars(value)]
