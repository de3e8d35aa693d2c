#!/bin/bash
# Run the proxy: squid, and in front of it haproxy, which connects it with the gates. Runs as the user proxy.
# $@: the ports of the habitat that this container publishes.

{
    cat /etc/habitat/haproxy.cfg
    cat <<'END'
frontend out
    bind unix@/gate/out/out.sock mode 666
    default_backend squid
backend squid
    server squid 127.0.0.1:3128
frontend answer
    mode http
    bind 127.0.0.1:3129
    http-request return status 200 content-type text/plain string "the gate is open\n"
END
    for port; do
        printf 'frontend port-%s\n    bind :::%s v4v6\n    default_backend port-%s\n' "$port" "$port" "$port"
        printf 'backend port-%s\n    server habitat unix@/gate/in/%s.sock\n' "$port" "$port"
    done
} >/state/haproxy.cfg
squid -N -f /etc/habitat/squid.conf &
haproxy -f /state/haproxy.cfg &
trap 'kill $(jobs -p)' TERM
wait -n
