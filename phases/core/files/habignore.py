"""The .habignore files of one tree: of the layer that it belongs to, and of the folders in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.files.ignore import (
    CREDENTIALS,
    DEFAULT_IGNORE,
    HABIGNORE,
    Ignore,
    Rule,
    gitignore_verdict,
    habignore_lines,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from phases.core.files.ignore import Verdict


def rules_of_tree(root: Path, layer: Path, more: Sequence[str] = (), *, credentials: bool = True) -> Ignore:
    """Return the rules for a folder that is copied.

    As with .gitignore, a .habignore counts in its own folder and below, and that of a deeper folder takes precedence.
    If `root` is outside of the layer's folder, the layer's .habignore counts as one of `root`, and that of `root`
    takes precedence.

    Args:
        root: The folder that is copied.
        layer: The folder of the layer that copies it.
        more: Patterns besides the built-in ones. Every .habignore may include again what both leave out.
        credentials: Whether the built-in patterns are to name files with credentials.

    Raises:
        ConfigError: A .habignore is not readable, or has a line that is no pattern; also when the rules are called.

    """
    if not root.is_dir():
        return Ignore()
    names = DEFAULT_IGNORE if credentials else tuple(name for name in DEFAULT_IGNORE if name not in CREDENTIALS)
    built_in = (*names, *more)
    top = layer.resolve()
    folder = top if root == layer else root.resolve()
    if folder.is_relative_to(top):
        prefix = "".join(f"{part}/" for part in folder.relative_to(top).parts)
        rules = _NestedRules(top, prefix, built_in)
    else:
        rules = _NestedRules(folder, "", (*built_in, *habignore_lines(layer)))
    return Ignore(Rule(rules, enter=rules.enter))


class _NestedRules:
    """Says of a path whether the .habignore files between a folder and the path leave it out.

    Args:
        top: The folder with the first .habignore.
        prefix: The path of the tree in `top`, with a slash at its end, "" for `top` itself.
        built_in: The patterns that count if no .habignore says anything about a path.
    """

    def __init__(self, top: Path, prefix: str, built_in: Sequence[str]) -> None:
        self._top = top
        self._prefix = prefix
        self._built_in = gitignore_verdict(built_in)
        # For each folder, what the .habignore files in it and above it do, that in it first. The number is where a path
        # relative to the folder of the .habignore begins.
        self._verdicts: dict[str, list[tuple[int, Verdict]]] = {"": self._read("")}

    def __call__(self, path: str) -> bool:
        place = self._prefix + path
        for begin, verdict in self._verdicts_in(place.removesuffix("/").rpartition("/")[0]):
            answer = verdict(place[begin:])
            if answer is not None:
                return answer
        return bool(self._built_in(path))

    def enter(self, folder: str, names: Collection[str]) -> None:
        """Spare a request to open the .habignore of each folder that has none."""
        place = (self._prefix + folder).removesuffix("/")
        if HABIGNORE not in names and place not in self._verdicts:
            self._verdicts[place] = self._verdicts_in(place.rpartition("/")[0])

    def _verdicts_in(self, folder: str) -> list[tuple[int, Verdict]]:
        unread: list[str] = []  # no recursion, since a tree may be deeper than Python's limit
        while folder not in self._verdicts:
            unread.append(folder)
            folder = folder.rpartition("/")[0]
        verdicts = self._verdicts[folder]
        for deeper in reversed(unread):
            verdicts = self._verdicts[deeper] = [*self._read(deeper), *verdicts]
        return verdicts

    def _read(self, folder: str) -> list[tuple[int, Verdict]]:
        """Return what the .habignore in one folder does, [] if it has no lines."""
        lines = [line for line in habignore_lines(self._top / folder) if line.strip()]
        return [(len(folder) + 1 if folder else 0, gitignore_verdict(lines))] if lines else []
