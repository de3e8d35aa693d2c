#!/bin/sh
# A function that reads what the kernel tells of a process. See proc(5).
#
# shellcheck disable=SC2034 # the programs behind it use the variables

# Set $state, $parent, $group, $session and $foreground, the foreground group of its terminal. $1: its folder in /proc.
read_process() {
    IFS= read -r line <"$1/stat" || return 1
    # shellcheck disable=SC2086 # the fields are to become words
    set -- ${line##*) }
    state=$1 parent=$2 group=$3 session=$4 foreground=$6
}
