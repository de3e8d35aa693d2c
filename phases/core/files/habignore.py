"""The .habignore files of one tree: of the layer that it belongs to, and of the folders in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.files.ignore import (
    CREDENTIALS,
    DEFAULT_IGNORE,
    Ignore,
    Rule,
    gitignore_verdict,
    habignore_lines,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


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
    built_in = [*(name for name in DEFAULT_IGNORE if credentials or name not in CREDENTIALS), *more]
    folder, top = root.resolve(), layer.resolve()
    if folder.is_relative_to(top):
        prefix = "".join(f"{part}/" for part in folder.relative_to(top).parts)
        return Ignore(Rule(_NestedRules(top, prefix, built_in)))
    return Ignore(Rule(_NestedRules(folder, "", [*built_in, *habignore_lines(layer)])))


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
        self._verdicts: dict[str, Callable[[str], bool | None] | None] = {}
        self._verdict("")  # reports a wrong line even if the tree is empty

    def __call__(self, path: str) -> bool:
        place = self._prefix + path
        folder = place.removesuffix("/")
        while folder:
            folder = folder.rpartition("/")[0]
            verdict = self._verdict(folder)
            answer = verdict(place[len(folder) :].removeprefix("/")) if verdict else None
            if answer is not None:
                return answer
        return bool(self._built_in(path))

    def _verdict(self, folder: str) -> Callable[[str], bool | None] | None:
        """Return what the .habignore of one folder says, None if it has no lines."""
        if folder not in self._verdicts:
            lines = [line for line in habignore_lines(self._top / folder) if line.strip()]
            self._verdicts[folder] = gitignore_verdict(lines) if lines else None
        return self._verdicts[folder]
