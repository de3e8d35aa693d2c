"""Write a new habitat's config.yaml, with comments that teach the format.

The YAML library writes the values that a person chose, so that it quotes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.core.scaffold.clone_urls import Clone

#: The schema's path, relative to the root of a project that has it.
SCHEMA = "docs/config.schema.json"

_HEAD = """\
# A habitat's config, in the order of the phases that build it. docs/config.md of Habitats has every key.
# To use a line that is commented out, remove its `# `.

"""

# The end of the line says where to look, since this is no place for a list.
_OTHER_EXTENDS = "  # docs/extends.md of Habitats lists the others"

_EXTENDS = """
# extends: [claude, python]  # Claude Code and Python; docs/extends.md of Habitats lists the others
"""

_USER_AND_FOLDER = """
# USER runs every command that names no other user. WORKDIR is its folder. Both are created if missing.
"""

_SAMPLE_OF_ENV = """\
# env:
#   - USER=agent
#   - WORKDIR=/workspace
#   - EDITOR=vi
"""

_PLACES = """
# Everything here is copied into the habitat, unless `.habignore` names it (as a .gitignore). More files:
# files:
#   - source: ~/.gitconfig
#     dest: ~/.gitconfig

# Folders of this machine, which outlive the habitat. An `optional` one is mounted only if it exists.
# `source: .` is this repository itself, in place of a clone: see "A live mount" in docs/config.md.
# volumes:
#   - {source: ./data, dest: /data, optional: true}

# Tokens. They are read on this machine when a phase needs them, and are never in an image.
# secrets:
#   - name: GITHUB
#     command: gh auth token
#     phases: [repos]

# Folders that builds share and no image has: for the downloads of package managers.
# caches: [~/.npm]

# Scripts for sh; those of root run first. A script stops at the first line that fails.
"""

_SETUP = """\
# setup:
#   root:
#     - |
#       apt-get update
#       apt-get install -y --no-install-recommends ca-certificates curl git
#     - curl --version
#   user:
#     - git config --global pull.ff only
"""

# Only the image knows which package manager it has.
_SETUP_OF_CLONES = """\
setup:
  root:
    # Installs git for the repositories below. Keep only the line for your image's package manager.
    - |
      if {has}; then echo "git is there"
      elif command -v apt-get; then apt-get update && apt-get install -y {apt}
      elif command -v apk; then apk add --no-cache {apk}
      elif command -v dnf; then dnf install -y {dnf}
      else echo "install {programs} here: there is no apt-get, apk or dnf" >&2; exit 1
      fi
  # user:
  #   - git config --global pull.ff only
"""

_REPOS = """
# Repositories. The image's git clones them below WORKDIR, and their setup runs in the clone.
"""

_SAMPLE_OF_REPOS = """\
# repos:
#   - url: https://github.com/OWNER/project.git
#     path: project
#     branch: main
#     token: GITHUB
#     setup: [npm ci]
"""

_MORE_OF_A_CLONE = """\
    # branch: main
    # setup: [make]
"""

_PRIVATE = """\
    # For a private repository, the secret above:
    # token: GITHUB
"""

_CHECKS = """
# Files that the build must have made, and scripts beside this file that must succeed.
"""

_SAMPLE_OF_CHECKS = """\
# verify-fs:
#   required_files:
#     - ${WORKDIR}/project/package.json
"""

_REST = """\
# tests:
#   - tests/works.sh

# instructions: Run the tests before each commit.

# How the habitat runs: its command (default: the agent of `extends:`, else a shell), network and limits.
# entry:
#   command: npm start
#   network: {allow: [example.org]}   # the hosts that it may reach; without it, all
#   ready: curl -fsS localhost:3000
#   ports:
#     - 3000
#   persist: [~/.cache/tool/, ~/.tool.json]
#   limits: {memory: 4g, cpus: 2}

# timeouts: {setup: 30m}
"""


def text(
    base: str, clones: Sequence[Clone], *, extends: Sequence[str] = (), workdir: str = "", schema: str = SCHEMA
) -> str:
    """Return a config.yaml.

    Args:
        base: The image that it starts from.
        clones: The repositories to clone.
        extends: The configs that it builds on.
        workdir: WORKDIR, "" for the default.
        schema: The path of the schema for editors, relative to the project's root.
    """
    folders = [clone.folder or workdir.rpartition("/")[2] for clone in clones]
    subject = ", ".join([*folders, *extends]) or "A habitat"
    return "".join(
        [
            f"# yaml-language-server: $schema=../../{schema}\n",  # two folders below the root
            _HEAD,
            "# Shown by `habitat list`.\n",
            _written({"description": f"{subject} on {base}"}),
            f"\nextends: [{', '.join(extends)}]{_OTHER_EXTENDS}\n" if extends else _EXTENDS,
            "\n# The image to start from. A Dockerfile beside this file replaces it.\n",
            _written({"base_image": base}),
            _USER_AND_FOLDER,
            _written({"env": [f"WORKDIR={_literal(workdir)}"]}) if workdir else _SAMPLE_OF_ENV,
            _PLACES,
            _setup(clones) if clones else _SETUP,
            _REPOS,
            _repos(clones) if clones else _SAMPLE_OF_REPOS,
            _CHECKS,
            _checks(clones) if clones else _SAMPLE_OF_CHECKS,
            _REST,
        ]
    )


def _setup(clones: Sequence[Clone]) -> str:
    by_ssh = any(clone.by_ssh for clone in clones)
    return _SETUP_OF_CLONES.format(
        has="command -v git && command -v ssh" if by_ssh else "command -v git",
        programs="git and ssh" if by_ssh else "git",
        apt="ca-certificates git" + " openssh-client" * by_ssh,
        apk="ca-certificates git" + " openssh-client" * by_ssh,
        dnf="ca-certificates git" + " openssh-clients" * by_ssh,
    )


def _repos(clones: Sequence[Clone]) -> str:
    """Write the clones, with more keys for the last one commented out."""
    entries = [
        {"url": _literal(clone.url), "path": _path(clone), **({"ssh_agent": True} if clone.by_ssh else {})}
        for clone in clones
    ]
    token = _PRIVATE if clones[-1].url.startswith("https://") else ""
    return _written({"repos": entries}) + _MORE_OF_A_CLONE + token


def _checks(clones: Sequence[Clone]) -> str:
    return _written({"verify-fs": {"required_files": [f"{_path(clone)}/.git" for clone in clones]}})


def _path(clone: Clone) -> str:
    return "${WORKDIR}/" + _literal(clone.folder) if clone.folder else "${WORKDIR}"


def _literal(value: str) -> str:
    """Escape dollar signs, which begin a config's variables."""
    return value.replace("$", "$$")


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Indent lists, as a person does."""
        del indentless
        super().increase_indent(flow, indentless=False)


def _written(value: dict[str, Any]) -> str:
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1 << 20))
