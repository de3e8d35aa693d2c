"""The wheel of script/build, installed into a bare environment, without anything of this clone."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from conftest import ROOT, CommandResult
from packaging.requirements import Requirement


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([ROOT / "script" / "build", folder], check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def required(name: str) -> set[str]:
    """Return a distribution's requirements, and theirs, without extras."""
    names: set[str] = set()
    todo = [name]
    while todo:
        for text in metadata.requires(todo.pop()) or ():
            requirement = Requirement(text)
            wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if wanted and requirement.name not in names:
                names.add(requirement.name)
                todo.append(requirement.name)
    return names


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of programs of an environment with the wheel and what it requires, and with nothing else.

    What it requires is linked from the environment of the tests, so that nothing is downloaded.
    """
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    pip: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "-qq",
        "--no-deps",
        "--no-index",
        wheel,
    ]
    subprocess.run(pip, check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    for name in required("habitats"):
        distribution = metadata.distribution(name)
        tops = {path.parts[0] for path in distribution.files or () if path.parts[0] not in ("..", "__pycache__")}
        for top in tops:
            (packages / top).symlink_to(Path(str(distribution.locate_file(top))))
    return folder / "bin"


def run(folder: Path, *argv: str | Path) -> CommandResult:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        argv, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    return CommandResult(result.returncode, result.stdout + result.stderr)


def test_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    command = ["git", "ls-files", "--stage", "phases"]
    tracked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    with zipfile.ZipFile(wheel) as archive:
        files = [file for file in archive.infolist() if file.filename.startswith("phases/")]
    packed = {(file.filename, bool(file.external_attr >> 16 & 0o100)) for file in files}
    assert packed == {(row.split("\t")[1], row.startswith("100755")) for row in tracked}


@pytest.mark.engine
@pytest.mark.guarantee("wheel-works-alone")
def test_installed_wheel_starts_a_habitat_of_any_repository(
    programs: Path, tmp_path: Path, name: str, busybox: str
) -> None:
    habitat = programs / "habitat"
    version = metadata.version("habitats")
    assert run(tmp_path, habitat, "--version") == CommandResult(0, f"habitats {version}\n")
    assert "  habitat start api  " in run(tmp_path, habitat, "help").out
    personal = (ROOT / "phases/personal.schema.json").read_text(encoding="utf-8")
    assert run(tmp_path, habitat, "schema", "--personal") == CommandResult(0, personal)
    module = run(tmp_path, programs / "python", "-c", "import phases; print(phases.__file__)").out
    assert Path(module).is_relative_to(programs.parent)

    config = tmp_path / ".habitats" / name / "config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text(f"base_image: {busybox}\nentry: {{command: 'echo hello from $$(id -un); exit 4'}}\n")
    (tmp_path / "src").mkdir()
    started = run(tmp_path / "src", habitat, "start")
    assert (started.code, "hello from agent\n" in started.out) == (4, True), started.out
    assert name in run(tmp_path, habitat).out
