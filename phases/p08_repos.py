"""Phase 8, repos: clone repositories with the git of the image, then run the setup commands of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.files.shell_program import ShellProgram
from phases.entries import folder
from phases.protocol import Copy, CopyRepository, Run, secrets_slice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phases.core.json_types import Json
    from phases.core.model import Habitat, RepoClone
    from phases.protocol import ChangeDescription, SlicePath, Step

ID = 8
NAME = "repos"
TITLE = "Cloning repositories"
DESCRIPTION = "Clone repositories"
SNAPSHOT = True

_CLONE = ShellProgram(__file__, "scripts/clone.sh")
_USE_BUNDLE = ShellProgram(__file__, "scripts/use_bundle.sh")
_ADOPT_ORIGIN = ShellProgram(__file__, "scripts/adopt_origin.sh")
_GIVE_TO_ROOT = ShellProgram(__file__, "scripts/give_to_root.sh")

_REMEDIES = {
    127: "install git in setup, or use a base image that has it",
    128: "check url, branch and ref, and that the container can reach and may read the repository",
    8: "install git-lfs in setup, or write `lfs: false`",
    4: "name another owner or path, or give the folder to the owner in setup",
    5: "check that the server has the files of Git LFS and that token may read them, or write `lfs: false`",
    6: "check .gitmodules: token is sent to the host of url only. Or write `submodules: false`",
    7: "remove what is in the way, or fix what the lines above name",
}

# The words of a script for a key that may be absent.
_WORDS = {None: "", True: "yes", False: "no"}


def slice(habitat: Habitat) -> Json:
    return {
        "repos": [
            {
                "branch": repo.branch,
                "depth": repo.depth,
                "owner": habitat.user_named(repo.owner),
                "path": repo.path,
                "ref": repo.ref,
                "setup": [command.script for command in repo.setup],
                "url": repo.url,
                **({"submodules": True} if repo.submodules else {}),
                **({} if repo.lfs is None else {"lfs": repo.lfs}),
                **({} if repo.writable else {"writable": False}),
            }
            for repo in habitat.repos
        ],
        **secrets_slice(habitat, NAME),
    }


def describe_change(changed: SlicePath) -> ChangeDescription:
    return changed.value(*changed.key)


def plan(habitat: Habitat) -> list[Step]:
    steps: list[Step] = []
    for repo in habitat.repos:
        owner = habitat.user_named(repo.owner)
        user = owner.partition(":")[0]
        depth = str(repo.depth) if repo.depth else ""
        bundle = f"{repo.path.rstrip('/')}/.habitat-bundle"
        url = bundle if repo.local else repo.url
        words = (url, repo.path, repo.branch, repo.ref, depth, _WORDS[repo.submodules], _WORDS[repo.lfs])
        steps.append(Copy((folder(repo.path, owner, repo.origin),)))
        if repo.local:
            steps.append(CopyRepository(repo.local, bundle, owner, repo.origin))
        steps += [
            Run(
                user,
                f"{_USE_BUNDLE.text}{_CLONE.text}" if repo.local else _CLONE.text,
                repo.origin,
                f"git clone {repo.url}" + (f" ({at})" if (at := repo.branch or repo.ref) else ""),
                args=words,
                workdir="/",
                env={"GIT_TERMINAL_PROMPT": "0", **git_environment(habitat, repo)},
                remedies=_REMEDIES | {3: _mounted_remedy(habitat, repo)},
                known_hosts=repo.known_hosts,
                notices=True,
            ),
            *(_adopt_origin(repo, user, bundle) if repo.local else ()),
        ]
        steps += [
            Run(
                user,
                command.script,
                command.origin,
                f"setup of {repo.path}",
                workdir=repo.path,
                env=git_environment(habitat, repo),
                known_hosts=repo.known_hosts,
            )
            for command in repo.setup
        ]
        steps += _give_to_root(habitat, repo, user)
    return steps


def git_environment(habitat: Habitat, repo: RepoClone | None = None) -> dict[str, str]:
    """Return the variables for a command of this phase. repo: the repository that it is about."""
    from phases.core import git_credentials  # imported late: a run with nothing to do makes no plan

    return git_credentials.environment(habitat, repo)


def _adopt_origin(repo: RepoClone, user: str, bundle: str) -> Iterator[Step]:
    """Yield the step that gives a clone of a bundle the remote and the branch of the repository on this machine."""
    title = f"the remote of {repo.path}"
    follows = _WORDS[not (repo.branch or repo.ref)]
    yield Run(user, _ADOPT_ORIGIN.text, repo.origin, title, args=(repo.path, bundle, follows), workdir="/", ends=True)


def _give_to_root(habitat: Habitat, repo: RepoClone, user: str) -> Iterator[Step]:
    """Yield the step after which only root can write to a clone, if the config says so."""
    if not repo.writable:
        home = habitat.env.get("HOME", "") if user == habitat.user and "HOME" in habitat.env.values else ""
        args = (repo.path, user, home or "")
        yield Run(
            "root", _GIVE_TO_ROOT.text, repo.origin, f"the owner of {repo.path}", args=args, workdir="/", ends=True
        )


def _mounted_remedy(habitat: Habitat, repo: RepoClone) -> str:
    """Return the remedy for a repository with files at the place of a volume, with the volumes that may be meant."""
    inside = [volume for volume in habitat.volumes if volume.dest.startswith(f"{repo.path.rstrip('/')}/")]
    volumes = ", ".join(f"{volume.dest} ({volume.origin})" for volume in inside or habitat.volumes)
    return "write another path" + (f", or another dest for the volume: {volumes}" if volumes else "")
