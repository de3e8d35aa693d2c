"""What a habitat, and an image, may be called: as the engine's reference grammar has it."""

from __future__ import annotations

import re

# A path component of an image name.
_NAME = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"

# Signs of a habitat's name: an image's has 255 at most, its registry's and `habitat-` among them.
_LONGEST_NAME = 200

# [HOST[:PORT]/]NAME[/NAME…][:TAG][@DIGEST]
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?"
IMAGE = re.compile(
    rf"(?:{_HOST}/)?{_NAME}(?:/{_NAME})*(?::\w[\w.-]{{0,127}})?(?:@[A-Za-z0-9_+.-]+:[0-9A-Fa-f]{{32,}})?",
    re.ASCII,
)

# Signs of all that together; 255 of them are for the path.
_LONGEST_IMAGE = 480

#: How to call a habitat.
RULE = "lower-case letters and digits, with single . _ or - between them"


#: The name of a secret, a file below /run/secrets. Names with a leading dot there belong to the program.
SECRET_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")

#: The name of an environment variable.
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

#: The phases that run commands of a person, which may read secrets.
SECRET_PHASES = ("dockerfile", "setup", "repos", "tools", "test")


def names_a_habitat(name: str) -> bool:
    return len(name) <= _LONGEST_NAME and bool(re.fullmatch(_NAME, name))


def names_an_image(text: str) -> bool:
    return len(text) <= _LONGEST_IMAGE and bool(IMAGE.fullmatch(text))
