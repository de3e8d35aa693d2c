#!/bin/sh
# Print the secrets in the tmpfs, to write them again after a restart. Runs as root, with `sh -e`.
# $1: the folder of secrets. Prints for each a line with its name, its owner and its size in bytes, then its content.
#
# USER can't add files to the folder, so none of them leads anywhere else.

kind=
while read -r _ place found _; do [ "$place" != "$1" ] || kind=$found; done </proc/self/mounts
[ "$kind" = tmpfs ] || exit 0
cd "$1" || exit 0
for file in *; do
    [ -f "$file" ] || continue
    # shellcheck disable=SC2012 # names of secrets are plain, and not every image has stat
    ls -ln -- "$file" | {
        read -r _ _ owner _ size _
        printf '%s %s %s\n' "$file" "$owner" "$size"
        head -c "$size" <"$file"
    }
done
