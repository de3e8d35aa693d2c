"""Lets the workspaces of a container follow its image: at its first start after a rebuild, before anything runs in it.

The image that a workspace came from, today's image and the workspace are compared. It takes two temporary containers,
one of each image, without a network. What comes out of them is data: nothing of it is run, here or there.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from phases.core import command_form, events
from phases.core.config.mounts.mountable_paths import OWN_FOLDER
from phases.core.container import root_environment
from phases.core.container.init_process import IDLE, replace_container
from phases.core.engine.confinement.restrictions import NO_NETWORK, Restrictions
from phases.core.engine.types import VolumeMount
from phases.core.errors import HabitatError, StartError, printable
from phases.core.files.shell_program import ShellProgram
from phases.core.runtime.carry import difference
from phases.core.runtime.persistence.fill import give
from phases.core.runtime.persistence.volumes import workspaces_of
from phases.core.runtime.workspace import comparison, record, trees
from phases.core.runtime.workspace.record import FILLING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from phases.core.engine.types import Container
    from phases.core.model import Habitat
    from phases.core.project import Project
    from phases.core.runtime.persistence.volumes import Workspace
    from phases.core.runtime.workspace.comparison import Changes, Comparison, Hashes
    from phases.core.runtime.workspace.record import WorkspaceRecord
    from phases.core.runtime.workspace.trees import WorkspaceTree

_LIST = ShellProgram(__file__, "list_files.sh")
_HASH = ShellProgram(__file__, "hash_files.sh")
_APPLY = ShellProgram(__file__, "apply.sh")

# Where a temporary container has the workspaces, and the lists for its programs.
_WORKSPACES, _LISTS = f"{OWN_FOLDER}/workspaces", f"{OWN_FOLDER}/lists"


def follow_image(project: Project, habitat: Habitat, container: Container, *, is_first: bool) -> None:
    """Let the workspaces of a container follow its image, and say what has changed. Call it before it starts.

    If that fails, they stay as they are, with a warning.

    Args:
        project: The project.
        habitat: The habitat.
        container: The container, which doesn't run.
        is_first: Whether it was just created. Otherwise a volume without a record followed at its start by another
            clone of the project, or the record is lost.
    """
    spaces, name = workspaces_of(container), habitat.name
    folder = project.state_folder(name)
    known = record.read(folder)
    entries = [entry for entry in spaces.entries if is_first or known.images.get(entry.volume)]
    due = [entry for entry in entries if not _is_alike(project, habitat, known, entry, spaces.image)]
    if due and _is_used(project, container, due):
        text = "another container uses the workspaces: they follow the new image at the first start after that"
        project.bus.emit(events.Notice(name, text))
        return
    try:
        if due:
            _follow(project, habitat, due, known, spaces.image)
    except HabitatError as error:
        text = f"what a rebuild has changed below {due[0].path} is not in the workspace: {error.message}"
        project.bus.emit(events.Notice(name, text, warning=True))
    for entry in spaces.entries:
        known.images[entry.volume] = spaces.image
    record.write(folder, known)


def _is_alike(project: Project, habitat: Habitat, known: WorkspaceRecord, entry: Workspace, image: str) -> bool:
    """Return whether a workspace came from an image with the same files. A new volume was just filled from that."""
    before = known.images.get(entry.volume, "")
    return before == FILLING or (before != "" and difference.is_alike(project, habitat, before, image))


def _is_used(project: Project, container: Container, entries: Sequence[Workspace]) -> bool:
    rows = [row for entry in entries for row in project.engine.containers(volume=entry.volume)]
    return any(row.running and row.id != container.id for row in rows)


def _follow(
    project: Project, habitat: Habitat, entries: Sequence[Workspace], known: WorkspaceRecord, image: str
) -> None:
    name = habitat.name
    _, for_new, for_old = record.helpers(project, name)
    with _Place(project, name, image, entries).running(for_new) as new:
        for number, entry in enumerate(entries):
            before = known.images.get(entry.volume, "")
            one = _Following(project, habitat, entry, f"{_WORKSPACES}/{number}", known)
            if project.engine.image_config(before) if before else None:
                with _Place(project, name, before, ()).running(for_old) as old:
                    one.follow(new, old)
            else:
                one.follow(new, None)


class _Place:
    """A temporary container of an image that has the workspaces beside it."""

    def __init__(self, project: Project, name: str, image: str, entries: Sequence[Workspace]) -> None:
        self._project, self._name, self._image = project, name, image
        self._mounts = [
            VolumeMount(entry.volume, f"{_WORKSPACES}/{number}", copies=False) for number, entry in enumerate(entries)
        ]
        self.container = ""

    @contextmanager
    def running(self, name: str) -> Iterator[_Place]:
        """Start the container under a name, and remove it afterwards."""
        engine = self._project.engine
        config = engine.image_config(self._image)
        env = root_environment.for_container(config.env if config else {})
        restrictions = Restrictions(privileges=False, network=NO_NETWORK)
        self.container = replace_container(
            engine,
            name,
            lambda name: engine.create(
                self._image, name, IDLE, env=env, mounts=self._mounts, restrictions=restrictions
            ),
        )
        try:
            engine.start(self.container)
            yield self
        finally:
            engine.remove(self.container)

    def files(self, folder: str) -> WorkspaceTree:
        return trees.parse(self.run(_LIST, folder))

    def hashes(self, folder: str, paths: Sequence[str]) -> Hashes:
        """Return the sha256 of files; nothing for one whose name isn't printed as it is."""
        if not paths:
            return {}
        self.put({"hash": paths})
        printed = self.run(_HASH, folder, f"{_LISTS}/hash").decode("utf-8", "surrogateescape")
        rows = (line.partition("  ") for line in printed.split("\n"))
        return {path: digest for digest, separator, path in rows if separator}

    def put(self, lists: Mapping[str, Sequence[str]]) -> None:
        from phases.core.files.tar import Archive

        with Archive() as archive:
            for name, lines in lists.items():
                content = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
                archive.add(f"{_LISTS}/{name}", "file", 0o600, (0, 0), content=content)
            self._project.engine.put_archive(self.container, "/", archive.finish())

    def run(self, program: ShellProgram, *args: str) -> bytes:
        """Run a program as root. Returns what it prints. Raises StartError."""
        printed: list[bytes] = []
        errors: list[bytes] = []
        code = self._project.engine.exec(
            self.container,
            ("/bin/sh", "-e", "-c", "--", program.text, "sh", *args),
            user="0",
            workdir="/",
            env=root_environment.OWN,
            on_output=lambda data, is_error: (errors if is_error else printed).append(data),
        )
        if code:
            reason = printable(b"".join(errors or printed).decode(errors="replace").strip().rpartition("\n")[2])
            remedy = "check that the image has find, stat, sed, tr, xargs, sha256sum and tar"
            raise StartError(f"it can't be compared ({reason or f'exit code {code}'})", where=self._name, remedy=remedy)
        return b"".join(printed)


