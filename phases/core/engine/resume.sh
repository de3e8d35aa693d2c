#!/bin/sh
# Continue a process once it is stopped. $1: its pid.

tries=0
while [ $tries -lt 10000 ]; do
    IFS= read -r line <"/proc/$1/stat" || exit
    case ${line##*) } in T*) break ;; esac
    tries=$((tries + 1))
done
kill -s CONT "$1"
