"""Servers on addresses of this machine that look public, and a DNS that names them: what an allowlist lets through."""

from __future__ import annotations

import socket
import subprocess
import threading
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from dnslib import QTYPE, RR, A
from dnslib.server import BaseResolver, DNSServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dnslib import DNSRecord

#: Of TEST-NET-3 (RFC 5737), which belongs to nobody.
ALLOWED, DENIED = "203.0.113.210", "203.0.113.211"

#: The names that the DNS knows. The last ones lead inward.
NAMES = {
    "allowed.test": ALLOWED,
    "sub.allowed.test": ALLOWED,
    "denied.test": DENIED,
    "loopback.test": "127.0.0.1",
    "metadata.test": "169.254.13.37",
    "private.test": "10.123.45.67",
}


class Origin:
    """Servers that note who came.

    Attributes:
        hits: What reached a server: its address and port, and the first line.
        questions: The names that the DNS was asked for.
        dns: The address of the DNS.
    """

    def __init__(self, gateway: str) -> None:
        self.hits: list[str] = []
        self.questions: list[str] = []
        self.dns = gateway
        self.gateway = gateway

    def resolve(self, request: DNSRecord) -> DNSRecord:
        name = str(request.q.qname).rstrip(".").lower()
        self.questions.append(name)
        reply = request.reply()
        if name == "host.test":
            reply.add_answer(RR(request.q.qname, QTYPE.A, rdata=A(self.gateway)))
        elif name in NAMES and request.q.qtype == QTYPE.A:
            reply.add_answer(RR(request.q.qname, QTYPE.A, rdata=A(NAMES[name])))
        return reply

    @contextmanager
    def serving(self) -> Iterator[None]:
        with ExitStack() as stack:
            for address in (ALLOWED, DENIED):
                subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=False, capture_output=True)
                stack.callback(
                    subprocess.run, ["ip", "address", "del", f"{address}/32", "dev", "lo"], check=False,
                    capture_output=True,
                )  # fmt: skip
            for place in ((ALLOWED, 80), (ALLOWED, 8443), (DENIED, 80), (DENIED, 443), (self.gateway, 18080)):
                stack.enter_context(self._http(*place))
            for port in (53, 443):
                stack.enter_context(self._udp(DENIED, port))
            resolver = _Resolver(self)
            server = DNSServer(resolver, address=self.dns, port=53)
            server.start_thread()
            stack.callback(server.server.server_close)
            stack.callback(server.stop)
            yield

    @contextmanager
    def _http(self, address: str, port: int) -> Iterator[None]:
        origin = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                origin.hits.append(f"{address}:{port} {self.requestline} {self.headers.get('Host')}")
                body = f"hello from {address}\n".encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer((address, port), Handler) as server:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield
            server.shutdown()

    @contextmanager
    def _udp(self, address: str, port: int) -> Iterator[None]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
            listening.bind((address, port))

            def listen() -> None:
                try:
                    while True:
                        self.hits.append(f"udp {address}:{port} {listening.recv(100)!r}")
                except OSError:
                    pass  # it was closed

            threading.Thread(target=listen, daemon=True).start()
            yield


class _Resolver(BaseResolver):
    def __init__(self, origin: Origin) -> None:
        self._origin = origin

    def resolve(self, request: DNSRecord, _: object) -> DNSRecord:
        return self._origin.resolve(request)
