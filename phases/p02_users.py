"""Phase 2, users: create USER, with a home and a shell, if the image doesn't have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from phases.core.files.shell_program import ShellProgram
from phases.entries import own_env
from phases.protocol import Run, SetImageConfig

if TYPE_CHECKING:
    from phases.core.json_types import Json
    from phases.core.model import Habitat
    from phases.protocol import ChangeDescription, SlicePath, Step

ID = 2
NAME = "users"
TITLE = "Creating users"
DESCRIPTION = "Create the user, with home and shell"
SNAPSHOT = True

CREATE_USER = ShellProgram(__file__, "scripts/create_user.sh")
SET_UID = ShellProgram(__file__, "scripts/set_uid.sh")

_TAKEN = "set USER to that user, or write another number as uid"


def slice(habitat: Habitat) -> Json:
    """Include the uid and gid to which `uid:` resolves. `uid: host` gives another person another user."""
    ids = habitat.user_ids
    return {"user": habitat.user} | ({"uid": ids.uid, "gid": ids.gid} if ids and ids.uid else {})


def describe_change(changed: SlicePath) -> ChangeDescription:
    if changed.key[0] in ("uid", "gid"):
        return replace(changed.value("uid"), minor=changed.key[0] == "gid")
    return changed.variable("USER")


def plan(habitat: Habitat) -> list[Step]:
    steps: list[Step] = [SetImageConfig(env=own_env(habitat, "USER"))]
    if habitat.user != "root":
        script, origin = CREATE_USER.text, habitat.env.origin("USER")
        steps.append(Run("root", script, origin, f"create user {habitat.user}", args=(habitat.user,), ends=True))
    if (ids := habitat.user_ids) and ids.uid:
        script, title = SET_UID.text, f"give {habitat.user} the uid {ids.uid} and the gid {ids.gid}"
        args = (habitat.user, str(ids.uid), str(ids.gid))
        remedies = {3: _TAKEN}
        steps.append(Run("root", script, ids.origin, title, args=args, remedies=remedies, ends=True, notices=True))
    steps.append(SetImageConfig(identity=habitat.user))
    return steps
