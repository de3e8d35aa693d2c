#!/bin/sh -e
# Create the user $1 with a home and a shell, where the image doesn't have the user.
#
# Debian and Ubuntu have useradd, Alpine has adduser of BusyBox. Debian's adduser takes other options, so useradd
# is tried first. In an image without both this program writes /etc/passwd and /etc/group itself.

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
