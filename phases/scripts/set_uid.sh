#!/bin/sh -e
# Give the user $1 the uid $2 and the gid $3. Exit code 3: the uid belongs to a system user of the image.
#
# Another user that has the uid is moved to a free one, and the files in the home get the new owner. The rows of
# /etc/passwd and /etc/group are rewritten, which works the same with usermod, with BusyBox and without both.
# A line of stdout is a notice for the person.

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
# Announce files that get another owner, if they are many or large: the engine stores each of them a second time.
# It runs in a shell of its own, which an odd file name can end without harm.
# $1: the home, $2…: the tests of find that match them.
announce() (
    folder=$1 files=0 kib=0
    shift
    for size in $(find "$folder" -xdev -type f "$@" -exec du -k {} + 2>/dev/null | cut -f1); do
        case $size in *[!0-9]*) ;; *) files=$((files + 1)) kib=$((kib + size)) ;; esac
    done
    if [ "$files" -ge 5000 ] || [ "$kib" -ge 102400 ]; then
        echo "$files files in $folder ($((kib / 1024)) MB) get another owner: this takes time, and the image stores each" \
            "of them a second time. Files that \`setup\` makes as USER are stored once"
    fi
)
# Give the files of a home to the new numbers. Each file is changed once, with both numbers if both change, because the
# engine copies a file when its owner changes. $1: home, $2: old uid, $3: new uid, $4: old gid, $5: new gid
hand_over() {
    if [ "$1" = / ] || [ ! -d "$1" ] || [ "$2:$4" = "$3:$5" ]; then
        :
    elif [ "$2" = "$3" ]; then
        announce "$1" -group "$4" || :
        find "$1" -xdev -group "$4" -exec chgrp -h "$5" {} +
    elif [ "$4" = "$5" ]; then
        announce "$1" -user "$2" || :
        find "$1" -xdev -user "$2" -exec chown -h "$3" {} +
    else
        announce "$1" '(' -user "$2" -o -group "$4" ')' || :
        find "$1" -xdev -user "$2" -group "$4" -exec chown -h "$3:$5" {} + \
            -o -user "$2" ! -group "$4" -exec chown -h "$3" {} + \
            -o ! -user "$2" -group "$4" -exec chgrp -h "$5" {} +
    fi
}
# The account $1 gets the uid $2 and the gid $3.
number() {
    old=$(row /etc/passwd "$1")
    password=$(echo "$old" | cut -d: -f2) old_uid=$(echo "$old" | cut -d: -f3) old_gid=$(echo "$old" | cut -d: -f4)
    home=$(echo "$old" | cut -d: -f6)
    replace /etc/passwd "$1" "$1:$password:$2:$3:$(echo "$old" | cut -d: -f5-)"
    hand_over "$home" "$old_uid" "$2" "$old_gid" "$3"
}
entry=$(row /etc/passwd "$1")
uid=$(echo "$entry" | cut -d: -f3)
gid=$(echo "$entry" | cut -d: -f4)
if [ "$uid" != "$2" ] && other=$(owner /etc/passwd "$2") && [ -n "$other" ]; then
    if [ "$2" -lt 1000 ]; then echo "$2 is the number of $other in the image" >&2; exit 3; fi
    free=1000
    while [ "$free" = "$2" ] || cut -d: -f3 /etc/passwd /etc/group | grep -qxF -e "$free"; do free=$((free + 1)); done
    echo "$other, which had the number $2, gets $free" >&2
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
