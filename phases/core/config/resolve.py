"""Resolve the variables, users and paths of a merged config: the result is a Habitat."""

from __future__ import annotations

import os
import posixpath
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from phases.core.config import dockerfile, names, sections, units
from phases.core.config import secrets as config_secrets
from phases.core.config.entry_and_build import build, entry_point, workspace
from phases.core.config.layers import personal
from phases.core.config.mounts import caches, persist, uid, volume_conflicts, volumes
from phases.core.config.names import USER
from phases.core.config.scope import Scope, holds_wrong
from phases.core.config.validation import validate
from phases.core.errors import ConfigError, did_you_mean
from phases.core.model import PHASE_VARIABLES, Build, EntryPoint, Habitat
from phases.core.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from phases.core.agent_text import AgentText
    from phases.core.config import schema
    from phases.core.config.yaml_tree import Tree
    from phases.core.origin import ConfigLayer
    from phases.core.problems import Problems


def resolve(
    root: Path, name: str, layers: Sequence[ConfigLayer], tree: Tree, phases: Sequence[str], problems: Problems
) -> Habitat:
    """Resolve a merged config.

    Args:
        root: The root of the project.
        name: The name of the habitat.
        layers: The layers that were merged, in their order.
        tree: The merged config.
        phases: The names of all phases.
        problems: The errors that were collected before.

    Raises:
        ConfigError: With the line of the first value that is wrong; its `others` are the errors of all else.
    """
    config = validate(tree, problems)
    env = tree.at(("env",))
    if problems.lacks_layer or (problems and env and holds_wrong(env)):
        problems.raise_all()  # what is left needs the variables
    scope = Scope(root, layers, tree, config.env, problems)
    for check_name in (partial(_check_name, scope, name, config), partial(_check_project, scope, config)):
        with problems:
            check_name()
    dockerfile_name = problems.attempt(lambda: _dockerfile(scope, config), None)
    # An unknown key may be a misspelt base_image.
    if dockerfile_name is not None and not (tree.is_wrong or scope.is_wrong("base_image")):
        with problems:
            _check_base(scope, config, dockerfile_name)
    _check_variables(scope)
    scope.layers = [_with_dest(scope, layer) for layer in layers]
    habitat = problems.attempt(lambda: _habitat(scope, name, config, dockerfile_name or "", phases), None)
    if habitat:
        for check in (persist.check, caches.check, config_secrets.check_personal, personal.check_files, _check_texts):
            with problems:
                check(habitat)
    problems.raise_all()
    assert habitat
    with problems:
        rows = volumes.entries(scope, config.volumes)
        habitat = replace(habitat, volumes=volumes.checked_on_host(scope, habitat, rows))
    problems.raise_all()
    volume_conflicts.check(habitat)
    return habitat


def _with_dest(scope: Scope, layer: ConfigLayer) -> ConfigLayer:
    if layer.role == "personal":
        return layer
    dest = scope.problems.attempt(lambda: scope.env.get(layer.dest_variable), "")
    return replace(layer, dest=posixpath.join(dest, layer.name) if dest and layer.role == "extends" else dest)


def _habitat(scope: Scope, name: str, config: schema.Config, dockerfile_name: str, phases: Sequence[str]) -> Habitat:
    """Return the habitat. Parts with errors, which are collected, have any value."""
    attempt = scope.problems.attempt
    has_dockerfile = dockerfile.is_in(scope.own.folder, dockerfile_name)
    points = sections.Points(scope, phases, has_dockerfile=has_dockerfile)
    hook_commands = sections.hooks(scope, config.hooks, points)
    all_secrets = config_secrets.of_all_layers(scope, config.secrets, [hook.point.phase for hook in hook_commands])
    with scope.problems:
        config_secrets.check_replaced(all_secrets)
    secrets = config_secrets.latest(all_secrets)
    secret_files = tuple(secret.file for secret in all_secrets if secret.file)
    entry = attempt(lambda: entry_point(scope, config.entry), EntryPoint())
    entry = replace(entry, files=sections.files(scope, config.entry.files, secret_files, points, "entry", "files"))
    return Habitat(
        name=name,
        folder=scope.own.folder,
        description=" ".join(config.description.split()),
        layers=tuple(layer for layer in scope.layers if layer.role != "personal"),
        base_image=config.base_image,
        base_origin=scope.at("base_image"),
        env=scope.env,
        user_ids=attempt(lambda: uid.user_ids(scope, config.uid), None),
        files=sections.files(scope, config.files, secret_files, points, "files"),
        volumes=(mounts := volumes.volumes(scope, config.volumes)),
        secrets=secrets,
        secret_files=secret_files,
        caches=caches.caches(scope, config.caches),
        setup=sections.setup(scope, config.setup),
        hooks=hook_commands,
        repos=sections.repos(scope, config.repos, secrets, [mount.dest for mount in mounts]),
        workspace=workspace(scope, config.workspace),
        required=sections.required(scope, config.verify_fs.required_files),
        tests=sections.tests(
            scope, config.tests, has_init=bool(config.entry.init_command.strip()) or scope.is_wrong("entry")
        ),
        instructions=_instructions(scope, config),
        entry=entry,
        build=attempt(lambda: build(scope, config.build), Build()),
        take_check=sections.commands(scope, "user", config.take.check, "take", "check"),
        debug=config.debug,
        timeouts=_timeouts(scope, config.timeouts, phases),
        dockerfile=dockerfile_name,
        personal=next((layer for layer in scope.layers if layer.role == "personal"), None),
        line_of=scope.line_of,
    )


