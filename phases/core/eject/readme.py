"""Write the README.md of an ejected folder: the commands that build and run it, and what no Dockerfile has."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from phases.core.config.mounts import workspaces
from phases.core.container.main_process import published_ports
from phases.core.eject import own_dockerfile
from phases.core.eject.mounts import VOLUMES, known_hosts, numbered_volumes
from phases.core.eject.quoting import NEWLINE
from phases.core.eject.writer import TESTED
from phases.core.entry_settings import BRIDGE
from phases.core.errors import printable
from phases.core.model import SECRETS_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from phases.core.eject.writer import EjectedBuild
    from phases.core.entry_settings import EntryVariable
    from phases.core.model import Habitat, Mount, Secret

# Words that no shell changes.
_PLAIN = re.compile(r"/[\w@%+:,./ -]+", re.ASCII)

# Characters of a line that needs no scrolling.
_WIDE = 100

_BUILD_PHASES = ("setup", "repos", "tools", "test")


def readme(habitat: Habitat, build: EjectedBuild, *, has_volumes: bool) -> str:
    """Return the README.md of an ejected folder.

    Args:
        habitat: The habitat.
        build: Its Dockerfile.
        has_volumes: Whether the folder has copies of its volumes.
    """
    parts = [
        f"# {habitat.name}, ejected",
        (
            f"This Dockerfile builds the habitat {habitat.name}. You need only Docker 20.10 or later with BuildKit\n"
            "(from Docker 23 on, that is the plugin buildx).\n"
            "The image has the same files, users, environment and command as the habitat's."
        ),
        f"## Build\n\nIn this folder:\n\n{_code(_build_command(habitat, build))}",
    ]
    if TESTED in build.stages:
        parts.append(
            f"The same command with `docker build --target {TESTED} …` runs the habitat's tests, and fails if one does."
        )
    parts += [
        *_about_secrets(habitat),
        *_about_volumes(habitat, has_volumes=has_volumes),
        *_about_caches(habitat),
    ]
    parts.append(f"## Run\n\n{_code(_run_command(habitat))}")
    parts += _about_start(habitat)
    differences = [
        "- A Dockerfile runs the ONBUILD instructions of the base image; a habitat doesn't.",
        "- Commands of the build see another `HOSTNAME` and `/etc/hosts`.",
        *(["- `docker build` has no `timeouts:`."] if habitat.timeouts else []),
        *_tests_left_out(habitat),
    ]
    parts.append("## Differences\n\n" + "\n".join(differences))
    return "\n\n".join(parts) + "\n"


def _code(text: str) -> str:
    return f"```sh\n{text}\n```"


def _lines(words: list[str]) -> str:
    """Join the words of a command, in one line if they fit."""
    if "\n" not in "".join(words) and len(" ".join(words)) < _WIDE:
        return " ".join(words)
    return " \\\n    ".join(words)


# Building


def _build_command(habitat: Habitat, build: EjectedBuild) -> str:
    name = habitat.name.lower()
    secrets = _build_secrets(habitat)
    variables = [words for secret in secrets if (words := _assignment(secret))]
    flags = [_secret_flag(secret) for secret in secrets]
    command = [*variables, "DOCKER_BUILDKIT=1 docker build"]
    first = ""
    if build.own_folder:
        first = _lines([*command, *flags, own_dockerfile.build_words(habitat)]) + " &&\n"
    if hosts := known_hosts(habitat):
        flags += [
            *(f"--secret id={name},src={shlex.quote(str(path))}" for path, name in hosts.items()),
            "--ssh default",
        ]
    if build.needs_newline:
        flags.append(f'--build-arg {NEWLINE}="\n"')
    return first + _lines([*command, *flags, f"--tag {name} ."])


def _build_secrets(habitat: Habitat) -> list[Secret]:
    return [secret for secret in habitat.secrets if set(secret.phases) & {*_BUILD_PHASES, "dockerfile"}]


def _variable(secret: Secret) -> str:
    return re.sub(r"\W", "_", f"SECRET_{secret.name}", flags=re.ASCII)


def _assignment(secret: Secret) -> str:
    return f'{_variable(secret)}="$({secret.command})"' if secret.command else ""


def _secret_flag(secret: Secret) -> str:
    if secret.file:
        return f"--secret id={secret.name},src={shlex.quote(str(secret.file))}"
    return f"--secret id={secret.name},env={secret.env or _variable(secret)}"


def _about_secrets(habitat: Habitat) -> list[str]:
    optional = [secret.name for secret in _build_secrets(habitat) if secret.optional]
    return (
        [f"These secrets are optional; leave out the flag of one that you don't have: {', '.join(optional)}."]
        if optional
        else []
    )


def _about_volumes(habitat: Habitat, *, has_volumes: bool) -> list[str]:
    volumes = numbered_volumes(habitat)
    if not volumes:
        return []
    rows = [
        f"- `{VOLUMES}/{number}` is mounted at `{printable(volume.dest)}` (from `{printable(volume.shown)}`)"
        for number, volume in volumes
    ]
    content = "a copy of each volume" if has_volumes else "an empty file or folder for each volume"
    text = f"Commands of the build see {content} below `{VOLUMES}/`. The builder discards what they write there."
    return [f"{text}\n\n" + "\n".join(rows)]


def _about_caches(habitat: Habitat) -> list[str]:
    if not habitat.caches:
        return []
    paths = ", ".join(f"`{printable(cache.path)}`" for cache in habitat.caches)
    text = f"The builder keeps {paths} for later builds, until `docker builder prune --filter type=exec.cachemount`."
    return [f"{text}\nA cache is empty again after a change to a phase before setup."]


def _tests_left_out(habitat: Habitat) -> list[str]:
    names = ", ".join(f"`{printable(test.shown)}`" for test in habitat.tests if test.init)
    return [f"- No build has an init command beside it, so these tests are left out: {names}."] if names else []


# Running


def _run_command(habitat: Habitat) -> str:
    name, init = habitat.name.lower(), habitat.entry.init_command.strip()
    flags = [
        *_restrictions(habitat),
        *(_volume(volume) for _, volume in numbered_volumes(habitat)),
        *(f"--env {shlex.quote(f'{one.name}={value}')}" for one, value in _variables(habitat) if value is not None),
        *_start_secrets(habitat),
    ]
    if not init:
        return _lines(["docker run --rm -it --init", *flags, name])
    # An init has to be the main process itself, without a shell around it.
    main = init if _PLAIN.fullmatch(init) else shlex.join(("/bin/sh", "-c", init))
    up = _lines([f"docker run --detach --name {name} --user root", *flags, f"{name} {main}"])
    delay = f"sleep {habitat.entry.startup_delay:g}\n" if habitat.entry.startup_delay else ""
    command = ("/bin/sh", "-c", "--", habitat.entry.command) if habitat.entry.command else ("/bin/sh",)
    return f"{up}\n{delay}docker exec -it {name} {shlex.join(command)}"


def _restrictions(habitat: Habitat) -> list[str]:
    limits = habitat.entry.limits
    flags = {
        "--security-opt no-new-privileges": True,
        "--network none": habitat.entry.network != BRIDGE,  # docker alone can't hold an allowlist
        f"--memory {limits.memory} --memory-swap {limits.memory}": limits.memory,
        f"--shm-size {habitat.entry.shm_size}": habitat.entry.shm_size,
        f"--cpus {limits.cpus:g}": limits.cpus,
        f"--pids-limit {limits.pids}": limits.pids,
    }
    ports = [f"--publish {port}" for port in published_ports(habitat)]
    return [*(flag for flag, wanted in flags.items() if wanted), *ports]


def _volume(volume: Mount) -> str:
    return f"--volume {shlex.quote(f'{volume.source}:{volume.dest}' + (':ro' if volume.readonly else ''))}"


def _variables(habitat: Habitat) -> Iterator[tuple[EntryVariable, str | None]]:
    """Yield the variables of `entry.env`, each with its value, None if that needs a variable of the image."""
    for one in habitat.entry.env:
        needs_image = "${" in one.value.replace("$$", "")
        yield one, None if needs_image else one.value.replace("$$", "$")


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
    if variables := [printable(f"{one.name}={one.value}") for one, value in _variables(habitat) if value is None]:
        text = _code("\n".join(variables))
        parts.append(f"These variables need values of the image. Add an `--env` for each:\n\n{text}")
    parts += _about_instructions(habitat)
    if files := habitat.entry.files:
        rows = "\n".join(f"- `{printable(copy.shown)}` to `{printable(copy.dest)}`" for copy in files)
        parts.append(
            "A habitat gets these files before each start. They are not in the image: mount them with a `--volume`, "
            f"or copy them with `docker cp`.\n\n{rows}"
        )
    if kept := [*(one.path for one in habitat.entry.persist), *workspaces.candidates(habitat)]:
        paths = ", ".join(f"`{printable(path)}`" for path in kept)
        parts.append(
            f"A habitat keeps these paths. Add a `--volume NAME:FOLDER` for each to keep it here, too: {paths}."
        )
    if ready := habitat.entry.ready:
        parts.append(f"The container is ready once this command succeeds in it:\n\n{_code(ready.command)}")
    if secrets := [secret for secret in habitat.secrets if secret.start]:
        parts.append(_about_start_secrets(secrets))
    return parts


def _about_instructions(habitat: Habitat) -> list[str]:
    """Return what a person writes into the files of agents. Each line is quoted, since a text may have any Markdown."""
    files = ", ".join(f"`{printable(path)}`" for path in habitat.entry.instruction_files) or "no file: it has no agent"
    texts = [f"the file {text.shown}" if text.source else text.text.strip() for text in habitat.instructions]
    quoted = "\n>\n".join("\n".join(f"> {printable(line)}" for line in text.splitlines()) for text in texts if text)
    text = f"A habitat writes its `instructions:` for agents into {files} at each start. The image doesn't have them:"
    return [f"{text}\n\n{quoted}"] if quoted else []


def _about_start_secrets(secrets: Sequence[Secret]) -> str:
    names = ", ".join(secret.name for secret in secrets)
    variables = [s.variable for s in secrets if s.variable]
    text = f"Write each secret to a file that the container's user can read: {names}."
    if variables:
        text += f" Set {', '.join(variables)} in the environment of `docker run`."
    return text
