"""`habitat migrate`: plan a habitat's new files, write them, and remove the old Dockerfile."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phases.core import command_form, layout
from phases.core.config import dockerfile as dockerfile_key
from phases.core.config import edit, loader, yaml_tree
from phases.core.copied_files import DOCKERFILE_REST
from phases.core.errors import ConfigError, HabitatError
from phases.core.files import atomic
from phases.core.migrate import base_image, config_text, dockerfile
from phases.core.migrate.converter import Choices, convert
from phases.core.migrate.dockerfile_state import Interpreter
from phases.core.migrate.habitat_folder import HabitatFiles, HabitatFolder
from phases.core.migrate.inputs import ExistingConfig, Inputs
from phases.core.migrate.older_form import backup
from phases.core.migrate.older_form.layers import MigratedLayer, convert_layers
from phases.core.migrate.result import Conversion
from phases.registry import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from phases.core.migrate.result import ReportRow
    from phases.core.project import Project

_SHELL = "bash ran the older commands and went on after a failure; `sh -e` runs them and stops there"
_DOCKERFILE_WAITS = "the Dockerfile stays as it is until the config loads; then run the same command again"


@dataclass(frozen=True)
class Migration:
    """The files and the report of `habitat migrate`.

    Attributes:
        config: The text of the new config.yaml.
        rest: The text of Dockerfile.rest, "" for none.
        old_config: The bytes of the old config.yaml, None where there was none.
        old_rest: The bytes of an old Dockerfile.rest, None where there was none.
        rows: The result for each instruction.
        legacy_rows: The result for each key in the older form.
        layers: The configs below the habitat's own that are in the older form.
        problems: Why the new configs don't load.
    """

    name: str
    folder: Path
    config: str
    rest: str = ""
    old_config: bytes | None = None
    old_rest: bytes | None = None
    rows: tuple[ReportRow, ...] = ()
    legacy_rows: tuple[ReportRow, ...] = ()
    layers: tuple[MigratedLayer, ...] = ()
    problems: tuple[ConfigError, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def changes_config(self) -> bool:
        """Whether the habitat's own config.yaml changes."""
        return self.config.encode() != (self.old_config or b"")

    @property
    def backup(self) -> str:
        """The name of the file that has the old config.yaml once the new one is written, "" for none."""
        return "" if self.old_config is None else backup.path_for(self.folder / "config.yaml", self.old_config).name

    @property
    def backup_of_rest(self) -> str:
        """The name of the file that has the old Dockerfile.rest once the new one is written, "" for none."""
        is_kept = self.rest and self.old_rest not in (None, self.rest.encode())
        return backup.path_for(self.folder / DOCKERFILE_REST, self.old_rest or b"").name if is_kept else ""


def migrate(project: Project, name: str, build_args: Mapping[str, str], *, splits: bool = False) -> Migration | None:
    """Plan a migration.

    Args:
        project: The project.
        name: The habitat.
        build_args: Values for ARGs of its Dockerfile.
        splits: As of `Choices`.

    Returns:
        The new files, None where there is nothing to migrate.

    Raises:
        HabitatError: The files can't be read, or the base image can't be inspected.
    """
    files = HabitatFiles(project, name)
    layers = convert_layers(project.root)
    is_older = files.is_older or bool(layers)
    if not is_older and not files.converts:
        files.check_config()
        return None
    text, legacy_rows = (files.config or b"").decode(), []
    if files.is_older:
        converted = files.convert_older_form()
        text, legacy_rows = converted.text, converted.rows
        build_args = {**converted.build_args, **build_args}
    texts = _texts(text, layers)
    problems = _problems(project, name, texts) if is_older else []
    conversion = Conversion(warnings=[_DOCKERFILE_WAITS] if files.converts and problems else [])
    if files.converts and not problems:
        conversion = _add_dockerfile(project, name, files, texts, Choices(build_args, splits))
        text = edit.dump(files.document)
    return Migration(
        name=name,
        folder=files.folder,
        config=text,
        rest=conversion.rest,
        old_config=files.config,
        old_rest=files.rest if conversion.rest else None,
        rows=tuple(conversion.rows),
        legacy_rows=tuple(legacy_rows),
        layers=tuple(layers),
        problems=tuple(problems),
        warnings=(*_warnings(legacy_rows, layers), *conversion.warnings),
    )


def _problems(project: Project, name: str, texts: Mapping[str, str]) -> list[ConfigError]:
    """Return every problem of a habitat's new configs, by file and line; none for configs that load."""
    try:
        loader.load(project.root, name, NAMES, texts, names_migrate=False, with_personal=False)
    except ConfigError as error:
        return [error, *error.others]
    return []


def _warnings(rows: Iterable[ReportRow], layers: Iterable[MigratedLayer]) -> list[str]:
    """Return what a person should know about all commands in the older form."""
    places = [row.place for row in (*rows, *(row for layer in layers for row in layer.rows))]
    return [_SHELL] if any(place.startswith(("hooks", "setup")) for place in places) else []


