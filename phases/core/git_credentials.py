"""The environment by which git finds the tokens of `repos:`: for each command of phase 8, and for those of sessions.

It is in no file, and git hands it on to git's own programs: `git submodule`, git-lfs, and what installs a package from
a repository.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from phases.core.model import SECRETS_FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from phases.core.model import Habitat, RepoClone

#: What `git -c` sets. Debian 11's git doesn't know the newer GIT_CONFIG_COUNT.
PARAMETERS = "GIT_CONFIG_PARAMETERS"

# The user name for a token on GitHub. Other hosts accept any name, or need one, which then is part of the URL.
_LOGIN = "x-access-token"


def environment(habitat: Habitat, own: RepoClone | None = None) -> dict[str, str]:
    """Return the variables for a command of phase 8, none if no repository has a token.

    Args:
        habitat: The habitat.
        own: The repository that the command is about. Its token comes first if two have the same host.
    """
    with_token = [repo for repo in habitat.repos if repo.token]
    if not with_token:
        return {}
    with_token.sort(key=lambda repo: repo != own)
    return {"GIT_TERMINAL_PROMPT": "0", PARAMETERS: _parameters(with_token, lambda _: "")}


def of_session(habitat: Habitat, renew: Callable[[str], str], others: str = "") -> dict[str, str]:
    """Return the variables for the commands of a session: for the tokens that running habitats have.

    Args:
        habitat: The habitat.
        renew: Returns the command that renews a token, which git runs before it reads that; "" for none.
        others: The parameters that the commands would have, which stay.
    """
    started = {secret.name for secret in habitat.secrets if secret.start}
    with_token = [repo for repo in habitat.repos if repo.token in started]
    if not with_token:
        return {}
    return {PARAMETERS: " ".join(filter(None, (others, _parameters(with_token, renew))))}


def _parameters(repos: Iterable[RepoClone], renew: Callable[[str], str]) -> str:
    """Return the settings for repositories with a token.

    Each token is sent to its own host only, also if that redirects. The empty helper switches off the image's helpers
    for this host, which might store the token.
    """
    repos = list(repos)
    settings = [f"credential.{host}.helper=" for host in dict.fromkeys(map(_host, repos))]
    for repo in repos:
        helpers = [f"!{command}" if (command := renew(repo.token)) else "", _helper(repo)]
        settings += [f"credential.{_host(repo)}.helper={helper}" for helper in helpers if helper]
    return " ".join(map(_quoted, dict.fromkeys(settings)))


def _host(repo: RepoClone) -> str:
    """Return the host that gets the token, as `https://HOST` or `https://HOST:PORT`."""
    return f"https://{urlsplit(repo.url).netloc.rpartition('@')[2]}"


def _helper(repo: RepoClone) -> str:
    user = shlex.quote(f"username={unquote(urlsplit(repo.url).username or _LOGIN)}")
    token = shlex.quote(f"{SECRETS_FOLDER}/{repo.token}")
    return f'!token() {{ test "$1" = get && printf "%s\\n" {user} "password=$(cat {token})"; }}; token'


def _quoted(setting: str) -> str:
    """Quote a setting as git does; it reads no other quotes of a shell."""
    return "'" + setting.replace("'", "'\\''") + "'"
