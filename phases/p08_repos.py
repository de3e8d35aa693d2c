"""Phase 8, repos: clone repositories with the container's own git, then run each one's setup."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from phases.core.model import SECRETS_FOLDER
from phases.protocol import ChangeDescription, Copy, Run, dotted, folder, secrets_slice

if TYPE_CHECKING:
    from phases.core.model import Habitat, RepoClone
    from phases.protocol import Json, SlicePath, Step

ID = 8
NAME = "repos"
TITLE = "Cloning repositories"
DESCRIPTION = "Clone repositories"
SNAPSHOT = True

# WORKDIR may be cloned into although the habitat's folder is in it already, so the repository is
# cloned beside, moved in, and its files written without -f: git refuses to replace a file that is
# there and differs. --depth is repeated for a ref that the clone didn't bring.
#
# A token goes to the URL's own host and to no other, wherever that redirects; the empty helper takes
# away those of the image, of which one may write down what it hears. Given before the command, both
# are in no file.
_CLONE = r"""
url=$1 path=$2 branch=$3 ref=$4 depth=$5 host=$6
command -v git >/dev/null || { echo "there is no git in the image" >&2; exit 127; }
if [ -n "$host" ]; then
    helper='!token() { test "$1" = get && printf "%s\n" "username=$GIT_USER" "password=$(cat "$GIT_TOKEN")"; }; token'
    git() { command git -c credential.helper= -c "credential.$host.helper=$helper" "$@"; }
fi
case $path in "~"*) path=$HOME${path#"~"} ;; esac
if [ -e "$path/.git" ]; then
    echo "$path holds a repository already" >&2
    exit 1
fi
fresh=$path/.habitat-clone
git clone --no-checkout ${depth:+--depth "$depth"} ${branch:+--branch "$branch"} -- "$url" "$fresh"
if [ -n "$ref" ]; then
    if ! git -C "$fresh" rev-parse --quiet --verify "$ref^{commit}" >/dev/null; then
        git -C "$fresh" fetch ${depth:+--depth "$depth"} -- origin "$ref"
        ref=FETCH_HEAD
    fi
    git -C "$fresh" update-ref --no-deref HEAD "$(git -C "$fresh" rev-parse "$ref^{commit}")"
fi
mv "$fresh/.git" "$path/.git"
rmdir "$fresh"
cd "$path"
if git rev-parse --quiet --verify HEAD >/dev/null; then
    git read-tree -m -u HEAD
fi
"""

_REMEDIES = {
    127: "install git in setup, or use a base image that has it",
    128: "check url, branch and ref, and that the container can reach and may read the repository",
}

# What GitHub calls whoever comes with a token; other hosts take any name, or have one of their own,
# which then stands in the URL.
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
                _CLONE,
                repo.origin,
                f"git clone {repo.url}" + (f" ({at})" if (at := repo.branch or repo.ref) else ""),
                args=(repo.url, repo.path, repo.branch, repo.ref, depth, _host(repo)),
                workdir="/",
                env={"GIT_TERMINAL_PROMPT": "0", **_credential(repo)},
                remedies=_REMEDIES,
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


def _host(repo: RepoClone) -> str:
    """Where the token goes: `https://HOST` or `https://HOST:PORT`, "" where there is none."""
    return f"https://{urlsplit(repo.url).netloc.rpartition('@')[2]}" if repo.token else ""


def _credential(repo: RepoClone) -> dict[str, str]:
    if not repo.token:
        return {}
    user = unquote(urlsplit(repo.url).username or _LOGIN)
    return {"GIT_USER": user, "GIT_TOKEN": f"{SECRETS_FOLDER}/{repo.token}"}
