"""What is called as a file of credentials is, and therefore not copied: told once, with how to copy it all the same."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from conftest import ROOT
from unit_helpers import DemoProject, load, make_user, write

from phases.core import copied_files
from phases.core.files import tree as files_tree
from phases.core.files.habignore import rules_of_tree
from phases.core.files.ignore import CREDENTIALS

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = "base_image: base:1\ntests: [tests/t]\nfiles: [{source: extra, dest: /extra}]\n"

HOLDERS = [
    ".ssh/id_work",
    ".npmrc",
    ".netrc",
    "_netrc",
    ".git-credentials",
    ".aws/credentials",
    ".azure/token",
    ".gnupg/secring.gpg",
    ".kube/config",
    ".docker/config.json",
    ".pypirc",
    ".pgpass",
    ".my.cnf",
    "server.key",
    "server.pem",
    "cert.p12",
    "cert.pfx",
    "store.jks",
    "store.keystore",
    "id_rsa",
    "id_ed25519",
    "id_ecdsa",
    "id_dsa",
    "deploy_key",
    ".env",
    ".env.local",
    ".env.production",
    ".credentials.json",
    ".bash_history",
]
ORDINARY = ["id_rsa.pub", "key", "env", "x.env", "monkey", "npmrc", "keys/readme", "ssh/config", ".envrc", "docker/x"]


@pytest.mark.guarantee("credential-files-not-copied")
@pytest.mark.parametrize("path", HOLDERS)
@pytest.mark.parametrize("folder", ["", "sub/deep/"])
def test_credential_file_in_copied_folder_is_not_copied(tmp_path: Path, path: str, folder: str) -> None:
    for place in ("", "tools/", "tests/"):
        write(tmp_path, f"habitats/demo/{place}{folder}{path}")
    write(tmp_path, f"extra/{folder}{path}")
    write(tmp_path, "habitats/demo/tests/t")
    habitat = load(tmp_path, CONFIG)
    layer = habitat.layer("local")
    seen = [copied_files.layer_tree(habitat, layer), copied_files.file_tree(habitat, habitat.files[0])]
    seen += [copied_files.subfolder_tree(habitat, layer, name) for name in ("tools", "tests")]
    name = path.rpartition("/")[2]
    assert not [item.path for tree in seen for item in tree if item.path.endswith(name)]


@pytest.mark.parametrize("path", ORDINARY)
def test_credential_file_lookalike_is_copied(tmp_path: Path, path: str) -> None:
    write(tmp_path, path)
    rules = rules_of_tree(tmp_path, tmp_path)
    assert [item.path for item in files_tree.walk(tmp_path, rules) if item.kind == "file"] == [path]


@pytest.fixture
def demo(tmp_path: Path) -> DemoProject:
    for path in (".npmrc", "sub/.env.local", ".ssh/id_work", "mine.key", "tools/bin/x", "tools/.netrc", "tests/t"):
        write(tmp_path, f"habitats/demo/{path}", "#!/bin/sh\n", 0o755)
    for path in ("tests/.pgpass", ".git/config", ".habignore"):
        write(tmp_path, f"habitats/demo/{path}", "mine.key\n" if path == ".habignore" else "")
    write(tmp_path, "extra/.aws/config")
    demo = DemoProject(tmp_path, CONFIG)
    demo.engine.on_execute = lambda command: (
        make_user(command) or ((0, "") if command.argv[-1].endswith("/t") else None)
    )
    return demo


@pytest.mark.guarantee("credential-files-not-copied")
def test_credential_files_not_copied_are_listed_once_with_rule_to_copy(demo: DemoProject) -> None:
    messages: list[str] = []
    for phase in ("files", "tools", "final"):
        demo.build(phase)
        messages += demo.notices()
    end = "to habitats/demo/.habignore"
    one = "not copied, since its name looks like credentials: habitats/demo/"
    names = "habitats/demo/.npmrc, habitats/demo/.ssh/, habitats/demo/sub/.env.local, extra/.aws/"
    first = f"to copy habitats/demo/.npmrc anyway, add `!.npmrc` {end}"
    assert messages == [
        f"not copied, since their names look like credentials: {names}; {first}",
        f"{one}tools/.netrc; to copy habitats/demo/tools/.netrc anyway, add `!.netrc` {end}",
        f"{one}tests/.pgpass; to copy habitats/demo/tests/.pgpass anyway, add `!.pgpass` {end}",
    ]
    assert demo.build() == []
    assert demo.notices() == []


@pytest.mark.guarantee("credential-files-not-copied")
def test_credential_file_with_rule_in_habignore_is_copied_without_notice(demo: DemoProject) -> None:
    rules = "!.npmrc\n!.ssh\n!.env.*\n!*.key\n!.aws\n!.netrc\n!.pgpass\n"
    write(demo.root, "habitats/demo/.habignore", rules)
    demo.build()
    assert not [text for text in demo.notices() if "not copied" in text]
    files = demo.engine.files("habitat-demo:final")
    copied = [
        path for path in files.nodes if path.endswith((".npmrc", "id_work", ".env.local", "mine.key", ".aws/config"))
    ]
    assert len(copied) == 5


def test_credential_files_in_large_number_are_counted(tmp_path: Path) -> None:
    for number in range(20):
        write(tmp_path, f"habitats/demo/{number:02}.key")
    demo = DemoProject(tmp_path)
    demo.build("files")
    (notice,) = demo.notices()
    assert "habitats/demo/04.key and 15 more; to copy habitats/demo/00.key anyway, add `!00.key`" in notice


def test_credential_folder_with_socket_is_no_error(tmp_path: Path) -> None:
    import socket

    write(tmp_path, "habitats/demo/.gnupg/x")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "habitats/demo/.gnupg/S.gpg-agent"))
        demo = DemoProject(tmp_path)
        assert demo.build("files")[-1] == "files"


def test_credential_file_that_is_configured_secret_gives_no_notice(tmp_path: Path) -> None:
    write(tmp_path, "habitats/demo/the.key", "s3cret")
    demo = DemoProject(tmp_path, "base_image: base:1\nsecrets: [{name: T, file: the.key, start: true}]\n")
    demo.build("files")
    assert demo.notices() == []


def test_credential_patterns_need_no_pathspec() -> None:
    script = (
        "import sys; from pathlib import Path; from phases.core.files.habignore import rules_of_tree;"
        "ignore = rules_of_tree(Path('docs'), Path('docs')).also('/x');"
        "assert ignore('a/.npmrc') and ignore('.env.local') and not ignore('x.y');"
        "assert 'pathspec' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_credential_patterns_are_listed_in_docs() -> None:
    text = (ROOT / "docs/config.md").read_text()
    assert not [name for name in CREDENTIALS if f"`{name}`" not in text]
