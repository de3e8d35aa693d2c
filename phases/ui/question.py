"""Questions on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def ask(question: str, show: Callable[[], None] = lambda: None) -> bool | None:
    """Ask for a yes or a no.

    Args:
        question: The question, without the ` [y/N]` behind it.
        show: Prints what a person reads before the question. Called only where there is a terminal.

    Returns:
        The answer, None where there is no terminal.
    """
    from phases.ui.terminal import LocalTerminal

    if not LocalTerminal().interactive:
        return None
    show()
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        print()  # noqa: T201 (ends the line of the question)
        return False


def ask_for_text(question: str) -> str:
    """Ask for a line of text; "" where there is no terminal, or no answer."""
    from phases.ui.terminal import LocalTerminal

    if not LocalTerminal().interactive:
        return ""
    try:
        return input(f"{question}: ").strip()
    except (EOFError, UnicodeDecodeError):
        print()  # noqa: T201 (ends the line of the question)
        return ""
