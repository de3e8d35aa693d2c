#!/bin/sh -e
# Give the user $1 the uid $2 and the gid $3. Exit code 3: the uid belongs to a system user of the image.
#
# Another user that has the uid is moved to a free one, and the files in the home get the new owner. The rows of
# /etc/passwd and /etc/group are rewritten, which works the same with usermod, with BusyBox and without both.

row() { while IFS= read -r line || [ -n "$line" ]; do case $line in "$2:"*) echo "$line"; break ;; esac; done <"$1"; }
owner() {
    while IFS=: read -r name _ uid _ || [ -n "$name" ]; do [ "$uid" != "$2" ] || { echo "$name"; break; }; done <"$1"
}
replace() {
    while IFS= read -r line || [ -n "$line" ]; do
        case $line in "$2:"*) echo "$3" ;; *) echo "$line" ;; esac
    done <"$1" >"$1.habitat"
    cat "$1.habitat" >"$1"
    rm "$1.habitat"
}
# The home's files change hands with the number: $1: home, $2: -user or -group, $3: old, $4: chown or chgrp, $5: new
hand_over() { [ "$1" = / ] || [ ! -d "$1" ] || [ "$3" = "$5" ] || find "$1" -xdev "$2" "$3" -exec "$4" -h "$5" {} +; }
# The account $1 gets the uid $2 and the gid $3.
number() {
    old=$(row /etc/passwd "$1")
    password=$(echo "$old" | cut -d: -f2) old_uid=$(echo "$old" | cut -d: -f3) old_gid=$(echo "$old" | cut -d: -f4)
    home=$(echo "$old" | cut -d: -f6)
    replace /etc/passwd "$1" "$1:$password:$2:$3:$(echo "$old" | cut -d: -f5-)"
    hand_over "$home" -user "$old_uid" chown "$2"
    hand_over "$home" -group "$old_gid" chgrp "$3"
}
entry=$(row /etc/passwd "$1")
uid=$(echo "$entry" | cut -d: -f3)
gid=$(echo "$entry" | cut -d: -f4)
if [ "$uid" != "$2" ] && other=$(owner /etc/passwd "$2") && [ -n "$other" ]; then
    if [ "$2" -lt 1000 ]; then echo "$2 is the number of $other in the image"; exit 3; fi
    free=1000
    while [ "$free" = "$2" ] || cut -d: -f3 /etc/passwd /etc/group | grep -qxF -e "$free"; do free=$((free + 1)); done
    echo "$other, which had the number $2, gets $free"
    number "$other" "$free" "$(row /etc/passwd "$other" | cut -d: -f4)"
fi
if [ "$gid" != "$3" ] && [ -z "$(owner /etc/group "$3")" ]; then
    group=$(row /etc/group "$1")
    if [ -n "$group" ]; then
        replace /etc/group "$1" "$1:$(echo "$group" | cut -d: -f2):$3:$(echo "$group" | cut -d: -f4-)"
    else
        [ -z "$(tail -c 1 /etc/group)" ] || echo >>/etc/group
        echo "$1:x:$3:" >>/etc/group
    fi
fi
number "$1" "$2" "$3"
