#!/bin/sh
# Remove secrets of earlier starts. Runs as root, with `sh -e`.
# $1: the folder of secrets; $2…: names of those that stay.

cd "$1" 2>/dev/null || exit 0
shift
for file in *; do
    case " $* " in *" $file "*) ;; *) rm -f -- "$file" ;; esac
done
