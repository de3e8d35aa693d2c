"""`doit new`: a config that teaches the format, made whole or not at all, of what is taken literally or refused."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import ROOT
from hostile_values import KINDS, PLACES
from hypothesis import given, settings
from hypothesis import strategies as st
from unit_helpers import write

from phases.core.config import loader, schema, yaml_tree
from phases.core.errors import ConfigError, HabitatError, StateError
from phases.core.files import atomic
from phases.core.project import Project
from phases.core.scaffold import copy_habitat, create, editor_schema
from phases.core.scaffold.clone_urls import clones
from phases.registry import NAMES

if TYPE_CHECKING:
    from phases.core.model import Habitat

BASE = create.DEFAULT_BASE
HTTPS, SSH = "https://example.org/you/project.git", "git@example.org:you/tools.git"

(URLS,) = ([*place.more] for place in PLACES if place.name == "repos.url")
(IMAGES,) = ([*place.more] for place in PLACES if place.name == "base_image")


def make(root: Path, *urls: str, name: str = "demo", base: str = BASE) -> Habitat:
    create.create(root, name, base, urls)
    return loader.load(root, name, NAMES)


def config(root: Path) -> Path:
    return root / "habitats" / "demo" / "config.yaml"


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's, with what the samples name."""
    home = tmp_path_factory.mktemp("home")
    write(home, ".gitconfig")
    write(home, ".ssh/known_hosts")
    monkeypatch.setenv("HOME", str(home))
    return home


# What is made


def test_new_habitat_has_base_image_and_defaults(tmp_path: Path) -> None:
    habitat = make(tmp_path)
    assert (habitat.base_image, habitat.user, habitat.repos, habitat.setup) == (BASE, "agent", (), ())
    assert habitat.description == f"A habitat on {BASE}"


def test_new_habitat_with_repositories_clones_them_and_installs_git(tmp_path: Path) -> None:
    habitat = make(tmp_path, HTTPS, SSH, base="alpine:3.20")
    assert [(repo.url, repo.path, bool(repo.known_hosts)) for repo in habitat.repos] == [
        (HTTPS, "/workspace/project", False),
        (SSH, "/workspace/tools", True),
    ]
    assert [path for path, _ in habitat.required] == ["/workspace/project/.git", "/workspace/tools/.git"]
    (install,) = habitat.setup
    assert install.user == "root"
    for manager in ("apt-get", "apk", "dnf"):
        assert re.search(rf"command -v {manager}; then .*\bgit openssh-clients?$", install.script, re.MULTILINE)


def test_new_habitat_gives_each_repository_its_own_folder(tmp_path: Path) -> None:
    habitat = make(tmp_path, HTTPS, "https://example.org/me/project", "https://example.org/habitat")
    assert [repo.path.removeprefix("/workspace/") for repo in habitat.repos] == ["project", "project-2", "habitat-2"]


@pytest.mark.parametrize(
    ("url", "folder"),
    [
        ("https://example.org/a.git/", "a"),
        ("https://example.org/a/.git", "a"),
        ("https://example.org/a.git?x=/y#z", "a"),
        ("ssh://git@example.org:22/a/b.c.git", "b.c"),
        ("example.org:b", "b"),
        ("file:///srv/git/b", "b"),
    ],
)
def test_new_habitat_repository_folder_is_named_as_by_git(url: str, folder: str) -> None:
    assert [clone.folder for clone in clones([url], "--repo")] == [folder]


def test_new_habitat_extends_what_it_is_given(tmp_path: Path) -> None:
    write(tmp_path, "shared/extends/mine/config.yaml", "env: [MINE=1]\n")
    create.create(tmp_path, "demo", BASE, [], ["mine", "python"])
    habitat = loader.load(tmp_path, "demo", NAMES)
    assert [layer.name for layer in habitat.layers[1:3]] == ["extends/mine", "extends/python"]
    assert habitat.description == f"mine, python on {BASE}"


