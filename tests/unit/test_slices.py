"""Slices: canonical, checked with sha256sum, blind to what means nothing."""

from __future__ import annotations

import errno
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from unit_helpers import load, write

from phases.core import json_types
from phases.core.errors import StateError
from phases.core.files import atomic
from phases.registry import habitat_phases

if TYPE_CHECKING:
    from phases.core.model import Habitat


def hashes(habitat: Habitat) -> dict[str, str]:
    return {phase.NAME: json_types.digest(phase.slice(habitat)) for phase in habitat_phases(habitat)}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"b": 1, "a": [1, 2]}, b'{"a":[1,2],"b":1}'),
        ({"a": {"d": None, "c": True}}, b'{"a":{"c":true,"d":null}}'),
        ({"ä": "→"}, '{"ä":"→"}'.encode()),
        ({}, b"{}"),
        ({"a": "x\ny"}, b'{"a":"x\\ny"}'),
        ({"a": "\udcff"}, b'{"a":"\\udcff"}'),
    ],
)
def test_slice_is_canonical_json(value: object, expected: bytes) -> None:
    assert json_types.canonical(value) == expected


def test_slice_hash_equals_sha256sum_of_file(tmp_path: Path) -> None:
    value = {"commands": [{"script": "echo ä", "user": "root"}]}
    path = tmp_path / "7-setup.json"
    atomic.write_if_changed(path, json_types.canonical(value))
    printed = subprocess.run(["sha256sum", str(path)], capture_output=True, text=True, check=True).stdout
    assert printed.split()[0] == json_types.digest(value)


def test_slice_unchanged_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "x" / "slice.json"
    atomic.write_if_changed(path, b"one")
    before = path.stat()
    atomic.write_if_changed(path, b"one")
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    atomic.write_if_changed(path, b"two")
    assert path.read_bytes() == b"two"
    assert [entry.name for entry in path.parent.iterdir()] == ["slice.json"]


PLAIN = """\
name: demo
description: A text
base_image: debian
env:
  - A=1
setup:
  root: [one]
  user: [two]
repos:
  - url: u
    path: /p
    branch: main
entry:
  command: x
  init_command: y
"""

SAME = {
    "description": PLAIN.replace("A text", "Another text"),
    "no description, no name": PLAIN.replace("name: demo\ndescription: A text\n", ""),
    "comments": "# x\n" + PLAIN.replace("env:", "\n# y\nenv:  # z"),
    "order of keys": PLAIN.replace("  root: [one]\n  user: [two]\n", "  user: [two]\n  root: [one]\n").replace(
        "    path: /p\n    branch: main\n", "    branch: main\n    path: /p\n"
    ),
    "order of sections": "\n".join(["entry: {init_command: y, command: x}", PLAIN.partition("entry:")[0]]),
    "whitespace": PLAIN.replace("  - A=1", "      -   A=1").replace("[one]", "[ one ]"),
    "quotes": PLAIN.replace("A=1", '"A=1"').replace("command: x", "command: 'x'"),
    "anchors": PLAIN.replace("[one]", "&a [one]"),
    "debug": PLAIN + "debug: true\n",
    "timeouts": PLAIN + "timeouts:\n  setup: 3m\n",
    "startup_delay": PLAIN + "  startup_delay: 3\n",
    "ready": PLAIN + "  ready: curl localhost\n",
    "ports": PLAIN + "  ports: [3000]\n",
    "persist": PLAIN + "  persist: [~/.cache/]\n",
}


@pytest.mark.parametrize("case", SAME)
def test_slice_ignores_meaningless_config_differences(tmp_path: Path, case: str) -> None:
    assert hashes(load(tmp_path, SAME[case])) == hashes(load(tmp_path / "other", PLAIN))


def test_slice_hashes_of_two_clones_are_equal(tmp_path: Path) -> None:
    actual = []
    for clone in ("one", "somewhere/else"):
        root = tmp_path / clone
        for path, mode in (("habitats/demo/a", 0o600), ("habitats/demo/tools/bin/t", 0o755), ("shared/s", 0o644)):
            write(root, path, "x", mode)
        write(root, "habitats/demo/tests/t.sh")
        text = PLAIN + "files:\n  - {source: a, dest: /a}\ntests: [tests/t.sh]\n"
        text += "volumes:\n  - {source: ./shared, dest: /s, readonly: true}\n"
        actual.append(hashes(load(root, text)))
    assert actual[0] == actual[1]


def test_slice_contains_no_file_content_and_no_host_path(tmp_path: Path) -> None:
    write(tmp_path, "habitats/demo/secret", "hunter2")
    habitat = load(tmp_path, PLAIN + "files:\n  - {source: secret, dest: /a}\n")
    text = json.dumps([phase.slice(habitat) for phase in habitat_phases(habitat)])
    assert "hunter2" not in text
    assert str(tmp_path) not in text


def test_slice_write_failure_keeps_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / ".stamps/demo/3-env.json"
    atomic.write_if_changed(path, b"before")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(StateError, match="make room on the disk"):
        atomic.write_if_changed(path, b"after")
    assert [file.name for file in path.parent.iterdir()] == ["3-env.json"]
    assert path.read_bytes() == b"before"
