"""A habitat with something in every section of its config, and changes of it, for the tests of cache and plan."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import yaml
from conftest import PREFIX, Project, RunningDoit, clear, docker, fresh_name, inspect, snapshots, wait_until

from phases.registry import PHASES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import CommandResult

    from phases.core.engine.docker_api.client import DockerEngine

NAMES = [phase.NAME for phase in PHASES[1:]]

#: Phase to tag, for those that leave a snapshot.
TAGS = {phase.NAME: f"{phase.ID}-{phase.NAME}" for phase in PHASES[1:] if phase.SNAPSHOT}

#: What the project's files hold to begin with; below habitats/NAME where HABITAT stands.
FILES = {
    "payload/a.txt": "first\n",
    "payload/run.sh": "#!/bin/sh\n",
    "shared/banner": "welcome\n",
    "HABITAT/notes.md": "notes\n",
    "HABITAT/tools/bin/greet": "#!/bin/sh\necho hi # 0\n",
    "HABITAT/tests/passes.sh": "#!/bin/sh\nexit 0 # 0\n",
}


class FullHabitat:
    """A habitat with something in every section of its config."""

    def __init__(self, root: Path, name: str, base: str) -> None:
        self.project = Project(root)
        self.name = name
        self.base = base
        self._words = (f"w{number}" for number in itertools.count())
        git = ("git", "-C", str(root / "upstream"))
        subprocess.run(["git", "init", "--quiet", "--initial-branch=main", str(root / "upstream")], check=True)
        self.git = (*git, "-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
        self.commit_upstream()
        subprocess.run([*git, "branch", "dev"], check=True)
        (root / "gate").mkdir()
        for path, text in FILES.items():
            self.project.write(self.place(path), text, mode=0o755 if text.startswith("#!") else 0o644)
        self.config: dict[str, Any] = {
            "description": "with every section",
            "base_image": self.base,
            "env": [
                "USER=root",
                "WORKDIR=/work",
                "LOCAL_PATH=/opt/local",
                "SHARED_PATH=/opt/shared",
                # Copied nowhere, which saves time.
                "SYSTEM_PATH=",
                "HABITAT_PATH=",
                "COLOUR=green",
            ],
            "files": [{"source": "payload", "dest": "/payload"}],
            "volumes": [
                {"source": "gate", "dest": "/gate", "readonly": True},
                {"source": "upstream", "dest": "/upstream", "readonly": True},
            ],
            "setup": {"root": ["echo one >/etc/mark"]},
            "repos": [{"url": "file:///upstream", "path": "app", "branch": "main"}],
            "verify-fs": {"required_files": ["/work/app/README.md"]},
            "tests": ["tests/passes.sh"],
            "entry": {"command": "cat /etc/mark"},
        }
        self.save()

    def save(self) -> None:
        self.save_text(yaml.safe_dump(self.config, sort_keys=False))

    def save_text(self, text: str) -> None:
        (self.folder / "config.yaml").write_text(text)

    def word(self) -> str:
        """One that was never used before."""
        return next(self._words)

    @property
    def folder(self) -> Path:
        return self.project.root / "habitats" / self.name

    def place(self, path: str) -> str:
        return path.replace("HABITAT", f"habitats/{self.name}")

    def path(self, path: str) -> Path:
        return self.project.root / self.place(path)

    def flip(self, path: str) -> None:
        """Change the last byte but one of a file, and nothing else that can be seen from outside."""
        file = self.path(path)
        info, data = file.stat(), bytearray(file.read_bytes())
        data[-2] ^= 1
        file.write_bytes(data)
        os.utime(file, ns=(info.st_atime_ns, info.st_mtime_ns))

    def commit_upstream(self) -> None:
        readme = self.project.root / "upstream" / "README.md"
        readme.write_text(self.word())
        subprocess.run([*self.git, "add", "."], check=True)
        subprocess.run([*self.git, "commit", "--quiet", "--message", "a change"], check=True)

    def task(self, phase: str) -> str:
        return f"{phase}:{self.name}"

    def run(self, goal: str = "final") -> CommandResult:
        return self.project.doit(self.task(goal))

    def build(self, goal: str = "final") -> CommandResult:
        result = self.run(goal)
        assert result.code == 0, result.out
        return result

    def images(self) -> dict[str, str]:
        """Phase to image id."""
        tags = snapshots(self.name)
        return {phase: tags[tag] for phase, tag in TAGS.items() if tag in tags}

    def prune(self, *phases: str) -> None:
        """Take snapshots away by hand."""
        tags = [TAGS[phase] for phase in phases] + (["final"] if "final" in phases else [])
        docker("image", "rm", "--no-prune", *(f"habitat-{self.name}:{tag}" for tag in tags))

    @contextmanager
    def pruned(self, *phases: str) -> Iterator[None]:
        """Without some snapshots, on which later ones rest that stay; they are back afterwards."""
        gone = {f"habitat-{self.name}:{TAGS[phase]}": f"{self.name}-kept:{TAGS[phase]}" for phase in phases}
        for tag, elsewhere in gone.items():
            docker("image", "tag", tag, elsewhere)
        self.prune(*phases)
        try:
            yield
        finally:
            for tag, elsewhere in gone.items():
                docker("image", "tag", elsewhere, tag)
                docker("image", "rm", elsewhere)

    @contextmanager
    def building_setup(self, goal: str) -> Iterator[RunningDoit]:
        """A run that is at a setup command which lasts until gate/closed is gone."""
        word = self.word()
        self.config["setup"]["root"] = [f"echo {word}; while [ -e /gate/closed ]; do sleep 0.05; done"]
        self.save()
        self.project.write("gate/closed")
        log = self.project.root / ".stamps" / self.name / "7-setup.log"
        with RunningDoit(self.project, self.task(goal)) as running:
            wait_until(lambda: log.exists() and word in log.read_text().splitlines())
            yield running

    def assert_builds_from(self, first: str, goal: str = "final") -> CommandResult:
        """The next run builds `first` and all after it up to `goal`, on what was there."""
        before = self.images()
        result = self.build(goal)
        after = self.images()
        at = NAMES.index(first)
        assert result.ran == NAMES[at : NAMES.index(goal) + 1], result.out
        kept = [phase for phase in TAGS if NAMES.index(phase) < at]
        new = [phase for phase in TAGS if at <= NAMES.index(phase) <= NAMES.index(goal)]
        assert {phase: after[phase] for phase in kept} == {phase: before[phase] for phase in kept}
        assert not {after[phase] for phase in new} & set(before.values())
        if kept and new:
            layers = inspect(after[kept[-1]])["RootFS"]["Layers"]
            assert inspect(after[new[-1]])["RootFS"]["Layers"][: len(layers)] == layers
        return result

    def assert_builds_nothing(self) -> None:
        before = snapshots(self.name)
        assert self.build().ran == []
        assert snapshots(self.name) == before


class SavedHabitat:
    """A built habitat, saved with its files and images, so that every test starts from the same state."""

    def __init__(self, engine: DockerEngine, habitat: FullHabitat, folder: Path) -> None:
        self._engine = engine
        self._habitat = habitat
        self._folder = folder
        self._config = deepcopy(habitat.config)
        self._base = inspect(habitat.base)["Id"]
        self._images = snapshots(habitat.name)
        shutil.copytree(habitat.project.root, folder, symlinks=True)
        for tag, image in self._images.items():
            engine.tag(image, self._saved(tag))

    def _saved(self, tag: str) -> str:
        return f"{self._habitat.name}-saved:{tag}"

    def restore(self) -> FullHabitat:
        """Return the habitat as it was when it was saved, whatever a test has made of it."""
        habitat = self._habitat
        clear(self._engine, habitat.name)
        for tag in self._images:
            self._engine.tag(self._saved(tag), f"habitat-{habitat.name}:{tag}")
        moved = inspect(habitat.base)["Id"]
        self._engine.tag(self._base, habitat.base)
        if moved != self._base:
            docker("image", "rm", moved)  # what the change of the base image committed, and no tag names now
        shutil.rmtree(habitat.project.root)
        shutil.copytree(self._folder, habitat.project.root, symlinks=True)
        habitat.config = deepcopy(self._config)
        return habitat

    def remove(self) -> None:
        clear(self._engine, self._habitat.name)
        for reference in [*map(self._saved, self._images), self._habitat.base]:
            self._engine.untag(reference)


def saved_habitat(engine: DockerEngine, image: str, folder: Path) -> Iterator[SavedHabitat]:
    """Build a habitat on a tag of `image`, and save it. For a fixture of a module; `folder` holds both copies."""
    name = fresh_name()
    base = f"{PREFIX}-base-{name[-8:]}:1"
    engine.tag(image, base)
    (folder / "project").mkdir()
    habitat = FullHabitat(folder / "project", name, base)
    habitat.build()
    saved = SavedHabitat(engine, habitat, folder / "saved")
    yield saved
    saved.remove()


# Changes, each with the first phase that runs because of it


def env(habitat: FullHabitat) -> None:
    habitat.config["env"][-1] = f"COLOUR={habitat.word()}"


def user(habitat: FullHabitat) -> None:
    habitat.config["env"][0] = f"USER={habitat.word()}"


def workdir(habitat: FullHabitat) -> None:
    habitat.config["env"][1] = f"WORKDIR=/{habitat.word()}"
    habitat.config["verify-fs"]["required_files"] = ["app/README.md"]


def own_path(habitat: FullHabitat) -> None:
    habitat.config["env"][2] = f"LOCAL_PATH=/opt/{habitat.word()}"


def copied_file(habitat: FullHabitat) -> None:
    habitat.flip("payload/a.txt")


def executable_bit(habitat: FullHabitat) -> None:
    file = habitat.path("payload/run.sh")
    file.chmod(file.stat().st_mode ^ 0o111)


def own_folder(habitat: FullHabitat) -> None:
    habitat.flip("HABITAT/notes.md")


def shared_folder(habitat: FullHabitat) -> None:
    habitat.flip("shared/banner")


def setup(habitat: FullHabitat) -> None:
    habitat.config["setup"]["root"] = [f"echo {habitat.word()} >/etc/mark"]


def repos(habitat: FullHabitat) -> None:
    repo = habitat.config["repos"][0]
    repo["branch"] = "dev" if repo["branch"] == "main" else "main"


def tools(habitat: FullHabitat) -> None:
    habitat.flip("HABITAT/tools/bin/greet")


def required_path(habitat: FullHabitat) -> None:
    habitat.config["verify-fs"]["required_files"].append("/etc/passwd")


def script_of_a_test(habitat: FullHabitat) -> None:
    habitat.flip("HABITAT/tests/passes.sh")


def command(habitat: FullHabitat) -> None:
    habitat.config["entry"]["command"] = f"echo {habitat.word()}"


def base_image(habitat: FullHabitat) -> None:
    """Move its tag to an image that differs in nothing but its id, as a pull may do."""
    container = docker("container", "create", habitat.base)
    docker("container", "commit", "--message", habitat.word(), container, habitat.base)
    docker("container", "rm", container)


#: Change, and the first phase that runs because of it.
TABLE = [
    (command, "final"),
    (script_of_a_test, "test"),
    (required_path, "verify"),
    (tools, "tools"),
    (repos, "repos"),
    (setup, "setup"),
    (copied_file, "files"),
    (executable_bit, "files"),
    (own_folder, "files"),
    (shared_folder, "files"),
    (own_path, "habitat"),
    (workdir, "workdir"),
    (env, "env"),
    (user, "users"),
    (base_image, "base"),
]


# Changes that run nothing


def description(habitat: FullHabitat) -> None:
    habitat.config["description"] = f"described as {habitat.word()}"
    habitat.save()


def comments(habitat: FullHabitat) -> None:
    text = yaml.safe_dump(habitat.config, sort_keys=False)
    habitat.save_text(f"# {habitat.word()}\n" + text.replace("\nsetup:", "\n# and here\nsetup: # and there"))


def order_of_keys(habitat: FullHabitat) -> None:
    def reverse(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: reverse(value[key]) for key in reversed(value)}
        return [reverse(element) for element in value] if isinstance(value, list) else value

    habitat.save_text(yaml.safe_dump(reverse(habitat.config), sort_keys=False))


def whitespace(habitat: FullHabitat) -> None:
    text = yaml.safe_dump(habitat.config, sort_keys=False, indent=8)
    habitat.save_text(text.replace("\n", "\n\n").replace(": ", ":   "))


def debug_and_timeouts(habitat: FullHabitat) -> None:
    habitat.config |= {"debug": True, "timeouts": {"setup": "5m"}}
    habitat.save()


def times_of_files(habitat: FullHabitat) -> None:
    for path in [habitat.project.root, *habitat.project.root.rglob("*")]:
        if ".stamps" not in path.parts:
            os.utime(path)


def modes_that_an_umask_gives(habitat: FullHabitat) -> None:
    for top in ("payload", "shared", f"habitats/{habitat.name}"):
        for path in (habitat.project.root / top).rglob("*"):
            path.chmod(path.stat().st_mode & 0o700)


def secret_that_is_never_copied(habitat: FullHabitat) -> None:
    habitat.project.write(habitat.place("HABITAT/.env"), habitat.word())


def commit_upstream(habitat: FullHabitat) -> None:
    habitat.commit_upstream()


def stamps_folder(habitat: FullHabitat) -> None:
    shutil.rmtree(habitat.project.root / ".stamps")


def slices(habitat: FullHabitat) -> None:
    for path in (habitat.project.root / ".stamps" / habitat.name).glob("*.json"):
        path.write_text("{}")


NOTHING = [
    description,
    comments,
    order_of_keys,
    whitespace,
    debug_and_timeouts,
    times_of_files,
    modes_that_an_umask_gives,
    secret_that_is_never_copied,
    commit_upstream,
    stamps_folder,
    slices,
]