def _instructions(scope: Scope, config: schema.Config) -> tuple[AgentText, ...]:
    if not config.instructions:
        return ()
    from phases.core.config.layers import instructions  # imported late: many habitats have none

    return instructions.instructions(scope, config.instructions)


def _check_texts(habitat: Habitat) -> None:
    if habitat.entry.instruction_files:
        from phases.core.config.layers import instructions  # imported late: many habitats have none

        instructions.check(habitat)


def _check_name(scope: Scope, name: str, config: schema.Config) -> None:
    if config.name and config.name != name:
        if (where := scope.at("name")).role == "extends":
            raise ConfigError("name: is allowed only in a habitat's own config", where=where, remedy="remove it")
        raise ConfigError(
            f"name is '{config.name}' but its folder is '{name}'",
            where=scope.at("name"),
            remedy="give both one name, or leave the key out",
        )


def _check_project(scope: Scope, config: schema.Config) -> None:
    if not config.project:
        return
    where = scope.at("project")
    if where.layer != "shared":
        remedy = "write it into the shared config.yaml"
        raise ConfigError("project: is allowed only in the shared layer", where=where, remedy=remedy)
    if not names.is_project_name(config.project):
        problem = f"project: {config.project!r} can't name a project"
        raise ConfigError(problem, where=where, remedy=f"use {names.PROJECT_NAME_RULE}")


def _dockerfile(scope: Scope, config: schema.Config) -> str:
    """Return the name of the file that phase 0 builds if it exists, "" for none. Raises ConfigError."""
    own, where = scope.own, scope.at("dockerfile")
    name = dockerfile.file_name(config.dockerfile)
    if not config.dockerfile:
        if os.path.lexists(own.folder / name) and not (own.folder / name).is_file():
            raise ConfigError("is not a file", where=f"{own.shown}/{name}", remedy="make it one, or remove it")
        return name
    if where.role != "local":
        remedy = f"write it into {own.shown}/config.yaml"
        raise ConfigError("dockerfile: is allowed only in a habitat's own config", where=where, remedy=remedy)
    if name and not dockerfile.is_file_name(name):
        remedy = "write the name of a file in the habitat's folder, or false"
        raise ConfigError(f"dockerfile: {name!r} is not a file name", where=where, remedy=remedy)
    if name and not (own.folder / name).is_file():
        remedy = "add it, or fix the name"
        raise ConfigError(f"dockerfile: there is no file {own.shown}/{name}", where=where, remedy=remedy)
    return name


def _check_base(scope: Scope, config: schema.Config, dockerfile_name: str) -> None:
    own = scope.own
    image = config.base_image
    if not image and not (dockerfile_name and (own.folder / dockerfile_name).is_file()):
        raise ConfigError(
            "there is no base_image and no Dockerfile",
            where=Origin("local", f"{own.shown}/config.yaml", 1),
            remedy="add `base_image: debian:bookworm-slim`, or a Dockerfile beside it",
        )
    if image and not names.is_image_name(image):
        raise ConfigError(
            f"base_image: {image!r} is not the name of an image",
            where=scope.at("base_image"),
            remedy="write it like debian:bookworm-slim",
        )


def _check_variables(scope: Scope) -> None:
    """Check USER, WORKDIR and the habitat's own paths, since phases use them. Collects errors."""
    for variable in PHASE_VARIABLES:
        with scope.problems:
            _check_variable(scope, variable)
            continue
        scope.env.withdraw(variable)


def _check_variable(scope: Scope, variable: str) -> None:
    value = scope.env.get(variable)
    if not value:
        return
    origin = scope.env.origin(variable)
    if variable != "USER":
        _check_own_path(scope, variable, value, origin)
    elif not USER.fullmatch(value) or value.isdigit():
        raise ConfigError(f"USER: {value!r} is not a user name", where=origin, remedy="write a name such as dev")


def _check_own_path(scope: Scope, variable: str, value: str, origin: Origin) -> None:
    scope.check_path(value, origin)
    if not value.startswith("/"):
        raise ConfigError(f"{variable}: {value!r} is not absolute", where=origin, remedy="start it with a slash")
    if ".." in value.split("/"):
        raise ConfigError(f"{variable}: {value!r} contains ..", where=origin, remedy="write the path without ..")
    if ":" in value:
        remedy = "use a path without one: in PATH, a colon ends a folder"
        raise ConfigError(f"{variable}: {value!r} contains a colon", where=origin, remedy=remedy)


def _timeouts(scope: Scope, texts: Mapping[str, str], phases: Sequence[str]) -> dict[str, float]:
    result = {}
    for phase, text in texts.items():
        if not scope.is_wrong("timeouts", phase):
            with scope.problems:
                result[phase] = _timeout(scope, phase, text, phases)
    return result


def _timeout(scope: Scope, phase: str, text: str, phases: Sequence[str]) -> float:
    where = scope.at("timeouts", phase)
    if phase not in phases:
        remedy = did_you_mean(phase, phases, in_order=True)
        raise ConfigError(f"timeouts: there is no phase '{phase}'", where=where, remedy=remedy)
    try:
        return units.duration(text)
    except ValueError:
        remedy = f"{units.DURATION_REMEDY} 90s, 30m or 1h 30m"
        raise scope.wrong_value(repr(text), units.DURATION_RULE, remedy, "timeouts", phase) from None
