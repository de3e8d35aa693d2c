#!/bin/sh
# Wait for the end of a session, then become the clean-up program, unless the session ended in order.
# Standard input: `in [ID]` when the session enters a container, `left` when there is nothing left to do.
# $@: the clean-up program. It gets the id of the container as one more argument.

# What ends a login, such as systemd, may send signals to all of its processes, the session's and this one.
trap '' HUP INT TERM
entered=
while read -r word id; do
    case $word in
    in) entered=yes at=$id ;;
    left) exit 0 ;;
    esac
done
[ "$entered" ] && exec "$@" "$at" </dev/null
