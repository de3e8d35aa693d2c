#!/bin/sh -e
# Give the clone $1 to root, so that nobody else can change a file in it. $2: the user who cloned it. $3: the home of
# that user if it isn't that of /etc/passwd.
#
# Others read it with git, which refuses a repository of another user unless its system-wide config names it.

path=$1 home=$3
case $path in
"~"*)
    [ -n "$home" ] || home=$(sed -n "s/^$2:[^:]*:[^:]*:[^:]*:[^:]*:\([^:]*\):.*/\1/p" /etc/passwd)
    path=$home${path#"~"}
    ;;
esac
chown -hR 0:0 "$path"
chmod -R go-w,a+rX "$path"
git config --system --add safe.directory "$path"
