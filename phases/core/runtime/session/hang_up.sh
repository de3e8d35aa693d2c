#!/bin/sh
# Send signals to the commands of a session, as a kernel does when their terminal is closed. The exit code is the number
# of processes to end, 100 at most.
# $1: a variable assignment that is in the environment of the session's commands.
# $2: the signals for all processes that have the terminals of these commands; $3: those for the processes to end.
# $4, $5: process sessions, and the process groups to end in them, as this program printed them before; "" for unknown.
#
# A process that left the process session (setsid, a daemon, tmux) goes on, and so does one in the background that
# ignores SIGHUP (nohup), as after ssh. The command itself, and what has the terminal's foreground, are to be ended.
# A shell reads a file that has NUL bytes as if they weren't there. Only builtins are used, since the image may have no
# other programs.
#
# shellcheck disable=SC2154 # read_process.sh sets $parent, $group, $session and $foreground

sign=$1 to_all=$2 to_end=$3 sessions=" $4 " groups=" $5 "

is_begun_by_session() {
    while IFS= read -r line || [ -n "$line" ]; do
        case $line in *"$sign"*) return 0 ;; esac
        line=
    done <"$folder/environ"
    return 1
}

ignores_hangup() {
    while read -r name value; do
        case $name in SigIgn:) case $value in *[13579bdf]) return 0 ;; *) return 1 ;; esac ;; esac
    done <"$folder/status"
    return 1
}

# Set "$sessions": commands of an exec have a parent outside of the container.
find_sessions() {
    for folder in /proc/[0-9]*; do
        read_process "$folder" && [ "$parent" = 0 ] && is_begun_by_session && sessions="$sessions$session "
    done
}

# Set "$groups": those of the sessions, but what is in the background and ignores SIGHUP.
find_groups() {
    for folder in /proc/[0-9]*; do
        read_process "$folder" || continue
        case $sessions in *" $session "*) ;; *) continue ;; esac
        [ "$group" = "$session" ] || [ "$group" = "$foreground" ] || ! ignores_hangup || continue
        groups="$groups$group "
    done
}

send() {
    for signal in $1; do kill -s "$signal" "${folder#/proc/}"; done
}

{
    [ -n "$4" ] || { find_sessions; find_groups; }
    count=0
    for folder in /proc/[0-9]*; do
        read_process "$folder" || continue
        case $sessions in *" $session "*) ;; *) continue ;; esac
        send "$to_all"
        case $groups in *" $group "*) ;; *) continue ;; esac
        count=$((count + 1))
        send "$to_end"
    done
} 2>/dev/null
echo "$sessions"
echo "$groups"
exit $((count > 100 ? 100 : count))
