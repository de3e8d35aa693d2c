"""Where a project's habitats, shared layer and state are: beside each other, or in one folder `.habitats/`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from phases.core import layout
from phases.core.cache.stamps import StampBackend, state_dir
from phases.core.config import loader
from phases.core.errors import ConfigError, state_error
from phases.core.scaffold import create
from phases.registry import NAMES

if TYPE_CHECKING:
    from pathlib import Path


def put(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def hidden(tmp_path: Path) -> Path:
    """A repository with one habitat in `.habitats/`."""
    put(tmp_path / ".habitats/api/config.yaml", "base_image: debian:bookworm-slim\nfiles: [{source: own, dest: /a}]\n")
    put(tmp_path / ".habitats/api/own", "x")
    put(tmp_path / ".habitats/shared/config.yaml", "env: [A=1]\n")
    return tmp_path


@pytest.mark.parametrize("folder", [".habitats", "habitats"])
def test_root_is_nearest_folder_upward_that_has_habitats(tmp_path: Path, folder: str) -> None:
    (tmp_path / "outer" / folder).mkdir(parents=True)
    inner = tmp_path / "outer/a/b"
    inner.mkdir(parents=True)
    assert layout.find_root(inner) == layout.find_root(tmp_path / "outer") == tmp_path / "outer"
    (tmp_path / "outer/a" / folder).mkdir()
    assert layout.find_root(inner) == tmp_path / "outer/a"
    assert layout.find_root(tmp_path) is None


def test_folder_that_everybody_can_write_to_is_no_root_for_folders_below_it(tmp_path: Path) -> None:
    (tmp_path / ".habitats").mkdir()
    below = tmp_path / "below"
    below.mkdir()
    tmp_path.chmod(0o1777)
    assert layout.find_root(below) is None
    assert layout.find_root(tmp_path) == tmp_path


def test_habitats_in_one_folder_have_their_layers_and_state_in_it(hidden: Path) -> None:
    assert loader.habitat_names(hidden) == ["api"]
    habitat = loader.load(hidden, "api", NAMES)
    assert habitat.env.get("A") == "1"
    assert [layer.shown for layer in habitat.layers][1:] == [".habitats/shared", ".habitats/api"]
    assert habitat.files[0].source == hidden / ".habitats/api/own"
    assert state_dir(hidden, "api") == hidden / ".habitats/.stamps/api"
    backend = StampBackend(str(layout.state_folder(hidden)), None)
    backend.set("base:api", "_values_:", {"hash": "1"})
    backend.set("base:api", "deps:", [])
    assert (hidden / ".habitats/.stamps/api/1-base.stamp").is_file()


def test_error_in_one_folder_names_path_from_root(hidden: Path) -> None:
    put(hidden / ".habitats/api/config.yaml", "base_image: [\n")
    with pytest.raises(ConfigError) as error:
        loader.load(hidden, "api", NAMES)
    assert str(error.value).startswith(".habitats/api/config.yaml:")
    refused = state_error(hidden / ".habitats/.stamps/api/lock", "locked", PermissionError(13, "Permission denied"))
    assert str(refused).startswith(".habitats/.stamps/api/lock")


def test_new_habitat_is_created_beside_others_and_never_as_shared_layer(hidden: Path) -> None:
    assert create.create(hidden, "web", create.DEFAULT_BASE, []) == ".habitats/web/config.yaml"
    assert loader.habitat_names(hidden) == ["api", "web"]
    with pytest.raises(ConfigError, match="is the shared layer"):
        create.create(hidden, "shared", create.DEFAULT_BASE, [])


@pytest.mark.parametrize(
    ("path", "is_data"), [("api/data", True), ("api/tools", False), ("api", False), (".stamps/api", False)]
)
def test_only_data_beside_config_in_one_folder_can_be_mounted(hidden: Path, path: str, *, is_data: bool) -> None:
    folder = hidden / ".habitats" / path
    folder.mkdir(parents=True, exist_ok=True)
    put(hidden / ".habitats/web/config.yaml", f"base_image: a\nvolumes: [{{source: {folder}, dest: /d}}]\n")
    if is_data:
        assert loader.load(hidden, "web", NAMES).volumes
    else:
        with pytest.raises(ConfigError):
            loader.load(hidden, "web", NAMES)
