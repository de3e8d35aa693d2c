#!/bin/sh
# Pass the requests for tokens of a habitat's commands to the program on the host. Runs as USER, beside a session.
# $1: a folder that doesn't exist yet; $2: the script for git, ask.sh.
# Standard output: `ready`, then the requests, a line each.
# Standard input: answers, `NAME NUMBER`; at its end the folder is removed.

umask 077
mkdir "$1" && mkfifo "$1/requests" || exit
printf '%s\n' "$2" >"$1/ask"
# Open for reading and writing, so that neither the reader nor a writer waits for another one.
exec 3<>"$1/requests"
cat <&3 &
reader=$!
trap 'kill $reader; rm -rf "$1"' EXIT
trap 'exit 1' HUP INT TERM
echo $$ >"$1/pid"
echo ready
while read -r name number; do
    echo "$number" >"$1/$name.new"
    mv -f "$1/$name.new" "$1/$name"
done
