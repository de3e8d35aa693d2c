#!/bin/bash
# Run the gate in the network namespace of a habitat: haproxy, which connects it with the proxy. Runs as nobody.
# $1: the port on 127.0.0.1 that leads out; $2 and more: the ports of the habitat that lead in.

out=$1
shift
{
    cat /etc/habitat/haproxy.cfg
    printf 'frontend out\n    bind 127.0.0.1:%s\n    default_backend proxy\n' "$out"
    printf 'backend proxy\n    server proxy unix@/gate/out/out.sock send-proxy-v2\n'
    for port; do
        printf 'frontend port-%s\n    bind unix@/gate/in/%s.sock mode 666\n    default_backend port-%s\n' "$port" "$port" "$port"
        printf 'backend port-%s\n    server habitat 127.0.0.1:%s\n' "$port" "$port"
    done
} >/state/haproxy.cfg
exec haproxy -f /state/haproxy.cfg
