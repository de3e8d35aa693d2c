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
    if command -v tar >/dev/null; then
        options=
        if tar --version 2>/dev/null | grep -q GNU; then options='--no-unquote --numeric-owner'; fi
        # shellcheck disable=SC2086 # several options
        { tar $options -C "$image" -cf - -T "$lists/copy" || echo failed >"$lists/failed"; } | tar -xpf -
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
