#!/bin/sh
# Print how many processes of this container were killed at its memory limit: with cgroups of version 2 or 1.

for file in /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control; do
    [ -r "$file" ] || continue
    while read -r key value; do
        if [ "$key" = oom_kill ]; then echo "$value"; fi
    done <"$file"
done
