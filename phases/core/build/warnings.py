"""Warnings about what the phases of a build will meet, which a person hears before the first of them runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.config.mounts.uid import uid_warning
from phases.core.files import git_bundle

if TYPE_CHECKING:
    from collections.abc import Container

    from phases.core.model import Habitat


def before_build(habitat: Habitat, stale: Container[str]) -> list[str]:
    """Return the warnings about a habitat whose phases `stale` are not up to date.

    They are no errors: the build may end before such a phase, or a person may commit while the build runs.
    """
    uid = uid_warning(habitat) if "users" in stale else ""
    return [*([uid] if uid else []), *(_unreadable(habitat) if "repos" in stale else [])]


def _unreadable(habitat: Habitat) -> list[str]:
    """Return a warning for each repository of this machine that phase repos will not be able to clone."""
    local = [(repo.origin, repo.local) for repo in habitat.repos if repo.local]
    return [f"{origin}: {problem}" for origin, top in local if (problem := git_bundle.problem(top))]
