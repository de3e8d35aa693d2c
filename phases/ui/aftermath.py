"""`python -m phases.ui.aftermath ROOT HABITAT USER VISIT CONTAINER`: what a guard becomes when its visit was killed.

See `phases.core.runtime.exit_guard`. It says nothing: nobody is there to read it.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

from phases.core.errors import HabitatError
from phases.core.runtime import exit_guard
from phases.ui.tasks import open_project


def main() -> None:
    root, name, user, session_id, container = sys.argv[1:]
    with suppress(HabitatError):  # the next start does what can't be done now
        exit_guard.clean_up(open_project(Path(root)), name, user, session_id, container)


if __name__ == "__main__":
    main()
