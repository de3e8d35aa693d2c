"""`repos: [{url: .}]`: a repository of this machine, which is cloned without a network."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from test_clone import commit, git, repository
from unit_helpers import DemoProject, load, make_user, write

from phases import p08_repos
from phases.core import events
from phases.core.cache.sharing import environment_digest
from phases.core.eject.command import eject
from phases.core.errors import ConfigError, HabitatError
from phases.core.files import git_bundle
from phases.core.report import plan
from phases.protocol import CopyRepository, Run

if TYPE_CHECKING:
    from pathlib import Path

    from fake_engine import Command

CONFIG = "base_image: base:1\nrepos: [{url: ., path: /work/app}]\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that is a repository with one commit and a remote."""
    root = repository(tmp_path / "project")
    git(root, "remote", "add", "origin", "https://example.org/app.git")
    return root


def clone(bundle: Path, target: Path, origin: str, branch: str = "", shallow: bytes = b"") -> str:
    """Run the scripts of phase 8 on a bundle. Returns the remote of the clone."""
    target.mkdir()
    (bundle.parent / f"{bundle.name}.origin").write_text(f"{origin}\n{branch}\n")
    if shallow:
        (bundle.parent / f"{bundle.name}.shallow").write_bytes(shallow)
    env = {"PATH": os.environ["PATH"], "HOME": str(target.parent), "GIT_CONFIG_NOSYSTEM": "1"}
    words = (str(bundle), str(target), "", "", "", "", "")
    for script, args in (
        (p08_repos._USE_BUNDLE.text + p08_repos._CLONE.text, words),
        (p08_repos._ADOPT_ORIGIN.text, (str(target), str(bundle), "yes")),
    ):
        subprocess.run(["/bin/sh", "-e", "-c", "--", script, "sh", *args], env=env, check=True, capture_output=True)
    return git(target, "remote", "-v").split("\n")[0]


def test_clone_of_bundle_has_branches_tags_and_remote_of_the_repository(project: Path, tmp_path: Path) -> None:
    git(project, "tag", "v1")
    git(project, "branch", "other")
    (project / "new").write_text("x")
    (project / "one").write_text("changed")
    write(project, ".habitats/app/config.yaml", "")
    bundle = git_bundle.write(project, tmp_path / "bundle")
    assert bundle[:3] == ("https://example.org/app.git", "main", 2)
    assert clone(tmp_path / "bundle", tmp_path / "clone", bundle.origin, bundle.branch) == (
        "origin\thttps://example.org/app.git (fetch)"
    )
    branches = git(tmp_path / "clone", "for-each-ref", "--format=%(refname)", "refs/heads", "refs/remotes").split()
    assert branches == ["refs/heads/main", *(f"refs/remotes/origin/{name}" for name in ("HEAD", "main", "other"))]
    assert git(tmp_path / "clone", "describe", "--tags") == "v1"
    assert git(tmp_path / "clone", "status", "--porcelain") == ""
    assert (tmp_path / "clone/one").read_text() == "one\n"
    assert not (tmp_path / "bundle").exists()
    assert not (tmp_path / "bundle.origin").exists()


def test_clone_of_repository_without_remote_has_its_branches(project: Path, tmp_path: Path) -> None:
    git(project, "remote", "remove", "origin")
    git(project, "branch", "a")
    git(project, "checkout", "-qb", "z")
    bundle = git_bundle.write(project, tmp_path / "bundle")
    assert clone(tmp_path / "bundle", tmp_path / "clone", *bundle[:2]) == ""
    assert git(tmp_path / "clone", "branch", "--format=%(refname:short)").split() == ["a", "main", "z"]
    assert git(tmp_path / "clone", "branch", "--show-current") == "z"


def test_remote_with_password_or_none_is_left_out(project: Path, tmp_path: Path) -> None:
    git(project, "remote", "set-url", "origin", "https://me:s3cret@example.org/app.git")
    assert git_bundle.write(project, tmp_path / "bundle").origin == ""
    assert clone(tmp_path / "bundle", tmp_path / "clone", "") == ""
    git(project, "remote", "remove", "origin")
    assert git_bundle.write(project, tmp_path / "other").origin == ""


