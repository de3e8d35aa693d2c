"""The names of a project's habitats on an engine, by which their images, containers and volumes are called.

The rule:

1. With `project: shop` in the shared layer, the habitat `api` is `shop.api` on every engine: `habitat-shop.api:final`.
2. Otherwise it is `api`: `habitat-api:final`.
3. If an engine has `habitat-api` of another project already, it is `shop.api` there, where shop is the folder's name.
   `.stamps/api/engine-name` records that, and the name stays until nothing is left of the habitat.

So one project alone never sees rule 3. If `shop.api` is another project's as well, the person has to name the project.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from phases.core import command_form
from phases.core.cache import image_labels
from phases.core.cache.project_identity import LABEL_ID, LABEL_PROJECT
from phases.core.cache.stamps import state_dir
from phases.core.config import names
from phases.core.errors import Conflict, printable
from phases.core.files import atomic, safe_open
from phases.registry import PHASES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from phases.core.cache.image_index import ImageIndex
    from phases.core.cache.project_identity import ProjectIdentity
    from phases.core.engine.protocol import Engine

#: The file in the state of a habitat that has its name on the engine, if that is not its own.
RECORD = "engine-name"

# The largest such file that is read, in bytes.
_MAX_BYTES = 1000


class EngineNames:
    """The names of a project's habitats on the engine of this run.

    Args:
        root: The root of the project.
        identity: Tells the project's images from those of others.
        image_index: Returns the images of the engine.
        engine: Returns the engine.
    """

    def __init__(
        self,
        root: Path,
        identity: ProjectIdentity,
        image_index: Callable[[], ImageIndex],
        engine: Callable[[], Engine],
    ) -> None:
        self._root = root
        self._identity = identity
        self._image_index = image_index
        self._engine = engine
        self._names: dict[str, str] = {}

    def of(self, habitat: str) -> str:
        """Return the name of a habitat on the engine. It stays the same for the whole run."""
        if habitat not in self._names:
            self._names[habitat] = self._decide(habitat)
        return self._names[habitat]

    def use(self, habitat: str, engine_name: str) -> None:
        """Use an earlier name of a habitat from now on, to remove what it has under it."""
        self._names[habitat] = engine_name

    def habitat(self, engine_name: str, known: Collection[str]) -> str:
        """Return the habitat that has or had a name on the engine, as far as the name tells.

        known: the habitats that the project has or had. The name may begin with an earlier name of the project.
        """
        fitting = (name for name in known if engine_name == name or engine_name.endswith(f".{name}"))
        return max(fitting, key=len, default=engine_name.removeprefix(f"{self._identity.name}."))

    def is_label(self, habitat: str, labels: Mapping[str, str]) -> bool:
        """Return whether an image has the labels of a habitat, as one has that was made from its images."""
        is_named = labels.get(image_labels.LABEL_NAME) == self.of(habitat)
        return is_named and not self._identity.is_foreign(labels)

    def check(self, habitat: str) -> None:
        """Raise Conflict if the images under the habitat's name are another project's."""
        name = self.of(habitat)
        if labels := self._foreign_labels(name):
            error = self.conflict(habitat, f"the image {image_labels.repository(name)}", labels)
            if name == habitat:  # built since this run has begun: the next one takes another name
                error.remedy = "run the same command again"
            raise error

    def conflict(self, habitat: str, kind: str, labels: Mapping[str, str]) -> Conflict:
        """Return the error for what another project has under the name of a habitat.

        Args:
            habitat: The habitat.
            kind: What it is, as in `the container habitat-api`.
            labels: Its labels.
        """
        remedy = "write project: NAME into the shared config.yaml, for names of this project's own"
        if given := self._identity.given_name:
            remedy = f"one of the two needs another name than project: {given} in its shared config.yaml"
        return Conflict(f"{kind} is of the project in {_folder_of(labels)}", where=habitat, remedy=remedy)

    def confirm(self, habitat: str, tell: Callable[[str], None]) -> None:
        """Record the name of a habitat that is about to be built, under the lock of its build.

        Args:
            habitat: The habitat.
            tell: Called with one line if the name is new, and not the habitat's own.

        Raises:
            StateError: The record can't be written.
        """
        name, recorded = self.of(habitat), _read_record(self._root, habitat)
        if name == (recorded or habitat):
            return
        atomic.write_if_changed(_record(self._root, habitat), name.encode())
        ours = f"images, containers and volumes of {habitat} are called {image_labels.repository(name)} here"
        earlier = recorded or habitat
        if labels := self._foreign_labels(earlier):
            tell(f"{image_labels.repository(earlier)} is of the project in {_folder_of(labels)}: {ours}")
        elif self._has_images(earlier):
            tell(
                f"{ours}, by project: {self._identity.name}. {image_labels.repository(earlier)} stays as it is:"
                f" `{command_form.verb('destroy', habitat, '--earlier-names')}` removes it, after asking"
            )
        else:
            tell(f"{ours}: that is the name of the project, {self._identity.name}, and the habitat's")

    def forget(self, habitat: str) -> None:
        """Remove the record of a habitat's name, since nothing is left of the habitat."""
        with suppress(OSError):
            _record(self._root, habitat).unlink(missing_ok=True)

    def _decide(self, habitat: str) -> str:
        qualified = f"{self._identity.name}.{habitat}"
        if self._identity.given_name:
            return qualified
        if recorded := _read_record(self._root, habitat):
            return recorded
        if self._is_ours(qualified):  # its state was removed
            return qualified
        taken = self._foreign_labels(habitat) or (not self._has_images(habitat) and self._has_other_data(habitat))
        return qualified if taken else habitat

    def _labels(self, name: str) -> Iterator[Mapping[str, str]]:
        """Yield the labels of the images under a name. A shared snapshot has the labels of another habitat."""
        index = self._image_index()
        for tag in (image_labels.final_tag(name), *(image_labels.snapshot_tag(name, phase) for phase in PHASES)):
            image = index.tagged(tag)
            if image and image.labels.get(image_labels.LABEL_NAME) == name:
                yield image.labels

    def _has_images(self, name: str) -> bool:
        return any(True for _ in self._labels(name))

    def _is_ours(self, name: str) -> bool:
        return any(labels.get(LABEL_ID) and not self._identity.is_foreign(labels) for labels in self._labels(name))

    def _foreign_labels(self, name: str) -> Mapping[str, str]:
        """Return the labels of an image that another project has under a name, {} if there is none."""
        all_labels, own = list(self._labels(name)), self._identity.id
        if own and any(labels.get(LABEL_ID) == own for labels in all_labels):
            return {}
        return next((labels for labels in all_labels if self._identity.is_foreign(labels)), {})

    def _has_other_data(self, name: str) -> bool:
        """Return whether another project has a container or a volume under a name. Sends two requests."""
        container = self._engine().container(image_labels.repository(name))
        volumes = self._engine().volumes(label=f"{image_labels.LABEL_NAME}={name}")
        labels = [*(volume.labels for volume in volumes), *([container.labels] if container else [])]
        return any(map(self._identity.is_foreign, labels))


def _folder_of(labels: Mapping[str, str]) -> str:
    return printable(labels.get(LABEL_PROJECT) or "another folder")


def _record(root: Path, habitat: str) -> Path:
    return state_dir(root, habitat) / RECORD


def _read_record(root: Path, habitat: str) -> str:
    """Return the recorded name of a habitat, "" for none. A damaged record counts as absent."""
    with suppress(OSError, UnicodeDecodeError):
        text = (safe_open.read(_record(root, habitat), _MAX_BYTES) or b"").decode()
        project = text.removesuffix(f".{habitat}")
        return text if project != text and names.is_project_name(project) else ""
    return ""
