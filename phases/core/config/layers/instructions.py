"""The keys `instructions` and `entry.instruction_files`: a text for agents, and the files in which they read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.agent_text import AgentText
from phases.core.config.mounts.mountable_paths import in_home, within
from phases.core.config.yaml_tree import Tree
from phases.core.errors import ConfigError
from phases.core.problems import Problems

if TYPE_CHECKING:
    from collections.abc import Iterable

    from phases.core.config import schema
    from phases.core.config.scope import Scope
    from phases.core.model import Habitat

_KEY = "instructions"
_FILES = ("entry", "instruction_files")


def as_list(tree: Tree) -> Tree:
    """Return a layer's config with a list in place of a single text or file, so that layers can be merged."""
    entry = tree.at((_KEY,))
    if entry is None or entry.value is None or isinstance(entry.value, list) or not isinstance(tree.value, dict):
        return tree
    return Tree({**tree.value, _KEY: Tree([entry], entry.origin)}, tree.origin, tree.is_wrong)


def instructions(
    scope: Scope, entries: str | schema.InstructionKeys | list[str | schema.InstructionKeys]
) -> tuple[AgentText, ...]:
    """Return the entries of `instructions:`. Collects errors."""
    listed = entries if isinstance(entries, list) else [entries]
    return scope.each((_KEY,), listed, lambda i, entry: _instruction(scope, i, entry))


def _instruction(scope: Scope, i: int, entry: str | schema.InstructionKeys) -> AgentText:
    where = scope.at(_KEY, i)
    if isinstance(entry, str):
        return AgentText(entry, None, "", where)
    source, shown, _ = scope.host_path(entry.file, _KEY, i, "file")
    if not source.is_file():
        raise ConfigError(f"instructions: {shown} is not a file", where=where, remedy="name a file with text")
    return AgentText("", source, shown, where)


def files(scope: Scope, texts: Iterable[str]) -> tuple[str, ...]:
    """Return the paths of `entry.instruction_files`, each once. Collects errors."""
    return tuple(dict.fromkeys(scope.each(_FILES, texts, lambda i, text: _file(scope, i, text))))


def _file(scope: Scope, i: int, text: str) -> str:
    path = scope.habitat_path(text, *_FILES, i)
    if not path.startswith("~/") or scope.names_folder(text, *_FILES, i):
        remedy = "write it like ~/.agent/AGENTS.md; a file elsewhere could be in a repository"
        raise scope.wrong_value(text, "a file in USER's home", remedy, *_FILES, i)
    return path


def check(habitat: Habitat) -> None:
    """Refuse a file that would be written to the host, or into a repository. Raises ConfigError with their line."""
    problems = Problems()
    for path in habitat.entry.instruction_files:
        volumes = [(volume.dest, "a volume", volume.origin) for volume in habitat.volumes]
        repos = [(repo.path, "a repository", repo.origin) for repo in habitat.repos]
        for place, kind, origin in (*volumes, *repos):
            if within(path, in_home(place, "")):
                problem = f"{place} is {kind}, and entry.instruction_files has {path} in it"
                problems.add(ConfigError(problem, where=origin, remedy="use another path for one of them"))
    problems.raise_all()