def test_hooks_and_programs_of_the_repository_do_not_run(project: Path, tmp_path: Path) -> None:
    program = write(tmp_path, "program", f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o755)
    git(project, "config", "core.fsmonitor", str(program))
    (project / ".git/hooks/post-index-change").symlink_to(program)
    git_bundle.write(project, tmp_path / "bundle")
    assert not (tmp_path / "ran").exists()


def test_worktree_detached_head_and_folder_in_repository_are_cloned(project: Path, tmp_path: Path) -> None:
    commit(project, "two")
    git(project, "worktree", "add", "-q", "--detach", str(tmp_path / "tree"), "HEAD~1")
    assert git_bundle.top_of(tmp_path / "tree") == tmp_path / "tree"
    (project / "deep/er").mkdir(parents=True)
    assert git_bundle.top_of(project / "deep/er") == project
    git_bundle.write(tmp_path / "tree", tmp_path / "bundle")
    clone(tmp_path / "bundle", tmp_path / "clone", "")
    assert sorted(path.name for path in (tmp_path / "clone").iterdir()) == [".git", "one"]


@pytest.mark.parametrize("kind", ["empty", "no git"])
def test_repository_that_cannot_be_cloned_says_why_in_one_line(
    project: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = project
    if kind == "empty":
        top = tmp_path / "empty"
        top.mkdir()
        git(top, "init", "-q")
    else:
        monkeypatch.setenv("PATH", str(tmp_path))
    rule = {"empty": "has no commit", "no git": "install git"}[kind]
    with pytest.raises(HabitatError, match=rule) as error:
        git_bundle.write(top, tmp_path / "bundle")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("url", [".", "./", "../..", "./lib"])
def test_url_that_is_a_path_names_the_repository_around_it(project: Path, url: str) -> None:
    (project / "lib").mkdir()
    habitat = load(project, CONFIG.replace("url: .", f"url: {url}"))
    assert habitat.repos[0].local == project
    (step,) = (step for step in p08_repos.plan(habitat) if isinstance(step, CopyRepository))
    assert (step.source, step.dest) == (project, "/work/app/.habitat-bundle")


def test_slice_has_no_path_of_this_machine_but_sharing_tells_repositories_apart(project: Path, tmp_path: Path) -> None:
    other = repository(tmp_path / "other")
    one, two = load(project, CONFIG), load(other, CONFIG)
    assert p08_repos.slice(one) == p08_repos.slice(two)
    assert str(project) not in str(p08_repos.slice(one))
    digests = {
        environment_digest(root, p08_repos.plan(habitat), (), ()) for root, habitat in ((project, one), (other, two))
    }
    assert len(digests) == 2


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("url: ./nothing, path: a", "there is neither"),
        ("url: ., path: a, depth: 1", "can't have depth"),
        ("url: ., path: a, submodules: true", "can't have submodules"),
        ("url: ., path: a, lfs: true", "can't have lfs"),
        ("url: ., path: a, token: T", "there is no secret"),
    ],
)
def test_entry_that_local_repository_cannot_have_is_refused(project: Path, entry: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as error:
        load(project, f"base_image: base:1\nrepos: [{{{entry}}}]\n")
    assert "config.yaml:2" in str(error.value)


def test_path_outside_any_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is in no git repository"):
        load(tmp_path, CONFIG)


def test_build_puts_bundle_and_says_what_is_not_committed(project: Path) -> None:
    demo = DemoProject(project, CONFIG)
    scripts: list[str] = []

    def run(command: Command) -> tuple[int, str] | None:
        scripts.append(" ".join(command.argv))
        return (0, "") if "git" in command.script else make_user(command)

    demo.engine.on_execute = run
    demo.build("repos")
    notices = [event.text for event in demo.seen if isinstance(event, events.Notice)]
    assert any("not committed, and so not cloned" in text for text in notices)
    assert any("/work/app/.habitat-bundle /work/app" in script for script in scripts)


def test_plan_and_build_warn_of_repository_without_commit_until_it_has_one(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    demo = DemoProject(tmp_path, CONFIG)
    warning = (
        f"habitats/demo/config.yaml:2: the repository {tmp_path} has no commit, so there is nothing to clone: "
        "commit something there"
    )
    assert plan.warnings(demo.project, "demo") == [warning]
    assert demo.build("setup")[-1] == "setup"
    assert [event.text for event in demo.seen if isinstance(event, events.Notice) and event.warning] == [warning]
    commit(tmp_path, "one")
    assert plan.warnings(demo.run_anew(), "demo") == []


def test_ejected_folder_has_the_bundle(project: Path, tmp_path: Path) -> None:
    demo = DemoProject(project, CONFIG)
    eject(demo.project, "demo", str(tmp_path / "out"))
    bundles = [path for path in (tmp_path / "out").rglob("*") if path.is_file() and path.read_bytes()[:4] == b"# v2"]
    assert len(bundles) == 1


def config_of(url: object, more: str = "") -> str:
    return f"base_image: base:1\nrepos: [{{url: '{url}', path: /work/app{more}}}]\n"


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_absolute_path_with_a_repository_on_this_machine_names_it(project: Path, tmp_path: Path, prefix: str) -> None:
    other = repository(tmp_path / "an other")
    url = f"{prefix}{str(other).replace(' ', '%20' if prefix else ' ')}"
    if prefix:
        assert load(project, config_of(url)).repos[0].local == other
    else:
        with pytest.raises(ConfigError, match="without spaces"):
            load(project, config_of(url))
    assert load(project, config_of(f"{prefix}{project}")).repos[0].local == project


def test_absolute_path_that_a_volume_has_or_that_is_no_repository_here_is_the_habitats(
    project: Path, tmp_path: Path
) -> None:
    other = repository(tmp_path / "other")
    (project / "habitats/demo/data").mkdir(parents=True)
    volume = f"volumes: [{{source: data, dest: {tmp_path}, readonly: true}}]\n"
    assert load(project, config_of(other) + volume).repos[0].local is None
    assert load(project, config_of("/srv/git/nothing.git")).repos[0].local is None
    (other / "deep").mkdir()
    assert load(project, config_of(other / "deep")).repos[0].local is None


def test_bare_repository_is_cloned(project: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--bare", str(project), "bare.git")
    bare = tmp_path / "bare.git"
    assert load(project, config_of(bare)).repos[0].local == bare
    bundle = git_bundle.write(bare, tmp_path / "bundle")
    assert bundle[:3] == ("https://example.org/app.git", "main", 0)
    clone(tmp_path / "bundle", tmp_path / "clone", *bundle[:2])
    assert (tmp_path / "clone/one").read_text() == "one\n"


def test_origin_on_this_machine_is_followed_to_its_server_or_left_out(project: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", str(project), "second")
    git(tmp_path, "clone", "-q", f"file://{tmp_path}/second", "third")
    assert git_bundle.write(tmp_path / "third", tmp_path / "bundle").origin == "https://example.org/app.git"
    git(project, "remote", "remove", "origin")
    assert git_bundle.write(tmp_path / "third", tmp_path / "bundle2").origin == ""
    git(tmp_path / "third", "remote", "set-url", "origin", "../gone")
    assert git_bundle.write(tmp_path / "third", tmp_path / "bundle3").origin == ""


def test_clone_without_remote_keeps_what_was_cloned_apart_from_new_commits(project: Path, tmp_path: Path) -> None:
    git(project, "remote", "remove", "origin")
    bundle = git_bundle.write(project, tmp_path / "bundle")
    clone(tmp_path / "bundle", tmp_path / "clone", *bundle[:2])
    commit(tmp_path / "clone", "two")
    assert git(tmp_path / "clone", "rev-list", "--count", "--branches", "--not", "--remotes") == "1"
    assert git(tmp_path / "clone", "remote") == ""


@pytest.mark.parametrize("name", ["evil", "a=b"])
def test_filter_of_the_repository_does_not_run(project: Path, tmp_path: Path, name: str) -> None:
    """An agent can write it, if the repository is mounted."""
    program = write(tmp_path, "program", f"#!/bin/sh\ntouch {tmp_path}/ran\ncat\n")
    program.chmod(0o755)
    with (project / ".git/config").open("a") as config:
        config.write(f'[filter "{name}"]\n clean = {program}\n')
    (project / ".git/info/attributes").write_text(f"* filter={name}\n")
    (project / "one").write_text("changed\n")
    bundle = git_bundle.write(project, tmp_path / "bundle")
    assert bundle.uncommitted == (0 if "=" in name else 1)
    assert not (tmp_path / "ran").exists()


def test_read_only_clone_is_given_to_root_after_its_setup(project: Path) -> None:
    steps = p08_repos.plan(load(project, config_of(".", ", writable: false, setup: [make]")))
    last = steps[-1]
    assert isinstance(last, Run)
    assert (last.user, last.args) == ("root", ("/work/app", "agent", ""))
    assert isinstance(steps[-2], Run)
    assert steps[-2].title == "setup of /work/app"
    steps = p08_repos.plan(load(project, config_of(".", ", writable: false").replace("/work/app", "~/app")))
    assert isinstance(steps[-1], Run)
    assert steps[-1].args == ("~/app", "agent", "")


def test_read_only_clone_needs_a_user_other_than_root(project: Path) -> None:
    with pytest.raises(ConfigError, match="USER is root"):
        load(project, "base_image: b\nenv: [USER=root]\nrepos: [{url: ., path: /a, writable: false}]\n")


@pytest.mark.guarantee("read-only-clone-belongs-to-root")
@pytest.mark.skipif(os.getuid() != 0, reason="only root may give files away")
def test_files_of_read_only_clone_are_roots_and_readable(tmp_path: Path) -> None:
    target = repository(tmp_path / "clone")
    secret = write(target, "deep/file", "x")
    secret.chmod(0o666)
    (target / "deep").chmod(0o700)
    outside = write(tmp_path, "outside", "x")
    os.chown(outside, 12345, 12345)
    (target / "link").symlink_to(outside)
    for path in (secret, target / "deep"):
        os.chown(path, 12345, 12345)
    passwd = f"odd:x:1:1::{tmp_path}/none:/bin/sh\nagent:x:12345:12345:an agent:{tmp_path}:/bin/sh\n"
    (tmp_path / "passwd").write_text(passwd)
    script = p08_repos._GIVE_TO_ROOT.text.replace("/etc/passwd", str(tmp_path / "passwd"))
    env = {"PATH": os.environ["PATH"], "GIT_CONFIG_SYSTEM": str(tmp_path / "gitconfig")}
    command = ["/bin/sh", "-e", "-c", "--", script, "sh", "~/clone", "agent", ""]
    subprocess.run(command, env=env, check=True)
    assert [(path.stat().st_uid, oct(path.stat().st_mode & 0o777)) for path in (secret, target / "deep")] == [
        (0, "0o644"),
        (0, "0o755"),
    ]
    assert outside.stat().st_uid == 12345
    assert git(tmp_path, "config", "--file", str(tmp_path / "gitconfig"), "safe.directory") == str(target)


def test_shallow_clone_is_cloned_with_the_history_that_it_has(project: Path, tmp_path: Path) -> None:
    for name in ("two", "three"):
        commit(project, name)
    git(tmp_path, "clone", "-q", "--depth", "2", f"file://{project}", "shallow")
    shallow = tmp_path / "shallow"
    git(shallow, "remote", "set-url", "origin", "https://example.org/app.git")
    commit(shallow, "four")
    bundle = git_bundle.write(shallow, tmp_path / "bundle")
    clone(tmp_path / "bundle", tmp_path / "clone", *bundle[:2], bundle.shallow)
    cloned = tmp_path / "clone"
    assert git(cloned, "log", "--format=%s").split() == ["four", "three", "two"]
    assert git(cloned, "rev-parse", "--is-shallow-repository") == "true"
    assert git(cloned, "status", "--porcelain") == ""
    git(cloned, "fsck")
    assert sorted(path.name for path in tmp_path.glob("bundle*")) == []


def test_clone_below_the_home_finds_its_bundle(project: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    git_bundle.write(project, tmp_path / "home/bundle")
    (tmp_path / "home/bundle.origin").write_text("\nmain\n")
    (tmp_path / "home/app").mkdir()
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), "GIT_CONFIG_NOSYSTEM": "1"}
    for script, args in (
        (p08_repos._USE_BUNDLE.text + p08_repos._CLONE.text, ("~/bundle", "~/app", "", "", "", "", "")),
        (p08_repos._ADOPT_ORIGIN.text, ("~/app", "~/bundle", "yes")),
    ):
        subprocess.run(["/bin/sh", "-e", "-c", "--", script, "sh", *args], env=env, check=True, capture_output=True)
    assert (tmp_path / "home/app/one").is_file()
