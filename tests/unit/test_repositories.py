"""The state of repositories: real git and the real shell programs, in folders as an agent might leave them."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from unit_helpers import DemoProject

from phases.core.container.init_process import IDLE
from phases.core.work import git, repositories
from phases.core.work.states import RepositoryState, parse, shown

if TYPE_CHECKING:
    from pathlib import Path

    from fake_engine import Command

IDENTITY = {f"GIT_{role}_{key}": "x@y" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
SHELLS = [("dash",), ("bash", "--posix"), ("busybox", "sh")]


def run_git(folder: Path, *arguments: str) -> str:
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **IDENTITY}
    command = ("git", "-c", "init.defaultBranch=main", "-c", "protocol.file.allow=always", *arguments)
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=True).stdout.strip()


def commit(folder: Path, name: str = "file", text: str = "1\n") -> None:
    (folder / name).write_text(text)
    run_git(folder, "add", "--", name)
    run_git(folder, "commit", "--quiet", "-m", name)


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    folder = tmp_path / "origin"
    folder.mkdir()
    run_git(folder, "init", "--quiet")
    commit(folder)
    return folder


@pytest.fixture
def work(tmp_path: Path, origin: Path) -> Path:
    """A folder with a clone, `work/project`."""
    folder = tmp_path / "work"
    folder.mkdir()
    run_git(folder, "clone", "--quiet", str(origin), "project")
    return folder


def look(*paths: Path, top: Path | None = None, shell: tuple[str, ...] = ("sh",), seconds: int = 8) -> bytes:
    """What the shell program prints."""
    command = list(git.script_argv(repositories._LOOK.text, (str(seconds), str(top or ""), *map(str, paths))))
    at = command.index("/bin/sh")
    return subprocess.run([*command[:at], *shell, *command[at + 1 :]], capture_output=True, check=True).stdout


def states(*paths: Path, top: Path | None = None) -> dict[str, RepositoryState]:
    """The state of repositories by the name of their folder."""
    rows = parse(look(*paths, top=top), "agent")
    return {row.path.rpartition("/")[2]: row for row in rows if isinstance(row, RepositoryState)}


def planted(tmp_path: Path) -> tuple[Path, Path]:
    """A program that an agent has written, and the file that shows that it was run."""
    proof, program = tmp_path / "proof", tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {proof}\ncat\n")
    program.chmod(0o755)
    return program, proof


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_state_of_clone_has_commits_stashes_and_files_in_each_shell(work: Path, shell: tuple[str, ...]) -> None:
    project = work / "project"
    commit(project, text="2\n")
    commit(project, text="3\n")
    (project / "file").write_text("stashed\n")
    run_git(project, "stash", "--quiet")
    (project / "file").write_text("changed\n")
    (project / "new").mkdir()
    (project / "new/one").touch()
    (state,) = parse(look(project, shell=shell), "agent")
    assert state == RepositoryState(
        str(project),
        "agent",
        branch="main",
        head=run_git(project, "rev-parse", "HEAD"),
        upstream="origin/main",
        unpushed=2,
        stashes=1,
        changed=("file",),
        untracked=("new/",),
    )


def test_clean_clone_is_clean_and_empty_repository_too(work: Path) -> None:
    run_git(work, "init", "--quiet", "empty")
    found = states(top=work)
    assert [found[name].is_clean for name in ("project", "empty")] == [True, True]
    assert (found["empty"].head, found["empty"].branch) == ("", "main")


def test_detached_commit_counts_as_unpushed(work: Path) -> None:
    project = work / "project"
    run_git(project, "checkout", "--quiet", "--detach")
    commit(project, text="2\n")
    state = states(project)["project"]
    assert (state.branch, state.unpushed, state.upstream) == ("", 1, "")


def test_commits_of_all_branches_count_once_and_tags_do_not(work: Path) -> None:
    project = work / "project"
    run_git(project, "checkout", "--quiet", "-b", "other")
    commit(project, text="2\n")
    run_git(project, "checkout", "--quiet", "-b", "third")
    run_git(project, "tag", "v1")
    run_git(project, "checkout", "--quiet", "main")
    assert states(project)["project"].unpushed == 1


def test_linked_worktree_does_not_count_what_its_repository_counts(work: Path) -> None:
    project = work / "project"
    commit(project, text="2\n")
    (project / "file").write_text("x")
    run_git(project, "stash", "--quiet")
    run_git(project, "worktree", "add", "--quiet", "--detach", "../linked")
    commit(work / "linked", text="3\n")
    found = states(top=work)
    assert [(name, found[name].unpushed, found[name].stashes) for name in ("project", "linked")] == [
        ("project", 1, 1),
        ("linked", 1, 0),
    ]
    assert found["linked"].is_linked


@pytest.mark.parametrize("operation", ["merge", "rebase", "cherry-pick"])
def test_operation_in_progress_is_named(work: Path, operation: str) -> None:
    project = work / "project"
    run_git(project, "checkout", "--quiet", "-b", "other")
    commit(project, text="other\n")
    run_git(project, "checkout", "--quiet", "main")
    commit(project, text="main\n")
    with pytest.raises(subprocess.CalledProcessError):
        run_git(project, operation, "other")
    assert states(project)["project"].operation == operation


def test_submodule_is_a_repository_of_its_own(work: Path, origin: Path) -> None:
    project = work / "project"
    run_git(project, "submodule", "--quiet", "add", str(origin), "lib")
    run_git(project, "commit", "--quiet", "-m", "lib")
    commit(project / "lib", text="2\n")
    found = states(project)
    assert found["lib"].unpushed == 1
    assert found["project"].changed == ("lib",)


def test_names_with_control_characters_are_read_whole_and_shown_quoted(work: Path) -> None:
    project = work / "project"
    names = ["a\n1 b", "\x1b[31mred", "tab\there", " space ", "? x", "."]
    for name in names[:-1]:
        (project / name).touch()
    (project / os.fsdecode(b"latin-\xe9")).touch()
    state = states(project)["project"]
    assert set(state.untracked) == {*names[:-1], "latin-\\xe9"}
    assert shown("\x1b[31mred") == r'"\x1b[31mred"'
    assert shown("a\n1 b") == r'"a\n1 b"'
    assert shown("src/a-b.py") == "src/a-b.py"


def test_one_broken_repository_costs_a_line(work: Path) -> None:
    shutil.copytree(work / "project", work / "bad-head")
    (work / "bad-head/.git/HEAD").write_text("garbage\n")
    shutil.copytree(work / "project", work / "bad-index")
    (work / "bad-index/.git/index").write_bytes(b"DIRC garbage")
    shutil.copytree(work / "project", work / "bad-config")
    (work / "bad-config/.git/config").write_text("[core\n")
    found = states(work / "nothing", top=work)
    assert found["project"].is_clean
    assert found["nothing"].is_missing
    assert "git can't read it" in found["bad-head"].problem
    assert "its files can't be compared" in found["bad-index"].problem
    assert found["bad-config"].problem


ATTACKS = {
    "fsmonitor": ("core.fsmonitor", "{program}"),
    "fsmonitor of a hook version": ("core.fsmonitorHookVersion", "2"),
    "hooks": ("core.hooksPath", "{folder}"),
    "pager": ("core.pager", "{program}"),
    "pager of status": ("pager.status", "{program}"),
    "diff": ("diff.external", "{program}"),
    "gpg": ("gpg.program", "{program}"),
    "alternate refs": ("core.alternateRefsCommand", "{program}"),
    "alias": ("alias.status", "!{program}"),
    "ssh": ("core.sshCommand", "{program}"),
    "clean": ("filter.evil.clean", "{program}"),
    "process": ("filter.evil.process", "{program}"),
    "clean of an odd name": ("filter. a.b\tc .clean", "{program}"),
    "clean that is required": ("filter.evil.required", "true"),
}


@pytest.mark.guarantee("untrusted-repository-runs-nothing")
@pytest.mark.parametrize("name", ATTACKS)
def test_program_that_the_config_names_is_not_run(tmp_path: Path, work: Path, name: str) -> None:
    program, proof = planted(tmp_path)
    project = work / "project"
    key, value = ATTACKS[name]
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for hook in ("post-index-change", "reference-transaction", "fsmonitor-watchman"):
        shutil.copy(program, hooks / hook)
        shutil.copy(program, project / ".git/hooks" / hook)
    run_git(project, "config", "core.fsmonitor", str(program))
    run_git(project, "config", "filter.evil.clean", str(program))
    run_git(project, "config", "log.showSignature", "true")
    run_git(project, "config", key, value.format(program=program, folder=hooks))
    filter_name = key.removeprefix("filter.").rpartition(".")[0] if key.startswith("filter.") else "evil"
    attribute = "evil" if filter_name.strip() != filter_name else filter_name
    (project / ".git/info/attributes").write_text(f"* filter={attribute} diff=evil\n")
    (project / "file").write_text("2\n")
    os.utime(project / "file", (1, 1))
    state = states(project)["project"]
    assert state.changed == ("file",), state.problem
    assert not proof.exists()


def test_attack_of_filter_works_where_git_is_not_run_safely(tmp_path: Path, work: Path) -> None:
    """So the test above tests something."""
    program, proof = planted(tmp_path)
    project = work / "project"
    run_git(project, "config", "filter.evil.clean", str(program))
    (project / ".git/info/attributes").write_text("* filter=evil\n")
    (project / "file").write_text("2\n")
    run_git(project, "status")
    assert proof.exists()


@pytest.mark.guarantee("untrusted-repository-runs-nothing")
def test_filter_that_cannot_be_switched_off_is_not_run_and_named(tmp_path: Path, work: Path) -> None:
    program, proof = planted(tmp_path)
    project = work / "project"
    with (project / ".git/config").open("a") as config:
        config.write(f'[filter "a=b"]\n clean = {program}\n')
    (project / ".git/info/attributes").write_text("* filter=a=b\n")
    (project / "file").write_text("2\n")
    assert "filter" in states(project)["project"].problem
    assert not proof.exists()


def test_filter_of_included_config_is_not_run(tmp_path: Path, work: Path) -> None:
    program, proof = planted(tmp_path)
    project = work / "project"
    (tmp_path / "included").write_text(f'[filter "evil"]\n process = {program}\n[core]\n fsmonitor = {program}\n')
    run_git(project, "config", "include.path", str(tmp_path / "included"))
    (project / ".git/info/attributes").write_text("* filter=evil\n")
    (project / "file").write_text("2\n")
    assert states(project)["project"].changed == ("file",)
    assert not proof.exists()


@pytest.mark.guarantee("untrusted-repository-runs-nothing")
def test_submodule_config_runs_nothing(tmp_path: Path, work: Path, origin: Path) -> None:
    program, proof = planted(tmp_path)
    project = work / "project"
    run_git(project, "submodule", "--quiet", "add", str(origin), "lib")
    run_git(project / "lib", "config", "core.fsmonitor", str(program))
    assert set(states(project)) == {"project", "lib"}
    assert not proof.exists()


@pytest.mark.guarantee("untrusted-repository-runs-nothing")
def test_missing_object_is_not_fetched(tmp_path: Path, work: Path) -> None:
    program, proof = planted(tmp_path)
    project = work / "project"
    commit(project, text="2\n")
    for key, value in (
        ("core.repositoryFormatVersion", "1"),
        ("extensions.partialClone", "evil"),
        ("remote.evil.promisor", "true"),
        ("remote.evil.url", f"ext::{program}"),
        ("protocol.ext.allow", "always"),
    ):
        run_git(project, "config", key, value)
    for file in (project / ".git/objects").glob("??/*"):
        file.unlink()
    assert states(project)["project"].problem
    assert not proof.exists()


def test_worktree_outside_the_repository_is_not_read(work: Path) -> None:
    project = work / "project"
    run_git(project, "config", "core.worktree", "/")
    assert states(project)["project"].is_clean


def test_pipe_in_place_of_the_config_costs_the_time_limit(work: Path) -> None:
    (work / "project/.git/config").unlink()
    os.mkfifo(work / "project/.git/config")
    run_git(work, "init", "--quiet", "other")
    rows = list(parse(look(top=work, seconds=1), "agent"))
    assert [bool(getattr(row, "problem", "")) for row in rows] == [False, True]


def test_thousands_of_new_files_are_cut(work: Path) -> None:
    project = work / "project"
    for number in range(3000):
        (project / f"{number:040}").touch()
    state = states(project)["project"]
    assert state.has_more
    assert 1000 < len(state.untracked) < 3000


def test_endless_link_of_submodules_ends(work: Path) -> None:
    project = work / "project"
    (project / ".gitmodules").write_text('[submodule "a"]\n path = a\n url = x\n')
    run_git(project, "update-index", "--add", "--cacheinfo", "160000,1111111111111111111111111111111111111111,a")
    (project / "a").symlink_to(".")
    assert list(states(project)) == ["project"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give a folder away")
def test_repository_of_another_user_is_not_read_but_its_owner_named(work: Path) -> None:
    project = work / "project"
    os.chown(project / ".git", 12345, 12345)
    (row,) = parse(look(project), "root")
    assert (row.path, getattr(row, "uid", 0)) == (str(project), 12345)


def test_records_that_end_early_are_a_problem() -> None:
    (state,) = parse(b"@/work/a\0=branch main\0? one\0", "agent")
    assert isinstance(state, RepositoryState)
    assert (state.path, state.untracked) == ("/work/a", ("one",))
    assert "too long" in state.problem


def test_garbage_is_no_repository() -> None:
    assert list(parse(b"\0\0.\0garbage\0=branch x\0.\0\xff\xfe", "agent")) == []


class Inside:
    """A habitat on the fake engine, whose commands of git run in a folder of this machine."""

    def __init__(self, tmp_path: Path, workdir: Path, more: str = "") -> None:
        self.demo = DemoProject(
            tmp_path / "habitats", f"base_image: base:1\nenv: [USER=root, WORKDIR={workdir}]\n{more}"
        )
        self.container = self.demo.engine.create(self.demo.base, "work", IDLE)
        self.demo.engine.start(self.container)
        self.demo.engine.on_execute = self.execute
        self.users: list[str] = []

    def execute(self, command: Command) -> tuple[int, bytes] | None:
        if command.argv[0] != "env":
            return None
        self.users.append(command.user)
        result = subprocess.run(command.argv, input=command.stdin, capture_output=True, check=False)
        return result.returncode, result.stdout

    def states(self) -> list[RepositoryState]:
        project = self.demo.run_anew()
        container = project.engine.container(self.container)
        assert container
        return repositories.states(project, project.habitat("demo"), container)


def test_repositories_of_a_habitat_are_those_of_the_config_and_below_workdir(tmp_path: Path, work: Path) -> None:
    shutil.copytree(work / "project", tmp_path / "elsewhere")
    run_git(work, "init", "--quiet")
    run_git(work, "init", "--quiet", "by-hand")
    paths = (work / "project", tmp_path / "elsewhere")
    rows = ", ".join(f"{{url: 'https://example.test/x', path: {path}}}" for path in paths)
    inside = Inside(tmp_path, work, f"repos: [{rows}]\n")
    found = inside.states()
    assert [state.path for state in found] == [
        str(path) for path in (tmp_path / "elsewhere", work, work / "by-hand", work / "project")
    ]
    assert found[1].untracked == ()
    assert inside.users == ["root"]


def test_git_command_gets_input_and_gives_bytes(tmp_path: Path, work: Path) -> None:
    inside = Inside(tmp_path, work)
    command = git.argv(str(work / "project"), ("hash-object", "--stdin"))
    output = git.run(inside.demo.engine, inside.container, command, "root", stdin=b"1\n" * 10)
    assert output.code == 0
    assert len(output.out.strip()) == 40


def test_git_command_in_no_repository_says_why(work: Path) -> None:
    result = subprocess.run(git.argv(str(work), ("status",)), capture_output=True, check=False)
    assert (result.returncode, result.stderr.strip()) == (git.UNREADABLE, b"it is no repository")


def test_command_that_does_not_end_is_killed(tmp_path: Path, work: Path) -> None:
    inside = Inside(tmp_path, work)
    inside.demo.engine.on_execute = None
    output = git.run(inside.demo.engine, inside.container, IDLE, "root", seconds=0.1)
    assert output.code is None


@pytest.mark.guarantee("untrusted-repository-runs-nothing")
@pytest.mark.skipif(os.getuid() != 0, reason="it is about root")
@pytest.mark.parametrize(("folder", "mode"), [(".", 0o777), (".git", 0o777), (".git", 0o775), (".", 0o775)])
def test_repository_of_root_that_others_may_write_to_is_not_read_as_root(work: Path, folder: str, mode: int) -> None:
    (work / "project" / folder).chmod(mode)
    assert "others may write to it" in states(work / "project")["project"].problem


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give a folder away")
def test_repository_whose_common_folder_is_anothers_is_not_read(work: Path, tmp_path: Path) -> None:
    other = tmp_path / "theirs"
    shutil.copytree(work / "project/.git", other)
    os.chown(other, 12345, 12345)
    (work / "project/.git/commondir").write_text(str(other))
    assert [getattr(row, "problem", "foreign") for row in parse(look(work / "project"), "root")] == ["foreign"]