def _texts(config: str, layers: Iterable[MigratedLayer]) -> dict[str, str]:
    """Return the new configs by layer."""
    return {"local": config, **{"shared": layer.text for layer in layers if layer.text is not None}}  # noqa: B035


def _add_dockerfile(
    project: Project, name: str, files: HabitatFiles, texts: Mapping[str, str], choices: Choices
) -> Conversion:
    """Convert the Dockerfile, and add it to the config."""
    setup_is_list = _setup_is_list(project, files)
    conversion = _convert(project, name, files, texts, choices, setup_is_list=setup_is_list)
    config_text.add(files.document, conversion, setup_is_list=setup_is_list)
    return conversion


def _convert(
    project: Project,
    name: str,
    files: HabitatFiles,
    texts: Mapping[str, str],
    choices: Choices,
    *,
    setup_is_list: bool | None,
) -> Conversion:
    """Convert the Dockerfile. `texts` are the configs in today's form, by layer."""
    parsed = dockerfile.read(files.folder / "Dockerfile", f"{files.shown}/Dockerfile")
    interpreter = Interpreter(parsed, choices.build_args, project.engine.platform())
    interpreter.check_build_args()
    start = interpreter.first_stage.start
    reference, where = interpreter.base(start), parsed.where(start)
    if not reference:
        raise ConfigError("FROM names no image", where=where, remedy="set its ARG: --arg NAME=VALUE")
    habitat = loader.load(project.root, name, NAMES, texts, with_personal=False)
    existing = None
    if files.config is not None:
        env = tuple(str(entry).partition("=")[0] for entry in files.document.get("env") or ())
        has_copies = bool(habitat.files or files.document.get("volumes"))
        existing = ExistingConfig(habitat.user, habitat.workdir, env, has_copies)
    folder = HabitatFolder(files.folder, lambda root: habitat.ignore(habitat.layer("local"), root))
    has_image = reference != "scratch"
    opened = base_image.opened(project, name, reference, where) if has_image else nullcontext(base_image.EMPTY)
    with opened as base:
        return convert(Inputs(parsed, interpreter, base, folder, existing, setup_is_list), splits=choices.splits)


def _setup_is_list(project: Project, files: HabitatFiles) -> bool | None:
    """Return whether the setup of the shared layer or of this habitat is a list, None where there is no setup."""
    path = layout.shared_folder(project.root) / "config.yaml"
    shared = yaml_tree.load(path, layer="shared", shown=str(path.relative_to(project.root)))
    tree = shared.at(("setup",))
    if tree and tree.value is not None:
        return isinstance(tree.value, list)
    setup = files.document.get("setup")
    return None if setup is None else isinstance(setup, list)


def write(project: Project, migration: Migration) -> None:
    """Write the files of a migration, each whole or not at all, and config.yaml last.

    Raises:
        HabitatError: A file can't be written, or the new config doesn't load.
    """
    folder = migration.folder
    if migration.rest:
        if migration.backup_of_rest:
            backup.keep(folder / DOCKERFILE_REST, migration.old_rest)
        atomic.write_if_changed(folder / DOCKERFILE_REST, migration.rest.encode())
    if not migration.problems:
        loader.load(
            project.root, migration.name, NAMES, _texts(migration.config, migration.layers), with_personal=False
        )
    for layer in reversed(migration.layers):
        layer.write()
    if not migration.changes_config:
        return
    backup.keep(folder / "config.yaml", migration.old_config)
    atomic.write_if_changed(folder / "config.yaml", migration.config.encode())


def restore_rest(migration: Migration) -> None:
    """Give Dockerfile.rest the content that it had before a migration was written. Raises StateError."""
    path = migration.folder / DOCKERFILE_REST
    if migration.old_rest is None:
        path.unlink(missing_ok=True)
    else:
        atomic.write_if_changed(path, migration.old_rest)


def remove(project: Project, name: str) -> list[str]:
    """Remove the Dockerfile once the habitat was built without it, and `dockerfile: false` where it can go, too.

    Returns:
        The names of the files and keys that were removed.

    Raises:
        HabitatError: The habitat is built from the Dockerfile, or was not built without it yet.
    """
    files = HabitatFiles(project, name)
    value = str(files.document.get("dockerfile", ""))
    if not files.has_dockerfile:
        return []
    if "dockerfile" not in files.document or dockerfile_key.file_name(value) == "Dockerfile":
        where = f"{files.shown}/Dockerfile"
        remedy = f"`{command_form.verb('migrate', name)}` comes first"
        raise ConfigError("the habitat is built from it", where=where, remedy=remedy)
    if stale := project.assessments.look(name).stale:
        phase, why = next(iter(stale.items()))
        raise HabitatError(
            f"the Dockerfile stays until the habitat was built without it ({phase}: {why})",
            where=name,
            remedy=f"`{command_form.phase('final', name)}` builds it",
        )
    removed = ["Dockerfile"]
    (files.folder / "Dockerfile").unlink()
    if not dockerfile_key.file_name(value) and not (files.folder / ".dockerignore").exists():
        del files.document["dockerfile"]
        atomic.write_if_changed(files.folder / "config.yaml", edit.dump(files.document).encode())
        removed.append("dockerfile: false")
    return removed
