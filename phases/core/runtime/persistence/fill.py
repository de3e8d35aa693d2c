"""Puts into the volumes of persistent paths what they lack, and gives them to USER."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.config.mounts.mountable_paths import within
from phases.core.container import root_environment
from phases.core.container.init_process import IDLE, replace_container
from phases.core.engine.confinement.restrictions import NO_NETWORK, Restrictions
from phases.core.engine.types import VolumeMount
from phases.core.errors import StartError
from phases.core.files.shell_program import ShellProgram
from phases.core.runtime.persistence.collect import collect_replaced_files

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from phases.core.engine.protocol import Engine
    from phases.core.project import Project
    from phases.core.runtime.persistence.image_content import ImageContent
    from phases.core.runtime.persistence.volumes import PersistentPath, Workspace

_SET_OWNER = ShellProgram(__file__, "set_owner.sh")


def fill(
    project: Project, habitat: str, container: str, image: ImageContent, workspaces: Collection[Workspace]
) -> None:
    """Create missing folders and the links of single files. A file on a volume takes precedence over the image's.

    Args:
        project: The project.
        habitat: The name of the habitat.
        container: The id of the container.
        image: What the image has.
        workspaces: Those that existed before. A file in the place of a link is newer there than the link, so that it
            is collected.
    """
    from phases.core.files.tar import Archive

    engine, owner = project.engine, image.persistence.owner
    newer = False
    with Archive() as archive:
        for folder in image.missing:
            archive.add(folder, "dir", 0o755, image.points.owner_of(folder))
        for entry in image.persistence.files:
            if any(within(entry.resolved, place.resolved) for place in workspaces) and _is_file(
                engine, container, entry
            ):
                newer = True
                continue
            exists = engine.stat(container, entry.file) is not None
            if not exists and (file := image.files[entry.path]):
                content, mode = file
                archive.add(entry.file, "file", mode, owner, content=content)
                exists = True
            # A dangling link would confuse a program that checks whether the file exists. Outside USER's folders it is
            # made all the same: USER could not create the file there.
            if exists or not image.points.is_users(entry.resolved):
                archive.add(entry.resolved, "link", 0o777, owner, target=entry.file)
        engine.put_archive(container, "/", archive.finish())
    if newer and (created := engine.container(container)):
        collect_replaced_files(project, habitat, created)


def _is_file(engine: Engine, container: str, entry: PersistentPath) -> bool:
    """Return whether something else than its link is at the path of a persistent file."""
    stat = engine.stat(container, entry.resolved)
    return stat is not None and stat.link != entry.file


def set_owner(project: Project, habitat: str, image_id: str, image: ImageContent, container: str) -> None:
    """Give the volumes to USER.

    This runs in a container of its own. No process of USER runs there, and a link that USER puts into a volume from
    another container leads to nothing of value.
    """
    engine, owner = project.engine, image.persistence.owner
    infos = {entry: engine.path_info(container, entry.mount_point) for entry in image.persistence.entries}
    foreign = [entry for entry, info in infos.items() if info and (info.uid, info.gid) != owner]
    if not foreign:
        return
    mounts = [VolumeMount(entry.volume, entry.mount_point, copies=False) for entry in foreign]
    name = f"{project.temporary_containers.prefix('start', habitat)}owner"
    config = engine.image_config(image_id)
    env = root_environment.for_container(config.env if config else {})
    restrictions = Restrictions(privileges=False, network=NO_NETWORK)
    helper = replace_container(
        engine,
        name,
        lambda name: engine.create(image_id, name, IDLE, env=env, mounts=mounts, restrictions=restrictions),
    )
    try:
        engine.start(helper)
        output = give(engine, helper, owner, [entry.mount_point for entry in foreign])
    finally:
        engine.remove(helper)
    if output is not None:
        raise StartError(
            f"the persistent volumes could not be given to USER ({output})",
            where=habitat,
            remedy="check that the image has stat, find and chown",
        )


def give(engine: Engine, container: str, owner: tuple[int, int], folders: Sequence[str]) -> str | None:
    """Give folders, and what the owner of each has in it, to another user. Returns the output if that fails."""
    exit_code, output = root_environment.run(engine, container, _SET_OWNER.text, *map(str, owner), *folders)
    return output if exit_code else None
