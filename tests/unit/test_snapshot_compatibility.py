"""Tags, labels, slices and environment digests stay as they are: another value builds every habitat again.

Change a value here only on purpose: the commit then says which phases are built again, and why.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from unit_helpers import load, write

from phases.core import json_types
from phases.core.cache import image_labels, sharing
from phases.core.cache.host_mounts import mounts_in
from phases.core.cache.stamps import task_name
from phases.core.config import loader
from phases.registry import PHASES, habitat_phases, named

if TYPE_CHECKING:
    from phases.core.model import Habitat

CONFIG = """\
name: demo
description: Uses every key that a phase reads
base_image: debian:bookworm-slim
uid: "1234"
env:
  - USER=ann
  - WORKDIR=/work
  - HABITAT_PATH=/opt/habitat
  - SYSTEM_PATH=${HABITAT_PATH}/system
  - SHARED_PATH=${HABITAT_PATH}/shared
  - LOCAL_PATH=${HABITAT_PATH}/local
  - PATH=/work/bin:$PATH
  - NAME=ä → $$5
files:
  - {source: data/plain, dest: /srv/plain}
  - {source: data, dest: ~/data, owner: "root:root", mode: "0600"}
volumes:
  - {source: ./mounted, dest: /data}
  - {source: ./mounted, dest: /data-readonly, readonly: true}
secrets:
  - {name: token, env: TOKEN, variable: TOKEN, phases: [setup, repos, tools, test]}
  - {name: file, file: /srv/secret, phases: [setup]}
  - {name: command, command: print it, phases: [dockerfile, setup], start: true}
caches:
  - ~/.cache
  - {path: /var/cache/apt, sharing: locked}
setup:
  root: [apt-get update, "apt-get install -y git"]
  user: [echo $HOME]
  bob: ["true"]
repos:
  - {url: "https://git.example/one.git", path: one, branch: main, depth: 1, token: token, setup: [make]}
  - {url: "ssh://git@git.example/two.git", path: /srv/two, ref: v1, owner: bob, ssh_agent: true}
verify-fs:
  required_files: [/etc/passwd, one/README]
tests: [tests/run.sh]
entry:
  init_command: sleep 5
  command: bash -l
