#!/bin/sh
# Let a clone in a workspace follow the clone of the image, if nobody has worked in it. It follows the functions of
# git.sh, and runs as the owner of both. $1: the clone of the image; $2: that in the workspace; $3: the commit and
# $4: the branch that the image before had, "" if that isn't known.
#
# Prints a word, `same`, `followed` or `behind`, the commit and the branch of the image, the branch before, and for
# `behind` the reason; `-` stands for nothing. Objects and the remote branch are taken over in any case: so a person can
# follow without a network.
#
# shellcheck disable=SC2086,SC2154 # $base and $exclude may be nothing; git.sh has the other variables

image=$1 workspace=$2 base=$3 base_branch=$4

say() { echo "$1 $head ${branch:--} ${now_branch:--} ${2:-}"; exit 0; }
has() { safe_git cat-file -e "$1^{commit}" 2>/dev/null; }

head=- branch='' now_branch=''
enter_repository "$image" || say same
head=$(safe_git rev-parse --verify --quiet HEAD) || { head=-; say same; }
branch=$(safe_git symbolic-ref --quiet --short HEAD) || branch=''
image_folder=$(cd "$git_folder" && pwd)
[ "$head $branch" != "$base $base_branch" ] || say same

enter_repository "$workspace" || say behind "$problem"
now=$(safe_git rev-parse --verify --quiet HEAD) || say behind "it has no commit"
now_branch=$(safe_git symbolic-ref --quiet --short HEAD) || now_branch=''
if ! has "$head"; then
    exclude=''
    for commit in $now $base; do
        if has "$commit" && GIT_DIR=$image_folder safe_git cat-file -e "$commit" 2>/dev/null; then exclude="^$commit"; fi
    done
    printf '%s\n' "$head" $exclude | GIT_DIR=$image_folder safe_git pack-objects --quiet --revs --stdout |
        safe_git index-pack --stdin --fix-thin >/dev/null
    if [ -f "$image_folder/shallow" ]; then
        [ -f "$git_folder/shallow" ] || [ -n "$exclude" ] || say behind "it has all commits, the image's clone only some"
        cat "$image_folder/shallow" "$git_folder/shallow" 2>/dev/null | sort -u >"$git_folder/shallow.new"
        mv "$git_folder/shallow.new" "$git_folder/shallow"
    fi
fi
if [ "$now_branch" = "$branch" ] && safe_git merge-base --is-ancestor "$head" "$now"; then say same; fi
if [ -n "$branch" ]; then
    remote=refs/remotes/origin/$branch
    old=$(safe_git rev-parse --verify --quiet "$remote") || old=''
    if [ -z "$old" ] || safe_git merge-base --is-ancestor "$old" "$head"; then safe_git update-ref "$remote" "$head"; fi
fi

for operation in rebase-merge rebase-apply MERGE_HEAD CHERRY_PICK_HEAD REVERT_HEAD BISECT_LOG; do
    [ ! -e "$git_folder/$operation" ] || say behind "something was begun in it"
done
[ -z "$(safe_git status --porcelain 2>&1 | head -c 1)" ] || say behind "it has changed files"
if safe_git rev-parse --verify --quiet refs/stash >/dev/null; then say behind "it has a stash"; fi
[ -z "$(safe_git rev-list --max-count=1 --branches HEAD --not --remotes "$head" $base 2>/dev/null)" ] ||
    say behind "it has commits of its own"
[ "$now_branch" = "${base_branch:-$branch}" ] || say behind "${now_branch:-no branch} is checked out there"
if safe_git cat-file -e "$head:.gitmodules" 2>/dev/null; then say behind "it has submodules"; fi
if safe_git grep -q 'filter=' "$head" -- .gitattributes '**/.gitattributes' 2>/dev/null; then
    say behind "it has files in Git LFS, or others that a filter converts"
fi
if [ -n "$branch" ]; then
    safe_git checkout --quiet -B "$branch" "$head" >/dev/null 2>&1 || say behind "git can't switch it"
    safe_git config "branch.$branch.remote" >/dev/null || {
        safe_git config "branch.$branch.remote" origin
        safe_git config "branch.$branch.merge" "refs/heads/$branch"
    }
else
    safe_git checkout --quiet --detach "$head" >/dev/null 2>&1 || say behind "git can't switch it"
fi
say followed
