"""The proxies of docker's config.json, which `docker run` and `docker build` give to containers.

The docker package is not used, since each command in a habitat needs this.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from phases.core.engine.transport import docker_folder
from phases.core.files import safe_open

if TYPE_CHECKING:
    from collections.abc import Iterable

# The keys of config.json. A variable is set in capitals and in small letters, since programs differ.
_VARIABLES = {
    "httpProxy": "HTTP_PROXY",
    "httpsProxy": "HTTPS_PROXY",
    "ftpProxy": "FTP_PROXY",
    "noProxy": "NO_PROXY",
    "allProxy": "ALL_PROXY",
}

# Bytes of config.json that are read: more than any has.
_MAX_BYTES = 4_000_000


def proxies(addresses: Iterable[str]) -> dict[str, str]:
    """Return the variables for containers of the engine at one of `addresses`, else those for any engine.

    Like docker, this gives none if the file can't be read, and only `docker` complains about that.
    """
    try:
        by_engine = json.loads(safe_open.read(docker_folder() / "config.json", _MAX_BYTES) or b"{}")["proxies"]
        chosen = next((by_engine[address] for address in addresses if address in by_engine), None)
        if chosen is None:
            chosen = by_engine.get("default") or {}
        values = {name: chosen.get(key) for key, name in _VARIABLES.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}
    given = {name: value for name, value in values.items() if value and isinstance(value, str)}
    return given | {name.lower(): value for name, value in given.items()}
