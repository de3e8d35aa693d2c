#!/bin/sh
# Run a command under job control, as an interactive shell does, so that Ctrl-Z can suspend it. Report when it is
# suspended. Set TERM to a type of terminal that the image describes.
# $1: rows and $2: columns of the terminal; $3: the first word of a report; $4: a PATH of system folders;
# $5…: the command.
#
# A report is NUL, the first word, `;`, a state, `;`, the pid of this shell, NUL. The state is `r` when the command
# begins, and `s` when it is suspended. Terminals show nothing for NUL.
#
# Without this shell, the parent of the command is a process outside of the container. The kernel suspends no process
# group whose parent is in another session: Ctrl-Z would do nothing, and a program that sends itself SIGSTOP would stay
# stopped. This shell is the parent instead. While the command is suspended, this shell is stopped too, until the
# program sends it SIGCONT.

# Exit with the code $1, or wait until a suspended command continues. Not a loop: bash leaves all loops when a command
# is suspended.
leave_unless_suspended() {
    [ "$1" -gt 128 ] && kill -0 %1 2>/dev/null || exit "$1"
    printf '\000%s;s;%s\000' "$report" $$
    kill -s STOP $$
    fg %1 >/dev/null
    leave_unless_suspended $?
}

# Return whether the image describes the terminal type $1.
is_known() {
    first=${1%"${1#?}"}
    for folder in "$TERMINFO" "$HOME/.terminfo" /etc/terminfo /lib/terminfo /usr/share/terminfo /usr/lib/terminfo; do
        [ -e "$folder/$first/$1" ] || [ -e "$folder/$(printf %x "'$first")/$1" ] && return 0
    done
    return 1
}

# If the image doesn't describe the type in TERM, set TERM to one that it describes. Nearly all terminals understand the
# codes of xterm.
choose_terminal_type() {
    is_known "$TERM" && return
    for other in xterm-256color xterm vt100; do
        is_known $other && export TERM=$other && return
    done
    # The image describes no terminal type. Its programs can only go by the name.
    case $TERM in xterm | xterm-*color | screen* | tmux* | linux | vt* | ansi | dumb) ;; *) export TERM=xterm-256color ;; esac
}

rows=$1 columns=$2 report=$3
# The engine sets the size of a terminal after its command has started, which is too late for the first output.
PATH=$4 stty rows "$rows" cols "$columns" 2>/dev/null
shift 4
choose_terminal_type
(set -m) 2>/dev/null || exec "$@"
set -m
printf '\000%s;r;%s\000' "$report" $$
# bash reports a command that a signal has killed, with a line of this program, unless it has a trap for the signal. The
# command doesn't inherit the trap.
# shellcheck disable=SC2173 # the trap is for bash, which can't run it
[ -z "$BASH_VERSION" ] || trap : KILL SEGV BUS ABRT FPE ILL
# A subshell with exec, since the command may have the name of a builtin. Don't redirect its stderr: bash uses stderr to
# give the command the terminal.
(exec "$@")
leave_unless_suspended $?
