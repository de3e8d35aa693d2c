"""What a phase is, and the steps it may ask for.

A phase says what it depends on (`slice`) and what it wants done (`plan`), both as data. It never
touches the engine, a stamp or another phase; `core.build` carries the steps out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from phases.core.errors import Origin
    from phases.core.files.tree import Item
    from phases.core.model import Habitat

#: A slice: what JSON can say.
Json: TypeAlias = Any

#: Where something is in a slice: names of mappings, numbers of lists.
Key: TypeAlias = tuple[str | int, ...]


class FromImage(Struct, frozen=True):
    """Start from an image of a registry, pulled when the engine doesn't have it."""

    reference: str
    origin: Origin


class FromDockerfile(Struct, frozen=True):
    """Start from what a Dockerfile builds. context: all that it sees, the Dockerfile included, but for
    the phase's secrets.
    """

    context: tuple[Item, ...]


class Run(Struct, frozen=True):
    """Run a script with `sh -e` in the container.

    user: a name of the image; args: $1, $2, … of the script, so that no value is ever spliced into
    it; workdir: "" for the image's own; what: how a person would call it; remedies: what to do
    about an exit code that is known to mean something; known_hosts: of the host, where the script may
    use the host's SSH agent; ends: it is ours, and nothing that it began goes on after it.
    """

    user: str
    script: str
    origin: Origin
    what: str
    args: tuple[str, ...] = ()
    workdir: str = ""
    env: dict[str, str] = field(default_factory=dict)
    remedies: dict[int, str] = field(default_factory=dict)
    known_hosts: Path | None = None
    ends: bool = False


class Entry(Struct, frozen=True):
    """A file, folder or link to put into the container.

    dest: absolute, or below ~ for the owner's home; owner: NAME or NAME:GROUP; source: where the
    content of a file comes from, or `content` itself; target: of a link; sha256: of what the source
    holds, as the slice says it. A folder that is there already keeps its owner and mode, unless `adopt`
    says that they are part of what is asked for.
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
    """Put entries into the container, missing parents included; what is there is replaced."""

    entries: tuple[Entry, ...]


class SetImageConfig(Struct, frozen=True):
    """Set what the image itself carries; None leaves it as it is.

    env: name to template, `${NAME}` being the image's own (see core.config.variables), with the origin of
    each. It is written to /etc/profile.d as well, since login shells start from nothing.
    entrypoint and command: as in the image's config, () for none.
    """

    env: dict[str, tuple[str, Origin]] = field(default_factory=dict)
    entrypoint: tuple[str, ...] | None = None
    user: str | None = None
    workdir: str | None = None
    command: tuple[str, ...] | None = None


class RequirePaths(Struct, frozen=True):
    """Paths that must exist. All that don't are named at once, with `hint`."""

    paths: tuple[tuple[str, Origin], ...]
    hint: str = ""


Step: TypeAlias = FromImage | FromDockerfile | Run | Copy | SetImageConfig | RequirePaths


class SlicePath(Struct, frozen=True):
    """A place in a slice, which may be an earlier one's than the habitat's of today."""

    habitat: Habitat
    slice: Json
    key: Key


class ChangeDescription(Struct, frozen=True):
    """What is at a path, to the person who wrote it.

    name: a key of config.yaml, or a path; kind: what it stands for; minor: told only where nothing
    else of the phase differs.
    """

    name: str
    kind: Literal["value", "file", "image"] = "value"
    minor: bool = False


class Phase(Protocol):
    """One of the fixed steps of a build: a module `pNN_NAME` with these.

    ID: its number; NAME: as in tasks, tags and labels; TITLE: what a person reads while it runs;
    DESCRIPTION: what it is for; SNAPSHOT: whether its result is kept as an image (else the
    container is thrown away).
    """

    @property
    def ID(self) -> int: ...  # noqa: N802
    @property
    def NAME(self) -> str: ...  # noqa: N802
    @property
    def TITLE(self) -> str: ...  # noqa: N802
    @property
    def DESCRIPTION(self) -> str: ...  # noqa: N802
    @property
    def SNAPSHOT(self) -> bool: ...  # noqa: N802

    def slice(self, habitat: Habitat) -> Json:
        """The part of the config, with digests of contents, that this phase depends on."""

    def plan(self, habitat: Habitat) -> Sequence[Step]:
        """The steps, in order."""

    def describe_change(self, changed: SlicePath) -> ChangeDescription | None:
        """How a person calls what is at a path of the slice; None for what differs only where a slice
        before it does, which tells.
        """


def slug(phase: Phase) -> str:
    """`7-setup`: the phase in tags and file names."""
    return f"{phase.ID}-{phase.NAME}"


#: Variables that are set by the phase that makes what they name, not by phase 3.
PHASE_VARIABLES = ("USER", "WORKDIR", "HABITAT_PATH", "SYSTEM_PATH", "SHARED_PATH", "LOCAL_PATH")


#: Those of them whose folders are root's: USER can't replace what is in them.
ROOTS_PATHS = ("HABITAT_PATH", "SYSTEM_PATH")


def dotted(*key: str | int) -> str:
    """`repos[0].branch`: a key as a person finds it in config.yaml."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key).removeprefix(".")


def own_env(habitat: Habitat, *names: str) -> dict[str, tuple[str, Origin]]:
    """SetImageConfig.env for those of `names` that the habitat sets."""
    env = habitat.env
    return {name: (env.values[name], env.origin(name)) for name in names if name in env.values}


def secrets_slice(habitat: Habitat, phase: str) -> Json:
    """The part of a slice that says which secrets a phase's commands see; nothing where they see none.
    Their values are in no slice, nor where they come from: another token builds the same.
    """
    secrets = [{"name": s.name, "variable": s.variable} for s in habitat.secrets_of(phase)]
    return {"secrets": secrets} if secrets else {}


def file_in(folder: str, *path: str) -> ChangeDescription:
    """A file of a folder, by the name that a person would type."""
    return ChangeDescription("/".join(part for part in (folder, *path) if part), "file")


def folder(dest: str, owner: str, origin: Origin) -> Entry:
    """A folder that belongs to `owner`, also where it was there before."""
    return Entry(dest, "dir", owner, 0o755, origin, adopt=True)


def copies(tree: Sequence[Item], dest: str, owner: str, origin: Origin, mode: int = 0) -> Iterator[Entry]:
    """Entries that copy a tree to `dest`. mode: of its files, 0 for their own; a folder may be
    entered by whoever may read it.
    """
    for item in tree:
        place = f"{dest.rstrip('/')}/{item.path}" if item.path else dest
        bits = item.mode
        if mode and item.kind != "link":
            bits = mode | (mode & 0o444) >> 2 if item.kind == "dir" else mode
        yield Entry(place, item.kind, owner, bits, origin, source=item.source, target=item.target, sha256=item.sha256)
