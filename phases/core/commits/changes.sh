#!/bin/sh
# Print what has changed in a repository since it was cloned. It follows the functions of git.sh. $1: the path of the
# repository. $2: `summary` or `patch`.
#
# A summary is records, each of which ends with a NUL. The first character says what follows: = a word and its value;
# `c` a commit, as its id, author and subject, with a tab between them; `d` a file, with the lines that were added and
# removed; `?` an untracked file.
#
# shellcheck disable=SC2154 # git.sh sets $problem

set -e
enter_repository "$1" || { echo "$problem" >&2; exit 3; }
most=500

# `git diff` writes what it learns of the files into the index, so it gets a copy.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
index=$(safe_git rev-parse --git-path index)
[ ! -e "$index" ] || cp -p "$index" "$scratch/index"
export GIT_INDEX_FILE="$scratch/index"

head=$(safe_git rev-parse --quiet --verify 'HEAD^{commit}' 2>/dev/null) || head=''

# Set $base to the commit from which on HEAD is new: where it left the branches of the remotes. Without remotes that is
# where HEAD was first.
find_base() {
    base=''
    if [ -n "$(safe_git for-each-ref --count=1 refs/remotes)" ]; then
        base=$(safe_git rev-list --boundary "$head" --not --remotes -- | sed -n 's/^-//p' | head -n 1)
        if [ -z "$base" ] && [ -z "$(safe_git rev-list --max-count=1 "$head" --not --remotes --)" ]; then base=$head; fi
    else
        base=$(safe_git rev-list --walk-reflogs HEAD -- 2>/dev/null | tail -n 1)
        if [ -n "$base" ] && ! safe_git merge-base --is-ancestor "$base" "$head"; then base=''; fi
    fi
}

# Print the first records of the input, each after the character $1.
first() { tr '\0\n' '\n\1' | head -n "$most" | sed "s/^/$1/" | tr '\n\1' '\0\n'; }

compare() { safe_git diff --no-ext-diff --no-textconv --no-renames --no-color --no-relative --ignore-submodules=dirty "$@"; }

if [ -n "$head" ]; then
    find_base
    from=${base:-$(safe_git hash-object -t tree /dev/null)}
fi
if [ "$2" = patch ]; then
    [ -z "$head" ] || compare --src-prefix=a/ --dst-prefix=b/ --submodule=short --unified=3 "$from" --
    exit
fi
printf '=base %s\0' "$base"
if [ -n "$head" ]; then
    set -- "$head"
    [ -z "$base" ] || set -- "$@" "^$base"
    printf '=commits %s\0' "$(safe_git rev-list --count "$@" --)"
    safe_git log -z --max-count="$most" --no-show-signature --no-color --no-decorate --no-notes --no-mailmap \
        --format='c%H%x09%an%x09%s' "$@" --
    printf '\0'
    compare --numstat -z "$from" -- | first d
fi
safe_git ls-files --others --exclude-standard -z | first '?'
