"""The protocol of a phase, and the steps of its plan.

A phase returns data: its slice, the part of the config that it depends on, and its plan, the steps to run.
It never uses the engine, a stamp or another phase; `core.build` runs the steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from msgspec import Struct, field

from phases.core.json_types import dotted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from phases.core.copied_files import DockerContext
    from phases.core.json_types import Json, Key
    from phases.core.model import Habitat
    from phases.core.origin import Origin


class FromImage(Struct, frozen=True):
    """Start from an image, pulled if the engine doesn't have it."""

    reference: str
    origin: Origin


class FromDockerfile(Struct, frozen=True):
    """Start from the image that a Dockerfile builds.

    Args:
        context: The Dockerfile and its build context. Secrets are not files of it.
    """

    context: DockerContext


class Run(Struct, frozen=True):
    """Run a script with `sh -e` in the container.

    Args:
        user: A user of the image.
        script: The script. It contains no values of the config, except where a person wrote the script.
        origin: The place in the config that asks for it.
        title: What a person calls it, as "setup command 1 of 2".
        args: $1, $2, … of the script, by which values of the config reach it.
        workdir: Where it runs, "" for the image's own workdir.
        env: Variables for this script only.
        remedies: What to do about an exit code, for those with a known meaning.
        known_hosts: A known_hosts file of the host, which allows the script to use the host's SSH agent.
        ends: Whether it is a script of the program. The processes that it starts are killed when it has ended.
        notices: Whether each line of its stdout is a notice for the person.
        tests: The name of the test whose results its stdout has, if that is TAP; "" for another command.
    """

    user: str
    script: str
    origin: Origin
    title: str
    args: tuple[str, ...] = ()
    workdir: str = ""
    env: dict[str, str] = field(default_factory=dict)
    remedies: dict[int, str] = field(default_factory=dict)
    known_hosts: Path | None = None
    ends: bool = False
    notices: bool = False
    tests: str = ""


class Entry(Struct, frozen=True):
    """A file, folder or link to put into the container.

    Args:
        dest: An absolute path, or one below ~ for the owner's home.
        kind: What it is.
        owner: NAME or NAME:GROUP.
        mode: Permissions.
        origin: The place in the config that asks for it.
        source: The file of the host that has the content.
        content: The content of a file without a source.
        target: Where a link leads.
        adopt: Give owner and mode also to a folder that exists; else it keeps its own.
        sha256: The digest of the source's content in the slice.
    """

    dest: str
    kind: Literal["file", "dir", "link"]
    owner: str
    mode: int
    origin: Origin
    source: Path | None = None
    content: bytes = b""
    target: str = ""
    adopt: bool = False
    sha256: str = ""


class Copy(Struct, frozen=True):
    """Put entries into the container. Missing parents are made, existing files replaced."""

    entries: tuple[Entry, ...]


class CopyRepository(Struct, frozen=True):
    """Put a repository of this machine into the container, as a git bundle, for a Run that clones it.

    Beside it, `dest` with `.origin` behind it has its remote and branch, and for a shallow clone there is `.shallow`.

    Args:
        source: The folder of the repository.
        dest: The file for the bundle, an absolute path, or one below ~ for the owner's home.
        owner: NAME or NAME:GROUP.
        origin: The place in the config that asks for it.
    """

    source: Path
    dest: str
    owner: str
    origin: Origin


class SetImageConfig(Struct, frozen=True):
    """Set the config of the image. None leaves a value as it is.

    Args:
        env: Variables, each a template with its origin; `${NAME}` in it is the image's own value (see
            core.variables). /etc/profile.d gets them too, since login shells don't inherit them.
        entrypoint: As in the image's config, () for none.
        user: As in the image's config.
        workdir: As in the image's config.
        command: As in the image's config, () for none.
        identity: A user of the image, "" for none. Variables of the image that say who runs a command get this
            user's values (see core.container.identity). The config's own `env` is not changed.
    """

    env: dict[str, tuple[str, Origin]] = field(default_factory=dict)
    entrypoint: tuple[str, ...] | None = None
    user: str | None = None
    workdir: str | None = None
    command: tuple[str, ...] | None = None
    identity: str = ""


