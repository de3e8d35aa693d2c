"""What a Tab completes, in a real bash."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from conftest import ROOT

from phases.registry import NAMES
from phases.ui.verbs import layer_tests
from phases.ui.verbs.registry import VERBS

if TYPE_CHECKING:
    from pathlib import Path

_PRESSED = r"""
source "$1"
[[ -z $3 ]] || COMP_WORDBREAKS=$3
COMP_LINE=$2 COMP_POINT=${#2}
_${2%% *}
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What `doit tabcompletion` prints in this project, by shell, and what `habitat tabcompletion` prints."""
    folder = tmp_path_factory.mktemp("completion")
    for shell in ("bash", "zsh"):
        command = [sys.executable, "-m", "doit", "tabcompletion", "--shell", shell]
        printed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
        (folder / shell).write_bytes(printed)
        command = [sys.executable, "-m", "phases.ui.habitat", "tabcompletion", "--shell", shell]
        printed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
        (folder / f"habitat.{shell}").write_bytes(printed)
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("hello", "web", "web-two", "not one", "paper"):
        (tmp_path / "habitats" / name).mkdir(parents=True)
    (tmp_path / "habitats" / "paper" / "config.yaml").write_text("base_imgae: [")
    return tmp_path


def tab(script: Path, project: Path, line: str, breaks: str = "") -> list[str]:
    argv = ["bash", "-c", _PRESSED, "bash", str(script), line, breaks]
    result = subprocess.run(argv, cwd=project, capture_output=True, text=True, check=True)
    assert result.stderr == ""
    return sorted(result.stdout.rstrip("\n").split("\n"))


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("doit sta", ["start:", "status "]),
        ("doit start:", ["hello ", "paper ", "web ", "web-two "]),
        ("doit start:web", ["web ", "web-two "]),
        ("doit setup:pap", ["paper "]),
        ("doit plan:web plan:h", ["hello "]),
        ("doit -n 4 star", ["start:"]),
        ("doit start:web --d", ["--detach "]),
        ("doit start:web sto", ["stop:"]),
        ("doit shell:web --at se", ["setup "]),
        ("doit logs:web --phase re", ["repos "]),
        ("doit test:web --", ["--layer "]),
        ("doit test:web --layer s", ["shared ", "system "]),
        ("doit test-layer:web --layer ", ["local ", "shared ", "system "]),
        ("doit setup:web --", [""]),
        ("doit tabcompletion --shell ", ["bash ", "zsh "]),
        ("doit status we", ["web ", "web-two "]),
        ("doit start we", ["web ", "web-two "]),
        ("doit -n 4 stop --force pa", ["paper "]),
        ("doit stop --f", ["--force "]),
        ("doit plan:web stop pa", ["paper "]),
        ("doit stop web pl", [""]),
        ("doit stop web plan:pa", ["paper "]),
        ("doit -n 4 start:web --d", ["--detach "]),
        ("doit clean set", ["setup:"]),
        ("doit new --", ["--base ", "--extends ", "--like ", "--repo "]),
        ("doit new na", [""]),
        ("doit build we", ["web ", "web-two "]),
        ("doit rebuild web --from se", ["setup "]),
        ("doit help stat", ["status "]),
        ("doit exec:web -- st", [""]),
    ],
)
def test_tab_completes_commands_habitats_and_options(
    scripts: dict[str, Path], project: Path, line: str, offered: list[str]
) -> None:
    assert tab(scripts["bash"], project, line) == offered


def test_tab_without_colon_word_break_completes_whole_word(scripts: dict[str, Path], project: Path) -> None:
    assert tab(scripts["bash"], project, "doit start:web-", breaks=" \t\n=") == ["start:web-two "]


def test_tab_without_habitats_offers_none(scripts: dict[str, Path], tmp_path: Path) -> None:
    assert tab(scripts["bash"], tmp_path, "doit start:") == [""]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_tab_script_knows_all_phases_commands_and_options(scripts: dict[str, Path], shell: str) -> None:
    def known(what: str) -> list[str]:
        command = ["bash", "-c", f'eval "$(sed "/^}}/q" "$1")"; _doit_known "{what}"', "bash", str(scripts[shell])]
        rows = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        return [row.split("\t")[0] for row in rows]

    assert known("phases") == list(NAMES)
    assert known("layers") == list(layer_tests.LAYERS)
    assert known("options of test") == ["--layer"]
    assert known("verbs") == [verb.NAME for verb in VERBS]
    for verb in VERBS:
        assert known(f"options of {verb.NAME}") == [f"--{option['long']}" for option in verb.OPTIONS]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("habitat sta", ["start ", "status "]),
        ("habitat tes", ["test "]),
        ("habitat start we", ["web ", "web-two "]),
        ("habitat start web --d", ["--detach "]),
        ("habitat stop --force pa", ["paper "]),
        ("habitat build web --to se", ["setup "]),
        ("habitat rebuild --from re", ["repos "]),
        ("habitat shell web --at se", ["setup "]),
        ("habitat test --l", ["--layer "]),
        ("habitat test web --layer s", ["shared ", "system "]),
        ("habitat tabcompletion --shell ", ["bash ", "zsh "]),
        ("habitat build --", ["--always-execute ", "--output-file ", "--process ", "--reporter ", "--to "]),
        ("habitat help pl", ["plan "]),
        ("habitat help plan we", [""]),
        ("habitat new na", [""]),
        ("habitat exec we", ["web ", "web-two "]),
        ("habitat exec web -- st", [""]),
    ],
)
def test_tab_completes_words_of_habitat_also_in_subfolders(
    scripts: dict[str, Path], project: Path, line: str, offered: list[str]
) -> None:
    (project / "src" / "deep").mkdir(parents=True)
    assert tab(scripts["habitat.bash"], project / "src" / "deep", line) == offered


def test_tab_of_habitat_offers_habitats_of_a_hidden_folder(scripts: dict[str, Path], tmp_path: Path) -> None:
    for name in ("web", "shared"):
        (tmp_path / ".habitats" / name).mkdir(parents=True)
    assert tab(scripts["habitat.bash"], tmp_path, "habitat start ") == ["web "]


def test_tab_of_habitat_without_project_offers_no_habitat(scripts: dict[str, Path], tmp_path: Path) -> None:
    assert tab(scripts["habitat.bash"], tmp_path, "habitat start ") == [""]
