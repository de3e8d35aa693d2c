"""A hostile agent on the real engine: nothing that it puts anywhere is run, read or written by root."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from conftest import CommandResult, Project, clear, docker, fresh_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from phases.core.engine.docker_api.client import DockerEngine

pytestmark = pytest.mark.engine

# Every program that a script of root's may look up.
PROGRAMS = "sleep stat chown chgrp chmod mv head find rm id cat sh ln cp readlink kill grep stty env ls mkdir tail cut"

# Put a program of that name into each folder that can be written to: it leaves a mark when root runs it.
PLANT = f"""
for folder in $(echo "$PATH:/habitat/system/tools/bin:/habitat/local/tools/bin:$HOME/bin" | tr : ' '); do
    mkdir -p "$folder" 2>/dev/null || continue
    [ -w "$folder" ] || continue
    for name in {PROGRAMS}; do
        {{ printf '#!/bin/busybox sh\\n[ "$(/bin/busybox id -u)" != 0 ] || /bin/busybox touch /data/pwned-%s\\n' "$name"
          printf 'exec /bin/busybox %s "$@"\\n' "$name"
        }} 2>/dev/null >"$folder/$name" && /bin/busybox chmod 755 "$folder/$name"
    done
done
true
"""


@dataclass
class AttackedHabitat:
    """A project with one habitat, which has a writable volume, a secret and paths that persist."""

    project: Project
    name: str
    image: str
    data: Path

    def configure(self, more: str = "", entry: str = "") -> None:
        self.project.habitat(
            self.name,
            f"""\
base_image: {self.image}
env:
  - PATH=/workspace/bin:$PATH
  - LD_PRELOAD=/workspace/evil.so
  - BASH_ENV=/workspace/env.sh
volumes:
  - {{source: ./data, dest: /data}}
