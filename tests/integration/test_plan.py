"""`doit plan:NAME` on the real engine: what it says is what runs, and it touches nothing."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest
import test_cache
from conftest import PREFIX, Project, clear, fresh_name, left_containers, snapshots
from test_cache import NAMES, FullHabitat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import CommandResult

    from phases.core.engine.client import DockerEngine

pytestmark = pytest.mark.engine


class PrintedPlan(NamedTuple):
    """A plan as it was printed. runs: the phases that would; why: phase to reasons."""

    code: int
    runs: list[str]
    why: dict[str, list[str]]
    out: str


def plan(subject: FullHabitat) -> PrintedPlan:
    done = subject.project.doit(f"plan:{subject.name}")
    why: dict[str, list[str]] = {}
    for row in done.out.splitlines():
        if row.startswith("  ") and (cells := row.split(maxsplit=1)):
            if row[2] != " ":
                phase, text = cells
                why[phase] = [text]
            else:
                why[phase].append(row.strip())
    return PrintedPlan(done.code, runs(done), why, done.out)


def runs(done: CommandResult) -> list[str]:
    """The phases that the last line of a plan names."""
    found = re.search(r"^⇒ (?:re)?build (\w+)(?: … (\w+))?, ", done.out, re.MULTILINE)
    if not found:
        return []
    first, last = found[1], found[2] or found[1]
    return NAMES[NAMES.index(first) : NAMES.index(last) + 1]


def state(subject: FullHabitat) -> tuple[object, ...]:
    """All that a plan could have touched."""
    folder = subject.project.root / ".stamps"
    files = {path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in folder.rglob("*")}
    return files, folder.stat().st_mtime_ns, snapshots(subject.name), left_containers(subject.name)


@pytest.fixture(scope="module")
def built(engine: DockerEngine, git_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FullHabitat]:
    name = fresh_name()
    base = f"{PREFIX}-base-{name[-8:]}:1"
    engine.tag(git_image, base)
    yield FullHabitat(tmp_path_factory.mktemp("subject"), name, base)
    clear(engine, name)
    engine.untag(base)


@pytest.fixture
def subject(built: FullHabitat) -> FullHabitat:
    """The habitat, up to date."""
    built.bring_to("final")
    return built


#: The changes that build something (test_cache holds them), and what is said of each.
SAID = {
    "command": "entry.command: ",
    "script_of_a_test": "tests/passes.sh: changed",
    "required_path": "verify-fs.required_files[1]: added (/etc/passwd)",
    "tools": "habitats/NAME/tools/bin/greet: changed",
    "repos": "repos[0].branch: main → dev",
    "setup": "setup.root[0]: echo ",
    "copied_file": "payload/a.txt: changed",
    "executable_bit": "payload/run.sh: no longer executable",
    "own_folder": "habitats/NAME/notes.md: changed",
    "shared_folder": "shared/banner: changed",
    "own_path": "env.LOCAL_PATH: ",
    "workdir": "env.WORKDIR: ",
    "env": "env.COLOUR: ",
    "user": "env.USER: ",
    "base_image": "base image BASE: moved from ",
    "volume": "volumes[1].readonly: true → false",
    "init_command": 'entry.init_command: "" → ',
}


def volume(subject: FullHabitat) -> None:
    subject.config["volumes"][1]["readonly"] = False


def init_command(subject: FullHabitat) -> None:
    subject.config["entry"]["init_command"] = f"sleep 1 # {subject.word()}"


TABLE = [*test_cache.TABLE, (init_command, "final"), (volume, "files")]


@pytest.mark.parametrize(("change", "first"), TABLE, ids=[change.__name__ for change, _ in TABLE])
def test_plan_names_exactly_the_phases_that_build_runs(
    subject: FullHabitat, change: Callable[[FullHabitat], None], first: str
) -> None:
    change(subject)
    subject.save()
    before = state(subject)
    said = plan(subject)
    assert state(subject) == before
    expected = SAID[change.__name__].replace("NAME", subject.name).replace("BASE", subject.base)
    assert said.code == 1
    assert said.why[first][0].startswith(expected), said.out
    assert next(iter(said.why)) == first
    info = subject.project.doit("info", subject.task(first))
    assert f" * {said.why[first][0]}\n" in info.out
    done = subject.build()
    assert done.ran == said.runs
    assert f"🔁 {first} runs: {said.why[first][0]}\n" in done.out
    again = subject.project.doit(f"plan:{subject.name}")
    assert (again.code, again.out) == (0, f"{subject.name}: nothing to do\n")


@pytest.mark.parametrize("change", test_cache.NOTHING, ids=[change.__name__ for change in test_cache.NOTHING])
def test_plan_of_change_without_dependent_phase_is_nothing_to_do(
    subject: FullHabitat, change: Callable[[FullHabitat], None]
) -> None:
    change(subject)
    assert plan(subject).out == f"{subject.name}: nothing to do\n"
    subject.assert_builds_nothing()


def test_plan_after_lost_stamps_and_cached_run_describes_change(subject: FullHabitat) -> None:
    """A run that finds all up to date keeps what it was built from."""
    shutil.rmtree(subject.project.root / ".stamps")
    subject.assert_builds_nothing()
    test_cache.setup(subject)
    subject.save()
    assert plan(subject).why["setup"][0].startswith("setup.root[0]: echo ")
    subject.begin()
    subject.build()


def test_plan_dockerfile_context_change_is_described(project: Project, busybox: str, name: str) -> None:
    project.habitat(name, "env: [USER=root]")
    project.write(f"habitats/{name}/Dockerfile", f"FROM {busybox}\nCOPY motd /etc/motd\n")
    project.write(f"habitats/{name}/motd", "welcome\n")
    assert project.doit(f"final:{name}").code == 0
    project.write(f"habitats/{name}/motd", "hello\n")
    said = project.doit(f"plan:{name}")
    assert said.out.splitlines()[1] == f"  dockerfile  habitats/{name}/motd: changed"
    assert "⇒ rebuild dockerfile … final, about " in said
    assert project.doit(f"final:{name}").ran == ["dockerfile", *NAMES]
    assert project.doit(f"plan:{name}").out == f"{name}: nothing to do\n"


def test_plan_removed_snapshot_and_forgotten_phase_are_described(subject: FullHabitat) -> None:
    subject.prune("repos", "tools", "final")
    said = plan(subject)
    assert said.why == {"repos": [f"image habitat-{subject.name}:8-repos is gone"]}
    assert subject.build().ran == said.runs
    assert subject.project.doit("forget", subject.task("tools")).code == 0
    said = plan(subject)
    assert said.why == {"tools": ["it was forgotten (doit forget)"]}
    assert subject.build().ran == said.runs


def test_plan_in_other_clone_names_changed_phase(subject: FullHabitat, tmp_path: Path) -> None:
    """It has the images in common, and nothing that says what they were built from."""
    other = Project(tmp_path)
    for path, text in test_cache.FILES.items():
        other.write(subject.place(path), text, mode=0o755 if text.startswith("#!") else 0o644)
    for folder in ("gate", "upstream"):
        (tmp_path / folder).mkdir()
    text = (subject.folder / "config.yaml").read_text().replace("/etc/mark", "/etc/another")
    other.write(subject.place("HABITAT/config.yaml"), text)
    done = other.doit(f"plan:{subject.name}")
    assert "  setup  the config of setup has changed since its last build\n" in done.out
    assert list((tmp_path / ".stamps").iterdir()) == []


def test_plan_of_habitat_never_built_creates_nothing(project: Project, busybox: str, name: str) -> None:
    project.habitat(name, f"base_image: {busybox}\nenv: [USER=root]")
    done = project.doit(f"plan:{name}")
    assert done.code == 1
    assert done.out.splitlines() == [
        name,
        "  base  it was never built",
        "⇒ build base … final, time not known yet",
    ]
    assert list((project.root / ".stamps").iterdir()) == []
    assert snapshots(name) == {}


def test_plan_of_several_habitats_shows_error_of_broken_one(project: Project, busybox: str, name: str) -> None:
    project.habitat(name, f"base_image: {busybox}\nenv: [USER=root]")
    project.habitat(f"{name}-broken", "base_imag: x\n")
    for argv in (("plan:*",), (f"plan:{name}", f"plan:{name}-broken")):
        done = project.doit(*argv)
        assert done.code == 1
        assert f"{name}\n  base  " in done.out
        (error,) = [row for row in done.out.splitlines() if "❌" in row]
        assert f"habitats/{name}-broken/config.yaml:1" in error
        assert "failed" not in done


def test_plan_of_broken_config_alone_fails(project: Project, name: str) -> None:
    project.habitat(name, "base_imag: x\n")
    done = project.doit(f"plan:{name}")
    assert done.code != 0
    assert len(done.out.splitlines()) == 1


def test_plan_all_option_shows_every_change(subject: FullHabitat) -> None:
    for number in range(30):
        subject.project.write(f"shared/many-{number:02}", "x")
    try:
        few, many = plan(subject), subject.project.doit(f"plan:{subject.name}", "--all")
    finally:
        for number in range(30):
            (subject.project.root / f"shared/many-{number:02}").unlink()
    assert few.why["files"][-1] == "… and 18 more: --all shows them"
    assert many.out.count(": added") == 30


def test_plan_on_terminal_is_coloured_and_fits_width(subject: FullHabitat) -> None:
    subject.config["repos"][0]["url"] = f"file:///upstream/{'long/' * 30}"
    subject.config["env"][-1] = "COLOUR=green and more"
    subject.save()
    try:
        shown = on_terminal(subject, f"plan:{subject.name}", columns=60)
    finally:
        subject.begin()
    rows = re.sub(r"\x1b\[[0-9;]*m", "", shown).replace("\r", "").splitlines()
    assert "\x1b[36m" in shown
    assert all(len(row.rstrip()) <= 60 for row in rows), rows
    assert rows[1].startswith("  env    env.COLOUR: ")


def on_terminal(subject: FullHabitat, *argv: str, columns: int) -> str:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        (sys.executable, "-m", "doit", *argv),
        cwd=subject.project.root,
        env={**os.environ, "COLUMNS": str(columns), "TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    data = b""
    try:
        while block := os.read(ours, 65536):
            data += block
    except OSError:  # Linux says so when the other end is closed
        pass
    os.close(ours)
    process.wait(60)
    return data.decode()
