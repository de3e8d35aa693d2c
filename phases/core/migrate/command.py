"""`doit migrate`: a habitat's folder before and after, and how one becomes the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from phases.core.config import dockerfile as key
from phases.core.config import loader, yaml_tree
from phases.core.errors import ConfigError, HabitatError
from phases.core.files import atomic, safe_open
from phases.core.migrate import base_image, config_text, legacy_keys, rest
from phases.core.migrate import dockerfile as dockerfiles
from phases.core.migrate.converter import Converter, Existing
from phases.core.migrate.copy import Context
from phases.core.migrate.dockerfile_state import Machine
from phases.core.model import BEFORE_MIGRATION
from phases.registry import NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from phases.core.migrate.result import Draft, Row
    from phases.core.model import Habitat
    from phases.core.project import Project

# Bytes of a config.yaml.
_MOST = 1_000_000


@dataclass(frozen=True)
class Migration:
    """config: the text of the new config.yaml; rest: of the Dockerfile that is still built, "" for none;
    before: the bytes of the config.yaml that there was; rows, older: what became of each instruction, and of
    each key that has another name now; warnings: what is to be told besides.
    """

    name: str
    folder: Path
    config: str
    rest: str = ""
    before: bytes | None = None
    rows: tuple[Row, ...] = ()
    older: tuple[Row, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def lost(self) -> list[Row]:
        return [row for row in self.rows if not row.place]


@dataclass
class _Folder:
    """A habitat's folder, as it is."""

    project: Project
    name: str
    config: bytes | None = None
    document: Any = field(default=None)

    def __post_init__(self) -> None:
        self.folder = self.project.root / "habitats" / self.name
        self.shown = f"habitats/{self.name}"
        path = self.folder / "config.yaml"
        try:
            self.config = safe_open.read(path, _MOST)
        except OSError as error:
            raise ConfigError(
                f"can't be read ({error.strerror})", where=f"{self.shown}/config.yaml", remedy="check that it is a file"
            ) from error
        # Reads it as a build does, and so refuses what a build refuses.
        yaml_tree.load(path, layer="local", shown=f"{self.shown}/config.yaml")
        self.document = config_text.document((self.config or b"").decode(), f"{self.shown}/config.yaml")

    @property
    def has_dockerfile(self) -> bool:
        return (self.folder / "Dockerfile").is_file()


def migrate(project: Project, name: str, given: Mapping[str, str]) -> Migration | None:
    """What is to be written, None where there is nothing to migrate any more. Raises HabitatError."""
    at = _Folder(project, name)
    is_older = legacy_keys.has_older(at.document)
    is_said = "dockerfile" in at.document
    if not is_older and (is_said or not at.has_dockerfile):
        if not is_said and at.config is None:
            raise ConfigError("has neither config.yaml nor Dockerfile", where=at.shown, remedy="add one of them")
        return None
    renamed = legacy_keys.modernise(at.document) if is_older else []
    modern = config_text.dumped(at.document) if is_older else (at.config or b"").decode()
    if is_said or not at.has_dockerfile:
        return Migration(name, at.folder, modern, before=at.config, older=tuple(renamed))
    draft = _drafted(at, modern, given)
    config_text.lay_under(at.document, draft, is_list=_form(project, at.document))
    return Migration(
        name=name,
        folder=at.folder,
        config=config_text.dumped(at.document),
        rest=draft.rest,
        before=at.config,
        rows=tuple(draft.rows),
        older=tuple(renamed),
        warnings=tuple(draft.warnings),
    )


def _drafted(at: _Folder, modern: str, given: Mapping[str, str]) -> Draft:
    read = dockerfiles.read(at.folder / "Dockerfile", f"{at.shown}/Dockerfile")
    machine = Machine(read, given)
    machine.check_given()
    first = machine.first
    reference, where = machine.base(first.start), read.where(first.start)
    if not reference:
        raise ConfigError("FROM names no image", where=where, remedy="give its ARG a value: --arg NAME=VALUE")
    base = base_image.EMPTY
    if reference != "scratch":
        base = base_image.look(at.project, at.name, reference, where)
    habitat, is_list = _loaded(at, modern), _form(at.project, at.document)
    existing = _existing(at, habitat) if at.config is not None else None
    return Converter(read, machine, base, Context(at.folder, habitat.ignore), existing, is_list=is_list).carry()


def _loaded(at: _Folder, modern: str) -> Habitat:
    """The habitat as its config says today, keys of before renamed."""
    return loader.load(at.project.root, at.name, NAMES, text=modern)


def _existing(at: _Folder, habitat: Habitat) -> Existing:
    document = at.document
    names = [str(entry).partition("=")[0] for entry in document.get("env") or ()]
    return Existing(
        user=habitat.user,
        workdir=habitat.workdir,
        env=tuple(names),
        copies=bool(habitat.files or document.get("volumes")),
    )


def _form(project: Project, document: Any) -> bool | None:
    """Whether setup is a list where there is one, here or in the shared layer; None where there is none."""
    shared = yaml_tree.load(project.root / "shared" / "config.yaml", layer="shared", shown="shared/config.yaml")
    tree = shared.at(("setup",))
    if tree and tree.value is not None:
        return isinstance(tree.value, list)
    return isinstance(document["setup"], list) if document.get("setup") is not None else None


def write(project: Project, migration: Migration) -> None:
    """Write what was made, each file whole or not at all, the config last; and check that it loads."""
    folder = migration.folder
    if migration.rest:
        atomic.write_if_changed(folder / rest.NAME, migration.rest.encode())
    loader.load(project.root, migration.name, NAMES, text=migration.config)
    if migration.before is not None and not (folder / BEFORE_MIGRATION).exists():
        atomic.write_if_changed(folder / BEFORE_MIGRATION, migration.before)
    atomic.write_if_changed(folder / "config.yaml", migration.config.encode())


def remove(project: Project, name: str) -> list[str]:
    """Take away the Dockerfile that is built no more, once the habitat was built without it, and the key
    that said so where it is needless. Returns what was removed. Raises HabitatError.
    """
    at = _Folder(project, name)
    said = str(at.document.get("dockerfile", ""))
    if not at.has_dockerfile:
        return []
    if "dockerfile" not in at.document or key.named(said) == "Dockerfile":
        where = f"{at.shown}/Dockerfile"
        raise ConfigError("is what the habitat is built from", where=where, remedy=f"doit migrate:{name} comes first")
    if stale := project.look(name).stale:
        phase, why = next(iter(stale.items()))
        raise HabitatError(
            f"the Dockerfile stays until the habitat was built without it ({phase}: {why})",
            where=name,
            remedy=f"doit final:{name}",
        )
    removed = ["Dockerfile"]
    (at.folder / "Dockerfile").unlink()
    if not key.named(said) and not (at.folder / ".dockerignore").exists():
        del at.document["dockerfile"]
        atomic.write_if_changed(at.folder / "config.yaml", config_text.dumped(at.document).encode())
        removed.append("dockerfile: false")
    return removed
