"""How an ejected Dockerfile is built and run, in words and commands: what it can't say itself is said here."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from phases.core.eject import own_dockerfile
from phases.core.eject.mounts import VOLUMES, known_hosts, numbered
from phases.core.eject.quoting import NEWLINE
from phases.core.eject.writer import TESTED
from phases.core.errors import printable
from phases.core.model import SECRETS_FOLDER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.core.eject.writer import Recipe
    from phases.core.model import Habitat, Mount, Secret

# Words that every shell leaves as they are.
_PLAIN = re.compile(r"/[\w@%+:,./ -]+", re.ASCII)

# Signs of a line that need no scrolling.
_WIDE = 100

_BUILD_PHASES = ("setup", "repos", "tools", "test")


def manual(habitat: Habitat, recipe: Recipe, *, with_volumes: bool) -> str:
    """README.md of an ejected folder."""
    parts = [
        f"# {habitat.name}, ejected",
        (
            f"What the habitat {habitat.name} is built of, as a Dockerfile. Nothing else is needed but Docker 20.10\n"
            "or later with BuildKit. The image has the same files, users, environment and command."
        ),
        f"## Build\n\nIn this folder:\n\n{_code(build_command(habitat, recipe))}",
    ]
    if habitat.tests:
        parts.append(
            f"`docker build --target {TESTED} …`, else the same, runs the habitat's tests, and fails with them."
        )
    parts += [
        *_about_secrets(habitat),
        *_about_volumes(habitat, with_volumes=with_volumes),
        *_about_caches(habitat),
    ]
    parts.append(f"## Run\n\n{_code(run_command(habitat))}")
    parts += _about_start(habitat)
    rest = ["what a command of the build finds in `HOSTNAME` and `/etc/hosts`"]
    if habitat.timeouts:
        rest.append("`timeouts:`, which a build has none of")
    parts.append(
        "## What is not the same\n\nONBUILD instructions of the base image, which a Dockerfile carries out and a "
        "habitat doesn't;\n" + ";\n".join(rest) + "."
    )
    return "\n\n".join(parts) + "\n"


def _code(text: str) -> str:
    return f"```sh\n{text}\n```"


def _lines(words: list[str]) -> str:
    """A command, in one line where it has room there."""
    if "\n" not in "".join(words) and len(" ".join(words)) < _WIDE:
        return " ".join(words)
    return " \\\n    ".join(words)


# Building


def build_command(habitat: Habitat, recipe: Recipe) -> str:
    name = habitat.name.lower()
    secrets = [s for s in habitat.secrets if set(s.phases) & {*_BUILD_PHASES, "dockerfile"}]
    before = [words for secret in secrets if (words := _fetched(secret))]
    given = [_secret_flag(secret) for secret in secrets]
    command = [*before, "DOCKER_BUILDKIT=1 docker build"]
    first = ""
    if recipe.own:
        first = _lines([*command, *given, f"--tag {own_dockerfile.image(habitat)} {recipe.own}"]) + " &&\n"
    if hosts := known_hosts(habitat):
        given += [
            *(f"--secret id={name},src={shlex.quote(str(path))}" for path, name in hosts.items()),
            "--ssh default",
        ]
    if recipe.newline:
        given.append(f'--build-arg {NEWLINE}="\n"')
    return first + _lines([*command, *given, f"--tag {name} ."])


def _variable(secret: Secret) -> str:
    return re.sub(r"\W", "_", f"SECRET_{secret.name}", flags=re.ASCII)


def _fetched(secret: Secret) -> str:
    return f'{_variable(secret)}="$({secret.command})"' if secret.command else ""


def _secret_flag(secret: Secret) -> str:
    if secret.file:
        return f"--secret id={secret.name},src={shlex.quote(str(secret.file))}"
    return f"--secret id={secret.name},env={secret.env or _variable(secret)}"


def _about_secrets(habitat: Habitat) -> list[str]:
    optional = [s.name for s in habitat.secrets if s.optional and set(s.phases) & {*_BUILD_PHASES, "dockerfile"}]
    return [f"Leave out the flag of a secret that you don't have: {', '.join(optional)}."] if optional else []


def _about_volumes(habitat: Habitat, *, with_volumes: bool) -> list[str]:
    volumes = numbered(habitat)
    if not volumes:
        return []
    rows = [
        f"- `{VOLUMES}/{number}` is `{printable(volume.dest)}`, of `{printable(volume.shown)}`"
        for number, volume in volumes
    ]
    seen = "the copies" if with_volumes else "an empty file or folder for each of the volumes"
    return [
        f"Commands of the build see {seen} below `{VOLUMES}/`, and what they write there is lost:\n\n" + "\n".join(rows)
    ]


def _about_caches(habitat: Habitat) -> list[str]:
    if not habitat.caches:
        return []
    paths = ", ".join(f"`{printable(cache.path)}`" for cache in habitat.caches)
    text = f"The builder keeps {paths} from build to build, until `docker builder prune --filter type=exec.cachemount`."
    return [f"{text}\nWhat comes before setup may not have changed meanwhile, or they begin anew."]


# Running


def run_command(habitat: Habitat) -> str:
    name, init = habitat.name.lower(), habitat.entry.init_command.strip()
    flags = [*_confinement(habitat), *(_volume(volume) for _, volume in numbered(habitat)), *_start_secrets(habitat)]
    if not init:
        return _lines(["docker run --rm -it --init", *flags, name])
    # A plain command is the main process itself, as a system's init has to be.
    main = init if _PLAIN.fullmatch(init) else shlex.join(("/bin/sh", "-c", init))
    up = _lines([f"docker run --detach --name {name} --user root", *flags, f"{name} {main}"])
    delay = f"sleep {habitat.entry.startup_delay:g}\n" if habitat.entry.startup_delay else ""
    command = ("/bin/sh", "-c", "--", habitat.entry.command) if habitat.entry.command else ("/bin/sh",)
    return f"{up}\n{delay}docker exec -it {name} {shlex.join(command)}"


def _confinement(habitat: Habitat) -> list[str]:
    limits = habitat.entry.limits
    flags = {
        "--security-opt no-new-privileges": True,
        f"--network {habitat.entry.network}": habitat.entry.network != "bridge",
        f"--memory {limits.memory}": limits.memory,
        f"--cpus {limits.cpus:g}": limits.cpus,
        f"--pids-limit {limits.pids}": limits.pids,
    }
    ports = [f"--publish {port}" for port in habitat.entry.ports]
    return [*(flag for flag, wanted in flags.items() if wanted), *ports]


def _volume(volume: Mount) -> str:
    return f"--volume {shlex.quote(f'{volume.source}:{volume.dest}' + (':ro' if volume.readonly else ''))}"


def _start_secrets(habitat: Habitat) -> list[str]:
    flags = []
    for secret in habitat.secrets:
        if not secret.start:
            continue
        source = str(secret.file) if secret.file else f"/FILE/WITH/{secret.name}"
        flags.append(f"--volume {shlex.quote(f'{source}:{SECRETS_FOLDER}/{secret.name}:ro')}")
        if secret.variable:
            flags.append(f"--env {secret.variable}")
    return flags


def _about_start(habitat: Habitat) -> list[str]:
    parts = []
    if kept := habitat.entry.persist:
        paths = ", ".join(f"`{printable(one.path)}`" for one in kept)
        parts.append(f"What persists in a habitat needs a `--volume NAME:FOLDER` for each here: {paths}.")
    if ready := habitat.entry.ready:
        parts.append(f"It is ready once this succeeds in it:\n\n{_code(ready.command)}")
    if secrets := [secret for secret in habitat.secrets if secret.start]:
        parts.append(_about_start_secrets(secrets))
    return parts


def _about_start_secrets(secrets: Sequence[Secret]) -> str:
    names = ", ".join(secret.name for secret in secrets)
    variables = [s.variable for s in secrets if s.variable]
    text = f"A secret is a file here, which the user in there has to be able to read: {names}."
    if variables:
        text += f" Set {', '.join(variables)} where you run it."
    return text
