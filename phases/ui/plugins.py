"""The parts of this program that doit loads by their names.

`habitat` gives doit this table. For `doit` it is in pyproject.toml (or doit.cfg) of the project's folder.
"""

from __future__ import annotations

LOADERS = {"habitats": "phases.ui.command_line:Loader"}

BACKENDS = {"stamps": "phases.core.cache.stamps:StampBackend"}

REPORTERS = {
    "habitats": "phases.ui.reporter:HabitatReporter",
    "jsonl": "phases.ui.jsonl.option:LazyReporter",
}

COMMANDS = {
    "run": "phases.ui.commands.run:RunCommand",
    "build": "phases.ui.commands.build:BuildCommand",
    "rebuild": "phases.ui.commands.build:RebuildCommand",
    "list": "phases.ui.commands.list:List",
    "info": "phases.ui.commands.info:Info",
    "forget": "phases.ui.commands.forget:Forget",
    "clean": "phases.ui.commands.clean:Clean",
    "init": "phases.ui.commands.init:Init",
    "new": "phases.ui.commands.new:New",
    "help": "phases.ui.commands.help:Help",
    "schema": "phases.ui.schema:Schema",
    "status": "phases.ui.commands.status:Status",
    "tabcompletion": "phases.ui.commands.tabcompletion:TabCompletion",
}

#: doit's settings, by their sections in doit.cfg.
SETTINGS = {
    "GLOBAL": {"loader": "habitats"},
    "LOADER": LOADERS,
    "BACKEND": BACKENDS,
    "REPORTER": REPORTERS,
    "COMMAND": COMMANDS,
}
