"""The table of `habitat changes`, and what is listed below it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from phases.core.errors import printable
from phases.core.events.commits import ChangedFile, NewCommit, RepositoryChanged
from phases.core.work.states import shown
from phases.ui.tables import columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from phases.core.commits.changes import FileLine, RepositoryChanges

# Rows of each list, and digits of a commit.
_SHOWN, _DIGITS = 12, 10


def event(habitat: str, repository: RepositoryChanges) -> RepositoryChanged:
    """Return the changes of a repository as an event."""
    state = repository.state
    return RepositoryChanged(
        habitat,
        state.path,
        state.branch,
        repository.count,
        tuple(NewCommit(line.id, line.author, line.subject) for line in repository.commits),
        tuple(
            ChangedFile(line.path, *((line.added, line.removed) if line.added >= 0 else (None, None)))
            for line in repository.files
        ),
        repository.untracked,
        len(state.changed),
        repository.base,
    )


def parts(repositories: Sequence[RepositoryChanges], *, wrap: bool) -> Iterator[RenderableType]:
    """Yield the table, then the commits and files of each repository. wrap: for a terminal, which has a width."""
    rows = [_row(repository) for repository in repositories]
    yield columns.columns(_HEADS, rows, wrap=wrap)
    for repository in repositories:
        if repository.commits or repository.files or repository.untracked:
            yield Text("")
            yield Text(shown(repository.state.path), style="bold")
            yield from _lists(repository)


_HEADS = ("repository", "branch", "commits", "changed", "not committed", "untracked")


def _row(repository: RepositoryChanges) -> tuple[Text, ...]:
    state = repository.state
    added = sum(max(line.added, 0) for line in repository.files)
    removed = sum(max(line.removed, 0) for line in repository.files)
    files = _count(len(repository.files), "file")
    lines = (f" +{added}", "green"), (f" -{removed}", "red")
    more = "≥ " if state.has_more else ""
    return (
        Text(shown(state.path)),
        Text(shown(state.branch) if state.branch else "detached"),
        Text(str(repository.count)),
        Text.assemble(files, *lines) if repository.files else Text("·", style="dim"),
        _number(len(state.changed), more),
        _number(len(repository.untracked), more),
    )


def _number(count: int, more: str) -> Text:
    return Text(f"{more}{count}", style="yellow") if count else Text("·", style="dim")


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _lists(repository: RepositoryChanges) -> Iterator[Text]:
    commits = [
        Text.assemble(
            "  ", (line.id[:_DIGITS], "yellow"), f" {_safe(line.subject)}", (f"  {_safe(line.author)}", "dim")
        )
        for line in repository.commits
    ]
    yield from _first(commits, repository.count)
    width = max((len(shown(line.path)) for line in repository.files[:_SHOWN]), default=0)
    files = [Text.assemble(f"  {shown(line.path):<{width}} ", *_lines(line)) for line in repository.files]
    yield from _first(files, len(files))
    names = [Text.assemble("  ", ("? ", "yellow"), shown(name)) for name in repository.untracked]
    yield from _first(names, len(names))


def _lines(line: FileLine) -> tuple[tuple[str, str], ...]:
    return (("binary", "dim"),) if line.added < 0 else ((f"+{line.added}", "green"), (f" -{line.removed}", "red"))


def _first(lines: Sequence[Text], count: int) -> Iterator[Text]:
    yield from lines[:_SHOWN]
    if (more := count - _SHOWN) > 0:
        yield Text(f"  … and {more} more", style="dim")


def _safe(text: str) -> str:
    return printable(text[:200])
