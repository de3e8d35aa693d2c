"""A question that a person answers with yes or no."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def asked(question: str, show: Callable[[], None] = lambda: None) -> bool | None:
    """Ask on the terminal, once what belongs to the question is shown. Returns None where there is no terminal."""
    from phases.ui.terminal import LocalTerminal

    if not LocalTerminal().interactive:
        return None
    show()
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        print()  # noqa: T201 (the line of the question ends)
        return False
