"""From a coalesced, still literal config to a Habitat: variables, users and host paths resolved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from phases.core.config import caches, dockerfile, names, persist, schema, sections, uid, units, volumes
from phases.core.config import secrets as config_secrets
from phases.core.config.entry import build, entry_point
from phases.core.config.scope import USER, Scope
from phases.core.errors import ConfigError, did_you_mean
from phases.core.model import Habitat
from phases.core.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from phases.core.config.yaml_tree import Tree
    from phases.core.model import ConfigLayer


def resolve(root: Path, name: str, layers: Sequence[ConfigLayer], tree: Tree, phases: Sequence[str]) -> Habitat:
    """The habitat `name` of the project at `root`.

    tree: coalesced of the configs of `layers`, whose last is the habitat's own; phases: what
    `timeouts:` may name. Raises ConfigError.
    """
    config = schema.validate(tree)
    scope = Scope(root, layers, tree, config.env)
    _check_name(scope, name, config)
    built = _dockerfile(scope, config)
    _check_base(scope, config, built)
    _check_variables(scope)
    # Where each layer goes is one of the variables.
    scope.layers = [replace(layer, dest=scope.env.get(f"{layer.name.upper()}_PATH")) for layer in layers]
    named = config_secrets.named_secrets(scope, config.secrets)
    secrets = config_secrets.secrets(named)
    secret_files = tuple(secret.file for secret in named if secret.file)
    habitat = Habitat(
        name=name,
        folder=layers[-1].folder,
        description=" ".join(config.description.split()),
        layers=tuple(scope.layers),
        base_image=config.base_image,
        base_origin=scope.at("base_image"),
        env=scope.env,
        numbers=uid.of_user(scope, config.uid),
        files=sections.files(scope, config.files, secret_files),
        volumes=tuple(volumes.volumes(scope, config.volumes)),
        secrets=secrets,
        secret_files=secret_files,
        caches=tuple(caches.caches(scope, config.caches)),
        setup=tuple(sections.setup(scope, config.setup)),
        repos=sections.repos(scope, config.repos, secrets),
        required=tuple(sections.required(scope, config.verify_fs.required_files)),
        tests=sections.tests(scope, config.tests),
        entry=entry_point(scope, config.entry),
        build=build(scope, config.build),
        debug=config.debug,
        timeouts=_timeouts(scope, config.timeouts, phases),
        dockerfile=built,
    )
    persist.check(habitat)
    caches.check(habitat)
    habitat = replace(habitat, volumes=volumes.admitted(scope, habitat, config.volumes))
    volumes.check(habitat)
    return habitat


def _check_name(scope: Scope, name: str, config: schema.Config) -> None:
    if config.name and config.name != name:
        raise ConfigError(
            f"name is '{config.name}' but its folder is '{name}'",
            where=scope.at("name"),
            remedy="give both one name, or leave the key out",
        )


def _dockerfile(scope: Scope, config: schema.Config) -> str:
    """The file that phase 0 builds, where there is one; "" for none."""
    own, where = scope.layers[-1], scope.at("dockerfile")
    name = dockerfile.named(config.dockerfile)
    if not config.dockerfile:
        return name
    if where.layer != own.name:
        remedy = f"write it into {own.shown}/config.yaml"
        raise ConfigError("dockerfile: is a habitat's own", where=where, remedy=remedy)
    if name and not dockerfile.is_name(name):
        remedy = "write the name of a file in the habitat's folder, or false"
        raise ConfigError(f"dockerfile: {name!r} is no file name", where=where, remedy=remedy)
    if name and not (own.folder / name).is_file():
        remedy = "add it, or mend the name"
        raise ConfigError(f"dockerfile: there is no file {own.shown}/{name}", where=where, remedy=remedy)
    return name


def _check_base(scope: Scope, config: schema.Config, built: str) -> None:
    own = scope.layers[-1]
    image = config.base_image
    if not image and not (built and (own.folder / built).is_file()):
        raise ConfigError(
            "there is no base_image and no Dockerfile",
            where=Origin("local", f"{own.shown}/config.yaml", 1),
            remedy="add `base_image: debian:bookworm-slim`, or a Dockerfile beside it",
        )
    if image and not names.names_an_image(image):
        raise ConfigError(
            f"base_image: {image!r} is no name of an image",
            where=scope.at("base_image"),
            remedy="write it like debian:bookworm-slim",
        )


def _check_variables(scope: Scope) -> None:
    """USER, WORKDIR and the habitat's own paths, which phases build on."""
    for variable in ("USER", "WORKDIR", "HABITAT_PATH", "SYSTEM_PATH", "SHARED_PATH", "LOCAL_PATH"):
        value = scope.env.get(variable)
        if not value:
            continue
        origin = scope.env.origin(variable)
        if variable != "USER":
            _check_own_path(scope, variable, value, origin)
        elif not USER.fullmatch(value) or value.isdigit():
            raise ConfigError(f"USER: {value!r} is no user name", where=origin, remedy="fix it")


def _check_own_path(scope: Scope, variable: str, value: str, origin: Origin) -> None:
    scope.one_line(value, origin)
    if not value.startswith("/"):
        raise ConfigError(f"{variable}: {value!r} is not absolute", where=origin, remedy="start it with a slash")
    if ".." in value.split("/"):
        raise ConfigError(f"{variable}: {value!r} leads upwards", where=origin, remedy="write where .. leads")
    if ":" in value:
        # tools/bin goes on the PATH
        raise ConfigError(f"{variable}: {value!r} has a colon", where=origin, remedy="PATH ends there: rename it")


def _timeouts(scope: Scope, texts: Mapping[str, str], phases: Sequence[str]) -> dict[str, float]:
    result = {}
    for phase, text in texts.items():
        where = scope.at("timeouts", phase)
        if phase not in phases:
            raise ConfigError(f"timeouts: there is no phase '{phase}'", where=where, remedy=did_you_mean(phase, phases))
        try:
            result[phase] = units.duration(text)
        except ValueError:
            remedy = "write it like 90s, 30m or 1h 30m"
            raise ConfigError(f"timeouts: {text!r} is no duration", where=where, remedy=remedy) from None
    return result
