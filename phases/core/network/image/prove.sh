#!/bin/bash
# Prove that the network namespace of a habitat has no way out but the proxy. Runs in the gate.
# $1: the port on 127.0.0.1 that leads to the proxy; $2: the seconds to wait for that; $3: `learns` if every host is
# allowed. Standard output: a line for each proof, `ok` or `missed`, a tab, and what was looked for.

# `prove` calls the functions.
# shellcheck disable=SC2329

status=0
prove() { # $1: what is proved; $2...: the command that has to succeed
    local verdict=ok
    "${@:2}" || verdict=missed status=1
    printf '%s\t%s\n' "$verdict" "$1"
}
only_loopback() { [[ $(tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ') == lo ]]; }
no_route() {
    [[ -r /proc/net/route && $(wc -l </proc/net/route) -le 1 ]] || return
    [[ -e /proc/net/ipv6_route ]] || return 0
    ! grep -qv ' lo$' /proc/net/ipv6_route
}
unreachable() { # at once, for there is no route
    timeout 1 bash -c 'exec 3<>/dev/tcp/192.0.2.1/443' 2>/dev/null
    [[ $? == 1 ]] # 0 if it connected, 124 if it waited
}
unresolvable() { ! timeout 2 getent ahosts "proof-$RANDOM$RANDOM.example.org" >/dev/null; }
answer() { # $1: the port; $2: the first line of a request. Prints the status of the answer.
    local line
    exec 3<>"/dev/tcp/127.0.0.1/$1" || return
    printf '%s HTTP/1.1\r\nHost: gate.habitat\r\nConnection: close\r\n\r\n' "$2" >&3
    IFS= read -r -t 5 line <&3
    exec 3>&-
    line=${line#* }
    echo "${line%% *}"
}
refused() { [[ $(answer "$1" "CONNECT proof-$RANDOM$RANDOM.gate.habitat:443" 2>/dev/null) == 403 ]]; }
answered() {
    local tries=$(($2 * 20))
    until [[ $(answer "$1" "GET http://gate.habitat/" 2>/dev/null) == 200 ]]; do
        ((tries-- > 0)) || return
        sleep 0.05
    done
}

prove 'no interface but lo' only_loopback
prove 'no route, in IPv4 and IPv6' no_route
prove 'a raw address is unreachable' unreachable
prove 'a random name does not resolve' unresolvable
prove 'the proxy answers' answered "$1" "$2"
[[ $3 ]] || prove 'a host that nobody allowed is refused' refused "$1"
exit $status
