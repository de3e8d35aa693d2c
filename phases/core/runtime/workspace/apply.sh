#!/bin/sh
# Let a workspace follow an image. Runs as root, with `sh -e`.
# $1: the folder in the image; $2: the workspace; $3: a folder with lists, which have a path in each line.

image=$1 lists=$3
cd "$2" || exit
all() { list=$1; shift; [ ! -s "$lists/$list" ] || tr '\n' '\0' <"$lists/$list" | xargs -0 "$@"; }

all delete rm -f
all rmdir rmdir 2>/dev/null || :
all mkdir mkdir -p
if [ -s "$lists/copy" ]; then
    if command -v tar >/dev/null; then  # not every tar can read a list
        # shellcheck disable=SC2016 # the inner shell has these variables
        all copy sh -c 'image=$1 lists=$2; shift 2
            { tar -C "$image" -cf - "$@" || : >"$lists/failed"; } | tar -xpf -' sh "$image" "$lists"
        [ ! -e "$lists/failed" ]
    else
        while IFS= read -r path; do
            rm -f "$path" 2>/dev/null || :
            cp -a "$image/$path" "$path"
        done <"$lists/copy"
    fi
fi
cut -d ' ' -f 1,2 "$lists/attributes" | sort -u | while read -r mode owner; do
    sed -n "s/^$mode $owner //p" "$lists/attributes" >"$lists/some"
    all some chown -h "$owner"
    all some chmod "$mode"
done
