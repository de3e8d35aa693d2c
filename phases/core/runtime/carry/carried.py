"""Images with the files of a container, from which a new container with other settings is made."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from phases.core import events
from phases.core.cache import image_labels
from phases.core.errors import Conflict, EngineError, NotFound
from phases.core.runtime.carry.changes import LABEL_CHANGES, changes_since_build, unkept_changes
from phases.core.runtime.new_container import ContainerChanged, is_gated
from phases.core.runtime.own_containers import LABEL_CARRIED, LABEL_IMAGE_VOLUMES

if TYPE_CHECKING:
    from phases.core.engine.types import Container, Image, VolumeMount
    from phases.core.project import Project

#: The comment of carried images. Images that a person makes from one don't inherit it.
COMMENT = "files of a habitat's container"

# Layers above those of the final image. Then they become one.
_MOST_LAYERS = 8

# Names of volumes that nobody has given: sixty-four digits.
_ID_LENGTH = 64


def is_possible(project: Project, container: Container) -> bool:
    """Return whether an image can be made of a container: whether its engine takes another layer."""
    config = project.engine.image_config(container.image)
    return config is not None and config.layers < project.engine.max_layers


def image_of(project: Project, name: str, container: Container, image: str) -> str:
    """Return the id of an image with the files of a stopped container, and the config of another image.

    Args:
        project: The project.
        name: The name of the habitat.
        container: The container.
        image: The id of the final image. Its files are those that the container had at first.

    Raises:
        ContainerChanged: Another run has removed the container or an image meanwhile.
        HabitatError: The engine refuses.
    """
    engine = project.engine
    if not unkept_changes(engine.changes(container.id), container, with_temporary=True):
        return container.image if LABEL_CARRIED in container.labels else image
    try:
        layers = _layers_below(project, container)
        labels = {
            **project.image_index.labels_of(image),
            LABEL_CARRIED: f"{image} {layers}",
            LABEL_CHANGES: changes_since_build(engine, container).label,
        }
        carried = engine.carry(container.id, image, labels, COMMENT)
        config = engine.image_config(carried)
        if config and config.layers > layers + _MOST_LAYERS:
            carried = _flat(project, name, carried, layers)
    except NotFound as error:
        raise ContainerChanged from error
    project.image_index.refresh()
    return carried


def _layers_below(project: Project, container: Container) -> int:
    """Return how many layers the final image has that a container stems from."""
    layers = container.labels.get(LABEL_CARRIED, "").partition(" ")[2]
    if layers.isdecimal():
        return int(layers)
    config = project.engine.image_config(container.image)
    if config is None:
        raise NotFound(f"the image {container.image[:19]} is gone")
    return config.layers


def _flat(project: Project, name: str, image: str, below: int) -> str:
    """Return an image with one layer above those of the final image. If that can't be made, return the one given."""
    from phases.core.files.temporary_folder import temporary_folder

    text = "the layers with the files of its container become one, which takes a while"
    project.bus.emit(events.Notice(name, text))
    with suppress(EngineError), temporary_folder(project.state_folder(name)) as folder:
        layers = folder / "layers"
        layers.mkdir()
        flat = project.engine.flatten(image, below, layers)
        project.engine.remove_image(image)
        return flat
    return image


def image_volumes(container: Container) -> list[VolumeMount]:
    """Return the volumes of a container that nobody has named. What is in them is in no image."""
    return [volume for volume in container.volumes if len(volume.volume) == _ID_LENGTH]


def remove_container(project: Project, container: Container) -> None:
    """Remove a container of a habitat, with the volumes of its image's VOLUMEs that no other container has."""
    if is_gated(container):
        from phases.core.network import gate  # imported late: many habitats have no allowlist

        gate.close(project, container)
    project.engine.remove(container.id)
    for volume in container.labels.get(LABEL_IMAGE_VOLUMES, "").split():
        with suppress(Conflict):
            project.engine.remove_volume(volume)


def sweep(project: Project, name: str) -> None:
    """Remove the carried images of a habitat that no container needs any more."""
    for _ in range(_MOST_LAYERS):  # removing an image may leave the one below it
        project.image_index.refresh()
        images = [image for image in project.image_index.all() if _is_carried(project, name, image)]
        if not [image for image in images if project.engine.remove_image(image.id)]:
            return


def _is_carried(project: Project, name: str, image: Image) -> bool:
    if image.tags or not image.labels.get(LABEL_CARRIED):
        return False
    if image.labels.get(image_labels.LABEL_NAME) != project.names.of(name):
        return False
    config = project.engine.image_config(image.id)
    return config is not None and config.comment == COMMENT
