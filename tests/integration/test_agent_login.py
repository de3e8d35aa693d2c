"""`habitat login` on the real engine: a login as agents have one, with the browser on this machine."""

from __future__ import annotations

import socket
import urllib.request

import pytest
from conftest import DEBIAN, Project, docker
from terminal import Terminal

pytestmark = pytest.mark.engine

#: Listens on a port of its own choice in the habitat, prints a URL that is longer than a line, and waits.
AGENT = r"""#!/usr/bin/perl
use strict; use IO::Socket::INET; $| = 1;
my $server = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => shift, Listen => 1) or die;
my $port = $server->sockport;
my $url = "https://agent.example/oauth/authorize?code_challenge=" . 'x' x 60
    . "&redirect_uri=http%3A%2F%2Flocalhost%3A$port%2Fcallback&state=abc";
my $columns = `stty size` =~ / (\d+)/ ? $1 : 80;
print "Open this URL:\n"; print substr($url, 0, $columns, ''), "\n" while length $url; print "\nWaiting\n";
my $browser = $server->accept; my $request = <$browser>;
while (<$browser>) { last if /^\r?\n$/ } # what is not read would end the connection before its answer has come
print $browser "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nlogged in"; close $browser;
print "token for $request"; exit($request =~ /code=42/ ? 0 : 7);
"""


@pytest.mark.guarantee("login-port-is-for-the-browser-only")
def test_login_shows_its_url_in_one_line_and_the_browser_reaches_its_port(project: Project, name: str) -> None:
    project.habitat(
        name,
        f"""
        base_image: {DEBIAN}
        env: [SYSTEM_PATH=, SHARED_PATH=, HABITAT_PATH=]
        files: [{{source: agent, dest: /usr/local/bin/agent, mode: "0755"}}]
        entry: {{login: agent $$PORT, env: [PORT=0]}}
        """,
    )
    project.write(f"habitats/{name}/agent", AGENT)
    assert project.doit(f"final:{name}").code == 0
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = taken.getsockname()[1]
        with Terminal(project, f"login:{name}", "--cmd", f"agent {busy}", columns=70) as terminal:
            terminal.wait_for(f"http://localhost:{busy} can not lead into the habitat: Address already in use")
            terminal.type("\x03")
            assert terminal.end() != 0
    with Terminal(project, f"login:{name}", columns=70) as terminal:
        terminal.wait_for("until the login ends")
        end = "&redirect_uri=http%3A%2F%2Flocalhost%3A{}%2Fcallback&state=abc\x1b]8;;\x1b\\\n"
        port = int(terminal.shown.rpartition("http://localhost:")[2].split()[0])
        assert end.format(port) in terminal.shown
        with urllib.request.urlopen(f"http://localhost:{port}/callback?code=42", timeout=20) as answer:
            assert answer.read() == b"logged in"
        assert terminal.end() == 0
        assert "token for GET /callback?code=42 HTTP/1.1" in terminal.shown
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port))
    assert docker("ps", "--quiet", "--filter", f"name=habitat-{name}") == "", "the last session stops it"
