#!/bin/sh
# Copy what a habitat kept for itself into the volume that it shares from now on. Runs as root, with `sh -e`.
# $1: the folder of the earlier volume, $2: that of the shared one, $3: a file there until the copy is complete.

: >"$2/$3"
cp -a "$1/." "$2/"
rm -f "$2/$3"
