"""The personal config: what a person's running habitats get, and no build."""

from __future__ import annotations

import grp
import os
from pathlib import Path

import pytest
from unit_helpers import FakeTerminal, built_demo, load, write

from phases.core import trust
from phases.core.config.layers import personal
from phases.core.eject.command import eject
from phases.core.errors import ConfigError
from phases.core.runtime import start as runtime_start
from phases.core.runtime.session import instructions
from phases.registry import PHASES

WHOLE = """\
identity: {name: Ada L. $x, email: ada@example.org}
entry:
  env: [EDITOR=vim, 'AT=$WORKDIR']
  files: [{source: vimrc, dest: ~/.vimrc}]
  persist: [~/.mine/]
instructions:
  - Ada prefers tabs.
  - file: style.md
secrets:
  - {name: MINE, command: echo mine-of-ada, start: true, variable: MINE}
"""


# Stands for the folder of the personal config.
OWN = "OWN"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the personal config, outside the project."""
    config = tmp_path / "xdg"
    (config / "habitats").mkdir(parents=True)
    write(config / "habitats", "vimrc", "set nowrap")
    write(config / "habitats", "style.md", "Short lines, says Ada L.")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(config))
    return config / "habitats"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def error_of(root: Path, text: str = "base_image: base:1\n") -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(root, text)
    return caught.value


@pytest.mark.guarantee("personal-config-is-in-no-build")
def test_personal_config_reaches_running_habitat_and_builds_nothing(root: Path, own: Path) -> None:
    demo = built_demo(root, "entry: {command: 'true', env: [EDITOR=ed]}\ninstructions: Of the habitat.\n")
    slices = {phase.NAME: phase.slice(demo.project.habitat("demo")) for phase in PHASES[2:]}
    write(own, "config.yaml", WHOLE)
    assert demo.build() == []
    assert {phase.NAME: phase.slice(demo.project.habitat("demo")) for phase in PHASES[2:]} == slices
    runtime_start.start(demo.run_anew(), "demo", FakeTerminal())
    env = demo.engine.commands[-1].env
    expected = {
        "EDITOR": "vim",
        "AT": "/workspace",
        "MINE": "mine-of-ada",
        "GIT_AUTHOR_NAME": "Ada L. $x",
        "GIT_COMMITTER_NAME": "Ada L. $x",
        "GIT_AUTHOR_EMAIL": "ada@example.org",
        "GIT_COMMITTER_EMAIL": "ada@example.org",
    }
    assert expected.items() <= env.items()
    assert [one.path for one in demo.project.habitat("demo").entry.persist] == ["~/.mine/"]
    assert demo.engine._containers[demo.container().id].files.nodes["/home/agent/.vimrc"].content == b"set nowrap"
    texts = instructions.assembled(demo.project.habitat("demo")).splitlines()[1:-1]
    assert texts == ["Of the habitat.", "", "Ada prefers tabs.", "", "Short lines, says Ada L."]
    write(own, "config.yaml", WHOLE.replace("=vim", "=emacs"))
    write(own, "vimrc", "set wrap")
    assert demo.build() == []


@pytest.mark.guarantee("personal-config-is-in-no-build")
def test_personal_env_is_not_ejected(root: Path, own: Path) -> None:
    demo = built_demo(root, "entry: {command: 'true', env: [EDITOR=ed]}\n")
    write(own, "config.yaml", WHOLE)
    eject(demo.run_anew(), "demo", "out", volumes=False)
    texts = "".join(path.read_text() for path in (root / "out").rglob("*") if path.is_file())
    assert "EDITOR=ed" in texts
    assert not [word for word in ("vim", "example.org", "Ada L", ".mine", "MINE") if word in texts]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("env: [A=1]", "env"),
        ("setup: {root: [x]}", "setup"),
        ("base_image: x", "base_image"),
        ("files: []", "files"),
        ("volumes: [/a:/b]", "volumes"),
        ("extends: [claude]", "extends"),
        ("name: demo", "name"),
        ("uid: host", "uid"),
        ("build: {new_privileges: true}", "build"),
        ("entry: {command: x}", "entry.command"),
        ("entry: {instruction_files: [~/x]}", "entry.instruction_files"),
        ("entry: {init_command: x}", "entry.init_command"),
        ("entry: {ports: [80]}", "entry.ports"),
        ("entry: {limits: {cpus: 1}}", "entry.limits"),
        ("secrets: [{name: A, env: A, start: true, phases: [setup]}]", "secrets[0].phases"),
    ],
)
@pytest.mark.guarantee("personal-config-is-in-no-build")
def test_personal_key_of_build_or_team_is_refused_with_line(root: Path, own: Path, text: str, key: str) -> None:
    write(own, "config.yaml", f"# mine\n{text}\n")
    error = error_of(root)
    assert str(error).startswith(f"{own}/config.yaml:2: {key} can't be in the personal config")
    assert "write it into the config of a habitat" in str(error)
    assert not error.others


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("secrets: [{name: A, env: A}]", "secrets[0] is for no running habitat"),
        ("secrets: [{name: A, env: A, start: false}]", "secrets[0] is for no running habitat"),
        ("identity: Ada", "identity must be a mapping"),
        ("identity: {nam: Ada}", "identity: unknown key 'nam': did you mean 'name'?"),
        ("identity: {name: 'A <b>'}", "identity.name must be one line of text"),
        ("identity: {email: '  '}", "identity.email must be one line of text"),
        ("identity: {email: [a]}", "identity.email must be one line of text"),
        ("entry: {files: [{source: gone, dest: ~/x}]}", f"entry.files: there is no {OWN}/gone on the host"),
        ("entry: {files: [{source: vimrc, dest: ~/x, after: setup}]}", "entry.files[0]: unknown key 'after'"),
        ("entry: {files: [{source: vimrc}]}", "entry.files[0]: 'dest' is missing"),
        ("entry: {files: [{source: vimrc, dest: /run/secrets/x}]}", "/run/secrets is the habitat's own"),
        ("entry: {files: vimrc}", "entry.files: must be a list, is text"),
        ("instructions: {file: gone}", f"instructions: there is no {OWN}/gone on the host"),
        ("instructions: {text: x}", "instructions[0]: unknown key 'text'"),
        ("entri: {env: [A=1]}", "unknown key 'entri': did you mean 'entry'?"),
        ("entry: {envs: [A=1]}", "entry: unknown key 'envs': did you mean 'env'?"),
        ("entry: [A=1]", "entry is a list here but a mapping in"),
        ("- a", "must be a mapping"),
        ("a: [", "is not YAML"),
    ],
)
def test_personal_flaw_is_error_with_file(root: Path, own: Path, text: str, problem: str) -> None:
    write(own, "config.yaml", f"{text}\n")
    error = str(error_of(root))
    assert error.startswith(f"{own}/config.yaml:")
    assert problem.replace(OWN, str(own)) in error


def test_personal_secret_replaces_one_for_start_but_none_of_a_build(root: Path, own: Path) -> None:
    write(own, "config.yaml", "secrets: [{name: T, command: my-vault, start: true}]\n")
    habitat = load(root, "base_image: base:1\nsecrets: [{name: T, env: T, start: true}]\n")
    assert [(secret.name, secret.command) for secret in habitat.secrets] == [("T", "my-vault")]
    error = error_of(root, "base_image: base:1\nsecrets:\n- {name: T, env: T, start: true, phases: [setup]}\n")
    assert "would replace one that builds use (habitats/demo/config.yaml:3)" in str(error)


def test_personal_secret_file_in_project_is_refused(root: Path, own: Path) -> None:
    secret = write(root, "habitats/demo/token", "x")
    write(own, "config.yaml", f"secrets: [{{name: T, file: {secret}, start: true}}]\n")
    assert "whose files images get" in str(error_of(root))


def test_personal_secret_command_needs_no_agreement(root: Path, own: Path) -> None:
    write(own, "config.yaml", "secrets: [{name: A, command: pass a, start: true}]\n")
    habitat = load(root, "base_image: base:1\nsecrets: [{name: B, command: pass b, start: true}]\n")
    assert [request.does for request in trust.requests_of(habitat)] == [
        "runs `pass b` on this machine, for the secret B"
    ]


@pytest.mark.parametrize("place", ["config.yaml", "."])
def test_personal_config_that_others_can_write_is_refused(root: Path, own: Path, place: str) -> None:
    write(own, "config.yaml", WHOLE)
    (own / place).chmod(0o777)
    assert "another user could write to your personal config: make it yours alone" in str(error_of(root))


def test_personal_config_that_others_own_is_refused(root: Path, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(own, "config.yaml", WHOLE)
    os.chown(own / "config.yaml", 4242, 4242)
    assert "another user could write" in str(error_of(root))


def test_personal_config_may_be_link_to_own_file(root: Path, own: Path, tmp_path: Path) -> None:
    (own / "config.yaml").symlink_to(write(tmp_path, "dotfiles/habitats.yaml", WHOLE))
    assert load(root, "base_image: base:1\n").entry.env[-2].name == "EDITOR"


def test_personal_folder_may_not_be_mounted_writable(root: Path, own: Path) -> None:
    write(own, "config.yaml", WHOLE)
    error = error_of(root, f"base_image: base:1\nvolumes: ['{own}:/x']\n")
    assert "reads as config" in str(error) or "read as config" in str(error)


def test_identity_elsewhere_names_personal_config(root: Path, own: Path) -> None:
    assert f"write it into your personal config, {own}/config.yaml" in str(
        error_of(root, "base_image: x\nidentity: {name: A}\n")
    )


def test_personal_folder_follows_xdg(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/of-me")
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_CONFIG_HOME", value)
        assert personal.folder() == Path("/home/of-me/.config/habitats")
        assert personal.shown_file() == "~/.config/habitats/config.yaml"
    monkeypatch.setenv("XDG_CONFIG_HOME", "/elsewhere")
    assert personal.folder() == Path("/elsewhere/habitats")


def test_personal_sources_may_be_in_home_but_not_in_project(
    root: Path, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    write(tmp_path, "home/.bashrc", "x")
    write(root, "only-here", "x")
    write(own, "config.yaml", "entry: {files: [{source: ~/.bashrc, dest: ~/.bashrc}]}\n")
    assert [copy.source for copy in load(root, "base_image: base:1\n").entry.files] == [tmp_path / "home/.bashrc"]
    write(own, "config.yaml", "entry: {files: [{source: only-here, dest: ~/x}]}\n")
    assert f"there is no {own}/only-here on the host" in str(error_of(root))


@pytest.mark.parametrize("place", ["vimrc", "style.md"])
@pytest.mark.parametrize("flaw", ["mode", "owner"])
def test_personal_file_that_others_can_write_is_refused(root: Path, own: Path, place: str, flaw: str) -> None:
    write(own, "config.yaml", WHOLE)
    if flaw == "mode":
        (own / place).chmod(0o666)
    else:
        os.chown(own / place, 4242, 4242)
    error = str(error_of(root))
    assert error.startswith(f"{own}/config.yaml:")
    assert f"another user could write to {place}: make it yours alone" in error


def test_personal_file_of_group_of_one_is_taken(root: Path, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(own, "config.yaml", WHOLE)
    for name in ("config.yaml", "vimrc"):
        (own / name).chmod(0o664)
    assert load(root, "base_image: base:1\n").entry.files
    monkeypatch.setattr(grp, "getgrgid", lambda _: grp.struct_group(["root", "x", 0, ["eve"]]))
    assert "another user could write to your personal config" in str(error_of(root))
    monkeypatch.setattr(grp, "getgrgid", lambda _: grp.struct_group(["staff", "x", 0, []]))
    assert "another user could write to your personal config" in str(error_of(root))


def test_personal_folder_with_file_that_others_can_write_is_refused_at_start(root: Path, own: Path) -> None:
    demo = built_demo(root, "entry: {command: 'true'}\n")
    write(own, "dots/sub/rc", "x").chmod(0o666)
    write(own, "config.yaml", "entry: {files: [{source: dots, dest: '~'}]}\n")
    with pytest.raises(ConfigError) as caught:
        runtime_start.start(demo.run_anew(), "demo", FakeTerminal())
    assert f"config.yaml:1: another user could write to {own}/dots/sub/rc" in str(caught.value)


def test_personal_habignore_counts_for_its_folders(root: Path, own: Path) -> None:
    demo = built_demo(root, "entry: {command: 'true'}\n")
    for name in ("keep", "skip", ".netrc"):
        write(own, f"dots/{name}", "x")
    write(own, ".habignore", "skip\n")
    write(own, "config.yaml", "entry: {files: [{source: dots, dest: ~/dots}]}\n")
    runtime_start.start(demo.run_anew(), "demo", FakeTerminal())
    nodes = demo.engine._containers[demo.container().id].files.nodes
    assert [path for path in nodes if path.startswith("/home/agent/dots/")] == ["/home/agent/dots/keep"]


def test_personal_source_in_folder_of_habitat_changes_no_image(root: Path, own: Path) -> None:
    demo = built_demo(root, "entry: {command: 'true'}\n")
    write(root, "habitats/demo/mine", "x")
    demo.build()
    write(own, "config.yaml", f"entry: {{files: [{{source: {root}/habitats/demo/mine, dest: ~/x}}]}}\n")
    assert demo.build() == []
