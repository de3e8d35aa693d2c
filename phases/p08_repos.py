"""Phase 8, repos: clone repositories with the git of the image, then run the setup commands of each."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from phases.core.files.shell_program import ShellProgram
from phases.core.json_types import dotted
from phases.core.model import SECRETS_FOLDER
from phases.protocol import ChangeDescription, Copy, Run, folder, secrets_slice

if TYPE_CHECKING:
    from phases.core.json_types import Json
    from phases.core.model import Habitat, RepoClone
    from phases.protocol import SlicePath, Step

ID = 8
NAME = "repos"
TITLE = "Cloning repositories"
DESCRIPTION = "Clone repositories"
SNAPSHOT = True

_CLONE = ShellProgram(__file__, "scripts/clone.sh")

_REMEDIES = {
    127: "install git in setup, or use a base image that has it",
    128: "check url, branch and ref, and that the container can reach and may read the repository",
}

# The user name for a token on GitHub. Other hosts accept any name, or need one, which then is part of the URL.
_LOGIN = "x-access-token"


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
            }
            for repo in habitat.repos
        ],
        **secrets_slice(habitat, NAME),
    }


def describe_change(changed: SlicePath) -> ChangeDescription:
    return ChangeDescription(dotted(*changed.key))


def plan(habitat: Habitat) -> list[Step]:
    steps: list[Step] = []
    for repo in habitat.repos:
        owner = habitat.user_named(repo.owner)
        user = owner.partition(":")[0]
        depth = str(repo.depth) if repo.depth else ""
        steps += [
            Copy((folder(repo.path, owner, repo.origin),)),
            Run(
                user,
                _CLONE.text,
                repo.origin,
                f"git clone {repo.url}" + (f" ({at})" if (at := repo.branch or repo.ref) else ""),
                args=(repo.url, repo.path, repo.branch, repo.ref, depth, _host(repo)),
                workdir="/",
                env={"GIT_TERMINAL_PROMPT": "0", **_credential(repo)},
                remedies=_REMEDIES | {3: _mounted_remedy(habitat, repo)},
                known_hosts=repo.known_hosts,
            ),
        ]
        steps += [
            Run(
                user,
                command.script,
                command.origin,
                f"setup of {repo.path}",
                workdir=repo.path,
                known_hosts=repo.known_hosts,
            )
            for command in repo.setup
        ]
    return steps


def _mounted_remedy(habitat: Habitat, repo: RepoClone) -> str:
    """Return the remedy for a repository with files at the place of a volume, with the volumes that may be meant."""
    inside = [volume for volume in habitat.volumes if volume.dest.startswith(f"{repo.path.rstrip('/')}/")]
    volumes = ", ".join(f"{volume.dest} ({volume.origin})" for volume in inside or habitat.volumes)
    return "write another path" + (f", or another dest for the volume: {volumes}" if volumes else "")


def _host(repo: RepoClone) -> str:
    """Return the host that gets the token, as `https://HOST` or `https://HOST:PORT`, "" without a token."""
    return f"https://{urlsplit(repo.url).netloc.rpartition('@')[2]}" if repo.token else ""


def _credential(repo: RepoClone) -> dict[str, str]:
    if not repo.token:
        return {}
    user = unquote(urlsplit(repo.url).username or _LOGIN)
    return {"GIT_USER": user, "GIT_TOKEN": f"{SECRETS_FOLDER}/{repo.token}"}
