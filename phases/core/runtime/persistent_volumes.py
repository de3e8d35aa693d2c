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

from phases.core import events
from phases.core.cache import image_index
from phases.core.config import mount_rules, persist
from phases.core.container import root_environment, safe_paths, timed_exec
from phases.core.container.init_process import IDLE, replace_container
from phases.core.container.mount_points import MountPoints
from phases.core.engine.protocol import Restrictions, VolumeMount
from phases.core.errors import Conflict, EngineError, LinkInTheWay, StartError
from phases.core.files.shell_program import ShellProgram

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from phases.core.engine.locks import EngineLock
    from phases.core.engine.protocol import Container, Engine, PathInfo, Volume
    from phases.core.model import Habitat, Persisted
    from phases.core.project import Project

    #: Makes a container with a name, labels and mounts beside its own. Returns its id.
    Create = Callable[[str, Mapping[str, str], Sequence[VolumeMount]], str]

#: On a volume the path as the config has it; on a container all of them, and where they are.
LABEL_PERSIST = "habitat.persist"

_SET_OWNER = ShellProgram(__file__, "set_owner.sh")


# Others may read a file of that mode.
_READABLE = 0o004

_COLLECT = ShellProgram(__file__, "collect_replaced_file.sh")

# Seconds for that: USER can hold up what runs as USER.
_PATIENCE = 20


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
        return self.at if self.is_folder else f"{mount_rules.OWN_FOLDER}/{self.volume}"

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
    found = engine.volumes(label=f"{image_index.LABEL_NAME}={habitat}")
    return [volume for volume in found if volume.name == volume_name(habitat, volume.labels.get(LABEL_PERSIST, ""))]


# A container is made


def made(project: Project, habitat: Habitat, image_id: str, name: str, create: Create) -> str:
    """A container `name` of the image that has what persists. It isn't started. Returns its id. Raises Conflict where
    somebody else has made one meanwhile.
    """
    if not habitat.entry.persist:
        return create(name, {LABEL_PERSIST: ""}, ())  # an image that was committed from a container has its label
    # Two who fill the same volumes at once could put the image's files over what a program has written by then.
    lock = project.locks.lock(f"start {habitat.name}")
    try:
        lock.acquire(lambda who: _tell_of_another(project, habitat.name, who), patience=1.0)
        if project.engine.container(name):
            raise Conflict(f"container {name} is there by now")
        return _filled(project, habitat, image_id, name, create, lock)
    finally:
        lock.release()


def _tell_of_another(project: Project, habitat: str, who: str) -> None:
    project.bus.emit(events.Notice(habitat, f"waiting for another run that makes its container ({who})"))


def _filled(project: Project, habitat: Habitat, image_id: str, name: str, create: Create, lock: EngineLock) -> str:
    engine = project.engine
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
        _give(project, habitat.name, image_id, image, container)
        lock.check()
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
            lambda path: engine.read_file(container, path) or b"",
            lambda path: engine.stat(container, path),
            lambda path: engine.path_info(container, path),
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
        at = self.points.resolve(path, last=kept.is_folder)
        found = self._engine.stat(self._container, at)
        if found and not found.link and found.is_dir != kept.is_folder:
            is_now, write = ("a folder", f"{path}/") if found.is_dir else ("a file", path)
            raise StartError(f"{path} is {is_now} in the image", where=kept.origin, remedy=f"write {write}")
        return Place(kept.path, at, volume_name(habitat, kept.path))

    def _content(self, place: Place) -> tuple[bytes, int] | None:
        """Of a file that USER may read, with its mode; a link that USER can have made is not followed."""
        try:
            at = self.points.resolve(place.path)
        except LinkInTheWay:
            return None
        found = self._engine.path_info(self._container, at, content=True)
        if found is None or found.kind != "file" or not (found.uid == self.points.owner[0] or found.mode & _READABLE):
            return None
        return found.content, found.mode


def _mounts(engine: Engine, habitat: str, places: Sequence[Place]) -> list[VolumeMount]:
    """An emptied volume stays empty: only a new one gets what the image has."""
    there = {volume.name for volume in volumes_of(engine, habitat)}
    return [
        VolumeMount(
            place.volume,
            place.mount,
            {image_index.LABEL_NAME: habitat, LABEL_PERSIST: place.path},
            copies=place.volume not in there,
        )
        for place in places
    ]


