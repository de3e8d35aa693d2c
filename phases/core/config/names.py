"""The rules for names of habitats, images, users, secrets and variables."""

from __future__ import annotations

import re

# A path component of an image name, as in the grammar of Docker references.
_NAME = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"

#: The name of a habitat, or of an extend.
HABITAT = re.compile(_NAME)

# The most characters of a habitat's name. An image name may have 255, with the registry and the prefix `habitat-`.
_MAX_NAME = 200

# [HOST[:PORT]/]NAME[/NAME…][:TAG][@DIGEST]
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?"
IMAGE = re.compile(
    rf"(?:{_HOST}/)?{_NAME}(?:/{_NAME})*(?::\w[\w.-]{{0,127}})?(?:@[A-Za-z0-9_+.-]+:[0-9A-Fa-f]{{32,}})?",
    re.ASCII,
)

# The most characters of a whole reference, of which 255 are for the path.
_MAX_IMAGE = 480

# The most characters of a project's name, which is before that of the habitat then: `habitat-PROJECT.NAME`.
_MAX_PROJECT = 28

#: The rule for the name of a habitat, as a remedy.
HABITAT_NAME_RULE = f"at most {_MAX_NAME} lower-case letters and digits, with single . _ or - between them"

#: The name of a project.
PROJECT = re.compile(_NAME)

#: The rule for the name of a project, as a remedy.
PROJECT_NAME_RULE = f"at most {_MAX_PROJECT} lower-case letters and digits, with single . _ or - between them"

#: The name of a user. useradd refuses longer ones.
USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}")

#: The name of a secret, which is a file in /run/secrets. Names there with a leading dot belong to the program.
SECRET_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")

#: The name of an environment variable.
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# The most characters of a name or an e-mail of git.
_MAX_GIT_NAME = 500

#: The phases that run the config's own commands, which may read secrets, also without hooks.
SECRET_PHASES = ("dockerfile", "setup", "repos", "tools", "test")


def is_habitat_name(name: str) -> bool:
    """Return whether `name` can be the name of a habitat."""
    return len(name) <= _MAX_NAME and bool(HABITAT.fullmatch(name))


def is_project_name(name: str) -> bool:
    """Return whether `name` can be the name of a project."""
    return len(name) <= _MAX_PROJECT and bool(PROJECT.fullmatch(name))


def as_project_name(folder: str) -> str:
    """Return the name of a folder as a name of a project: other characters than letters and digits become a -."""
    return re.sub(r"[^a-z0-9]+", "-", folder.lower())[:_MAX_PROJECT].strip("-") or "project"


def is_image_name(text: str) -> bool:
    """Return whether `text` is a reference to an image."""
    return len(text) <= _MAX_IMAGE and bool(IMAGE.fullmatch(text))


def is_git_name(text: str) -> bool:
    """Return whether git can write a name or an e-mail into a commit as it is: one line without < and >."""
    return bool(text.strip()) and len(text) <= _MAX_GIT_NAME and text.isprintable() and not set("<>") & set(text)