class RequirePaths(Struct, frozen=True):
    """Check that paths exist. The error lists all that are missing, with `hint`."""

    paths: tuple[tuple[str, Origin], ...]
    hint: str = ""


class StartInit(Struct, frozen=True):
    """Continue in a new container with the habitat's init command as its main process, once that is ready.

    Only a phase without a snapshot has this step. origin: its cause; keeps: whether it has what earlier steps left.
    """

    origin: Origin
    keeps: bool = False


Step: TypeAlias = FromImage | FromDockerfile | Run | Copy | CopyRepository | SetImageConfig | RequirePaths | StartInit


class SlicePath(Struct, frozen=True):
    """A place in a slice.

    Attributes:
        habitat: Today's habitat.
        slice: Its slice of today, or that of an earlier build, which has an element of a list that was removed.
        key: The place.
        is_todays: Whether the slice is that of today.
    """

    habitat: Habitat
    slice: Json
    key: Key
    is_todays: bool = True

    def value(self, *key: str | int) -> ChangeDescription:
        """Return the description of the value that the config has at `key`."""
        return ChangeDescription(dotted(*key), origin=self.habitat.line_of(key) if self.is_todays else None)

    def variable(self, name: str) -> ChangeDescription:
        """Return the description of a variable of `env:`."""
        env = self.habitat.env
        return ChangeDescription(dotted("env", name), origin=env.origin(name) if name in env.values else None)


class ChangeDescription(Struct, frozen=True):
    """The name, for a person, of a part of a slice that has changed.

    Args:
        name: A key of config.yaml, or the path of a file.
        kind: What the name stands for.
        minor: The change is shown only if the phase has no other.
        origin: The line of the value in today's config, None if it has none or the name is that of its file.
    """

    name: str
    kind: Literal["value", "file", "image"] = "value"
    minor: bool = False
    origin: Origin | None = None


class Phase(Protocol):
    """One of the fixed steps of a build: a module `pNN_NAME` with these names."""

    @property
    def ID(self) -> int:  # noqa: N802
        """Its number."""

    @property
    def NAME(self) -> str:  # noqa: N802
        """Its name in tasks, tags and labels."""

    @property
    def TITLE(self) -> str:  # noqa: N802
        """The text that a person sees while it runs."""

    @property
    def DESCRIPTION(self) -> str:  # noqa: N802
        """The description that `habitat list` shows."""

    @property
    def SNAPSHOT(self) -> bool:  # noqa: N802
        """Return whether its result is kept as an image. Without one its container is removed."""

    def slice(self, habitat: Habitat) -> Json:
        """Return the part of the config that the phase depends on, with digests of file contents."""

    def plan(self, habitat: Habitat) -> Sequence[Step]:
        """Return the steps, in order."""

    def describe_change(self, changed: SlicePath) -> ChangeDescription | None:
        """Return what a person calls a place in the slice that has changed.

        None if the slice of an earlier phase always changes with it: that phase then gives the reason.
        """


def slug(phase: Phase) -> str:
    """Return a phase as in tags and file names: `7-setup`."""
    return f"{phase.ID}-{phase.NAME}"


#: Those whose folders belong to root, so that USER can't replace the files in them.
ROOT_OWNED_PATHS = ("HABITAT_PATH", "SYSTEM_PATH")


def secrets_slice(habitat: Habitat, phase: str) -> Json:
    """Return the part of a slice that lists the secrets of a phase's commands, empty if they have none.

    A slice has neither their values nor their sources: with another token a phase builds the same.
    """
    secrets = [{"name": s.name, "variable": s.variable} for s in habitat.secrets_of(phase)]
    return {"secrets": secrets} if secrets else {}
