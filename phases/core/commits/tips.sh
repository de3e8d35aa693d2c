#!/bin/sh
# Print the commits that a repository has branches and tags at, one on a line. It follows the functions of git.sh. $1:
# the path of the repository.
#
# shellcheck disable=SC2154 # git.sh sets $problem

set -e
enter_repository "$1" || { echo "$problem" >&2; exit 3; }
safe_git for-each-ref --count=1000 --format='%(objectname)'
safe_git rev-parse --quiet --verify HEAD || :
