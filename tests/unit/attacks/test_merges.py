"""Merges by a git that lies, and kills in the middle of a transfer."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from hostile_inside import LocalInside, commit, contents, git, pair

from phases.core.commits import host_git, merge
from phases.core.commits.fetch import fetch_branch
from phases.core.commits.host_repository import MERGE_MARK, HostRepository
from phases.core.commits.limits import TransferLimits
from phases.core.commits.merge import Sides, merge_inside
from phases.core.commits.quarantine import Quarantine
from phases.core.errors import HabitatError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LIMITS = TransferLimits(size=8 << 20, seconds=20)


class Merging:
    """Two repositories that have diverged, and a clone that merges them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host, self.inside = pair(folder)
        commit(self.host, "ours")
        self.clone = folder / "clone"
        git(folder, "clone", "--quiet", str(self.host), str(self.clone))
        fetch_branch("api", LocalInside(self.inside), self.host, folder / "state", LIMITS, name="theirs")
        self.sides = Sides("main", git(self.host, "rev-parse", "main"), git(self.host, "rev-parse", "theirs"))
        self.known = git(self.clone, "rev-parse", "HEAD~1")

    def clean(self) -> None:
        """Remove what a killed run has left, as the next one does with its folder."""
        shutil.rmtree(self.folder / "quarantine", ignore_errors=True)
        for pack in self.folder.glob("*.pack"):
            pack.unlink()

    def run(self, lie: Callable[[str, bytes], bytes] = lambda _, data: data) -> str:
        host = HostRepository(self.host)
        quarantine = Quarantine(self.folder / "quarantine", host, LIMITS)
        pack = quarantine.pack(self.folder / "in.pack", [self.sides.into, self.sides.tip], [self.known])
        inside = LocalInside(self.clone, lie)
        result = merge_inside(inside, host, quarantine, self.folder, pack, self.sides, "api", LIMITS)
        quarantine.deliver(result)
        return result


@pytest.fixture
def merging(tmp_path: Path) -> Merging:
    return Merging(tmp_path)


def test_merge_has_both_commits_and_files_of_both(merging: Merging) -> None:
    before = contents(merging.host)
    result = merging.run()
    added = {path for path in contents(merging.host) if path not in before}
    assert all("objects" in path for path in added)
    assert git(merging.host, "show", "-s", "--format=%P", result).split() == [merging.sides.into, merging.sides.tip]
    assert git(merging.host, "ls-tree", "--name-only", result).split() == ["one", "ours", "three", "two"]


def test_merge_of_conflicting_files_names_them_without_control_characters(merging: Merging) -> None:
    name = "both\x1b[31m"
    commit(merging.host, name, "ours\n")
    commit(merging.inside, name, "theirs\n")
    fetch_branch("api", LocalInside(merging.inside), merging.host, merging.folder / "state", LIMITS, name="theirs")
    tips = (git(merging.host, "rev-parse", branch) for branch in ("main", "theirs"))
    merging.sides = Sides("main", *tips)
    before = contents(merging.host)
    with pytest.raises(HabitatError, match="1 file conflicts with branch main") as error:
        merging.run()
    assert "both\\x1b[31m" in str(error.value)
    assert str(error.value).isprintable()
    assert contents(merging.host) == before


def merged_the_other_way(merging: Merging, data: bytes) -> bytes:
    """Return what git prints about a merge with the same files, but other parents."""
    tree = git(merging.clone, "rev-parse", f"{data.partition(bytes([10]))[0].decode()}^{{tree}}")
    parents = ("-p", merging.sides.into, "-p", merging.sides.tip)
    evil = git(merging.clone, "commit-tree", *parents, "-m", "x", tree)
    revisions = f"{evil}\n^{merging.sides.into}\n^{merging.sides.tip}\n".encode()
    command = ["git", "-C", str(merging.clone), "pack-objects", "--quiet", "--revs", "--stdout", "--thin"]
    pack = subprocess.run(command, input=revisions, capture_output=True, check=True).stdout
    return f"{evil}\n".encode() + pack


