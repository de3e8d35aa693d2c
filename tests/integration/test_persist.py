"""`entry.persist` on the real engine: what outlives the container, the image, and another user's number."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from conftest import CommandResult, Project, RunningDoit, clear, docker, fresh_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phases.core.engine.docker_api.client import DockerEngine

pytestmark = pytest.mark.engine

# Made as it was, and put in its place: as editors do, and agents with their state.
REPLACE = 'printf "%s" "$2" >"$1.tmp" && mv "$1.tmp" "$1"'

ODD = """/srv/it's $(touch pwned) "a"/"""


@dataclass
class PersistingHabitat:
    """A project with one habitat in which much persists."""

    project: Project
    name: str
    image: str
    engine: DockerEngine

    @property
    def container(self) -> str:
        return f"habitat-{self.name}"

    def configure(self, *, uid: int = 1500, note: str = "image") -> None:
        self.project.habitat(
            self.name,
            f"""\
base_image: {self.image}
uid: {uid}
setup:
  root:
    - mkdir -p /var/lib/thing && echo {note} >/var/lib/thing/note
  user:
    - echo {note} >~/.state.json && mkdir ~/.cache && echo {note} >~/.cache/note
entry:
  command: cat ~/.state.json ~/.cache/note /var/lib/thing/note
  persist:
    - ~/.state.json
    - ~/.history
    - ~/.cache/
    - ~/.local/share/deep/
    - /var/lib/thing/
    - /var/lib/single
    - '{ODD.replace("$", "$$").replace("'", "''")}'
""",
        )

    def doit(self, verb: str, *args: str) -> CommandResult:
        return self.project.doit(f"{verb}:{self.name}", *args)

    def run(self, script: str, *args: str) -> str:
        """What a script prints that has to succeed, as USER."""
        result = self.doit("exec", "--", "sh", "-euc", script, "sh", *args)
        assert result.code == 0, result.out
        return result.out

    def containers(self) -> list[str]:
        rows = docker("container", "ls", "--all", "--format", "{{.Names}}", "--filter", f"name={self.name}")
        return sorted(rows.split())

    def volumes(self) -> list[str]:
        rows = docker("volume", "ls", "--format", "{{.Name}}", "--filter", f"label=habitat.name={self.name}")
        return sorted(rows.split())


@pytest.fixture(scope="module")
def habitat(
    engine: DockerEngine, busybox: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PersistingHabitat]:
    habitat = PersistingHabitat(Project(tmp_path_factory.mktemp("home")), fresh_name(), busybox, engine)
    habitat.configure()
    final = habitat.doit("final")
    assert final.code == 0, final.out
    yield habitat
    clear(engine, habitat.name)


@pytest.fixture(autouse=True)
def _no_volumes_left(habitat: PersistingHabitat) -> None:
    for container in habitat.containers():
        habitat.engine.remove(container)
    for volume in habitat.volumes():
        docker("volume", "rm", volume)


@pytest.mark.guarantee("persisted-files-survive-kill")
def test_persisted_file_renamed_by_program_survives_killed_start(habitat: PersistingHabitat) -> None:
    script = f"set -- ~/.state.json renamed; {REPLACE}; echo done; while :; do sleep 1; done"
    with RunningDoit(habitat.project, f"start:{habitat.name}", "--cmd", script) as running:
        running.wait_for("done\n")
        running.process.kill()
        running.end()
    docker("container", "stop", "--time", "0", habitat.container)
    result = habitat.doit("start", "--new")
    assert " before is kept as " in result
    assert result.out.splitlines()[-2:] == ["renamedimage", "image"]


# A kill right before a request of the engine's.
KILLED = """\
import os, signal, sys
from phases.core.engine.docker_api.client import DockerEngine
DockerEngine.put_archive = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
from doit.__main__ import main
main()
"""


@pytest.mark.guarantee("persisted-files-survive-kill")
def test_start_killed_while_container_is_filled_is_continued_by_next_start(habitat: PersistingHabitat) -> None:
    habitat.project.write("killed.py", KILLED)
    killed = habitat.project.run(sys.executable, "killed.py", f"start:{habitat.name}")
    assert killed.code == -9, killed.out
    (draft,) = habitat.containers()
    assert draft.startswith(f"habitat_start_{habitat.name}_")
    result = habitat.doit("start")
    assert result.out.splitlines()[-3:] == ["image"] * 3, result.out
    assert habitat.containers() == [habitat.container]