"""

#: Phase to the sha256 of its slice.
HASHES = {
    "base": "22c1c7a7a0bec6eae0d3713186a4a3634737b0badafde5fceb290dfcd1dd0891",
    "users": "4fb11749ebe36ee73da9c20b90f4d5f391b4447821f18b125c46b4cd684a0e33",
    "env": "8c23534c98abfa2736e3fe3fedfc6d978d4eebe112cebea208a06a7c0a4a7c5a",
    "workdir": "fe62042486faeb869155025e62040f212d9ea678e89fc8f45abd7792a8fb2ac1",
    "habitat": "220645b91dbde7844ea12dd4b8040eb419ab7e55c7d2a842489141b1757098e4",
    "files": "81da29317befa9f503847c5ffe6c57881ec016ac73ec1c7769bab1091558171c",
    "setup": "e3e1aa0cf753a2184ec201063ca386c18e2ee37b55cc6cd9e54f50273b12f4af",
    "repos": "0d2a86c2c2953346a9b32ef53667f703ec805c6ea6310f6a2a189b851da6d21d",
    "tools": "76a06c52bd7e4a7d9f7e2d4f6c4670b9af9a54283822e4bfd192612589e344e2",
    "verify": "17fc2f1b51ef06b1b3f4293d87d51389173f449d8b899b0bcc92e88a13a0fc9b",
    "test": "c8c790268314089563f03bd1c5dd4716f524ab80741080a5e5b9cf8f5cf1e2f0",
    "final": "e4e46ca759a41a81f1835ecc947e17d3501657d9595c9b0d5c968bf15e9839d4",
}

#: Phase to its environment digest.
ENVIRONMENT_DIGESTS = {
    "base": "214794af8aea56f55c9481b2dd064988c9cfaec99a6732f227622ae2df87ab31",
    "users": "e21fe6983e4c613c1fa23b445f8dff32da83ff18b0db070990d5ca34af93e947",
    "env": "a5f2f77756bcef9f0e4372a38996437c2ecf010af21224ed4d803a26232e09bf",
    "workdir": "7ac331c4c46808313f564bf79385d9f63769e66cb3bee22d3bb637ddde51df32",
    "habitat": "483cbf3b79363f5e32e11c50a6291a68b7d3ffbe2e9d36e1f307e91c4e808369",
    "files": "cde00c4822feb5c2bcfe44616cd81d4d00d0e41569c82b7bbfdb8a4d73a9eede",
    "setup": "08e40e5173a2f8cd040afce93dcd6ff4a82305e93841a9bcac6662aefd086b9f",
    "repos": "eba4dfd848a49f23cddbc57ed82237dc1e422e2b8e81a82948b3f713ebdcf451",
    "tools": "46e6e0be382e956ccc9b2d7aab1ce365aa023f508fa40074306b112567854125",
    "verify": "b7c2cfbef5912ea96afb32d32e31b86d2db6550bf07f0d32fe325f49c9e48c2f",
    "test": "c002a08050a24bc0157b2970277c62be76d93456c7dad5c25a39a5de89222c99",
    "final": "4ebd8d8ec9a5a67bf2c12da0cf27daead83cdd4112b22b701f7130493dfc443e",
}

#: The same of the phases that differ in a habitat with a Dockerfile.
DOCKERFILE_HASHES = {
    "dockerfile": "806486fdb90b985e3b5894d903407101eae7ce5c7f4ed142e9d3f2a30a5b2fc8",
    "base": "f0b84e8f54aefc1c41a096436c524563578a1716d4959f4941d6e02817f0fcbf",
}
DOCKERFILE_ENVIRONMENT_DIGESTS = {
    "dockerfile": "97ae87827538ef1843334ed65555e15a57689643a782738aa38ee20584b3ce2f",
    "base": "3debde5062b968e7da6ceb999b0a4efb044ca248b46c8bfdbaa8462d2e36e947",
}


@pytest.fixture
def habitat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Habitat:
    """Return a habitat whose paths on the host are the same on every machine."""
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setattr(loader, "SYSTEM_FOLDER", tmp_path / "system")
    write(tmp_path, "system/config.yaml", "env: [USER=agent, WORKDIR=/workspace]\n")
    write(tmp_path, "system/tools/bin/tool", "#!/bin/sh\n", 0o755)
    write(tmp_path, "shared/profile", "umask 022\n")
    folder = "habitats/demo"
    write(tmp_path, f"{folder}/data/plain", "plain\n")
    write(tmp_path, f"{folder}/data/executable", "#!/bin/sh\n", 0o755)
    write(tmp_path, f"{folder}/data/.env", "SECRET=1\n")
    (tmp_path / folder / "data/link").symlink_to("plain")
    write(tmp_path, f"{folder}/mounted/file", "mounted\n")
    write(tmp_path, f"{folder}/notes.txt", "notes\n")
    write(tmp_path, f"{folder}/ignored.txt", "ignored\n")
    write(tmp_path, f"{folder}/.habignore", "ignored.*\n")
    write(tmp_path, f"{folder}/tools/setup.sh", "true\n")
    write(tmp_path, f"{folder}/tests/run.sh", "true\n")
    write(tmp_path, f"{folder}/tests/helper.sh", "true\n")
    return _on_any_machine(load(tmp_path, CONFIG))


def _on_any_machine(habitat: Habitat) -> Habitat:
    volumes = tuple(replace(volume, source=Path("/project/mounted")) for volume in habitat.volumes)
    return replace(habitat, volumes=volumes, base_id=f"sha256:{'b' * 64}")


def hashes(habitat: Habitat) -> dict[str, str]:
    return {
        phase.NAME: hashlib.sha256(json_types.canonical(phase.slice(habitat))).hexdigest()
        for phase in habitat_phases(habitat)
    }


def environment_digests(habitat: Habitat) -> dict[str, str]:
    return {
        phase.NAME: sharing.environment_digest(
            Path("/project"), phase.plan(habitat), mounts_in(habitat, phase), habitat.secrets_of(phase.NAME)
        )
        for phase in habitat_phases(habitat)
    }


def test_slices_of_full_config_keep_their_hashes(habitat: Habitat) -> None:
    assert hashes(habitat) == HASHES


def test_environment_digests_of_full_config_stay_the_same(habitat: Habitat) -> None:
    assert environment_digests(habitat) == ENVIRONMENT_DIGESTS


def test_dockerfile_slices_and_environment_digests_stay_the_same(habitat: Habitat) -> None:
    root = habitat.folder.parents[1]
    write(root, "habitats/demo/Dockerfile.dev", "FROM debian\nCOPY . /\n")
    write(root, "habitats/demo/.dockerignore", "notes.*\n!notes.txt\ndata/.env\n")
    built = _on_any_machine(load(root, f"dockerfile: Dockerfile.dev\n{CONFIG}"))
    other = {name: value for name, value in hashes(built).items() if HASHES.get(name) != value}
    digests = environment_digests(built).items()
    assert other == DOCKERFILE_HASHES
    assert {
        name: value for name, value in digests if ENVIRONMENT_DIGESTS.get(name) != value
    } == DOCKERFILE_ENVIRONMENT_DIGESTS


def test_build_lock_name_of_a_phase_stays_the_same() -> None:
    """Two versions of the program at once agree on who builds a phase."""
    name = sharing.build_name(PHASES[:3], {phase.NAME: "0" * 64 for phase in PHASES}, "sha256:parent", "1" * 64)
    assert name == "5f455a2cf7b7268e8eecabf8d68c5f48381896b55fab093f49a293afc34901e4"


def test_snapshot_tags_stay_the_same() -> None:
    assert [image_labels.snapshot_tag("x", phase) for phase in PHASES] == [
        "habitat-x:0-dockerfile",
        "habitat-x:1-base",
        "habitat-x:2-users",
        "habitat-x:3-env",
        "habitat-x:4-workdir",
        "habitat-x:5-habitat",
        "habitat-x:6-files",
        "habitat-x:7-setup",
        "habitat-x:8-repos",
        "habitat-x:9-tools",
        "habitat-x:10-verify",
        "habitat-x:11-test",
        "habitat-x:12-final",
    ]
    assert image_labels.final_tag("x") == "habitat-x:final"
    assert image_labels.failed_tag("x", named("setup")) == "habitat-x:7-setup-failed"
    assert image_labels.dockerfile_tag("x") == "habitat-x:0-dockerfile-build"


def test_task_names_stay_the_same() -> None:
    assert task_name(named("setup"), "x") == "setup:x"


def test_label_names_and_image_comment_stay_the_same() -> None:
    assert [image_labels.hash_label(phase) for phase in PHASES] == [f"{phase.NAME}.hash" for phase in PHASES]
    labels = image_labels.labels("x", named("setup"), "sha256:parent", 1.25)
    created = labels.pop("habitat.created")
    assert labels == {
        "habitat.name": "x",
        "habitat.phase": "setup",
        "habitat.parent": "sha256:parent",
        "habitat.seconds": "1.250",
    }
    assert len(created) == len("2026-01-31T12:00:00Z")
    assert image_labels.LABEL_ENVIRONMENT_DIGEST == "habitat.surroundings"
    assert (image_labels.LABEL_RESULT, image_labels.FAILED) == ("habitat.result", "fail")
    assert image_labels.COMMENT == "snapshot of a habitat"
