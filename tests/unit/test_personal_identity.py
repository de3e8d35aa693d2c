"""`habitat init` asks who makes commits, once, where the person's git doesn't know it."""

from __future__ import annotations

import os
import pty
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from phases.core.config import loader
from phases.core.errors import ConfigError, HabitatError
from phases.core.scaffold import init, personal_identity
from phases.registry import NAMES

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    return tmp_path / "xdg/habitats/config.yaml"


def answered(folder: Path, typed: str) -> str:
    """`habitat init` in a folder, on a terminal where a person types. Returns what it printed."""
    folder.mkdir(exist_ok=True)
    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "phases.ui.habitat", "init"],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdin=slave, stdout=slave, stderr=slave,
    ) as process:  # fmt: skip
        os.close(slave)
        os.write(master, typed.encode())
        printed = b""
        while True:
            try:
                data = os.read(master, 4096)
            except OSError:
                break
            printed += data
        process.wait()
    os.close(master)
    return printed.decode()


def test_init_asks_for_name_and_email_once(tmp_path: Path, xdg: Path) -> None:
    printed = answered(tmp_path / "a", "Ada Lovelace\nada@example.org\n")
    assert "Your name, for commits in habitats (empty for none): " in printed
    assert f"wrote your name into {xdg}, the config of all your habitats" in printed
    assert stat.S_IMODE(xdg.stat().st_mode) == 0o600
    env = {one.name: one.value for one in loader.load(tmp_path / "a", "a", NAMES).entry.env}
    assert (env["GIT_AUTHOR_NAME"], env["GIT_COMMITTER_EMAIL"]) == ("Ada Lovelace", "ada@example.org")
    assert "Your name" not in answered(tmp_path / "b", "")


def test_init_with_no_answer_writes_no_personal_config(tmp_path: Path, xdg: Path) -> None:
    assert "then `habitat start a` builds" in answered(tmp_path / "a", "\n")
    assert not xdg.exists()


def test_init_without_terminal_asks_nothing(tmp_path: Path, xdg: Path) -> None:
    command = [sys.executable, "-m", "phases.ui.habitat", "init"]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=tmp_path, env=env, input="Ada\na@b\n", capture_output=True, text=True, check=True
    )
    assert "Your name" not in done.stdout
    assert not xdg.exists()


def test_identity_of_git_or_personal_config_is_not_asked_for(
    tmp_path: Path, xdg: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert personal_identity.is_missing(tmp_path)
    xdg.parent.mkdir(parents=True)
    xdg.write_text("identity: {name: A}\n")
    xdg.chmod(0o600)
    assert not personal_identity.is_missing(tmp_path)
    xdg.write_text("entry: {env: [A=1]}\n")
    assert personal_identity.is_missing(tmp_path)
    config = tmp_path / "gitconfig"
    config.write_text("[user]\nname = A\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    assert personal_identity.is_missing(tmp_path)
    config.write_text("[user]\nname = A\nemail = a@b\n")
    assert not personal_identity.is_missing(tmp_path)


def test_identity_is_added_to_a_personal_config_that_keeps_all_else(tmp_path: Path, xdg: Path) -> None:
    xdg.parent.mkdir(parents=True)
    mine = tmp_path / "dotfiles.yaml"
    mine.write_text("# mine\nentry: {env: [A=1]}")
    mine.chmod(0o640)
    xdg.symlink_to(mine)
    personal_identity.write('A "B" \\ é: #', "a@b")
    assert xdg.is_symlink()
    assert stat.S_IMODE(mine.stat().st_mode) == 0o640
    assert mine.read_text().startswith("# mine\nentry: {env: [A=1]}\nidentity:\n")
    init.create(tmp_path, "demo", "base:1")
    env = {one.name: one.value for one in loader.load(tmp_path, "demo", NAMES).entry.env}
    assert (env["A"], env["GIT_AUTHOR_NAME"]) == ("1", 'A "B" \\ é: #')


@pytest.mark.parametrize("text", ["{entry: {env: []}}\n", "a: [\n", "- a\n", "entry:\n  env:\n---\n", "\xff: 1\n"])
def test_personal_config_without_a_place_for_the_identity_stays(xdg: Path, text: str) -> None:
    xdg.parent.mkdir(parents=True)
    xdg.write_text(text, encoding="latin-1")
    with pytest.raises(HabitatError):
        personal_identity.write("A", "a@b")
    assert xdg.read_text(encoding="latin-1") == text


@pytest.mark.parametrize("text", ["A <b>", "a\x1b[2J", "a\nb", "", "x" * 501])
def test_name_that_git_cannot_write_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="this is no name for commits"):
        personal_identity.check("name", text)
