#!/bin/sh
# Print the sha256 and the path of files. Runs as root, with `sh -e`.
# $1: the folder that the paths are relative to; $2: a file with a path in each line.

cd "$1" || exit
tr '\n' '\0' <"$2" | xargs -0 sha256sum