def test_new_habitat_with_unknown_extend_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--extends: there is no extend 'pyhton': did you mean 'python'"):
        create.create(tmp_path, "demo", BASE, [], ["pyhton"])
    assert not (tmp_path / "habitats").exists()


def test_habitat_like_another_is_a_copy_without_data_and_secrets(tmp_path: Path) -> None:
    text = "description: Other\nname: other\nbase_image: base:1\nvolumes: [./data:/data]\n"
    write(tmp_path, "habitats/other/config.yaml", f"{text}secrets: [{{name: t, file: ./token, phases: [setup]}}]\n")
    write(tmp_path, "habitats/other/data/large", "data")
    write(tmp_path, "habitats/other/token", "secret")
    write(tmp_path, "habitats/other/tests/run.sh", "true\n", 0o755)
    write(tmp_path, "habitats/other/.habignore", "x\n")
    (tmp_path / "habitats/other/link").symlink_to("nowhere")
    result = copy_habitat.copy(tmp_path, "demo", loader.load(tmp_path, "other", NAMES))
    assert result == ("habitats/demo/config.yaml", ["data/", "token"])
    copied = tmp_path / "habitats/demo"
    assert sorted(path.name for path in copied.iterdir()) == [".habignore", "config.yaml", "link", "tests"]
    assert (copied / "tests/run.sh").stat().st_mode & 0o777 == 0o755
    assert (copied / "link").readlink() == Path("nowhere")
    assert (copied / "config.yaml").read_text().startswith("description: Other\nbase_image: base:1\n")


def test_habitat_like_another_is_never_written_over_one(tmp_path: Path) -> None:
    other = make(tmp_path, name="other")
    make(tmp_path)
    before = config(tmp_path).read_text()
    with pytest.raises(ConfigError, match="already exists"):
        copy_habitat.copy(tmp_path, "demo", other)
    assert config(tmp_path).read_text() == before


def uncommented(text: str) -> str:
    """All that is commented out, used."""
    return re.sub(
        r"^( *)# (?!yaml-)(?=(?:  )*(?:- |[a-z_-]+:(?: |$)|apt-get |\S+ -g ))", r"\1", text, flags=re.MULTILINE
    )


@pytest.mark.parametrize("urls", [(), (HTTPS,), (SSH, HTTPS)], ids=["no repository", "one", "two"])
def test_new_habitat_commented_lines_are_valid_when_uncommented(tmp_path: Path, urls: tuple[str, ...]) -> None:
    make(tmp_path, *urls)
    file = config(tmp_path)
    file.write_text(uncommented(file.read_text()))
    write(tmp_path, "habitats/demo/tests/works.sh")
    habitat = loader.load(tmp_path, "demo", NAMES)
    assert (habitat.env.values["EDITOR"], habitat.repos[-1].token) == ("vi", "GITHUB")
    assert habitat.setup[-1].script == "git config --global pull.ff only"
    assert {"extends/claude", "extends/python"} <= {layer.name for layer in habitat.layers}
    tree = yaml_tree.load(file, layer="local", shown="config.yaml").value
    assert isinstance(tree, dict)
    assert set(schema.Config.__struct_encode_fields__) - set(tree) <= {
        "name",
        "project",
        "take",
        "workspace",
        "debug",
        "uid",
        "dockerfile",
        "build",
        "hooks",
    }


SCHEMA_FILE = ROOT / "phases" / "config.schema.json"


@pytest.mark.parametrize("has_schema", [True, False])
def test_new_habitat_config_names_the_schema_of_the_project_or_of_the_program(tmp_path: Path, has_schema: bool) -> None:
    if has_schema:
        write(tmp_path, "docs/config.schema.json")
    make(tmp_path)
    match = re.match(r"# yaml-language-server: \$schema=(\S+)\n", config(tmp_path).read_text())
    assert match
    named = (config(tmp_path).parent / match[1]).resolve()
    assert named == (tmp_path / "docs/config.schema.json" if has_schema else SCHEMA_FILE)


