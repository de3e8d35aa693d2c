"""The variables by which programs in a habitat use its gate."""

from __future__ import annotations

from phases.core.files.shell_program import ShellProgram

#: Where the gate listens in the habitat, on 127.0.0.1. Linux picks no port above 60999 by itself.
PORT = 61080

_URL = f"http://127.0.0.1:{PORT}"
_DIRECT = "localhost,127.0.0.1,::1"

_JAVA = (
    f"-Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort={PORT} -Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort={PORT}"
    " -Dhttp.nonProxyHosts=localhost|127.*|[::1]"
)

_CONNECT = ShellProgram(__file__, "connect_host.sh")


def variables() -> dict[str, str]:
    """Return the variables, for every command, and for the main process where that is the config's."""
    return {
        **{name: _URL for word in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY") for name in (word, word.lower())},
        "NO_PROXY": _DIRECT,
        "no_proxy": _DIRECT,
        "NODE_USE_ENV_PROXY": "1",
        "JAVA_TOOL_OPTIONS": _JAVA,
        "HABITAT_CONNECT": _CONNECT.text,
        "GIT_SSH_COMMAND": f"ssh -o ProxyCommand='bash -c \"$HABITAT_CONNECT\" connect %h %p {PORT}'",
    }