secrets:
  - {{name: T, env: ATTACKED_TOKEN, start: true}}
{more}
entry:
  persist: [~/f.json, ~/sub/g.json, ~/kept/]
{entry}
""",
        )

    def doit(self, *args: str) -> CommandResult:
        return self.project.doit(*args, env={"ATTACKED_TOKEN": "s3cret-word"})

    def agent(self, script: str) -> str:
        """What a script prints that has to succeed, as USER."""
        result = self.doit(f"exec:{self.name}", "--", "sh", "-euc", script)
        assert result.code == 0, result.out
        return result.out

    def root(self, script: str) -> str:
        return docker("exec", "--user", "0", f"habitat-{self.name}", "/bin/sh", "-euc", script)

    def marks(self) -> list[str]:
        return sorted(path.name for path in self.data.glob("pwned*"))


@pytest.fixture(scope="module")
def habitat_of_module(
    engine: DockerEngine, busybox: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AttackedHabitat]:
    """What is built of it stays from test to test: they run what a person runs, and attack the container."""
    project, name = Project(tmp_path_factory.mktemp("project")), fresh_name()
    yield AttackedHabitat(project, name, busybox, project.root / "habitats" / name / "data")
    clear(engine, name)


@pytest.fixture
def attacked_habitat(engine: DockerEngine, habitat_of_module: AttackedHabitat) -> Iterator[AttackedHabitat]:
    """The habitat without container, volumes and the files of a test before."""
    habitat = habitat_of_module
    habitat.data.mkdir(parents=True)
    habitat.data.chmod(0o777)
    habitat.configure()
    yield habitat
    for container in engine.containers(label=f"habitat.name={habitat.name}"):
        engine.remove(container.id)
    for volume in engine.volumes(label=f"habitat.name={habitat.name}"):
        engine.remove_volume(volume.name)
    shutil.rmtree(habitat.data.parent)


@pytest.mark.guarantee("fixed-path-for-root-programs")
def test_programs_placed_on_path_by_user_are_never_run_by_root(attacked_habitat: AttackedHabitat) -> None:
    assert attacked_habitat.doit(f"start:{attacked_habitat.name}", "--detach").code == 0
    attacked_habitat.agent(PLANT)
    planted = attacked_habitat.agent("ls /workspace/bin")
    assert "sleep" in planted.split()
    for verb in (["stop"], ["start", "--detach"], ["exec"], ["stop"], ["start", "--detach"]):
        command = ["--", "true"] if verb == ["exec"] else verb[1:]
        result = attacked_habitat.doit(f"{verb[0]}:{attacked_habitat.name}", *command)
        assert result.code == 0, (verb, result.out)
    attacked_habitat.agent("echo new >~/f.new; mv ~/f.new ~/f.json")
    result = attacked_habitat.doit(f"start:{attacked_habitat.name}", "--new", "--detach")
    assert result.code == 0, result.out
    assert attacked_habitat.agent("cat ~/f.json") == "new\n"
    assert attacked_habitat.marks() == []


@pytest.mark.guarantee("fixed-path-for-root-programs")
def test_main_process_and_docker_exec_have_clean_environment(attacked_habitat: AttackedHabitat) -> None:
    attacked_habitat.configure(entry="  init_command: while true; do sleep 1; done")
    assert attacked_habitat.doit(f"start:{attacked_habitat.name}", "--detach").code == 0
    attacked_habitat.agent(PLANT)
    for environ in (attacked_habitat.root("tr '\\0' '\\n' </proc/1/environ"), attacked_habitat.root("env")):
        rows = dict(row.partition("=")[::2] for row in environ.splitlines())
        assert (rows.get("LD_PRELOAD"), rows.get("BASH_ENV")) == ("", "")
        assert rows["PATH"] == "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert attacked_habitat.agent('echo "$LD_PRELOAD $BASH_ENV"') == "/workspace/evil.so /workspace/env.sh\n"
    path = "/habitat/system/tools/bin:/workspace/bin:/home/agent/.local/bin"
    assert attacked_habitat.agent('echo "${PATH%%:/usr*}"') == f"{path}\n"
    assert attacked_habitat.marks() == []


@pytest.mark.guarantee("system-tools-belong-to-root")
def test_system_tools_cannot_be_changed_by_user(attacked_habitat: AttackedHabitat) -> None:
    assert attacked_habitat.doit(f"start:{attacked_habitat.name}", "--detach").code == 0
    for attack in (
        "echo x >/habitat/system/tools/bin/habitat-info",
        "rm -f /habitat/system/tools/bin/habitat-info",
        "mv /habitat/system/tools /habitat/system/old",
        "mv /habitat/system /habitat/old",
        "ln -s /workspace /habitat/x",
    ):
        result = attacked_habitat.doit(f"exec:{attacked_habitat.name}", "--", "sh", "-euc", attack)
        assert result.code, attack


@pytest.mark.guarantee("persisted-files-collected-as-user")
@pytest.mark.parametrize("goes_by", ["exec", "stop", "a kill"])
def test_link_replacing_persisted_file_exposes_no_root_file(attacked_habitat: AttackedHabitat, goes_by: str) -> None:
    assert attacked_habitat.doit(f"start:{attacked_habitat.name}", "--detach").code == 0
    attacked_habitat.root("echo roots-own-words >/etc/shadow; chmod 600 /etc/shadow")
    secret = attacked_habitat.data / "host-secret"
    secret.write_text("hosts-own-words")
    secret.chmod(0o600)
    os.chown(secret, 0, 0)
    attack = "ln -sf /etc/shadow ~/f.json; rm -rf ~/sub; ln -s /data ~/sub; ln -s /data/host-secret ~/kept/link"
    attacked_habitat.agent(attack)
    if goes_by == "a kill":
        docker("kill", f"habitat-{attacked_habitat.name}")
    else:
        attacked_habitat.doit(f"{goes_by}:{attacked_habitat.name}", *(["--", "true"] if goes_by == "exec" else []))
    (attacked_habitat.data / "g.json").write_text("hosts-own-words")
    (attacked_habitat.data / "g.json").chmod(0o600)
    result = attacked_habitat.doit(f"start:{attacked_habitat.name}", "--new", "--detach")
    assert result.code == 0, result.out
    actual = attacked_habitat.agent("cat ~/f.json ~/sub/g.json ~/kept/link /var/lib/habitat/*/* 2>/dev/null || true")
    assert "own-words" not in actual
    actual = attacked_habitat.root("cat /var/lib/habitat/*/* 2>/dev/null || true")
    assert "own-words" not in actual
    for name in ("host-secret", "g.json"):
        assert (attacked_habitat.data / name).read_text() == "hosts-own-words"
        assert (attacked_habitat.data / name).stat().st_uid == 0
        assert not (attacked_habitat.data / name).is_symlink()


@pytest.mark.guarantee("writes-follow-no-user-link")
@pytest.mark.parametrize(
    ("command", "phase", "more"),
    [
        ("rm -rf /habitat/local/tools; ln -s /etc /habitat/local/tools", "tools", ""),
        ("ln -s /etc /workspace/r", "repos", "repos: [{url: file:///x, path: r, owner: root}]"),
        ("ln -s / /workspace/a", "repos", "repos: [{url: file:///x, path: a/etc, owner: root}]"),
        ("rm -rf /habitat/local/tests; ln -s /etc /habitat/local/tests", "test", "tests: [tests/t.sh]"),
    ],
)
def test_link_created_by_setup_command_is_not_written_through(
    attacked_habitat: AttackedHabitat, command: str, phase: str, more: str
) -> None:
    attacked_habitat.project.write(f"habitats/{attacked_habitat.name}/tools/bin/passwd", "from tools", 0o755)
    attacked_habitat.project.write(f"habitats/{attacked_habitat.name}/tests/t.sh", "true", 0o755)
    attacked_habitat.configure(f"setup: {{user: ['{command}']}}\n{more}")
    result = attacked_habitat.doit(f"final:{attacked_habitat.name}")
    assert result.code == 2
    (line,) = [line for line in result.out.splitlines() if line.startswith("❌")][-1:]
    assert "that USER may have made" in line
    assert f"{phase}:{attacked_habitat.name}" in line


@pytest.mark.guarantee("writes-follow-no-user-link")
def test_persisted_folder_replaced_by_link_is_not_mounted(attacked_habitat: AttackedHabitat) -> None:
    attacked_habitat.configure("setup: {user: ['ln -s /etc ~/kept']}")
    rows = (attacked_habitat.project.root / "habitats" / attacked_habitat.name / "config.yaml").read_text().splitlines()
    line = next(number for number, row in enumerate(rows, start=1) if "persist:" in row)
    result = attacked_habitat.doit(f"start:{attacked_habitat.name}", "--detach")
    assert result.code == 1, result.out
    assert f"config.yaml:{line}: /home/agent/kept is a link to /etc" in result.out


@pytest.mark.guarantee("build-commands-are-restricted")
def test_build_command_has_configured_restrictions(attacked_habitat: AttackedHabitat) -> None:
    script = "cat /proc/self/status; cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max || true"
    attacked_habitat.configure(f"build: {{limits: {{pids: 77}}}}\nsetup: {{user: ['{script}']}}\ndebug: true")
    result = attacked_habitat.doit(f"setup:{attacked_habitat.name}")
    assert result.code == 0, result.out
    rows = [line.split() for line in result.out.splitlines()]
    assert ["NoNewPrivs:", "1"] in rows
    assert ["77"] in rows


@pytest.mark.guarantee("entry-files-follow-no-link-of-user")
def test_entry_files_are_written_through_no_link_of_user(attacked_habitat: AttackedHabitat) -> None:
    habitat, name = attacked_habitat, attacked_habitat.name
    folder = habitat.data.parent
    (folder / "tree").mkdir()
    for path in ("note", "tree/one"):
        (folder / path).write_text("first")
    copies = [("note", "~/kept/in/note"), ("note", "~/fifo"), ("tree", "~/tree"), ("note", "~/f.json")]
    rows = ", ".join(f"{{source: {source}, dest: {dest}}}" for source, dest in copies)
    habitat.configure(entry=f"  files: [{rows}]\n")
    assert habitat.doit(f"start:{name}", "--detach").code == 0
    assert habitat.agent(
        "cat ~/kept/in/note ~/tree/one ~/f.json; stat -c %u:%g ~/kept/in ~/tree/one ~/fifo | uniq"
    ) == ("firstfirstfirst" + habitat.agent("echo $(id -u):$(id -g)"))
    (folder / "note").write_text("second")
    habitat.agent("rm ~/kept/in/note ~/fifo; ln -s /data/victim ~/kept/in/note; mkfifo ~/fifo; echo safe >/data/victim")
    result = habitat.doit(f"exec:{name}", "--", "true")
    assert f"changed while habitat-{name} runs: copied at its next start" in result.out
    assert habitat.doit(f"stop:{name}").code == 0
    assert habitat.doit(f"start:{name}", "--detach").code == 0
    assert habitat.agent("cat ~/kept/in/note ~/fifo ~/f.json; test ! -L ~/kept/in/note") == "secondsecondsecond"
    assert (habitat.data / "victim").read_text() == "safe\n"
    habitat.agent("rm -r ~/tree; ln -s /data ~/tree")
    assert habitat.doit(f"stop:{name}").code == 0
    result = habitat.doit(f"start:{name}", "--detach")
    assert result.code
    assert "/tree is a link to /data that USER may have made: start it without this entry" in result.out
    assert sorted(path.name for path in habitat.data.iterdir()) == ["victim"]
