"""Clean up after a session that was killed: `python -m phases.ui.session_cleanup ROOT HABITAT USER VISIT CONTAINER`.

The guard process of the session runs this, see `phases.core.runtime.session.exit_guard`. Prints nothing, since nobody
reads it.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

from phases.core.errors import HabitatError
from phases.core.runtime.session import exit_guard
from phases.ui.tasks import open_project


def main() -> None:
    root, name, user, session_id, container = sys.argv[1:]
    with suppress(HabitatError):  # the next start cleans up what this could not
        exit_guard.clean_up(open_project(Path(root)), name, user, session_id, container)


if __name__ == "__main__":
    main()
