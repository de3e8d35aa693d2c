#!/bin/sh
# Print the state of repositories. It follows the functions of git.sh. $1: seconds for each command of git. $2: a folder;
# it and the repositories directly below it are looked at; "" for none. $3…: paths of further repositories.
#
# The output is records, each of which ends with a NUL. The first character says what follows:
# @ the path of a repository, with which its records begin; = a word and its value; ! why it can't be read, or not in
# full; `#`, `1`, `u` and `?` are lines of `git status`; `.` ends a repository.
#
# shellcheck disable=SC2034,SC2154,SC3045 # git.sh has these variables; dash, bash and busybox have ulimit -t

seconds=$1 top=$2
shift 2
# BusyBox has a timeout whose second process keeps an output open for up to a second. There only CPU time is limited.
if timeout --version >/dev/null 2>&1; then limit="timeout -s KILL $seconds"; else ulimit -t "$seconds"; fi

# How many repositories are looked at below a folder, and submodules in one, and bytes of `git status`.
most=64 most_submodules=16 most_bytes=65536

say() { printf '%s\0' "$1"; }

# Run git, and set $result to the last line of its output. If it fails, print why. $1: what can't be done then
attempt() {
    aim=$1
    shift
    if result=$(safe_git "$@" 2>&1); then
        result=${result##*
}
        return 0
    fi
    [ "$?" != 137 ] || result="it takes longer than ${seconds}s"
    say "!$aim: ${result%%
*}"
    return 1
}

operation() {
    if [ -d "$git_folder/rebase-merge" ] || [ -d "$git_folder/rebase-apply" ]; then echo rebase
    elif [ -e "$git_folder/MERGE_HEAD" ]; then echo merge
    elif [ -e "$git_folder/CHERRY_PICK_HEAD" ]; then echo cherry-pick
    elif [ -e "$git_folder/REVERT_HEAD" ]; then echo revert
    elif [ -e "$git_folder/BISECT_LOG" ]; then echo bisect
    fi
}

# Print how many commits no remote is known to have, and how many stashes there are. A linked worktree shares branches
# and stashes with the repository that it is of, where they are counted.
commits() {
    head=$(safe_git rev-parse --quiet --verify 'HEAD^{commit}' 2>/dev/null) || head=''
    set -- --not --remotes
    if [ "$git_folder" = "$common_folder" ]; then set -- --branches "$@"; else set -- "$@" --branches; fi
    [ -z "$head" ] || set -- "$head" "$@"
    if attempt "its commits can't be counted" rev-list --count "$@" --; then say "=unpushed $result"; fi
    [ "$git_folder" = "$common_folder" ] || return 0
    safe_git rev-parse --quiet --verify refs/stash >/dev/null 2>&1 || return 0
    if attempt "its stashes can't be counted" rev-list --walk-reflogs --count refs/stash --; then
        say "=stashes $result"
    fi
}

# Print the files that differ from HEAD, as far as $most_bytes go.
files() {
    exec 4>&1
    code=$({ {
        safe_git status --porcelain=v2 --branch -z --no-renames --untracked-files=normal --ignore-submodules=dirty \
            2>/dev/null
        echo "$?" >&3
    } | head -c "$most_bytes" >&4; } 3>&1)
    printf '\0'
    case $code in
    0) ;;
    141) say "=more yes" ;;
    137) say "!its files can't be compared: it takes longer than ${seconds}s" ;;
    *) attempt "its files can't be compared" status --porcelain=v2 --no-renames --ignore-submodules=dirty || : ;;
    esac
}

# Print the state of the repository $1, and of the submodules in it unless $2 is `leaf`.
look() {
    say "@$1"
    if enter_repository "$1"; then
        say "=real $PWD"
        [ "$git_folder" = "$common_folder" ] || say "=linked yes"
        say "=operation $(operation)"
        # Not --short, which is heads/NAME where a tag has the same name.
        say "=branch $(safe_git symbolic-ref --quiet HEAD 2>/dev/null | sed 's,^refs/heads/,,')"
        commits
        files
    else
        say "!$problem"
        if [ -e "$1/.git" ]; then say "=owner $(stat -c %u "$1/.git" 2>/dev/null)"; else say "=missing yes"; fi
    fi
    say .
    [ -z "$problem" ] && [ "$2" != leaf ] && [ -e .gitmodules ] || return 0
    safe_git ls-files --stage -z 2>/dev/null | tr '\n\0' '\1\n' | sed -n 's/^160000 [^	]*	//p' |
        head -n "$most_submodules" | while IFS= read -r name; do
            if [ -e "$name/.git" ] && [ ! -L "$name" ]; then (look "$PWD/$name" leaf); fi
        done
}

for path; do (look "$path" ""); done
[ -n "$top" ] || exit 0
[ ! -e "$top/.git" ] || (look "$top" "")
for path in "${top%/}"/* "${top%/}"/.[!.]*; do
    if [ "$most" -gt 0 ] && [ -e "$path/.git" ] && [ ! -L "$path" ]; then
        (look "$path" "")
        most=$((most - 1))
    fi
done
