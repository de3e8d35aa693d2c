#!/bin/sh
# Connect standard input and output with a server on a port of this habitat. Runs as USER.
# $1: the port. It uses whatever program of the image can do that.

if command -v bash >/dev/null; then
    exec bash -c '
        { exec 3<>"/dev/tcp/127.0.0.1/$1" || exec 3<>"/dev/tcp/::1/$1"; } 2>/dev/null || exit
        exec 4<&0
        cat <&4 >&3 &
        cat <&3
        kill $!' bash "$1"
fi
if command -v socat >/dev/null; then exec socat - "TCP:localhost:$1"; fi
if command -v nc >/dev/null; then exec nc 127.0.0.1 "$1"; fi
echo "the image has neither bash, socat nor nc" >&2
exit 127