def _fill(engine: Engine, container: str, image: _Image) -> None:
    """Folders on the way, and the files: a volume's own before the image's."""
    from phases.core.files.tar import Archive

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
        engine.put_archive(container, "/", archive.finish())


def _give(project: Project, habitat: str, image_id: str, image: _Image, container: str) -> None:
    """Have USER own what persists. In a container of its own: no process of USER's is in there, and a link that one
    elsewhere puts into a volume meanwhile leads to nothing that anybody misses.
    """
    engine, owner = project.engine, image.points.owner
    infos = {place: engine.path_info(container, place.mount) for place in image.places}
    others = [place for place, found in infos.items() if found and (found.uid, found.gid) != owner]
    if not others:
        return
    mounts = [VolumeMount(place.volume, place.mount, copies=False) for place in others]
    name = f"{project.scratch.prefix('start', habitat)}owner"
    config = engine.image_config(image_id)
    env = root_environment.for_container(config.env if config else {})
    restrictions = Restrictions(privileges=False, network=False)
    helper = replace_container(
        engine,
        name,
        lambda name: engine.create(image_id, name, IDLE, env=env, mounts=mounts, restrictions=restrictions),
    )
    try:
        engine.start(helper)
        code, why = root_environment.run(
            engine, helper, _SET_OWNER.text, *map(str, owner), *(place.mount for place in others)
        )
    finally:
        engine.remove(helper)
    if code:
        raise StartError(
            f"what persists could not be given to its user ({why})",
            where=habitat,
            remedy="see that the image has stat, find and chown",
        )


# A container is used


def collect_replaced_files(project: Project, habitat: str, container: Container) -> None:
    """Keep the files that a program has put where the links were, or where there was nothing yet.

    Nothing is read or written that USER could not read or write: USER does it in a container that runs.
    """
    kept = of(container)
    if not kept.files:
        return
    now = project.engine.container(container.id)
    collect = _collect_as_user if now and now.running else _collect_stopped
    for place in kept.files:
        try:
            problem = collect(project.engine, container, place, kept.owner)
        except EngineError as error:
            problem = error.message
        if problem:
            text = f"{place.path} does not persist yet: {problem}; it is in {container.name}"
            project.bus.emit(events.Notice(habitat, text, warning=True))


def _collect_as_user(engine: Engine, container: Container, place: Place, owner: tuple[int, int]) -> str:
    """Returns what is in the way."""
    argv = ("/bin/sh", "-e", "-c", "--", _COLLECT.text, "sh", place.at, place.kept, place.path)
    user = ":".join(map(str, owner))
    code, printed = timed_exec.run(engine, container.id, argv, user=user, env=root_environment.OWN, seconds=_PATIENCE)
    if code is None:
        return f"nothing was done for {_PATIENCE}s"
    return (printed or f"exit code {code}") if code else ""


def _collect_stopped(engine: Engine, container: Container, place: Place, owner: tuple[int, int]) -> str:
    """The same in a container that doesn't run, where nothing moves. Returns what is in the way."""
    try:
        at = safe_paths.paths_in(engine, container.id).resolve(place.at, last=False)
    except LinkInTheWay as error:
        return error.message
    if mount := next((bind.dest for bind in container.binds if mount_rules.within(at, bind.dest)), ""):
        return f"it is in the volume {mount}"
    seen = engine.stat(container.id, at)
    if seen and seen.link == place.kept:
        return ""
    found = engine.path_info(container.id, at, content=True) if seen else None
    if found and (flaw := _flaw(found, place, owner)):
        return flaw
    if found is None and engine.stat(container.id, place.kept) is None:
        return ""
    from phases.core.files.tar import Archive

    with Archive() as archive:
        if found:
            archive.add(place.kept, "file", found.mode & 0o777, owner, content=found.content)
        archive.add(at, "link", 0o777, owner, target=place.kept)
        engine.put_archive(container.id, "/", archive.finish())
    return ""


def _flaw(found: PathInfo, place: Place, owner: tuple[int, int]) -> str:
    """Why what is in the place of the link is not kept; "" where it is USER's file."""
    if found.kind == "link":
        return "it is a link, which is not followed"
    if found.kind == "dir":
        return f"it is a folder, which {place.path}/ would keep"
    if found.kind == "other":
        return "it is no file"
    return "" if found.uid == owner[0] else "it belongs to another user"
