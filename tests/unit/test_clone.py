"""The script that clones a repository, with this machine's git; and the variables that give git a token."""

from __future__ import annotations

import os
import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest
from unit_helpers import DemoProject, load, make_user

from phases import p08_repos
from phases.core import events
from phases.core.errors import HabitatError
from phases.core.git_credentials import environment
from phases.protocol import Run
from phases.registry import PHASES

if TYPE_CHECKING:
    from pathlib import Path

    from fake_engine import Command

ANSWER = "username=x-access-token\npassword=s3cret\n"


def git(folder: Path, *words: str) -> str:
    options = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always")
    done = subprocess.run(["git", "-C", str(folder), *options, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder: Path, name: str) -> None:
    (folder / name).write_text(f"{name}\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", name)


def repository(folder: Path) -> Path:
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    commit(folder, "one")
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with no config of this machine's."""
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def clone(home: Path, source: Path, **options: str) -> subprocess.CompletedProcess[str]:
    """Run the script. options: its arguments from the third on, and `env` in front of them."""
    target = home / "clone"
    target.mkdir(exist_ok=True)
    words = [options.get(name, "") for name in ("branch", "ref", "depth", "submodules", "lfs")]
    env = {"PATH": options.get("path", os.environ["PATH"]), "HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1"}
    env["GIT_CONFIG_PARAMETERS"] = "'protocol.file.allow=always'"
    script = ["/bin/sh", "-e", "-c", "--", p08_repos._CLONE.text, "sh", f"file://{source}", str(target), *words]
    return subprocess.run(script, env=env, capture_output=True, text=True, check=False)


# Tags


@pytest.mark.parametrize("ref", ["v1", "tags/v1", "refs/tags/v1"])
@pytest.mark.parametrize("kind", [(), ("-m", "annotated")])
def test_clone_of_tag_with_depth_has_the_tag(home: Path, tmp_path: Path, ref: str, kind: tuple[str, ...]) -> None:
    source = repository(tmp_path / "source")
    git(source, "tag", *kind, "v1")
    commit(source, "two")
    done = clone(home, source, ref=ref, depth="1")
    assert done.returncode == 0, done.stderr
    assert git(home / "clone", "describe", "--tags") == "v1"
    assert git(home / "clone", "rev-list", "--count", "HEAD") == "1"
    assert sorted(path.name for path in (home / "clone").iterdir()) == [".git", "one"]
    assert git(home / "clone", "cat-file", "-t", "v1") == ("tag" if kind else "commit")


def test_clone_of_branch_or_commit_as_ref_with_depth_still_works(home: Path, tmp_path: Path) -> None:
    source = repository(tmp_path / "source")
    first = git(source, "rev-parse", "HEAD")
    git(source, "config", "uploadpack.allowAnySHA1InWant", "true")
    git(source, "switch", "-qc", "side")
    commit(source, "side")
    git(source, "switch", "-q", "main")
    commit(source, "two")
    assert clone(home, source, ref="side", depth="1").returncode == 0
    assert (home / "clone/side").exists()
    subprocess.run(["rm", "-rf", str(home / "clone")], check=True)
    assert clone(home, source, ref=first, depth="1").returncode == 0
    assert git(home / "clone", "rev-parse", "HEAD") == first
    subprocess.run(["rm", "-rf", str(home / "clone")], check=True)
    assert clone(home, source, ref="nosuch", depth="1").returncode == 128


# Submodules


@pytest.fixture
def with_submodules(tmp_path: Path) -> Path:
    inner = repository(tmp_path / "inner")
    middle = repository(tmp_path / "middle")
    git(middle, "submodule", "add", "-q", f"file://{inner}", "deep")
    git(middle, "commit", "-qm", "sub")
    source = repository(tmp_path / "source")
    git(source, "submodule", "add", "-q", f"file://{middle}", "libs/a")
    git(source, "commit", "-qm", "sub")
    return source


@pytest.mark.parametrize("depth", ["", "1"])
def test_clone_with_submodules_fetches_all_levels(home: Path, with_submodules: Path, depth: str) -> None:
    done = clone(home, with_submodules, submodules="yes", depth=depth)
    assert done.returncode == 0, done.stderr
    assert (home / "clone/libs/a/deep/one").read_text() == "one\n"
    assert done.stdout == ""


def test_clone_without_submodules_says_which_are_left_out(home: Path, with_submodules: Path, tmp_path: Path) -> None:
    for number in range(4):
        git(with_submodules, "submodule", "add", "-q", f"file://{tmp_path}/inner", f"z{number}")
    git(with_submodules, "commit", "-qm", "more")
    done = clone(home, with_submodules)
    assert done.stdout == (
        "its submodules are left out (libs/a, z0, z1 and 2 more): write `submodules: true`, or `submodules: false`\n"
    )
    subprocess.run(["rm", "-rf", str(home / "clone")], check=True)
    assert clone(home, with_submodules, submodules="no").stdout == ""


def test_clone_with_unreachable_submodule_has_own_exit_code(home: Path, with_submodules: Path, tmp_path: Path) -> None:
    (tmp_path / "middle").rename(tmp_path / "gone")
    assert clone(home, with_submodules, submodules="yes").returncode == 6


# LFS


def fake_lfs(folder: Path, body: str) -> str:
    """A PATH with a git-lfs that does as `body` says, and writes its calls down."""
    folder.mkdir()
    program = folder / "git-lfs"
    program.write_text(f'#!/bin/sh\necho "$*" >>{folder}/calls\n{body}\n')
    program.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.fixture
def with_lfs(tmp_path: Path) -> Path:
    source = repository(tmp_path / "source")
    (source / "assets").mkdir()
    (source / "assets/.gitattributes").write_text("*.bin filter=lfs\n")
    commit(source, "assets/big.bin")
    return source


def test_clone_without_lfs_says_that_pointers_are_left(home: Path, with_lfs: Path) -> None:
    done = clone(home, with_lfs)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("files in Git LFS are left out, only their pointers are there: write `lfs: true`")
    subprocess.run(["rm", "-rf", str(home / "clone")], check=True)
    assert clone(home, with_lfs, lfs="no").stdout == ""


def test_clone_with_lfs_pulls_after_checkout(home: Path, with_lfs: Path, tmp_path: Path) -> None:
    path = fake_lfs(tmp_path / "bin", "[ $1 != pull ] || test -f assets/big.bin")
    done = clone(home, with_lfs, lfs="yes", path=path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "bin/calls").read_text().splitlines() == ["version", "install --local", "pull"]


def test_clone_lfs_failures_have_own_exit_codes(home: Path, with_lfs: Path, tmp_path: Path) -> None:
    assert clone(home, with_lfs, lfs="yes", path="/usr/bin:/bin").returncode == 8
    path = fake_lfs(tmp_path / "bin", "[ $1 != pull ]")
    assert clone(home, with_lfs, lfs="yes", path=path).returncode == 5
    subprocess.run(["rm", "-rf", str(home / "clone")], check=True)
    (home / ".gitconfig").write_text('[filter "lfs"]\n\tsmudge = false\n\trequired = true\n')
    assert clone(home, with_lfs).returncode == 5, "the image's git has LFS, and its server fails"


def test_clone_over_other_file_is_no_problem_of_url(home: Path, tmp_path: Path) -> None:
    source = repository(tmp_path / "source")
    (home / "clone").mkdir()
    (home / "clone/one").write_text("another")
    assert clone(home, source).returncode == 7


# The token


REPOS = """\
base_image: base:1
secrets:
  - {name: A, env: A, phases: [repos]}
  - {name: B, env: B, phases: [repos]}
repos:
  - {url: "https://one.test/x", path: x, token: A, setup: [make]}
  - {url: "https://it's%20me@two.test:8443/y", path: y, token: B}
  - {url: "https://one.test/z", path: z, token: B, setup: [make]}
  - {url: "https://public.test/p", path: p, setup: [make]}
hooks:
  - {run_as: user, after: repos, commands: [make hook]}
  - {run_as: user, after: setup, commands: [make earlier]}
"""


def credential(tmp_path: Path, env: dict[str, str], url: str) -> str:
    """What git answers for a URL, in an image whose own helper would store every password."""
    home = tmp_path / "git-home"
    home.mkdir(exist_ok=True)
    (home / ".gitconfig").write_text("[credential]\n\thelper = store\n")
    (tmp_path / "A").write_text("s3cret")
    (tmp_path / "B").write_text("other")
    text = env["GIT_CONFIG_PARAMETERS"].replace("/run/secrets/", f"{tmp_path}/")
    given = {
        **env,
        "GIT_CONFIG_PARAMETERS": text,
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "GIT_ASKPASS": "false",
    }
    argv = ["git", "credential", "fill"]
    done = subprocess.run(argv, input=f"url={url}\n\n", env=given, capture_output=True, text=True, check=False)
    subprocess.run(["git", "credential", "approve"], input=done.stdout, env=given, text=True, check=True)
    assert not (home / ".git-credentials").exists()
    return done.stdout


@pytest.mark.guarantee("token-for-whole-phase-and-one-host")
def test_token_is_given_for_its_host_to_every_command_of_phase(tmp_path: Path) -> None:
    habitat = load(tmp_path, REPOS)
    steps = [step for phase in PHASES[1:] for step in phase.plan(habitat) if isinstance(step, Run)]
    with_token = [step for step in steps if "GIT_CONFIG_PARAMETERS" in step.env]
    scripts = [step.script if len(step.script) < 20 else "clone" for step in with_token]
    assert scripts == ["clone", "make", "clone", "clone", "make", "clone", "make", "make hook"]
    for step in with_token:
        answer = credential(tmp_path, step.env, "https://two.test:8443/sub")
        assert "username=it's me\npassword=other\n" in answer
        for other in ("https://two.test/y", "http://one.test/x", "https://evil.test/", "https://one.test.evil/x"):
            assert "password" not in credential(tmp_path, step.env, other)
    own = [credential(tmp_path, step.env, "https://one.test/submodule") for step in with_token]
    passwords = ["s3cret" if "s3cret" in answer else "other" for answer in own]
    assert passwords == ["s3cret", "s3cret", "s3cret", "other", "other", "s3cret", "s3cret", "s3cret"], (
        "of two for one host that of the repository"
    )
    assert "username=x-access-token\npassword=s3cret\n" in own[0]


def test_repos_without_token_have_no_variables(tmp_path: Path) -> None:
    assert environment(load(tmp_path, "base_image: base:1\nrepos: [{url: 'https://a.test/b', path: b}]\n")) == {}


def test_token_and_options_leave_slice_as_it_was(tmp_path: Path) -> None:
    (repo,) = p08_repos.slice(load(tmp_path, CONFIG.format("")))["repos"]
    assert set(repo) == {"branch", "depth", "owner", "path", "ref", "setup", "url"}
    habitat = load(tmp_path, CONFIG.format(", submodules: false"))
    assert p08_repos.slice(habitat)["repos"] == [repo]
    habitat = load(tmp_path, CONFIG.format(", submodules: true, lfs: false"))
    assert p08_repos.slice(habitat)["repos"] == [repo | {"submodules": True, "lfs": False}]


CONFIG = "base_image: base:1\nrepos: [{{url: 'https://a.test/b', path: b{}}}]\n"


def test_notice_of_clone_reaches_person_with_line_of_config(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path, CONFIG.format(""))

    def run(command: Command) -> tuple[int, str] | None:
        return (0, "its submodules are left out (a)\n") if "git clone" in command.script else make_user(command)

    demo.engine.on_execute = run
    demo.build()
    notices = [event for event in demo.seen if isinstance(event, events.Notice)]
    texts = [event.text for event in notices if event.warning]
    assert texts == ["habitats/demo/config.yaml:2: its submodules are left out (a)"]


@pytest.mark.parametrize(
    ("code", "remedy"), [(8, "install git-lfs"), (4, "owner"), (5, "Git LFS"), (6, ".gitmodules"), (7, "in the way")]
)
def test_clone_exit_code_has_own_remedy(tmp_path: Path, code: int, remedy: str) -> None:
    demo = DemoProject(tmp_path, CONFIG.format(""))
    demo.engine.on_execute = lambda command: (code, "x\n") if "git clone" in command.script else make_user(command)
    with pytest.raises(HabitatError, match=shlex.quote(remedy).strip("'")) as caught:
        demo.build()
    assert "check url" not in str(caught.value)
