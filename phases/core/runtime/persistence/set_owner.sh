#!/bin/sh
# Give folders, and what the owner of each has in it, to another user. Runs as root, with `sh -e`.
# $1: the uid, $2: the gid, $3…: the folders.
#
# The folder itself comes last. If a start is killed before that, the next one does it again.

uid=$1 gid=$2
shift 2
for folder; do
    owner=$(stat -c '%u %g' "$folder")
    [ "$owner" != "$uid $gid" ] || continue
    find "$folder" -xdev -mindepth 1 -user "${owner% *}" -exec chown -h "$uid" {} +
    find "$folder" -xdev -mindepth 1 -group "${owner#* }" -exec chgrp -h "$gid" {} +
    chown "$uid:$gid" "$folder"
done
