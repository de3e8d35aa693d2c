#!/bin/sh
# Send signals to the processes of a session. The exit code is the number of processes, 100 at most.
# $1: a variable assignment that is in the environment of the processes; $2…: the signals.
#
# A shell reads a file that has NUL bytes as if they weren't there. Only builtins are used, since the image may have no
# other programs.

sign=$1 count=0
shift
for folder in /proc/[0-9]*; do
    found=
    while IFS= read -r line || [ -n "$line" ]; do
        case $line in *"$sign"*) found=yes ;; esac
        line=
    done <"$folder/environ"
    [ -n "$found" ] || continue
    count=$((count + 1))
    for signal; do kill -s "$signal" "${folder#/proc/}"; done
done 2>/dev/null
exit $((count > 100 ? 100 : count))
