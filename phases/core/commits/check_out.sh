#!/bin/sh
# Check out a commit in the folder $1. $2: the pack that has it, which is removed. $3: the branch. $4: the commit.
#
# Files that git ignores stay, such as what the setup of the repository has installed.

set -e
path=$1 pack=$2
case $path in "~"*) path=$HOME${path#"~"} ;; esac
case $pack in "~"*) pack=$HOME${pack#"~"} ;; esac
export GIT_LFS_SKIP_SMUDGE=1
cd "$path"
git index-pack --stdin --fix-thin <"$pack" >/dev/null
rm -f "$pack"
git -c core.hooksPath=/dev/null checkout --quiet --force -B "$3" "$4"
git clean --quiet --force -d
