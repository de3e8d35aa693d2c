"""Merges two commits with the git of a habitat's image, in a temporary container of it without a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from phases.core import command_form
from phases.core.commits.host_git import TransferError
from phases.core.commits.inside import ContainerRepository
from phases.core.commits.outgoing import PackFile, Printed, is_oid
from phases.core.container.main_process import restrictions
from phases.core.engine.confinement.restrictions import NO_NETWORK
from phases.core.engine.types import Image
from phases.core.files.shell_program import ShellProgram
from phases.core.runtime.temporary import temporary_container
from phases.core.work.states import shown, text_of

if TYPE_CHECKING:
    from pathlib import Path

    from phases.core.commits.host_repository import HostRepository
    from phases.core.commits.image_repository import ImageRepository
    from phases.core.commits.limits import TransferLimits
    from phases.core.commits.outgoing import Inside
    from phases.core.commits.quarantine import Quarantine
    from phases.core.model import Habitat
    from phases.core.project import Project

_TIPS = ShellProgram(__file__, "tips.sh")
_MERGE = ShellProgram(__file__, "merge.sh")

# The exit code of files that conflict.
_CONFLICT = 9

# Bytes of the list of tips, and of names of files.
_MOST = 1 << 20

# Files that an error names.
_SHOWN = 5


class Sides(Struct, frozen=True):
    """The two commits of a merge.

    Attributes:
        onto: The branch of this machine.
        into: The commit that it is at.
        tip: The commit of the habitat.
    """

    onto: str
    into: str
    tip: str


def merge(
    project: Project,
    habitat: Habitat,
    repository: ImageRepository,
    host: HostRepository,
    quarantine: Quarantine,
    folder: Path,
    sides: Sides,
    limits: TransferLimits,
) -> tuple[str, list[str]]:
    """Merge the commit of a habitat into that of a branch of this machine.

    Returns:
        The result, which the quarantine has, and the commits that the image has. The result is the commit of the
        habitat itself if the other one is in its history.

    Raises:
        HabitatError: Files conflict, or git fails.
    """
    image = Image(repository.image, (), {})
    confined = replace(restrictions(habitat), network=NO_NETWORK)
    with temporary_container(project, habitat, image, "take", (), confined) as container:
        project.engine.start(container.id)
        path = repository.resolved(project, container)
        inside = ContainerRepository(project.engine, container.id, repository.user, path)
        known = known_tips(inside, host, limits)
        if quarantine.is_ancestor(sides.into, sides.tip):
            return sides.tip, known
        pack = quarantine.pack(folder / "merge.pack", [sides.into, sides.tip], known)
        return merge_inside(inside, host, quarantine, folder, pack, sides, habitat.name, limits), known


def known_tips(inside: Inside, host: HostRepository, limits: TransferLimits) -> list[str]:
    """Return commits of branches and tags that a repository in a container has, and one of this machine, too."""
    printed = Printed(_MOST)
    printed.check(inside.path, inside.run(_TIPS.text, (inside.path,), b"", printed.feed, limits.seconds))
    words = {word for word in printed.data.decode(errors="replace").split() if is_oid(word, host)}
    return sorted(host.known(words))


def merge_inside(
    inside: Inside,
    host: HostRepository,
    quarantine: Quarantine,
    folder: Path,
    pack: Path,
    sides: Sides,
    name: str,
    limits: TransferLimits,
) -> str:
    """Merge in a repository that nobody needs afterwards. Returns the merge, which the quarantine has."""
    message = f"Merge the work of habitat {name} into {sides.onto}"
    args = (inside.path, sides.into, sides.tip, message, *host.author())
    path = folder / "merged.pack"
    with path.open("xb") as file, pack.open("rb") as source:
        output = PackFile(file, limits)
        code = inside.run(_MERGE.text, args, source, output.feed, limits.seconds)
    if code == _CONFLICT:
        raise _conflict(output.first_line + path.read_bytes(), sides, name)
    output.errors.check(inside.path, code)
    result = output.first_line.decode("ascii", "replace").strip()
    if not is_oid(result, host):
        raise TransferError("git in the image gave no merge", where=name)
    with path.open("rb") as source:
        quarantine.take_in(source, result)
    if quarantine.parents(result) != [sides.into, sides.tip]:
        raise TransferError("git in the image gave another merge than that of the two commits", where=name)
    return result


def _conflict(output: bytes, sides: Sides, name: str) -> TransferError:
    files = [shown(text_of(row)) for row in output.split(b"\0") if row.strip()]
    names = ", ".join(files[:_SHOWN]) + (f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else "")
    count = f"{len(files)} file{'s conflict' if len(files) > 1 else ' conflicts'}"
    return TransferError(
        f"{count} with branch {sides.onto}, and nothing was written: {names}",
        where=name,
        remedy=f"`{command_form.verb('send', name)}` brings {sides.onto} in; merge it there, then take again",
    )
