"""The console script `habitat`. It runs doit in this process, with the tasks and plugins of this package."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from doit import plugin
from doit.cmd_base import NamespaceTaskLoader
from doit.cmd_ignore import Ignore
from doit.doit_cmd import DoitMain, reset_vars
from doit.exceptions import InvalidCommand

from phases.core import command_form, layout
from phases.ui import command_line, output, plugins, typed_paths
from phases.ui.typed_paths import current_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

# The words that people type for it, alone.
_VERSION = (["--version"], ["-V"], ["-v"], ["version"])

_BEGIN = """\
No project here: neither this folder nor one above has habitats/ or .habitats/.

  habitat init    Make this repository a project, with a habitat
  habitat help    Show all commands
"""


def main() -> int:
    """Run the words of the command line. Returns the exit code."""
    command_form.use(command_form.HABITAT)
    # Plugins of doit that other packages bring are not for this program. Looking for them reads the metadata of all
    # packages, once for each kind of plugin.
    plugin.entry_points_impl = lambda: lambda group: ()  # noqa: ARG005 (doit names the argument)
    return HabitatMain().run(sys.argv[1:])


class HabitatMain(DoitMain):
    """doit's main program without doit's configuration files: those of a person's project are not ours."""

    BIN_NAME = command_form.HABITAT
    DOIT_CMDS = (Ignore,)

    def __init__(self) -> None:
        super().__init__(ProjectLoader(), config_filenames=(), extra_config=plugins.SETTINGS)

    def run(self, all_args: Sequence[str]) -> int:
        if list(all_args) in _VERSION:
            return output.printing(_print_version)
        if not all_args and not layout.find_root(current_folder()):
            return output.printing(lambda: sys.stdout.write(_BEGIN) and 0)
        words = command_line.prepare(all_args)
        # doit's command `run` is not one of this program, so it is a word like any that names no command.
        return int(super().run(["run", *words] if words[:1] == ["run"] else words))

    def process_args(self, cmd_args: list[str]) -> list[str]:
        reset_vars()  # none: `NAME=VALUE` is a word like others
        return cmd_args


class ProjectLoader(NamespaceTaskLoader):
    """doit's loader of tasks, for the nearest project."""

    def setup(self, opt_values: dict[str, Any]) -> None:
        del opt_values
        root = layout.find_root(current_folder())
        if root is None:
            raise InvalidCommand(
                "no project here: neither this folder nor one above it has habitats/ or .habitats/: "
                "`habitat init` makes the repository in this folder a project"
            )
        from phases.dodo import open_tasks

        typed_paths.record_folder()
        os.chdir(root)
        config, task_habitats = open_tasks(root)
        self.namespace = {"DOIT_CONFIG": config, "task_habitats": task_habitats}


def _print_version() -> int:
    from importlib.metadata import version

    sys.stdout.write(f"habitats {version('habitats')}\n")
    return 0
