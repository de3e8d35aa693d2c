"""What is called as a file of credentials is, and therefore not copied: told once, with how to copy it all the same."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from conftest import ROOT
from unit_helpers import Site, load, make_user, write

from phases.core.files import tree as files_tree

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


@pytest.mark.parametrize("path", HOLDERS)
@pytest.mark.parametrize("folder", ["", "sub/deep/"])
def test_file_called_as_one_of_credentials_is_not_copied(tmp_path: Path, path: str, folder: str) -> None:
    for place in ("", "tools/", "tests/"):
        write(tmp_path, f"habitats/demo/{place}{folder}{path}")
    write(tmp_path, f"extra/{folder}{path}")
    write(tmp_path, "habitats/demo/tests/t")
    habitat = load(tmp_path, CONFIG)
    layer = habitat.layer("local")
    seen = [habitat.layer_tree(layer), habitat.tree(habitat.files[0])]
    seen += [habitat.subtree(layer, name) for name in ("tools", "tests")]
    name = path.rpartition("/")[2]
    assert not [item.path for tree in seen for item in tree if item.path.endswith(name)]


@pytest.mark.parametrize("path", ORDINARY)
def test_file_of_another_name_is_copied(tmp_path: Path, path: str) -> None:
    write(tmp_path, path)
    assert [item.path for item in files_tree.walk(tmp_path, files_tree.habignore([])) if item.kind == "file"] == [path]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    for path in (".npmrc", "sub/.env.local", ".ssh/id_work", "mine.key", "tools/bin/x", "tools/.netrc", "tests/t"):
        write(tmp_path, f"habitats/demo/{path}", "#!/bin/sh\n", 0o755)
    for path in ("tests/.pgpass", ".git/config", ".habignore"):
        write(tmp_path, f"habitats/demo/{path}", "mine.key\n" if path == ".habignore" else "")
    write(tmp_path, "extra/.aws/config")
    site = Site(tmp_path, CONFIG)
    site.engine.on_execute = lambda command: (
        make_user(command) or ((0, "") if command.argv[-1].endswith("/t") else None)
    )
    return site


def test_build_tells_once_what_it_did_not_copy_and_how_to(site: Site) -> None:
    told: list[str] = []
    for phase in ("files", "tools", "final"):
        site.build(phase)
        told += site.notices()
    begin, end = (
        "not copied, since the name is one of credentials: ",
        "in habitats/demo/.habignore copies that all the same",
    )
    assert told == [
        f"{begin}habitats/demo/.npmrc, habitats/demo/.ssh/, habitats/demo/sub/.env.local, extra/.aws/; `!.npmrc` {end}",
        f"{begin}habitats/demo/tools/.netrc; `!.netrc` {end}",
        f"{begin}habitats/demo/tests/.pgpass; `!.pgpass` {end}",
    ]
    assert site.build() == []
    assert site.notices() == []


def test_rule_of_a_person_copies_it_and_nothing_is_told(site: Site) -> None:
    rules = "!.npmrc\n!.ssh\n!.env.*\n!*.key\n!.aws\n!.netrc\n!.pgpass\n"
    write(site.root, "habitats/demo/.habignore", rules)
    site.build()
    assert not [text for text in site.notices() if "not copied" in text]
    files = site.engine.files("habitat-demo:final")
    copied = [
        path for path in files.nodes if path.endswith((".npmrc", "id_work", ".env.local", "mine.key", ".aws/config"))
    ]
    assert len(copied) == 5


def test_many_are_counted(tmp_path: Path) -> None:
    for number in range(20):
        write(tmp_path, f"habitats/demo/{number:02}.key")
    site = Site(tmp_path)
    site.build("files")
    (told,) = site.notices()
    assert "habitats/demo/04.key and 15 more; `!00.key`" in told


def test_socket_in_a_folder_of_keys_is_no_error(tmp_path: Path) -> None:
    import socket

    write(tmp_path, "habitats/demo/.gnupg/x")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "habitats/demo/.gnupg/S.gpg-agent"))
        site = Site(tmp_path)
        assert site.build("files")[-1] == "files"


def test_file_that_holds_a_secret_is_not_told_of(tmp_path: Path) -> None:
    write(tmp_path, "habitats/demo/the.key", "s3cret")
    site = Site(tmp_path, "base_image: base:1\nsecrets: [{name: T, file: the.key, start: true}]\n")
    site.build("files")
    assert site.notices() == []


def test_list_of_credentials_needs_no_library() -> None:
    script = (
        "import sys; from phases.core.files import tree; ignore = tree.habignore([]).also('/x');"
        "assert ignore('a/.npmrc') and ignore('.env.local') and not ignore('x.y');"
        "assert 'pathspec' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_every_name_is_in_the_docs() -> None:
    text = (ROOT / "docs/config.md").read_text()
    assert not [name for name in files_tree.CREDENTIALS if f"`{name}`" not in text]