@pytest.mark.guarantee("persisted-files-survive")
def test_persisted_paths_survive_containers_and_images_until_destroy(habitat: PersistingHabitat) -> None:
    # By way of a link, by a rename, where there was nothing, and in folders; all of it is USER's.
    files = '~/.cache/note /var/lib/thing/note /var/lib/single ~/.local/share/deep/x ~/.history "$3/x"'
    write = f'for file in {files}; do echo mine >"$file"; done; touch ~/.local/own; {REPLACE}'
    stat = f"stat -c %u:%g ~/.cache ~/.local ~/.state.json ~/.local/share/deep {files}"
    owners = habitat.run(f"{write}; {stat}", "/home/agent/.state.json", "renamed ", ODD)
    assert owners == "1500:1500\n" * 10

    # A rebuild, with another number of USER's, and the container that a person has thrown away.
    habitat.configure(uid=1600, note="rebuilt")
    docker("container", "rm", "--force", habitat.container)
    again = habitat.doit("start")
    assert "✅ setup" in again
    assert again.out.splitlines()[-2:] == ["renamed mine", "mine"]
    read = f"{stat.replace(' ~/.state.json', '')} ~/.local; cat {files}; echo more >>~/.state.json"
    assert habitat.run(read, "", "", ODD) == "1600:1600\n" * 10 + "mine\n" * 6

    # Nothing of it is the image's, and one that is thrown away on purpose doesn't take it along.
    mounts = docker("container", "inspect", "--format", "{{range .Mounts}}{{.Type}} {{end}}", habitat.container)
    assert mounts.split() == ["volume"] * 8, "those of its paths, and the workspace"
    kept = habitat.volumes()
    assert habitat.doit("destroy", "--yes", "--keep-volumes").code == 0
    assert (habitat.containers(), habitat.volumes()) == ([], kept)
    assert habitat.doit("start").out.splitlines()[-3:] == ["renamed more", "mine", "mine"]
    asked = habitat.doit("destroy")
    assert (asked.code, habitat.volumes()) == (1, kept)
    assert f"~/.state.json: volume habitat-{habitat.name}-state-json-" in asked
    assert habitat.doit("destroy", "--yes").code == 0
    assert habitat.doit("destroy", "--yes", "--workspace").code == 0
    assert (habitat.containers(), habitat.volumes()) == ([], [])


@pytest.mark.guarantee("shared-volume-is-one-for-a-person")
@pytest.mark.guarantee("shared-volume-takes-over-what-was-kept")
def test_shared_folder_takes_over_what_one_habitat_kept_and_is_there_in_another(
    project: Project, engine: DockerEngine, busybox: str, name: str
) -> None:
    folder = f"~/.{name}/"  # so that the volume is of this test alone
    base = f"base_image: {busybox}\nenv: [USER=ada, WORKDIR=/work, SYSTEM_PATH=, SHARED_PATH=, HABITAT_PATH=]\n"
    other = f"{name}-b"

    def configure(habitat: str, persist: str) -> None:
        project.habitat(habitat, f"{base}entry: {{persist: [{persist}]}}\n")

    def run(habitat: str, command: str) -> CommandResult:
        result = project.doit(f"start:{habitat}", "--cmd", command)
        assert result.code == 0, result.out
        return result

    configure(name, folder)
    run(name, f"echo token >{folder}login; ln -s /etc/shadow {folder}link; chmod 600 {folder}login")
    configure(name, f"{{path: {folder}, shared: true}}")
    configure(other, f"{{path: {folder}, shared: true}}")
    try:
        result = run(name, f"cat {folder}login; stat -c %U:%a {folder}login; readlink {folder}link; ls -A {folder}")
        assert "is shared with your other habitats now, with what this one kept there" in result
        assert "token\nada:600\n/etc/shadow\nlink\nlogin\n" in result
        result = project.doit(f"destroy:{name}", "--yes")
        assert f"{folder} is shared: `doit destroy:{name} --shared` removes it for all" in result
        assert "token\n" in run(other, f"cat {folder}login")
    finally:
        shared = project.doit(f"destroy:{other}", "--yes", "--shared")
        clear(engine, other)
    assert "1 persistent volume" in shared
    assert docker("volume", "ls", "--quiet", "--filter", f"label=habitat.persist={folder}") == ""
