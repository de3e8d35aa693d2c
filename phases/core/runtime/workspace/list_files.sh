#!/bin/sh
# List what is in a folder, but not what is in git repositories. Runs as root, with `sh -e`.
# $1: the folder.
#
# Prints a line `= PATH` for each repository, and then a line `MODE UID GID SIZE SECONDS PATH` for each path, with the
# mode in hexadecimal. One more line follows that of a link: it begins with the path, and has the target. Names with a
# newline are left out.

cd "$1" 2>/dev/null || exit 0
line='%f %u %g %s %Y %n'
repositories=$(find . -xdev -name .git -prune -print | sed 's,/\.git$,,')
set -f --
IFS='
'
for path in $repositories; do
    echo "= $path"
    stat -c "$line" "$path"
    escaped=$(printf '%s\n' "$path" | sed 's/[][*?\\]/\\&/g')
    set -- "$@" -path "$escaped" -prune -o
done
find . -xdev "$@" -name '*
*' -prune -o -type l -exec stat -c "$line
%N" {} + -o -exec stat -c "$line" {} +
