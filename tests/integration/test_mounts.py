"""What an agent can make of a folder that it was given, and what a config may do here before anybody agrees."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest
from conftest import PREFIX, docker
from terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Project

pytestmark = pytest.mark.engine

BASE = "base_image: {}\nenv: [USER=root]\n"


@pytest.fixture
def other_name(engine: object, name: str) -> Iterator[str]:
    """The name of another habitat of the same project."""
    from conftest import clear, fresh_name

    other = fresh_name()
    yield other
    clear(engine, other)  # type: ignore[arg-type]


@pytest.mark.guarantee("mount-follows-no-agent-link")
def test_volume_source_replaced_by_agent_with_link_is_not_mounted(
    project: Project, busybox: str, name: str, other_name: str
) -> None:
    project.write("data/sub/note", "mine")
    project.habitat(name, BASE.format(busybox) + "volumes: [{source: data, dest: /data}]\n")
    inner = "volumes:\n  - {source: data/sub, dest: /sub, readonly: true}\n"
    project.habitat(other_name, BASE.format(busybox) + inner)
    assert "mine" in project.doit(f"start:{other_name}", "--cmd", "cat /sub/note")
    swap = "mv /data/sub /data/gone; ln -s /etc /data/sub"
    assert project.doit(f"start:{name}", "--cmd", swap).code == 0
    for args in (
        (f"start:{other_name}", "--cmd", "cat /sub/shadow"),
        (f"exec:{other_name}", "--", "cat", "/sub/shadow"),
    ):
        result = project.doit(*args)
        assert result.code != 0
        assert (
            f"habitats/{other_name}/config.yaml:4: volumes: data/sub: {project.root}/data/sub is a link to /etc"
            in result
        )
        assert "root:" not in result
    assert docker("container", "ls", "--quiet", "--filter", f"name=habitat-{other_name}") == ""


@pytest.mark.guarantee("volume-in-writable-volume-refused")
def test_volume_inside_writable_volume_is_refused(project: Project, busybox: str, name: str) -> None:
    project.write("data/sub/note", "mine")
    rows = "volumes:\n  - {source: data, dest: /data}\n  - {source: data/sub, dest: /sub}\n"
    project.habitat(name, BASE.format(busybox) + rows)
    result = project.doit(f"start:{name}")
    assert result.code != 0
    assert f"habitats/{name}/config.yaml:5: volumes: data/sub is in data (habitats/{name}/config.yaml:4)" in result
    assert docker("image", "ls", "--quiet", f"habitat-{name}") == ""


@pytest.mark.guarantee("build-writes-into-no-volume")
def test_volume_over_workdir_contains_no_build_files(project: Project, busybox: str, name: str) -> None:
    project.write("src/own", "mine")
    project.write(f"habitats/{name}/note", "copied")
    project.write(f"habitats/{name}/tools/bin/tool", "#!/bin/sh\necho tool\n", 0o755)
    more = "volumes: [{source: src, dest: /workspace}]\nsetup: {user: [ls >/tmp/seen]}\n"
    project.habitat(name, f"base_image: {busybox}\n{more}")
    started = project.doit(f"start:{name}", "--cmd", "cat /tmp/seen $LOCAL_PATH/note; tool; pwd")
    assert started.code == 0, started.out
    assert {"own", "copiedtool", "/workspace"} <= set(started.out.splitlines())
    assert [path.name for path in (project.root / "src").iterdir()] == ["own"]


@pytest.mark.guarantee("build-writes-into-no-volume")
def test_files_entry_inside_volume_is_refused_with_both_lines(project: Project, busybox: str, name: str) -> None:
    project.write("src/own", "mine")
    project.write(f"habitats/{name}/note", "copied")
    more = "volumes:\n  - {source: src, dest: /workspace}\nfiles:\n  - {source: note, dest: note}\n"
    project.habitat(name, BASE.format(busybox) + more)
    result = project.doit(f"final:{name}")
    assert result.code != 0
    assert (
        f"habitats/{name}/config.yaml:6: files: note would be written to the host, since /workspace is a volume "
        f"(habitats/{name}/config.yaml:4)"
    ) in result
    assert [path.name for path in (project.root / "src").iterdir()] == ["own"]


@pytest.mark.guarantee("build-writes-into-no-volume")
def test_cloned_repository_with_files_in_volume_is_refused_with_both_lines(
    project: Project, git_image: str, name: str
) -> None:
    for path in ("data/tracked", "sp ace/tracked", "free"):
        project.write(f"repo/{path}", "theirs\n")
    for argv in (("init", "-q"), ("add", "."), ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "one")):
        subprocess.run(("git", "-C", str(project.root / "repo"), *argv), check=True)
    for dest, is_refused in (("data", True), ("sp ace/tracked", True), ("other", False)):
        (project.root / "mounted").mkdir(exist_ok=True)
        project.habitat(
            name,
            f"base_image: {git_image}\nvolumes:\n  - {{source: repo, dest: /repo}}\n"
            f"  - {{source: mounted, dest: '/srv/r/{dest}'}}\nrepos: [{{url: 'file:///repo', path: /srv/r}}]\n",
        )
        result = project.doit(f"repos:{name}")
        assert (result.code != 0) is is_refused, result.out
        expected = (
            f"habitats/{name}/config.yaml:5: git clone file:///repo ended with exit code 3 (the repository has {dest}, "
            f"where something is mounted): write another path, or another dest for the volume: /srv/r/{dest} "
            f"(habitats/{name}/config.yaml:4)"
        )
        assert (expected in result) is is_refused, result.out
        assert list((project.root / "mounted").iterdir()) == []


# The person's word


@pytest.fixture
def trust_record(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing is trusted. Returns the record that is to be."""
    data = tmp_path_factory.mktemp("data")
    monkeypatch.delenv("HABITATS_TRUST")
    monkeypatch.setenv("XDG_DATA_HOME", str(data))
    return data / "habitats/trust.json"


