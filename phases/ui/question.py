"""A question that a person answers with yes or no."""

from __future__ import annotations


def asked(question: str) -> bool | None:
    """Ask on the terminal. Returns None where there is none to ask on."""
    from phases.ui.terminal import LocalTerminal

    if not LocalTerminal().interactive:
        return None
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        print()  # noqa: T201 (the line of the question ends)
        return False
