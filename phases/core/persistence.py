"""What outlives a habitat's containers: a named volume for each path of `entry.persist`.

A folder is the volume itself. A single file is in a volume of its own, with a link at its path: what is
mounted can't be replaced by renaming, and a folder above it would hold too much. A program that writes
through the link has it kept at once; what one has put in the link's place is taken in when somebody
leaves, and before the container is started, stopped, set aside or removed.

A container is filled before it has the habitat's name. So one that has it is whole, and what isn't a link
in it was put there since.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from typing import TYPE_CHECKING

from msgspec import Struct

from phases.core import events, snapshots
from phases.core.config import persist, places
from phases.core.engine import VolumeMount
from phases.core.errors import Conflict, EngineError, StartError
from phases.core.idling import ended_under
from phases.core.mount_points import MountPoints

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from phases.core.engine import Container, Engine, Volume
    from phases.core.model import Habitat, Persisted
    from phases.core.project import Project

    #: Makes a container with a name, labels and mounts beside its own. Returns its id.
    Create = Callable[[str, Mapping[str, str], Sequence[VolumeMount]], str]

#: On a volume the path as the config has it; on a container all of them, and where they are.
LABEL_PERSIST = "habitat.persist"

# $1, $2: uid and gid; then folders. Who owns a folder owned what is to be given: it is told last, so that
# a start that was killed is done again, and one with nothing to do looks at the folders alone.
_GIVE = """
uid=$1 gid=$2
shift 2
for folder; do
    owner=$(stat -c '%u %g' "$folder")
    [ "$owner" != "$uid $gid" ] || continue
    find "$folder" -xdev -mindepth 1 -user "${owner% *}" -exec chown -h "$uid" {} +
    find "$folder" -xdev -mindepth 1 -group "${owner#* }" -exec chgrp -h "$gid" {} +
    chown "$uid:$gid" "$folder"
done
"""


class Place(Struct, frozen=True):
    """path: as the config has it; at: where it leads in the container; volume: that keeps it."""

    path: str
    at: str
    volume: str

    @property
    def is_folder(self) -> bool:
        return self.path.endswith("/")

    @property
    def mount(self) -> str:
        return self.at if self.is_folder else f"{places.OWN_FOLDER}/{self.volume}"

    @property
    def kept(self) -> str:
        """What the link of a single file leads to."""
        return f"{self.mount}/{posixpath.basename(self.at)}"


class Persistence(Struct, frozen=True):
    """What persists of a container, as its label tells. owner: uid and gid of USER."""

    places: tuple[Place, ...] = ()
    owner: tuple[int, int] = (0, 0)

    @property
    def paths(self) -> set[str]:
        return {place.path for place in self.places}

    @property
    def files(self) -> list[Place]:
        return [place for place in self.places if not place.is_folder]


def of(container: Container) -> Persistence:
    found = json.loads(container.labels.get(LABEL_PERSIST) or '{"places":[],"owner":[0,0]}')
    uid, gid = found["owner"]
    return Persistence(tuple(Place(*row) for row in found["places"]), (uid, gid))


def paths_of(habitat: Habitat) -> set[str]:
    """As Persistence.paths, of a container that was made now."""
    return {kept.path for kept in habitat.entry.persist}


def volume_name(habitat: str, path: str) -> str:
    """Readable, and no other's: two paths, or two habitats whose names run on, differ in the digits."""
    words = "-".join(re.findall(r"[a-z0-9]+", path.lower()))[:32].strip("-")
    digits = hashlib.sha256(f"{habitat}\0{path}".encode()).hexdigest()[:8]
    return "-".join(filter(None, ("habitat", habitat, words, digits)))


def volumes_of(engine: Engine, habitat: str) -> list[Volume]:
    """All that persists of a habitat, also what its config doesn't name any more. A copy that a person made of a
    volume may have its labels, but not its name.
    """
    found = engine.volumes(label=f"{snapshots.LABEL_NAME}={habitat}")
    return [volume for volume in found if volume.name == volume_name(habitat, volume.labels.get(LABEL_PERSIST, ""))]


# A container is made


def made(project: Project, habitat: Habitat, name: str, create: Create) -> str:
    """A container `name` that has what persists. It isn't started. Returns its id."""
    engine = project.engine
    if not habitat.entry.persist:
        return create(name, {LABEL_PERSIST: ""}, ())  # an image that was committed from a container has its label
    # Who is to be asked where ~ is, and what the image has, is a container; mounts are given to it at create.
    draft = f"{project.scratch.prefix('start', habitat.name)}draft"
    engine.remove(draft)  # of a start that was killed
    bare = create(draft, {}, ())
    try:
        image = _Image(engine, bare, habitat)
    finally:
        engine.remove(bare)
    container = create(draft, {LABEL_PERSIST: image.label()}, _mounts(engine, habitat.name, image.places))
    try:
        _fill(engine, container, image)
        engine.rename(container, name)
    except BaseException:
        engine.remove(container)
        raise
    return container