@pytest.mark.parametrize("lie", ["parents swapped", "one side", "the other side", "no id", "nothing", "an option"])
def test_lie_about_the_merge_is_refused(merging: Merging, lie: str) -> None:
    before = contents(merging.host)
    sides = merging.sides
    answers = {
        "one side": sides.into,
        "the other side": sides.tip,
        "no id": "HEAD",
        "nothing": "",
        "an option": "--all",
    }

    def change(program: str, data: bytes) -> bytes:
        if program != merge._MERGE.text:
            return data
        if lie == "parents swapped":
            merging.sides = Sides("main", sides.tip, sides.into)
            return merged_the_other_way(merging, data)
        return answers[lie].encode() + b"\n" + data.partition(b"\n")[2]

    with pytest.raises(HabitatError) as error:
        merging.run(change)
    assert str(error.value).isprintable()
    assert contents(merging.host) == before


def test_merge_of_an_earlier_take_is_replaced_without_a_branch_of_its_own(merging: Merging) -> None:
    host = HostRepository(merging.host)
    first = merging.run()
    host.write_branch("habitat/api/main", first, f"{MERGE_MARK} api")
    for path in ("quarantine", "in.pack", "merged.pack"):
        (merging.folder / path).rename(merging.folder / f"{path}.old")
    commit(merging.host, "later")
    merging.sides = Sides("main", git(merging.host, "rev-parse", "main"), merging.sides.tip)
    second = merging.run()
    assert host.write_branch("habitat/api/main", second, f"{MERGE_MARK} api").kept == ""


# Kills


def killed_at(number: int, action: Callable[[], object]) -> bool:
    """Run something in a process that is killed when it runs git for the number-th time. Return whether it was."""
    pid = os.fork()
    if pid == 0:
        start, count = host_git.HostGit.start, 0

        def counted(self: host_git.HostGit, *words: str, **options: object) -> object:
            nonlocal count
            count += 1
            if count == number:
                os._exit(137)
            return start(self, *words, **options)  # type: ignore[arg-type]

        host_git.HostGit.start = counted  # type: ignore[method-assign,assignment]
        try:
            action()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 137


def new_objects(after: dict[str, str], before: dict[str, str]) -> set[str]:
    return {path for path in after if path not in before and path.startswith(".git/objects/")}


@pytest.mark.guarantee("transfer-killed")
def test_fetch_killed_anywhere_leaves_whole_repository_and_the_next_one_goes_on(tmp_path: Path) -> None:
    host, inside = pair(tmp_path)
    before = contents(host)
    number = 1
    while killed_at(number, lambda: fetch_branch("api", LocalInside(inside), host, tmp_path / "state", LIMITS)):
        after = contents(host)
        assert {path for path in after if after[path] != before.get(path)} <= new_objects(after, before)
        number += 1
    assert number > 10
    assert git(host, "fsck", "--strict", "--no-dangling") == ""
    fetch_branch("api", LocalInside(inside), host, tmp_path / "state", LIMITS)
    assert git(host, "rev-parse", "habitat/api/main") == git(inside, "rev-parse", "HEAD")
    assert list((tmp_path / "state").iterdir()) == []


@pytest.mark.guarantee("transfer-killed")
def test_take_killed_anywhere_leaves_whole_repository_and_the_next_one_goes_on(merging: Merging) -> None:
    """From the merge on; what comes before is that of a fetch, and the checks run between merge and delivery."""
    host, number = HostRepository(merging.host), 1
    branch, before = git(merging.host, "rev-parse", "theirs"), contents(merging.host)

    def take() -> None:
        merging.clean()
        host.write_branch("theirs", merging.run(), f"{MERGE_MARK} api", ("main", merging.sides.into))

    while killed_at(number, take):
        after = contents(merging.host)
        assert {path for path in after if after[path] != before.get(path)} <= new_objects(after, before)
        assert git(merging.host, "rev-parse", "theirs") == branch
        number += 1
    assert number > 8
    assert git(merging.host, "fsck", "--strict", "--no-dangling") == ""
    parents = git(merging.host, "show", "-s", "--format=%P", "theirs")
    assert parents.split() == [merging.sides.into, merging.sides.tip]
