#!/bin/sh
# Print which commits a repository has to give. It follows the functions of git.sh. $1: the path of the repository.
# $2: the most commits to list.
#
# The output is records, each of which ends with a NUL: a word and its value. Then each commit follows on a line, the
# newest first, with its parents.
#
# shellcheck disable=SC2154 # git.sh sets $problem and $git_folder

set -e
enter_repository "$1" || { echo "$problem" >&2; exit 3; }
tip=$(safe_git rev-parse --quiet --verify 'HEAD^{commit}' 2>/dev/null) || tip=''
branch=$(safe_git symbolic-ref --quiet HEAD 2>/dev/null) || branch=''
printf '%s\0' "branch ${branch#refs/heads/}" "tip $tip" \
    "format $(safe_git rev-parse --show-object-format 2>/dev/null)"
[ -z "$tip" ] || safe_git rev-list --parents --max-count="$2" "$tip" --
