#!/bin/bash
# Connect standard input and output with a host, through the proxy of the gate. ssh runs it in bash, as its ProxyCommand.
# $1: the host; $2: its port; $3: the port of the gate on 127.0.0.1.

exec 3<>"/dev/tcp/127.0.0.1/$3" || exit
printf 'CONNECT %s:%s HTTP/1.1\r\nHost: %s:%s\r\n\r\n' "$1" "$2" "$1" "$2" >&3
read -r _ code _ <&3
while read -r line <&3 && [[ ${line%$'\r'} ]]; do :; done
if [[ $code != 200 ]]; then
    echo "$1:$2 is not allowed: the gate answers $code" >&2
    exit 1
fi
# Ends when the host closes the connection. ssh itself ends this when it has ended.
exec 4<&0
cat <&4 >&3 &
cat <&3
kill $! 2>/dev/null
exit 0
