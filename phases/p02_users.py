"""Phase 2, users: make USER, with a home and a shell, where the image doesn't have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phases.protocol import ChangeDescription, Run, SetImageConfig, dotted, own_env

if TYPE_CHECKING:
    from phases.core.json_types import Json
    from phases.core.model import Habitat
    from phases.protocol import SlicePath, Step

ID = 2
NAME = "users"
TITLE = "Creating users"
DESCRIPTION = "Create the user, with home and shell"
SNAPSHOT = True

# Debian and Ubuntu have useradd; Alpine has busybox's adduser. Debian's adduser is a third thing,
# which is why useradd is asked for first. An image with neither has its files written.
_CREATE = r"""
row() { while IFS= read -r line || [ -n "$line" ]; do case $line in "$2:"*) echo "$line"; break ;; esac; done <"$1"; }
has() { [ -f "$1" ] && cut -d: -f1 "$1" | grep -qxF -e "$2"; }
[ -f /etc/passwd ] || printf 'root:x:0:0:root:/root:/bin/sh\n' >/etc/passwd
[ -f /etc/group ] || printf 'root:x:0:\n' >/etc/group
if ! has /etc/passwd "$1"; then
    shell=/bin/bash
    [ -x "$shell" ] || shell=/bin/sh
    mkdir -p /home
    if command -v useradd >/dev/null; then
        group=
        if has /etc/group "$1"; then group="--gid=$1"; else group=--user-group; fi
        useradd --create-home --shell "$shell" "$group" "$1"
    elif command -v adduser >/dev/null; then
        if has /etc/group "$1"; then
            adduser -D -s "$shell" -G "$1" "$1"
        else
            adduser -D -s "$shell" "$1"
        fi
    else
        id=1000
        while cut -d: -f3 /etc/passwd /etc/group | grep -qxF -e "$id"; do id=$((id + 1)); done
        has /etc/group "$1" || printf '%s:x:%s:\n' "$1" "$id" >>/etc/group
        gid=$(row /etc/group "$1" | cut -d: -f3)
        printf '%s:x:%s:%s::/home/%s:%s\n' "$1" "$id" "$gid" "$1" "$shell" >>/etc/passwd
    fi
fi
entry=$(row /etc/passwd "$1")
home=$(echo "$entry" | cut -d: -f6)
if [ -n "$home" ] && [ "$home" != / ] && [ ! -d "$home" ]; then
    mkdir -p "$home"
    chown "$(echo "$entry" | cut -d: -f3,4)" "$home"
fi
"""

# USER is not to be a number that an account of the image has, or to leave one behind in what it owns: the rows
# of passwd and group are rewritten, which is the same with shadow's tools, with busybox's and with none.
# $1: USER, $2, $3: uid and gid that it is to have. Exit code 3: the number is a system account's.
_NUMBER = r"""
row() { while IFS= read -r line || [ -n "$line" ]; do case $line in "$2:"*) echo "$line"; break ;; esac; done <"$1"; }
owner() {
    while IFS=: read -r name _ uid _ || [ -n "$name" ]; do [ "$uid" != "$2" ] || { echo "$name"; break; }; done <"$1"
}
replace() {
    while IFS= read -r line || [ -n "$line" ]; do
        case $line in "$2:"*) echo "$3" ;; *) echo "$line" ;; esac
    done <"$1" >"$1.habitat"
    cat "$1.habitat" >"$1"
    rm "$1.habitat"
}
# The home's files change hands with the number: $1: home, $2: -user or -group, $3: old, $4: chown or chgrp, $5: new
hand_over() { [ "$1" = / ] || [ ! -d "$1" ] || [ "$3" = "$5" ] || find "$1" -xdev "$2" "$3" -exec "$4" -h "$5" {} +; }
# The account $1 gets the uid $2 and the gid $3.
number() {
    old=$(row /etc/passwd "$1")
    password=$(echo "$old" | cut -d: -f2) old_uid=$(echo "$old" | cut -d: -f3) old_gid=$(echo "$old" | cut -d: -f4)
    home=$(echo "$old" | cut -d: -f6)
    replace /etc/passwd "$1" "$1:$password:$2:$3:$(echo "$old" | cut -d: -f5-)"
    hand_over "$home" -user "$old_uid" chown "$2"
    hand_over "$home" -group "$old_gid" chgrp "$3"
}
entry=$(row /etc/passwd "$1")
uid=$(echo "$entry" | cut -d: -f3)
gid=$(echo "$entry" | cut -d: -f4)
if [ "$uid" != "$2" ] && other=$(owner /etc/passwd "$2") && [ -n "$other" ]; then
    if [ "$2" -lt 1000 ]; then echo "$2 is the number of $other in the image"; exit 3; fi
    free=1000
    while [ "$free" = "$2" ] || cut -d: -f3 /etc/passwd /etc/group | grep -qxF -e "$free"; do free=$((free + 1)); done
    echo "$other, which had the number $2, gets $free"
    number "$other" "$free" "$(row /etc/passwd "$other" | cut -d: -f4)"
fi
if [ "$gid" != "$3" ] && [ -z "$(owner /etc/group "$3")" ]; then
    group=$(row /etc/group "$1")
    if [ -n "$group" ]; then
        replace /etc/group "$1" "$1:$(echo "$group" | cut -d: -f2):$3:$(echo "$group" | cut -d: -f4-)"
    else
        [ -z "$(tail -c 1 /etc/group)" ] || echo >>/etc/group
        echo "$1:x:$3:" >>/etc/group
    fi
fi
number "$1" "$2" "$3"
"""
_TAKEN = "set USER to that one, or write another number as uid"


def slice(habitat: Habitat) -> Json:
    """The numbers that `uid` comes to: those of another person make another user."""
    numbers = habitat.numbers
    return {"user": habitat.user} | ({"uid": numbers.uid, "gid": numbers.gid} if numbers else {})


def describe_change(changed: SlicePath) -> ChangeDescription:
    if changed.key[0] in ("uid", "gid"):
        return ChangeDescription("uid", minor=changed.key[0] == "gid")
    return ChangeDescription(dotted("env", str(changed.key[0]).upper()))


def plan(habitat: Habitat) -> list[Step]:
    """root is left alone: every image has it."""
    steps: list[Step] = [SetImageConfig(env=own_env(habitat, "USER"))]
    if habitat.user != "root":
        origin = habitat.env.origin("USER")
        steps.append(Run("root", _CREATE, origin, f"create user {habitat.user}", args=(habitat.user,), ends=True))
    if numbers := habitat.numbers:
        what = f"make {habitat.user} number {numbers.uid}:{numbers.gid}"
        args = (habitat.user, str(numbers.uid), str(numbers.gid))
        steps.append(Run("root", _NUMBER, numbers.origin, what, args=args, remedies={3: _TAKEN}, ends=True))
    return steps
