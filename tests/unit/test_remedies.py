"""What a command printed decides the remedy, before its exit code does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from unit_helpers import DemoProject, load, make_user

from phases.core.container.remedies import remedy_for
from phases.core.errors import HabitatError
from phases.core.runtime import start as runtime_start

if TYPE_CHECKING:
    from pathlib import Path

    from fake_engine import Command

CONFIG = """\
base_image: base:1
volumes:
  - {source: data, dest: /data, readonly: true}
  - {source: work, dest: /data/work}
repos: [{url: "https://a.test/b", path: b}]
"""


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("sh: 1: exec: foreign: Exec format error", "another architecture: the engine is linux/amd64"),
        ("bash: ./tool: cannot execute binary file: Exec format error", "another architecture"),
        ("OSError: [Errno 8] Exec format error: './tool'", "another architecture"),
        ("exec /bin/sh: exec format error", "another architecture"),
        (
            "fatal: detected dubious ownership in repository at '/workspace/a b'\nTo add an exception…",
            "safe.directory '/workspace/a b'`",
        ),
        ("fatal: unsafe repository ('/w' is owned by someone else)", "safe.directory /w"),
        ("git-lfs filter-process: 1: git-lfs: not found\nfatal: the remote end hung up", "install git-lfs"),
        ("error: external filter 'git-lfs filter-process' failed\nfatal: x: smudge filter lfs failed", "Git LFS"),
        ("batch response: Authentication required\nerror: failed\nSmudge error: Error downloading x", "Git LFS"),
        ("fatal: could not create work tree dir '/data/x': Read-only file system", "(habitats/demo/config.yaml:3)"),
        (
            "touch: cannot touch '/data/work/x': Permission denied",
            "/data/work is a volume (habitats/demo",
        ),
        ("rm: cannot remove '/data/work': Device or resource busy", "can't be replaced"),
        (
            "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed\\nERROR: No matching distribution found for uv",
            "if a proxy of your network signs HTTPS itself",
        ),
        ("npm error code SELF_SIGNED_CERT_IN_CHAIN", "install ca-certificates"),
        ("curl: (60) SSL certificate problem: unable to get local issuer certificate", "install ca-certificates"),
        ("server certificate verification failed. CAfile: none CRLfile: none", "install ca-certificates"),
        ("tls: failed to verify certificate: x509: certificate signed by unknown authority", "ca-certificates"),
        ("write error: No space left on device\nfatal: x", "disk is full"),
        ("fatal: repository 'https://a.test/b' not found", ""),
        ("touch: cannot touch '/database/x': Permission denied", ""),
        ("", ""),
    ],
)
def test_remedy_follows_what_was_printed(tmp_path: Path, printed: str, expected: str) -> None:
    for name in ("data/work", "work"):
        (tmp_path / name).mkdir(parents=True)
    habitat = load(tmp_path, CONFIG)
    remedy = remedy_for(printed, habitat, lambda: "linux/amd64")
    assert expected in remedy
    assert bool(remedy) == bool(expected)


@pytest.mark.parametrize(
    ("printed", "remedy"),
    [
        ("fatal: detected dubious ownership in repository at '/workspace/b'", "safe.directory /workspace/b"),
        ("fatal: big.bin: smudge filter lfs failed", "Git LFS"),
        ("fatal: write error: No space left on device", "disk is full"),
        ("fatal: could not read from remote repository", "check url, branch and ref"),
    ],
)
def test_failed_clone_is_blamed_on_url_only_if_git_says_so(tmp_path: Path, printed: str, remedy: str) -> None:
    demo = DemoProject(tmp_path, "base_image: base:1\nrepos: [{url: 'https://a.test/b', path: b}]\n")
    demo.engine.on_execute = lambda c: (128, f"{printed}\n") if "git clone" in c.script else make_user(c)
    with pytest.raises(HabitatError) as caught:
        demo.build()
    assert remedy in str(caught.value)
    assert ("check url" in str(caught.value)) == (remedy.startswith("check url"))


def _foreign(command: Command) -> tuple[int, str] | None:
    return (126, "sh: foreign: Exec format error\n") if command.script == "foreign" else None


def test_setup_command_for_other_architecture_names_architecture(tmp_path: Path) -> None:
    demo = DemoProject(tmp_path, "base_image: base:1\nsetup: {root: [foreign]}\n")
    demo.engine.on_execute = lambda c: _foreign(c) or make_user(c)
    with pytest.raises(HabitatError, match="another architecture: the engine is linux/amd64"):
        demo.build()


@pytest.mark.parametrize("code", [126, 255])
def test_shell_for_other_architecture_is_not_blamed_on_command(tmp_path: Path, code: int) -> None:
    """Engines report it by the exit code of the first command, and by the end of the container."""
    demo = DemoProject(tmp_path, "base_image: base:1\nenv: [USER=root]\nsetup: {root: [echo x]}\n")

    def refuse(command: Command) -> tuple[int, str]:
        command.container.running = False
        command.container.log = ["exec /bin/sh: exec format error"]
        return code, "exec /bin/sh: exec format error\n"

    demo.engine.on_execute = refuse
    with pytest.raises(HabitatError, match=r"/bin/sh of the image base:1 can't run"):
        demo.build()


def test_init_command_for_other_architecture_names_architecture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo = DemoProject(tmp_path, "base_image: base:1\nentry: {init_command: /sbin/foreign}\n")
    demo.build()
    monkeypatch.setattr(demo.engine, "logs", lambda *_: ["exec /sbin/foreign: exec format error"])
    with pytest.raises(HabitatError, match="another architecture: the engine is linux/amd64"):
        runtime_start.start_detached(demo.run_anew(), "demo")
