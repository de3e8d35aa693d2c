"""The folders of a build container that are no part of its image, since something is mounted there now or later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.core.config.mounts.mountable_paths import in_home, within
from phases.core.errors import StepError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from phases.core.container.safe_paths import SafePaths


class MountedFolders:
    """The mounted folders of the container of one phase.

    Args:
        folders: The folders as the config has them, each with what an error calls it. They may begin with ~.
        planned: Those at which a later phase mounts something. The folders themselves may be made.
        home: Returns the home of USER, "" as long as there is none.
    """

    def __init__(self, folders: Mapping[str, str], planned: Collection[str], home: Callable[[], str]) -> None:
        self._folders = dict(folders)
        self._unresolved = dict(folders)
        self._planned = set(planned)
        self._home = home

    def __contains__(self, path: str) -> bool:
        return bool(self._folder_above(path))

    def _folder_above(self, path: str) -> str:
        return next((folder for folder in self._folders if within(path, folder)), "")

    def check(self, path: str, paths: SafePaths, *, is_dir: bool) -> None:
        """Check that the build may write to a path.

        Args:
            path: The path, without links.
            paths: The paths of the container.
            is_dir: Whether a folder is to be made there.

        Raises:
            StepError: It is on a mount, or a link that USER may have made leads to one.
        """
        self._resolve(paths)
        folder = self._folder_above(path)
        if folder and not (is_dir and folder in self._planned):
            name = self._folders[folder]
            raise StepError(
                f"{path} is in the {name}: a build writes nothing into a mount",
                remedy=f"write another dest, or remove the {name.partition(' ')[0]}",
            )

    def _resolve(self, paths: SafePaths) -> None:
        """Find the folders to which ~, and links of the image, lead."""
        for folder, name in [*self._unresolved.items()]:
            place = in_home(folder, self._home()) if folder.startswith("~") else folder
            if place.startswith("~"):  # phase 2 has not made USER yet
                continue
            del self._unresolved[folder]
            self._folders.setdefault(place, name)
            real = paths.resolve(place)
            self._folders.setdefault(real, f"{name}, which is {real} in the image")
            if folder in self._planned:
                self._planned |= {place, real}
