#!/bin/sh
# Keep a file that a program has put in the place of its link. Runs as USER, with `sh -e`.
# $1: the path of the link; $2: the file on the volume; $3: the path as the config has it.
#
# Prints why the file can't be kept, and fails then. The link is made last: until then the file is where it was.
#
# shellcheck disable=SC3067 # dash, bash and busybox have -O

no() { echo "$1"; exit 1; }
if [ -L "$1" ]; then
    [ "$(readlink "$1")" != "$2" ] || exit 0
    no "it is a link, which is not followed"
fi
[ ! -d "$1" ] || no "it is a folder, which $3/ would keep"
if [ -f "$1" ]; then
    [ -O "$1" ] || no "it belongs to another user"
    cp -p "$1" "$2.new"
    mv -f "$2.new" "$2"
elif [ -e "$1" ]; then no "it is no file"
elif [ ! -f "$2" ]; then exit 0
fi
rm -f "$1.kept"
ln -s "$2" "$1.kept"
mv -f "$1.kept" "$1"
