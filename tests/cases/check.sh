# What the `verify` scripts say with: each line that doesn't hold is told, and none ends the script.
failed=0
trap 'code=$?; [ "$code" -ne 0 ] || code=$failed; exit "$code"' EXIT

# is EXPECTED COMMAND…: what the command prints
is() {
    expected=$1
    shift
    got=$("$@" 2>&1) || got="$got (exit code $?)"
    [ "$got" = "$expected" ] || { echo "$*: printed '$got', not '$expected'"; failed=1; }
}

# holds COMMAND…: it succeeds
holds() {
    "$@" || { echo "$*: failed"; failed=1; }
}

# fails COMMAND…: it doesn't
fails() {
    if "$@" 2>/dev/null; then
        echo "$*: succeeded"
        failed=1
    fi
}

# owned 'USER:GROUP MODE' PATH…
owned() {
    rights=$1
    shift
    for path in "$@"; do is "$rights" stat -c '%U:%G %a' "$path"; done
}
