#!/bin/sh
# Merge a commit into another. It follows the functions of git.sh. $1: the path of a repository that nobody needs
# afterwards. $2: the commit to merge into. $3: the commit to merge. $4: the message. $5, $6: name and e-mail of the
# author. Standard input is a pack with what the repository lacks of both.
#
# The output is the id of the merge, a newline, and a pack. If files conflict, it is their names, each of which ends with
# a NUL, and the exit code is 9.
#
# shellcheck disable=SC2154 # git.sh sets $problem

set -e
enter_repository "$1" || { echo "$problem" >&2; exit 3; }
export GIT_AUTHOR_NAME="$5" GIT_AUTHOR_EMAIL="$6" GIT_COMMITTER_NAME="$5" GIT_COMMITTER_EMAIL="$6"
safe_git index-pack --stdin --fix-thin >/dev/null
safe_git checkout --quiet --force --detach "$2"
if ! safe_git -c commit.gpgSign=false -c merge.verifySignatures=false merge --quiet --no-ff --no-stat --no-edit \
    -m "$4" "$3" >/dev/null; then
    if [ -n "$(safe_git diff --name-only --diff-filter=U)" ]; then
        safe_git diff --name-only --diff-filter=U -z
        exit 9
    fi
    exit 1
fi
safe_git rev-parse HEAD
printf 'HEAD\n^%s\n^%s\n' "$2" "$3" | safe_git pack-objects --quiet --revs --stdout --thin --delta-base-offset