SECRET = "secrets:\n  - {{name: T, command: echo {0} >>ran; echo s3cret-word, phases: [setup], start: true}}\n"
SETUP = "setup: {root: [test -s /run/secrets/T]}\n"


@pytest.mark.guarantee("host-commands-need-consent")
def test_untrusted_secret_command_without_terminal_is_not_run(
    project: Project, busybox: str, name: str, trust_record: Path
) -> None:
    project.habitat(name, BASE.format(busybox) + SECRET.format("one") + SETUP)
    refused = project.doit(f"start:{name}")
    expected = (
        f"habitats/{name}/config.yaml:4: {name} runs `echo one >>ran; echo s3cret-word` on this machine, for the "
        f"secret T, and you have not agreed to that: check it, then type `doit trust:{name}`"
    )
    assert refused.code != 0
    assert expected in refused
    assert not (project.root / "ran").exists()
    shown = project.doit(f"trust:{name}")
    assert shown.code == 1
    assert f"to agree to it, type `doit trust:{name} --yes`" in shown
    agreed = project.doit(f"trust:{name}", "--yes")
    assert agreed.code == 0
    assert "• recorded: you are asked again when this changes" in agreed
    assert list(json.loads(trust_record.read_text())) == [str(project.root)]
    assert project.doit(f"start:{name}", "--detach").code == 0
    assert (project.root / "ran").read_text() == "one\n"
    # What an agent has made of it, who got at the config in whatever way.
    project.habitat(name, BASE.format(busybox) + SECRET.format("two") + SETUP)
    for verb in ((f"start:{name}", "--detach"), (f"exec:{name}", "--", "true")):
        again = project.doit(*verb)
        assert again.code != 0
        assert f"habitats/{name}/config.yaml:4: {name} runs `echo two" in again
    assert "two" not in (project.root / "ran").read_text()


@pytest.mark.guarantee("host-commands-need-consent")
@pytest.mark.parametrize(("answer", "goes"), [("y\r", True), ("\r", False), ("\x04", False)])
def test_untrusted_secret_command_on_terminal_is_asked_about_once(
    project: Project, busybox: str, name: str, trust_record: Path, answer: str, goes: bool
) -> None:
    project.habitat(name, BASE.format(busybox) + SECRET.format("one") + SETUP)
    with Terminal(project, f"final:{name}", columns=150) as terminal:
        terminal.wait_for(f"Let {name} do that on this machine? [y/N] ")
        assert f"config.yaml:4: {name} runs `echo one >>ran; echo s3cret-word` on this machine" in terminal.shown
        terminal.type(answer)
        assert (terminal.end() == 0) is goes, terminal.shown
        assert terminal.shown.count("[y/N]") == 1
    assert (project.root / "ran").exists() is goes
    assert trust_record.exists() is goes
    if goes:
        assert project.doit(f"start:{name}", "--cmd", "true").code == 0


def test_untrusted_volume_giving_root_is_not_mounted(
    project: Project, busybox: str, name: str, trust_record: Path
) -> None:
    assert name.startswith(PREFIX)
    row = "volumes:\n  - {source: /opt, dest: /v, readonly: false, gives_root_on_the_host: true}\n"
    project.habitat(name, BASE.format(busybox) + row)
    refused = project.doit(f"start:{name}", "--detach")
    assert refused.code != 0
    assert f"{name} mounts /opt at /v (writable), which gives root on this machine" in refused
    assert not docker("container", "ls", "--all", "--quiet", "--filter", f"name={name}")
    assert project.doit(f"trust:{name}", "--yes").code == 0
    assert project.doit(f"start:{name}", "--detach").code == 0


@pytest.mark.guarantee("host-commands-need-consent")
def test_untrusted_config_can_be_listed_planned_and_ejected(
    project: Project, busybox: str, name: str, trust_record: Path
) -> None:
    project.habitat(name, BASE.format(busybox) + SECRET.format("one") + SETUP)
    for args in (("list",), (f"plan:{name}",), (f"eject:{name}",), ("status",), (f"logs:{name}",)):
        assert "nobody has agreed" not in project.doit(*args)
    assert not (project.root / "ran").exists()
    assert not trust_record.parent.exists()
