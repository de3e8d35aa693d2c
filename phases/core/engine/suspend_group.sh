#!/bin/sh
# Stop the whole foreground process group of a terminal if one of its processes has stopped itself.
# $1: the pid of the shell that runs the command in the terminal (run_in_terminal.sh).
#
# An agent that reads Ctrl-Z as a key may stop only its own process. A script that waits for it has no
# job control and doesn't notice, and so neither does run_in_terminal.sh, which waits for that script.
#
# shellcheck disable=SC2154 # read_process.sh sets $state, $group and $foreground

tries=0
while [ $tries -lt 100 ]; do
    read_process "/proc/$1" || exit
    [ "$group" != "$foreground" ] || exit
    watched=$foreground
    for folder in /proc/[0-9]*; do
        read_process "$folder" && [ "$group" = "$watched" ] || continue
        case $state in T*) kill -s STOP -- "-$group"; exit ;; esac
    done
    tries=$((tries + 1))
done 2>/dev/null
