"""Named volumes."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from phases.core.engine.docker_api import responses
from phases.core.engine.docker_api.api import ApiClient, filters, path
from phases.core.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from phases.core.engine.types import Volume


class DockerVolumes(ApiClient):
    """The methods of the engine protocol that are about named volumes."""

    def volumes(self, *, label: str = "") -> list[Volume]:
        url = path("/volumes", filters=filters(label=label))
        return responses.volumes(self._request("listing volumes", "GET", url).get("Volumes") or ())

    def create_volume(self, name: str, labels: Mapping[str, str]) -> Volume:
        body = {"Name": name, "Labels": dict(labels)}
        return responses.volumes([self._request(f"making volume {name}", "POST", "/volumes/create", body)])[0]

    def remove_volume(self, name: str) -> None:
        with contextlib.suppress(NotFound):
            self._request(f"removing volume {name}", "DELETE", path("/volumes/{}", name))
