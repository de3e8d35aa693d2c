#!/bin/sh
# Take a branch into a repository, as refs/remotes/host/BRANCH. It follows the functions of git.sh. $1: the path of the
# repository. $2: `yes` to move the branch that is checked out forward, if it has the same name. $3: the branch. $4: its
# commit. Standard input is a pack.
#
# The output is what became of the branch that is checked out: `moved`, `same`, or why it was not moved.
#
# shellcheck disable=SC2154 # git.sh sets $problem and $git_folder

set -e
enter_repository "$1" || { echo "$problem" >&2; exit 3; }
if [ -n "$(safe_git config --get remote.host.url)" ]; then
    echo "it has a remote of its own that is called host" >&2
    exit 4
fi
safe_git index-pack --stdin --fix-thin >/dev/null
safe_git update-ref --create-reflog -m "habitat: send" "refs/remotes/host/$3" "$4"

target=$4
merge="\`git merge host/$3\` there merges it"
branch=$(safe_git symbolic-ref --quiet HEAD) || { echo "no branch is checked out"; exit; }
head=$(safe_git rev-parse --quiet --verify HEAD) || { echo "it has no commit"; exit; }
if [ "$head" = "$target" ]; then echo same
elif safe_git merge-base --is-ancestor "$target" "$head"; then echo "it has all of that, and commits of its own"
elif [ "$branch" != "refs/heads/$3" ]; then echo "it has another name; $merge"
elif ! safe_git merge-base --is-ancestor "$head" "$target"; then echo "it has commits of its own; $merge"
elif [ "$2" != yes ]; then echo "--no-forward leaves it"
elif [ -e "$git_folder/MERGE_HEAD" ] || [ -d "$git_folder/rebase-merge" ] || [ -d "$git_folder/rebase-apply" ] ||
    [ -e "$git_folder/CHERRY_PICK_HEAD" ] || [ -e "$git_folder/REVERT_HEAD" ] || [ -e "$git_folder/BISECT_LOG" ]; then
    echo "something was begun there, such as a merge or a rebase"
elif [ -n "$(safe_git status --porcelain --untracked-files=no --ignore-submodules=all)" ]; then echo "it has changed files"
elif safe_git merge --quiet --ff-only --no-stat "$target" >/dev/null; then echo moved
else echo "git refuses, perhaps since a file is in the way"
fi
