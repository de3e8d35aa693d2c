"""A Docker engine on what could be another machine: a private one, at the other end of a cable, with TLS."""

from __future__ import annotations

import ipaddress
import os
import subprocess
from typing import TYPE_CHECKING

from private_engine import PrivateEngine

if TYPE_CHECKING:
    from pathlib import Path

# For measuring networks, and so nobody's; four for each process of tests.
_ADDRESSES = ipaddress.ip_network("198.18.0.0/15")


class TlsEngine(PrivateEngine):
    """folder: an empty one. It lets nobody in who doesn't have the certificate in there."""

    def __init__(self, folder: Path) -> None:
        number = os.getpid()
        self._cable = f"habtest{number}"
        self._here, self._there = (_ADDRESSES[number % 30_000 * 4 + end] for end in (1, 2))
        self._certificates = folder
        _certify(folder, str(self._there))
        super().__init__(bridge=True)

    @property
    def _listening(self) -> tuple[str, ...]:
        own = self._certificates
        tls = (f"--tlscacert={own}/ca.pem", f"--tlscert={own}/cert.pem", f"--tlskey={own}/key.pem")
        return (*super()._listening, "--host", "tcp://0.0.0.0:2376", "--tlsverify", *tls)

    def start(self) -> None:
        super().start()
        far = ("peer", "name", "far", "netns", str(self._first))
        subprocess.run(("ip", "link", "add", self._cable, "type", "veth", *far), check=True)
        subprocess.run(("ip", "address", "add", f"{self._here}/30", "dev", self._cable), check=True)
        subprocess.run(("ip", "link", "set", self._cable, "up"), check=True)
        self._inside("ip", "link", "set", "lo", "up")
        self._inside("ip", "address", "add", f"{self._there}/30", "dev", "far")
        self._inside("ip", "link", "set", "far", "up")

    @property
    def env(self) -> dict[str, str]:
        host = f"tcp://{self._there}:2376"
        return {"DOCKER_HOST": host, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(self._certificates)}


def _certify(folder: Path, address: str) -> None:
    """One certificate for both sides, under the names that docker looks for."""
    names = ("-subj", "/CN=tests", "-addext", f"subjectAltName=IP:{address}")
    files = ("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem"))
    argv = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names, *files)
    subprocess.run(argv, check=True, capture_output=True)
    (folder / "ca.pem").write_text((folder / "cert.pem").read_text())
