#!/bin/sh
# Run a command as a shell with job control does, so that it can be suspended, and report that it is. Set TERM to a type
# that the image knows.
# $1: rows and $2: columns of the terminal; $3: what a report says first, between NUL bytes, which no terminal shows. Then
# come `r` at the beginning, or `s` when the command is suspended, and the pid of this shell;
# $4: a PATH of the system; $5…: the command.
#
# The parent of an exec is outside of the container, and the kernel suspends no process group whose parent is elsewhere:
# Ctrl-Z would do nothing, and a program that stops itself (SIGSTOP) would stay stopped. This shell is the parent.
# While the command is stopped, this shell is stopped too, until somebody else sends it SIGCONT.

# Exit, or wait until the command goes on. No loop: bash leaves all loops when a command is suspended.
leave_unless_suspended() {
    [ "$1" -gt 128 ] && kill -0 %1 2>/dev/null || exit "$1"
    printf '\000%s;s;%s\000' "$report" $$
    kill -s STOP $$
    fg %1 >/dev/null
    leave_unless_suspended $?
}

# Return whether the image describes a type of terminal.
is_known() {
    first=${1%"${1#?}"}
    for folder in "$TERMINFO" "$HOME/.terminfo" /etc/terminfo /lib/terminfo /usr/share/terminfo /usr/lib/terminfo; do
        [ -e "$folder/$first/$1" ] || [ -e "$folder/$(printf %x "'$first")/$1" ] && return 0
    done
    return 1
}

# Set TERM to a type that programs of the image can draw on, if they don't know this one. Nearly all terminals of today
# understand what is meant for xterm.
choose_terminal_type() {
    is_known "$TERM" && return
    for other in xterm-256color xterm vt100; do
        is_known $other && export TERM=$other && return
    done
    # The image describes no terminal. Its programs then look at the name, if at anything.
    case $TERM in xterm | xterm-*color | screen* | tmux* | linux | vt* | ansi | dumb) ;; *) export TERM=xterm-256color ;; esac
}

rows=$1 columns=$2 report=$3
# The engine sets the size of a terminal only once its command runs, which is too late for what that draws first.
PATH=$4 stty rows "$rows" cols "$columns" 2>/dev/null
shift 4
choose_terminal_type
(set -m) 2>/dev/null || exec "$@"
set -m
printf '\000%s;r;%s\000' "$report" $$
# A subshell, since the command may be named as a builtin is. Its stderr is not redirected: bash hands the terminal on
# by that.
(exec "$@")
leave_unless_suspended $?