def test_link_to_schema_of_other_version_is_replaced_and_a_failure_is_none(tmp_path: Path) -> None:
    (tmp_path / "habitats").mkdir()
    place = tmp_path / editor_schema.place_of(tmp_path)
    place.parent.mkdir()
    place.symlink_to("/gone/python3.10/phases/config.schema.json")
    editor_schema.link(tmp_path)
    assert place.readlink() == SCHEMA_FILE
    place.unlink()
    write(tmp_path, str(place.relative_to(tmp_path)), "a stale copy")
    editor_schema.link(tmp_path)
    assert place.readlink() == SCHEMA_FILE
    assert [path.name for path in place.parent.iterdir()] == [place.name]
    place.unlink()
    place.mkdir()
    editor_schema.link(tmp_path)
    assert place.is_dir()


@pytest.mark.parametrize("urls", [(), (HTTPS,)])
def test_new_habitat_config_is_short(tmp_path: Path, urls: tuple[str, ...]) -> None:
    make(tmp_path, *urls)
    rows = config(tmp_path).read_text().splitlines()
    assert len(rows) <= 80
    assert max(map(len, rows)) <= 105


# Literally, or refused


def literal(root: Path, url: str) -> bool:
    """Whether a URL is taken, as it is; else it is refused in one line, and nothing is made."""
    expected = ""
    try:
        habitat = make(root, url)
    except HabitatError as error:
        expected = str(error)
    if expected:
        assert expected.startswith("--repo: "), url
        assert expected.isprintable()
        assert not (root / "habitats").exists()
        return False
    (repo,) = habitat.repos
    assert repo.url == url
    assert re.fullmatch(r"/workspace/[^/]+", repo.path)
    return True


@pytest.mark.guarantee("new-habitat-arguments-are-literal")
@pytest.mark.parametrize("url", [*KINDS.values(), *URLS], ids=ascii)
def test_new_habitat_hostile_url_is_literal_or_refused(tmp_path: Path, url: str) -> None:
    taken = literal(tmp_path, url)
    assert not taken or url in URLS or ":" in url


@pytest.mark.parametrize("kind", KINDS)
def test_new_habitat_hostile_repository_name_is_literal_or_refused(tmp_path: Path, kind: str) -> None:
    taken = literal(tmp_path, f"https://example.org/{KINDS[kind]}")
    assert (
        taken
        or kind not in {"variables", "a single quote", "backticks", "a glob", "a colon", "nothing odd"}
        or (" " in KINDS[kind])
    )


@settings(max_examples=200, deadline=None)
@given(end=st.text(min_size=1, max_size=20))
def test_new_habitat_any_url_is_written_unchanged_or_refused(
    tmp_path_factory: pytest.TempPathFactory, end: str
) -> None:
    literal(tmp_path_factory.mktemp("any"), f"https://example.org/{end}")


@pytest.mark.guarantee("new-habitat-arguments-are-literal")
@pytest.mark.parametrize("image", [*KINDS.values(), *IMAGES], ids=lambda image: ascii(image)[:40])
def test_new_habitat_hostile_image_is_literal_or_refused_as_by_loader(tmp_path: Path, image: str) -> None:
    (place,) = (place for place in PLACES if place.name == "base_image")
    taken = place.more.get(image, image in {KINDS[kind] for kind in KINDS.keys() - place.refused})
    if taken and image:
        assert make(tmp_path, base=image).base_image == image
    else:
        with pytest.raises(
            ConfigError, match=r"^--base: .* is not the name of an image: write it like debian:bookworm-slim"
        ):
            make(tmp_path, base=image)


