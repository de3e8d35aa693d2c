#!/bin/sh -e
# Finish the clone in the folder $1 that was made from the bundle $2, and remove the bundle. $3: `yes` to check out the
# branch of the repository itself, since a bundle doesn't say which one that is.
#
# The file $2.origin has the URL for the remote, or an empty line for none, then the branch. Without a remote, the
# branches of the bundle are branches of the clone. They are also kept as host/BRANCH: so one can tell what was cloned
# from what was committed since.

path=$1 bundle=$2 follows=$3
case $path in "~"*) path=$HOME${path#"~"} ;; esac
case $bundle in "~"*) bundle=$HOME${bundle#"~"} ;; esac
cd "$path"
{ read -r origin && read -r branch; } <"$bundle.origin" || :
now=$(git symbolic-ref --quiet --short HEAD || :)
if [ "$follows" = yes ] && [ -n "$branch" ] && [ "$now" != "$branch" ]; then
    git checkout --quiet -b "$branch" --track "origin/$branch"
    [ -z "$now" ] || git branch --quiet -D "$now"
fi
if [ -n "$origin" ]; then
    git remote set-url origin "$origin"
else
    git fetch --quiet --update-head-ok "$bundle" "refs/heads/*:refs/heads/*"
    git remote remove origin
    git fetch --quiet "$bundle" "+refs/heads/*:refs/remotes/host/*"
fi
rm -rf "$bundle" "$bundle.origin" "$bundle.template"
