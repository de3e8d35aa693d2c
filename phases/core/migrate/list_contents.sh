#!/bin/sh -e
# Print what an image consists of: a line for each path with its kind, mode and owner, one for each file with its
# digest, one for each link with its target, and the accounts. The parts begin with a line of a word and a colon.

places() { find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run/secrets \) -prune -o "$@"; }
echo paths:
places -exec stat -c '%n|%F %a %u %g' {} +
echo files:
places -type f -exec sha256sum {} +
echo links:
places -type l -exec stat -c '%N' {} +
for file in passwd group shadow; do
    echo "$file:"
    cat "/etc/$file" 2>/dev/null || true
    echo
done
