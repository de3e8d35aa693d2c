#!/bin/sh
# Write a secret from standard input into the tmpfs of secrets. Runs as root, with `sh -e`.
# $1: the path, $2: the owner, $3: the size in bytes.
#
# Any other file system could be part of an image, or a folder of the host. If several are mounted at the same place,
# the last one counts: a volume at /var/run/secrets covers the tmpfs where /var/run is a link to /run.
# The file is replaced by a rename, so that nobody reads half of it.

kind=
while read -r _ place found _; do [ "$place" != "${1%/*}" ] || kind=$found; done </proc/self/mounts
[ "$kind" = tmpfs ] || { echo "${1%/*} is no tmpfs" >&2; exit 1; }
umask 077
head -c "$3" >"$1.$$"
chown "$2" "$1.$$"
chmod 0400 "$1.$$"
mv -f "$1.$$" "$1"