class _Image:
    """What the habitat's image has at the places, seen in a container without volumes."""

    def __init__(self, engine: Engine, container: str, habitat: Habitat) -> None:
        self._engine = engine
        self._container = container
        self.points = MountPoints(
            lambda path: engine.get(container, path) or b"",
            lambda path: engine.stat(container, path),
            habitat,
            [(kept.path, kept.origin) for kept in habitat.entry.persist],
        )
        persist.check(habitat, self.points.home)
        self.places = [self._place(habitat.name, kept) for kept in habitat.entry.persist]
        self.missing = self.points.missing(posixpath.dirname(place.at) for place in self.places)
        self.contents = {place.path: self._content(place) for place in self.places if not place.is_folder}

    def label(self) -> str:
        places = [[place.path, place.at, place.volume] for place in self.places]
        return json.dumps({"owner": self.points.owner, "places": places})

    def _place(self, habitat: str, kept: Persisted) -> Place:
        path = kept.path.rstrip("/")
        at = self.points.at(path)
        found = self._engine.stat(self._container, at)
        if found and not found.link and found.is_dir != kept.is_folder:
            is_now, write = ("a folder", f"{path}/") if found.is_dir else ("a file", path)
            raise StartError(f"{path} is {is_now} in the image", where=kept.origin, remedy=f"write {write}")
        return Place(kept.path, at, volume_name(habitat, kept.path))

    def _content(self, place: Place) -> tuple[bytes, int] | None:
        """Of a file, with its mode."""
        data = self._engine.get(self._container, place.at)
        found = self._engine.stat(self._container, place.at) if data is not None else None
        return None if data is None or found is None else (data, 0o600 if found.link else found.mode)


def _mounts(engine: Engine, habitat: str, places: Sequence[Place]) -> list[VolumeMount]:
    """An emptied volume stays empty: only a new one gets what the image has."""
    there = {volume.name for volume in volumes_of(engine, habitat)}
    return [
        VolumeMount(
            place.volume,
            place.mount,
            {snapshots.LABEL_NAME: habitat, LABEL_PERSIST: place.path},
            copies=place.volume not in there,
        )
        for place in places
    ]


def _fill(engine: Engine, container: str, image: _Image) -> None:
    """Folders on the way, and the files: a volume's own before the image's."""
    from phases.core.archive import Archive

    with Archive() as archive:
        for folder in image.missing:
            archive.add(folder, "dir", 0o755, image.points.owner_of(folder))
        for place in image.places:
            if place.is_folder:
                continue
            is_there = engine.stat(container, place.kept) is not None
            if not is_there and (found := image.contents[place.path]):
                archive.add(place.kept, "file", found[1], image.points.owner, content=found[0])
                is_there = True
            # A link to nothing would be in the way of a program that looks first; elsewhere it opens the way.
            if is_there or not image.points.is_users(place.at):
                archive.add(place.at, "link", 0o777, image.points.owner, target=place.kept)
        engine.put(container, "/", archive.finish())


# A container is used


def give(engine: Engine, container: Container) -> None:
    """Have USER own what persists, in a container that has just been started. One that has ended since is
    told of by whoever waits for its init.
    """
    kept = of(container)
    if not kept.places:
        return
    said: list[bytes] = []
    argv = ("/bin/sh", "-e", "-c", _GIVE, "sh", *map(str, kept.owner), *(place.mount for place in kept.places))
    try:
        code = engine.execute(container.id, argv, workdir="/", on_output=lambda data, _: said.append(data))
    except Conflict:
        return
    if code and not ended_under(engine, container.id, code):
        why = b"".join(said).decode(errors="replace").strip()
        raise StartError(
            f"what persists in {container.name} could not be given to its user ({why})",
            remedy="see that the image has stat, find and chown",
        )


def take_in(project: Project, habitat: str, container: Container) -> None:
    """Keep the files that a program has put where the links were, or where there was nothing yet."""
    kept = of(container)
    for place in kept.files:
        try:
            problem = _take(project.engine, container.id, place, kept.owner)
        except EngineError as error:
            problem = error.message
        if problem:
            text = f"{place.path} does not persist yet: {problem}; it is in {container.name}"
            project.bus.emit(events.Notice(habitat, text, warning=True))


def _take(engine: Engine, container: str, place: Place, owner: tuple[int, int]) -> str:
    """Returns what is in the way. The link comes last: until then the file is where it was."""
    found = engine.stat(container, place.at)
    if found and found.is_dir:
        return f"it is a folder, which {place.path}/ would keep"
    if found and found.link == place.kept:
        return ""
    data = engine.get(container, place.at) if found else None
    from phases.core.archive import Archive

    with Archive() as archive:
        if data is not None and found:
            archive.add(place.kept, "file", 0o600 if found.link else found.mode, owner, content=data)
        elif engine.stat(container, place.kept) is None:
            return ""
        archive.add(place.at, "link", 0o777, owner, target=place.kept)
        engine.put(container, "/", archive.finish())
    return ""