@pytest.mark.parametrize(
    "name", [*KINDS.values(), "a.b-c_d", "Demo", "x" * 200, "x" * 201], ids=lambda n: ascii(n)[:40]
)
def test_new_habitat_name_refused_by_loader_is_refused(tmp_path: Path, name: str) -> None:
    try:
        loader.load(tmp_path, name, NAMES)
    except (ConfigError, ValueError, OSError) as error:
        valid = "can't name a habitat" not in str(error) and isinstance(error, ConfigError)
    if valid:
        assert make(tmp_path, name=name).name == name
    else:
        with pytest.raises(ConfigError, match="can't name a habitat: use at most 200 lower-case letters"):
            make(tmp_path, name=name)
        assert not (tmp_path / "habitats").exists()


# Whole or not at all


@pytest.mark.guarantee("new-habitat-is-whole-or-absent")
@pytest.mark.parametrize("file", ["config.yaml", "Dockerfile", "notes.md"])
def test_new_habitat_existing_folder_is_not_overwritten(tmp_path: Path, file: str) -> None:
    path = write(tmp_path, f"habitats/demo/{file}", "mine")
    with pytest.raises(ConfigError) as excinfo:
        make(tmp_path)
    assert str(excinfo.value).startswith("habitats/demo: already exists: edit it, or choose another name")
    assert [entry.name for entry in path.parent.iterdir()] == [file]
    assert path.read_text() == "mine"


@pytest.mark.parametrize("target", ["/nowhere", "/"])
def test_new_habitat_link_in_its_place_is_not_followed(tmp_path: Path, target: str) -> None:
    (tmp_path / "habitats").mkdir()
    (tmp_path / "habitats" / "demo").symlink_to(target)
    with pytest.raises(ConfigError, match="already exists"):
        make(tmp_path)
    assert [entry.name for entry in (tmp_path / "habitats").iterdir()] == ["demo"]


def test_new_habitat_in_empty_folder_is_created(tmp_path: Path) -> None:
    (tmp_path / "habitats" / "demo").mkdir(parents=True)
    assert make(tmp_path).name == "demo"


@pytest.mark.guarantee("new-habitat-is-whole-or-absent")
def test_new_habitat_created_meanwhile_by_another_run_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run makes the habitat after this one has looked."""
    monkeypatch.setattr(atomic, "sweep", lambda parent, name: write(parent / name, "config.yaml", "theirs"))
    with pytest.raises(ConfigError, match="already exists"):
        make(tmp_path)
    assert config(tmp_path).read_text() == "theirs"
    assert [entry.name for entry in (tmp_path / "habitats").iterdir()] == ["demo"]


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.ENOSPC, "make room on the disk"), (errno.EACCES, "make it writable for you")],
)
def test_new_habitat_write_failure_is_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, remedy: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_text", fail)
    with pytest.raises(StateError) as excinfo:
        make(tmp_path)
    assert str(excinfo.value) == f"habitats: can't be written ({os.strerror(number)}): {remedy}"
    assert list((tmp_path / "habitats").iterdir()) == []


def test_new_habitat_with_file_named_habitats_is_error(tmp_path: Path) -> None:
    write(tmp_path, "habitats", "mine")
    with pytest.raises(StateError, match="move what is in its place out of the way"):
        make(tmp_path)


KILLED = """
import os, signal, sys
from pathlib import Path
from phases.core.scaffold import copy_habitat, create
Path.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
create.create(Path(sys.argv[1]), "demo", "debian", [])
"""


@pytest.mark.guarantee("new-habitat-is-whole-or-absent")
def test_new_habitat_killed_leaves_no_habitat_and_next_run_removes_draft(tmp_path: Path) -> None:
    result = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, check=False)
    assert result.returncode == -9
    (left,) = (tmp_path / "habitats").iterdir()
    assert (left / "config.yaml").is_file()
    assert Project(tmp_path, lambda: pytest.fail("an engine was asked for")).habitats.names == []
    make(tmp_path)
    assert [entry.name for entry in (tmp_path / "habitats").iterdir()] == ["demo"]
