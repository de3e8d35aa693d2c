"""The text of a new habitat's config.yaml, commented so that it teaches the format.

What a person chose is written by the YAML library; all that stands around it is ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phases.core.scaffold.clone_urls import Clone

#: Where an editor finds the schema, for a file two folders below the project's root.
SCHEMA_LINE = "# yaml-language-server: $schema=../../docs/config.schema.json\n"

_HEAD = """\
# A habitat, in the order of the phases that build it. docs/config.md tells of every key. What is
# commented out is ready to be used: take the `# ` away.

"""

_PLACES = """
# USER is made where it is missing, and runs all that says no other user; WORKDIR is its folder.
# env:
#   - USER=agent
#   - WORKDIR=/workspace
#   - EDITOR=vi

# All that lies beside this file is copied into the habitat; this is copied to a place of its own.
# files:
#   - source: ~/.gitconfig
#     dest: ~/.gitconfig

# What has to outlive the habitat: a folder of this machine (`optional`: once it is there).
# volumes:
#   - source: ./data
#     dest: /data
#     optional: true

# Tokens: fetched on this machine when a phase needs them, and never in an image.
# secrets:
#   - name: GITHUB
#     command: gh auth token
#     phases: [repos]

# What the next build finds again, and no image holds: downloads of package managers.
# caches: [~/.npm]

# Scripts for sh, root's first. A block ends at its first line that fails.
"""

_SETUP = """\
# setup:
#   root:
#     - |
#       apt-get update
#       apt-get install -y --no-install-recommends ca-certificates curl git nodejs npm
#     - npm install -g @anthropic-ai/claude-code
#   user:
#     - git config --global pull.ff only
"""

# Which package manager an image has is known in the image only.
_SETUP_OF_CLONES = """\
setup:
  root:
    # For the repositories below; of an image that you know, its own line is enough.
    - |
      if {has}; then echo "git is there"
      elif command -v apt-get; then apt-get update && apt-get install -y {apt}
      elif command -v apk; then apk add --no-cache {apk}
      elif command -v dnf; then dnf install -y {dnf}
      else echo "install {programs} here: there is no apt-get, apk or dnf" >&2; exit 1
      fi
    # Claude Code, once nodejs and npm are installed as well:
    # - npm install -g @anthropic-ai/claude-code
  # user:
  #   - git config --global pull.ff only
"""

_REPOS = """
# Cloned with the image's own git, to a path below WORKDIR; the setup is run in the repository.
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
    # A private one, with the secret above:
    # token: GITHUB
"""

_CHECKS = """
# What has to be there when all is built; and scripts beside this file that have to succeed.
"""

_SAMPLE_OF_CHECKS = """\
# verify-fs:
#   required_files:
#     - ${WORKDIR}/project/package.json
"""

_REST = """\
# tests:
#   - tests/works.sh

# What a start runs, as USER in WORKDIR [a shell], and more of how the habitat runs.
# entry:
#   command: claude --dangerously-skip-permissions
#   ready: curl -fsS localhost:3000
#   ports:
#     - 3000
#   persist:
#     - ~/.claude/
#     - ~/.claude.json
#   limits: {memory: 4g, cpus: 2}

# timeouts: {setup: 30m}
"""


def text(base: str, clones: Sequence[Clone]) -> str:
    """A whole config.yaml. base: the image to begin with."""
    what = ", ".join(clone.folder for clone in clones) or "A habitat"
    return "".join(
        [
            SCHEMA_LINE,
            _HEAD,
            "# What `doit list` says of it.\n",
            _written({"description": f"{what} on {base}"}),
            "\n# The image to begin with. A Dockerfile beside this file comes before it.\n",
            _written({"base_image": base}),
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
    """What is commented out behind them is the last one's."""
    entries = [
        {"url": _literal(clone.url), "path": _path(clone), **({"ssh_agent": True} if clone.by_ssh else {})}
        for clone in clones
    ]
    token = _PRIVATE if clones[-1].url.startswith("https://") else ""
    return _written({"repos": entries}) + _MORE_OF_A_CLONE + token


def _checks(clones: Sequence[Clone]) -> str:
    return _written({"verify-fs": {"required_files": [f"{_path(clone)}/.git" for clone in clones]}})


def _path(clone: Clone) -> str:
    return "${WORKDIR}/" + _literal(clone.folder)


def _literal(value: str) -> str:
    """A config's variables begin with a dollar sign."""
    return value.replace("$", "$$")


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Lists are indented, as a person writes them."""
        del indentless
        super().increase_indent(flow, indentless=False)


def _written(value: dict[str, Any]) -> str:
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1 << 20))
