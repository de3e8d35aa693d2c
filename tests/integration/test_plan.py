"""`doit plan:NAME` on the real engine: what it says is what runs, and it touches nothing.

It has the cache's specification as well: for each change, the first phase that runs again.
"""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import full_habitat
import pytest
from conftest import Project, left_containers, same_project, snapshots
from full_habitat import NAMES, TAGS, FullHabitat, SavedHabitat, saved_habitat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import CommandResult

    from phases.core.engine.docker_api.client import DockerEngine

pytestmark = pytest.mark.engine


class PrintedPlan(NamedTuple):
    """A plan as it was printed. runs: the phases that would; why: phase to reasons."""

    code: int
    runs: list[str]
    why: dict[str, list[str]]
    out: str


def plan(habitat: FullHabitat) -> PrintedPlan:
    result = habitat.project.doit(f"plan:{habitat.name}")
    why: dict[str, list[str]] = {}
    for row in result.out.splitlines():
        if row.startswith("  ") and (cells := row.split(maxsplit=1)):
            if row[2] != " ":
                phase, text = cells
                why[phase] = [text]
            else:
                why[phase].append(row.strip())
    return PrintedPlan(result.code, runs(result), why, result.out)


def runs(result: CommandResult) -> list[str]:
    """The phases that the last line of a plan names."""
    match = re.search(r"^⇒ (?:re)?build (\w+)(?: … (\w+))?, ", result.out, re.MULTILINE)
    if not match:
        return []
    first, last = match[1], match[2] or match[1]
    return NAMES[NAMES.index(first) : NAMES.index(last) + 1]


def state(habitat: FullHabitat) -> tuple[object, ...]:
    """All that a plan could have touched."""
    folder = habitat.project.root / ".stamps"
    files = {path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in folder.rglob("*")}
    return files, folder.stat().st_mtime_ns, snapshots(habitat.name), left_containers(habitat.name)


@pytest.fixture(scope="module")
def saved(engine: DockerEngine, git_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SavedHabitat]:
    yield from saved_habitat(engine, git_image, tmp_path_factory.mktemp("habitat"))


@pytest.fixture
def habitat(saved: SavedHabitat) -> FullHabitat:
    """A built habitat, in the same state for every test."""
    return saved.restore()


