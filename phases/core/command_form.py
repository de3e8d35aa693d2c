"""The commands that messages name, in the form that the person uses: `doit start:api` or `habitat start api`.

A process is one of the two programs, and says so once, before anything else.
"""

from __future__ import annotations

#: The two programs.
DOIT, HABITAT = "doit", "habitat"

_program = [DOIT]

# The phase that `habitat build` means without an option.
_LAST = "final"


def use(program: str) -> None:
    """Let messages of this process name the commands of a program, DOIT or HABITAT."""
    _program[:] = [program]


def program() -> str:
    return _program[0]


def command(*words: str) -> str:
    """Return a command that is no task, as in `doit clean api`."""
    return " ".join((program(), *words))


def verb(name: str, habitat: str, *words: str) -> str:
    """Return the command for a verb of a habitat, as in `doit stop:api --force` or `habitat stop api --force`."""
    return command(name, habitat, *words) if program() == HABITAT else command(f"{name}:{habitat}", *words)


def phase(name: str, habitat: str) -> str:
    """Return the command that builds a habitat up to a phase, as in `doit setup:api`."""
    if program() == DOIT:
        return command(f"{name}:{habitat}")
    return command("build", habitat, *(() if name == _LAST else ("--to", name)))
