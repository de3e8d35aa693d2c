"""Convert `volumes:` of the older form, which are written as `docker run --volume` takes them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import yaml

from phases.core.config.mounts.volumes import split_short_form
from phases.core.migrate.older_form import edits
from phases.core.migrate.older_form.sections import quoted

if TYPE_CHECKING:
    from phases.core.migrate.older_form.document import Document

# As `docker run --volume` tells a volume with a name from a folder of the host.
_VOLUME_NAME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)

# Options of `docker run --volume` about labels of SELinux, the consistency on a Mac, and propagation.
_OPTIONS_OF_ENGINE = (
    *("z", "Z", "cached", "consistent", "delegated", "nocopy"),
    *("private", "rprivate", "rshared", "rslave", "shared", "slave"),
)


def volumes(document: Document) -> None:
    """Convert volumes of the form SOURCE:DEST[:OPTION,…] that a config of today has in another form."""
    for index in reversed(document.indexes("volumes")):
        node = document.node("volumes", index)
        parts = split_short_form(str(node.value)) if isinstance(node, yaml.ScalarNode) else None
        if node is None or parts is None:
            continue
        if _VOLUME_NAME.fullmatch(parts.source):
            why = "a volume with a name: use entry.persist, or caches while building"
            document.report(node, str(node.value), "", why)
            edits.remove_item(document, "volumes", index)
            continue
        options = [option for option in parts.options if option not in _OPTIONS_OF_ENGINE]
        if parts.source.endswith(".sock"):
            keys = {"source": parts.source, "dest": parts.dest} | ({"readonly": "true"} if "ro" in options else {})
            keys["gives_root_on_the_host"] = "true"
            why = "who can use it is root on this machine: the program asks you before it mounts it"
            new = "{" + ", ".join(f"{key}: {quoted(text)}" for key, text in keys.items()) + "}"
        elif len(options) < len(parts.options):
            why = f"without {','.join(option for option in parts.options if option not in options)}"
            new = quoted(":".join(filter(None, (parts.source, parts.dest, ",".join(options)))))
        else:
            continue
        document.report(node, str(node.value), f"volumes[{index}]", why)
        edits.replace(document, node, new)