#: The changes that build something (full_habitat holds them), and the reason that a plan gives for each.
REASONS = {
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


def volume(habitat: FullHabitat) -> None:
    habitat.config["volumes"][1]["readonly"] = False


def init_command(habitat: FullHabitat) -> None:
    habitat.config["entry"]["init_command"] = f"sleep 1 # {habitat.word()}"


TABLE = [*full_habitat.TABLE, (init_command, "final"), (volume, "files")]


@pytest.mark.parametrize(("change", "first"), TABLE, ids=[change.__name__ for change, _ in TABLE])
def test_plan_names_exactly_the_phases_that_build_runs(
    habitat: FullHabitat, change: Callable[[FullHabitat], None], first: str
) -> None:
    change(habitat)
    habitat.save()
    before = state(habitat)
    printed = plan(habitat)
    assert state(habitat) == before
    expected = REASONS[change.__name__].replace("NAME", habitat.name).replace("BASE", habitat.base)
    assert printed.code == 1
    assert printed.why[first][0].startswith(expected), printed.out
    assert next(iter(printed.why)) == first
    info = habitat.project.doit("info", habitat.task(first))
    assert f" * {printed.why[first][0]}\n" in info.out
    result = habitat.assert_builds_from(first)
    assert result.ran == printed.runs
    assert list(habitat.images()) == list(TAGS)
    assert f"🔁 {first} runs: {printed.why[first][0]}\n" in result.out
    again = habitat.project.doit(f"plan:{habitat.name}")
    assert (again.code, again.out) == (0, f"{habitat.name}: nothing to do\n")


@pytest.mark.parametrize("change", full_habitat.NOTHING, ids=[change.__name__ for change in full_habitat.NOTHING])
def test_plan_of_change_without_dependent_phase_is_nothing_to_do(
    habitat: FullHabitat, change: Callable[[FullHabitat], None]
) -> None:
    change(habitat)
    assert plan(habitat).out == f"{habitat.name}: nothing to do\n"
    habitat.assert_builds_nothing()


def test_plan_after_lost_stamps_and_cached_run_describes_change(habitat: FullHabitat) -> None:
    """A run that finds all up to date keeps what it was built from."""
    shutil.rmtree(habitat.project.root / ".stamps")
    habitat.assert_builds_nothing()
    full_habitat.setup(habitat)
    habitat.save()
    assert plan(habitat).why["setup"][0].startswith("setup.root[0]: echo ")


def test_plan_dockerfile_context_change_is_described(project: Project, busybox: str, name: str) -> None:
    project.habitat(name, "env: [USER=root]")
    project.write(f"habitats/{name}/Dockerfile", f"FROM {busybox}\nCOPY motd /etc/motd\n")
    project.write(f"habitats/{name}/motd", "welcome\n")
    assert project.doit(f"final:{name}").code == 0
    project.write(f"habitats/{name}/motd", "hello\n")
    printed = project.doit(f"plan:{name}")
    assert printed.out.splitlines()[1] == f"  dockerfile  habitats/{name}/motd: changed"
    assert "⇒ rebuild dockerfile … final, about " in printed
    assert project.doit(f"final:{name}").ran == ["dockerfile", *NAMES]
    assert project.doit(f"plan:{name}").out == f"{name}: nothing to do\n"


def test_plan_removed_snapshot_and_forgotten_phase_are_described(habitat: FullHabitat) -> None:
    habitat.prune("repos", "tools", "final")
    printed = plan(habitat)
    assert printed.why == {"repos": [f"image habitat-{habitat.name}:8-repos is gone"]}
    assert habitat.build().ran == printed.runs
    assert habitat.project.doit("forget", habitat.task("tools")).code == 0
    printed = plan(habitat)
    assert printed.why == {"tools": ["it was forgotten"]}
    assert habitat.build().ran == printed.runs


def test_plan_in_other_clone_names_changed_phase(habitat: FullHabitat, tmp_path: Path) -> None:
    """It has the images in common, and nothing that says what they were built from."""
    other = Project(tmp_path)
    for path, text in full_habitat.FILES.items():
        other.write(habitat.place(path), text, mode=0o755 if text.startswith("#!") else 0o644)
    for folder in ("gate", "upstream"):
        (tmp_path / folder).mkdir()
    text = (habitat.folder / "config.yaml").read_text().replace("/etc/mark", "/etc/another")
    other.write(habitat.place("HABITAT/config.yaml"), text)
    same_project(habitat.project.root, tmp_path)
    result = other.doit(f"plan:{habitat.name}")
    assert "  setup  the config of setup has changed since its last build\n" in result.out
    assert [path.name for path in (tmp_path / ".stamps").iterdir()] == ["_project.json"]


def test_plan_of_habitat_never_built_creates_nothing(project: Project, busybox: str, name: str) -> None:
    project.habitat(name, f"base_image: {busybox}\nenv: [USER=root]")
    result = project.doit(f"plan:{name}")
    assert result.code == 1
    assert result.out.splitlines() == [
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
        result = project.doit(*argv)
        assert result.code == 1
        assert f"{name}\n  base  " in result.out
        (error,) = [row for row in result.out.splitlines() if "❌" in row]
        assert f"habitats/{name}-broken/config.yaml:1" in error
        assert "failed" not in result


def test_plan_of_broken_config_alone_fails(project: Project, name: str) -> None:
    project.habitat(name, "base_imag: x\n")
    result = project.doit(f"plan:{name}")
    assert result.code != 0
    assert len(result.out.splitlines()) == 1


def test_plan_all_option_shows_every_change(habitat: FullHabitat) -> None:
    for number in range(30):
        habitat.project.write(f"shared/many-{number:02}", "x")
    few, many = plan(habitat), habitat.project.doit(f"plan:{habitat.name}", "--all")
    assert few.why["files"][-1] == "… and 18 more: --all shows them"
    assert many.out.count(": added") == 30


def test_plan_on_terminal_is_coloured_and_fits_width(habitat: FullHabitat) -> None:
    habitat.config["repos"][0]["url"] = f"file:///upstream/{'long/' * 30}"
    habitat.config["env"][-1] = "COLOUR=green and more"
    habitat.save()
    shown = on_terminal(habitat, f"plan:{habitat.name}", columns=60)
    rows = re.sub(r"\x1b\[[0-9;]*m", "", shown).replace("\r", "").splitlines()
    assert "\x1b[36m" in shown
    assert all(len(row.rstrip()) <= 60 for row in rows), rows
    assert rows[1].startswith("  env    env.COLOUR: ")


def on_terminal(habitat: FullHabitat, *argv: str, columns: int) -> str:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        (sys.executable, "-m", "doit", *argv),
        cwd=habitat.project.root,
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
