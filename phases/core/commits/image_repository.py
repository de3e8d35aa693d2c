"""A repository of a habitat as the snapshot has it that the checks of `take` start from."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from msgspec import Struct

from phases.core.commits.host_git import TransferError
from phases.core.runtime.temporary import user_database
from phases.core.work.states import shown
from phases.registry import named

if TYPE_CHECKING:
    from phases.core.commits.destination import Match
    from phases.core.engine.types import Container
    from phases.core.model import Habitat, RepoClone
    from phases.core.project import Project


class ImageRepository(Struct, frozen=True):
    """A repository in the snapshot that the checks start from.

    Attributes:
        clone: Its entry of `repos:`.
        user: Its owner.
        image: The id of the image.
        habitat: The habitat.
    """

    clone: RepoClone
    user: str
    image: str
    habitat: Habitat

    def resolved(self, project: Project, container: Container) -> str:
        """Return its path in a container of the image."""
        users = user_database(project, self.habitat, container)
        return posixpath.normpath(users.expand(self.clone.path, self.user, self.clone.origin))


def repository(project: Project, habitat: Habitat, match: Match) -> ImageRepository:
    """Return a repository of the habitat as the image has it. Raises TransferError if it doesn't."""
    image = project.assessments.parent_id(habitat.name, named("test"))
    if match.clone is None:
        raise TransferError(
            f"{shown(match.state.path)} is no repository of repos:, so the image doesn't have it",
            where=habitat.name,
            remedy="list it in repos:, or use fetch, which checks nothing",
        )
    user = habitat.user_named(match.clone.owner).partition(":")[0]
    return ImageRepository(match.clone, user, image, habitat)
