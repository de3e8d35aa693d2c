#!/bin/sh
# Print a commit and its history as a pack. It follows the functions of git.sh. $1: the path of the repository. $2: the
# commit, "" for none. $3: the message of a commit of what isn't committed, "" for no such commit. Standard input has
# lines with ^ and a commit that the reader has.
#
# The output is the id of the commit, a newline, and the pack.
#
# shellcheck disable=SC2154 # git.sh sets $problem and $git_folder

set -e
enter_repository "$1" || { echo "$problem" >&2; exit 3; }
tip=$2 title=$3

# Make a commit of the files as they are, with an index and a folder of objects of our own: the repository stays as it
# is.
commit_files() {
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    trap 'exit 1' HUP INT TERM
    mkdir "$scratch/objects"
    index=$(safe_git rev-parse --git-path index)
    objects=$(safe_git rev-parse --git-path objects | sed 's/["\\]/\\&/g')
    [ ! -e "$index" ] || cp -p "$index" "$scratch/index"
    export GIT_INDEX_FILE="$scratch/index" GIT_OBJECT_DIRECTORY="$scratch/objects"
    export GIT_ALTERNATE_OBJECT_DIRECTORIES="\"$objects\""
    safe_git -c core.splitIndex=false -c core.untrackedCache=false -c advice.addEmbeddedRepo=false add --all -- .
    tree=$(safe_git write-tree)
    if [ -n "$tip" ] && [ "$tree" = "$(safe_git rev-parse --verify "$tip^{tree}")" ]; then return; fi
    GIT_AUTHOR_NAME=$(safe_git config user.name || echo habitat)
    GIT_AUTHOR_EMAIL=$(safe_git config user.email || echo habitat@localhost)
    export GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_COMMITTER_NAME="$GIT_AUTHOR_NAME" GIT_COMMITTER_EMAIL="$GIT_AUTHOR_EMAIL"
    tip=$(safe_git commit-tree ${tip:+-p "$tip"} -m "$title" "$tree")
}

[ -z "$title" ] || commit_files
printf '%s\n' "$tip"
{ printf '%s\n' "$tip"; cat; } | safe_git pack-objects --quiet --revs --stdout --thin --delta-base-offset