class _Following:
    """One workspace that follows the image. folder: where the container of the new image has it."""

    def __init__(
        self, project: Project, habitat: Habitat, entry: Workspace, folder: str, known: WorkspaceRecord
    ) -> None:
        self._project, self._habitat, self._entry, self._folder = project, habitat, entry, folder
        self._known = known

    def follow(self, new: _Place, old: _Place | None) -> None:
        resolved = self._entry.resolved
        image = new.files(resolved)
        base = self._give(new, old.files(resolved) if old else trees.WorkspaceTree(), image)
        workspace = new.files(self._folder)
        compared = comparison.Comparison(base, image, workspace)
        self._learn_hashes(compared, new, old)
        changes = compared.changes()
        lists = comparison.lists(changes)
        if any(lists.values()):
            new.put(lists)
            new.run(_APPLY, resolved, self._folder, _LISTS)
        _report(self._project, self._habitat.name, self._entry, changes)
        if {*image.repositories, *base.repositories} & {*workspace.repositories}:
            from phases.core.runtime.workspace.clones import CloneFollower  # imported late: many habitats have none

            clones = CloneFollower(
                self._project, self._habitat, self._known, new.container, old.container if old else ""
            )
            clones.follow(resolved, self._folder, (base, image, workspace))

    def _learn_hashes(self, compared: Comparison, new: _Place, old: _Place | None) -> None:
        resolved = self._entry.resolved
        paths = compared.doubtful_in_images()
        if old:
            compared.learn_images(old.hashes(resolved, paths), new.hashes(resolved, paths))
        if paths := compared.doubtful_in_workspace():
            base = old.hashes(resolved, compared.files_of_base(paths)) if old else {}
            image = new.hashes(resolved, compared.files_of_image(paths))
            compared.learn(base, image, new.hashes(self._folder, paths))

    def _give(self, new: _Place, base: WorkspaceTree, image: WorkspaceTree) -> WorkspaceTree:
        """Give a workspace to the owner that its folder has in the new image, if USER's number has changed.

        Returns:
            The tree of the earlier image, as if it had the new number.
        """
        before, now = base.folder, image.folder
        if not (before and now) or (before.uid, before.gid) == (now.uid, now.gid):
            return base
        give(self._project.engine, new.container, (now.uid, now.gid), [self._folder])
        return trees.with_owner(base, (before.uid, before.gid), (now.uid, now.gid))


def _report(project: Project, name: str, entry: Workspace, changes: Changes) -> None:
    if followed := changes.followed:
        text = f"{entry.path}: {len(followed)} changed by the rebuild: {comparison.shown(followed)}"
        project.bus.emit(events.Notice(name, text))
    if changes.kept:
        shell = command_form.verb("shell", name, "--at final")
        count, stays = len(changes.kept), "stays as it is" if len(changes.kept) == 1 else "stay as they are"
        paths = f"{count} path{'s' if count > 1 else ''}"
        text = (
            f"{entry.path}: {paths} changed both here and by the rebuild, and {stays} here: "
            f"{comparison.shown(changes.kept)}; {shell} shows what the image has"
        )
        project.bus.emit(events.Notice(name, text, warning=True))
