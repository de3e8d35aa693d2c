"""Write the steps of a phase as the instructions of a Dockerfile."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from phases.core.build.image_config import NOT_IN_IMAGE, PROFILE, profile_names
from phases.core.build.steps import bundle_entries
from phases.core.container import identity
from phases.core.container.users import UserDatabase
from phases.core.eject import mounts
from phases.core.eject.context import file_trees
from phases.core.eject.instructions import SCRIPT_FOLDER, SCRIPTS_MOUNT
from phases.core.eject.mounts import MOUNT_FOLDER
from phases.core.eject.quoting import NEWLINE, comment, exec_form, quote_env, quote_word
from phases.core.errors import ConfigError, StepError, printable
from phases.core.files import git_bundle
from phases.core.secrets import ssh_agent
from phases.protocol import Copy, CopyRepository, FromImage, RequirePaths, Run, SetImageConfig
from phases.registry import mounts_volumes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phases.core.eject.context import FileTree
    from phases.core.eject.instructions import Instructions
    from phases.core.origin import Origin
    from phases.protocol import Entry, Step

_SHELL = "/bin/sh"

_CHECK_NEWLINE = f'[ -n "${NEWLINE}" ] || {{ echo "give the build a line break, as README.md says" >&2; exit 1; }}'

# Scripts that fit in one line of a Dockerfile; newer builders read `<<` as the start of a here-document.
_SHORT = re.compile(r"(?!.*<<)[^\n]{1,100}\n?")

# A variable of the image in a value of `env:`, or a dollar sign that begins none.
_VARIABLE = re.compile(r"\$\$|\$\{(\w+)\}")


class StepWriter:
    """Writes steps as instructions.

    Args:
        instructions: The instructions so far.
        built: The name of the first stage.
        base_env: The environment of the base image, as far as it is known.

    Attributes:
        needs_newline: Whether the build needs a line break as an argument.
        cache_stage: The stage that has the folders which caches are mounted on.
    """

    def __init__(self, instructions: Instructions, built: str, base_env: Mapping[str, str]) -> None:
        self._base_env = base_env
        self.needs_newline = False
        self.cache_stage = ""
        self._out = instructions
        self._habitat = instructions.habitat
        self._built = built
        self._profile: list[str] = []  # variables that /etc/profile.d doesn't have yet
        self._folders: set[str] = set()  # folders that are sure to exist

    def write_all(self, steps: Sequence[Step]) -> None:
        """Write the steps of the current phase."""
        for step in steps:
            # A phase's commands see all variables that the phase sets, also later ones.
            if isinstance(step, SetImageConfig) and step.env:
                self._env(step.env)
        if mounts_volumes(self._out.phase):
            self._write_profile()  # nothing reads it in earlier phases
        if paths := mounts.mount_points(self._habitat, self._out.phase, steps):
            self._out.run_script("mountpoint", self._habitat.user, self._habitat.workdir, *paths, dests=())
        for step in steps:
            self._write(step)

    def _write(self, step: Step) -> None:
        match step:
            case FromImage():
                self._out.lines += [comment(f"built on {self._habitat.base_id}")] if self._habitat.base_id else []
                self._out.lines.append(f"FROM {quote_word(step.reference, step.origin)} AS {self._built}")
            case Run():
                self._run(step)
            case Copy():
                self._copy(step.entries)
            case CopyRepository():
                self._copy_repository(step)
            case SetImageConfig():
                self._configure(step)
            case RequirePaths():
                self._require(step)

    def _env(self, env: dict[str, tuple[str, Origin]]) -> None:
        has_newline = any("\n" in value for value, _ in env.values())
        if has_newline:
            self.needs_newline = True
            self._out.lines += [f"ARG {NEWLINE}", f"RUN {exec_form((_SHELL, '-c', _CHECK_NEWLINE))}"]
        for name, (value, _) in env.items():
            for other in _VARIABLE.findall(value):
                if other not in ("", "PATH"):  # a builder always has a PATH
                    check = f': "${{{other}?is set neither in env nor by the base image}}"'
                    self._out.lines.append(f"RUN {exec_form((_SHELL, '-c', check))}")
            self._out.lines.append(f"ENV {name}={quote_env(value)}")
        if has_newline:
            # The argument must not be in the environment of later commands, and it ends with its stage.
            self._out.begin_stage(f"{self._built}-{self._out.phase.ID}")

    def _configure(self, step: SetImageConfig) -> None:
        self._profile += profile_names(step.env)
        if step.identity:
            self._identity(step.identity)
        if mounts_volumes(self._out.phase):
            self._write_profile()
        if step.user is not None:
            self._out.set_user(step.user)
        if step.workdir is not None:
            self._out.set_workdir(step.workdir)
        if step.entrypoint is not None:
            self._out.lines.append(f"ENTRYPOINT {exec_form(step.entrypoint)}")
        if step.command is not None:
            self._out.lines.append(f"CMD {exec_form(step.command)}")

    def _identity(self, user: str) -> None:
        """Write the values of `user` for variables by which the base image says who its own user is."""
        home = "/root" if user == "root" else f"/home/{user}"
        rows = f"root:x:0:0::/root:/bin/sh\n{user}:x:1000:1000::{home}:\n"
        users = UserDatabase(lambda _: rows.encode())
        values = identity.variables(self._habitat, users, user, self._base_env)
        names = [name for name in values if name in self._base_env and name not in NOT_IN_IMAGE]
        if names:
            self._out.run_script("home", user, home, dests=())
        self._out.lines += [f"ENV {name}={quote_env(values[name].replace('$', '$$'))}" for name in names]

    def _write_profile(self) -> None:
        if self._profile:
            self._out.run_script("profile", *self._profile, dests=[PROFILE])
            self._profile = []

    def _require(self, step: RequirePaths) -> None:
        paths = [path for path, _ in step.paths]
        if paths == [_SHELL]:
            self._out.lines.append(comment(f"{step.hint}, {_SHELL}"))  # no RUN works without it
        else:
            self._out.run_script("require", self._habitat.user, step.hint, *paths, dests=["~"])

    def _copy(self, entries: Sequence[Entry]) -> None:
        for (owner, adopt), group in groupby(entries, lambda entry: (entry.owner, entry.adopt)):
            if adopt:
                dests = [entry.dest for entry in group]
                self._out.run_script("own", owner, *dests, dests=dests)
                self._folders.update(dests)
            else:
                for tree in file_trees(list(group)):
                    self._copy_tree(tree)

    def _copy_repository(self, step: CopyRepository) -> None:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "bundle"
            try:
                bundle = git_bundle.write(step.source, path)
            except StepError as error:
                raise ConfigError(error.message, where=step.origin, remedy=error.remedy) from error
            self._copy(bundle_entries(step, bundle, content=path.read_bytes()))

    def _copy_tree(self, tree: FileTree) -> None:
        root = tree.root
        if len(tree.entries) == 1 and root.dest in self._folders:
            return
        path = self._out.context.add_tree(self._out.new_name(), tree)
        source = f"{MOUNT_FOLDER}/{path.rpartition('/')[2]}" if path else "-"
        modes = (f"{tree.mode:04o}", f"{tree.folder_mode:04o}") if tree.mode else ()
        flags = [mounts.context_mount(path, source)] if path else []
        self._out.run_script("put", source, root.dest, root.owner, *modes, flags=flags, dests=[root.dest])

    def _run(self, step: Run) -> None:
        self._out.lines.append(comment(printable(f"{step.origin}: {step.title}")))
        self._out.set_user(step.user)
        if not step.workdir:
            self._out.write_workdir()
        flags = [
            *mounts.volumes(self._habitat, self._out.phase),
            *mounts.caches(self._habitat, self._out.phase, self.cache_stage),
            *mounts.secrets(self._habitat, self._out.phase, step),
            *mounts.agent(step),
        ]
        options = self._options(step)
        script = ["--", step.script]
        if not _SHORT.fullmatch(step.script):
            path = self._out.context.add_script(self._out.new_name(), step.script)
            place = f"{MOUNT_FOLDER}/{path.rpartition('/')[2]}"
            flags.insert(0, mounts.context_mount(path, place))
            script = ["-f", place, "--"]
        self._out.run([SCRIPTS_MOUNT, *flags], (f"{SCRIPT_FOLDER}/run", *options, *script, *step.args))

    def _options(self, step: Run) -> list[str]:
        """Return the options of the script `run`, which prepares what a config's script needs."""
        env = step.env | ({"GIT_SSH_COMMAND": ssh_agent.ENV["GIT_SSH_COMMAND"]} if step.known_hosts else {})
        secrets = self._habitat.secrets_of(self._out.phase.NAME)
        set_by_config = filter(identity.depends_on_user, identity.set_by_config(self._habitat, step.user))
        return [
            *("-u", step.user),
            *(("-t",) if step.tests else ()),
            *(word for name in sorted(set_by_config) for word in ("-k", name)),
            *(("-C", step.workdir) if step.workdir else ()),
            *(word for name, value in env.items() for word in ("-e", f"{name}={value}")),
            *(word for secret in secrets if secret.variable for word in ("-s", f"{secret.variable}={secret.name}")),
        ]
