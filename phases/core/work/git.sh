#!/bin/sh
# Functions that run git in a repository which nobody trusts. They are for programs that look at one, or copy commits
# out of it or into it. No program that its config, its attributes or its hooks name is run. `env -i` starts the shell.
#
# A repository has to belong to the user who runs this, so that nobody gets another's rights through a config.
#
# shellcheck disable=SC3067 # dash, bash and busybox have -O

export HOME=/nonexistent XDG_CONFIG_HOME=/nonexistent LC_ALL=C
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_ATTR_NOSYSTEM=1
export GIT_OPTIONAL_LOCKS=0 GIT_TERMINAL_PROMPT=0 GIT_PAGER=cat GIT_EDITOR=false GIT_ASKPASS=false GIT_SSH_COMMAND=false
export GIT_NO_REPLACE_OBJECTS=1 GIT_GRAFT_FILE=/nonexistent GIT_NO_LAZY_FETCH=1 GIT_ALLOW_PROTOCOL=none
problem='' git_folder='' common_folder='' overrides='' limit=''

# Make the folder $1 the current one, if it is a repository. Else $problem says why not.
enter_repository() {
    problem='' git_folder='' common_folder='' overrides=''
    unset GIT_DIR GIT_WORK_TREE
    if ! cd -P "$1" 2>/dev/null; then problem="there is no such folder, or $(id -un) may not enter it"
    elif [ ! -e .git ]; then problem="it is no repository"
    elif [ ! -O .git ] || [ ! -O . ]; then problem="it belongs to another user"
    elif [ "$(id -u)" = 0 ] && others_may_write; then problem="it belongs to root, and others may write to it"
    elif ! command -v git >/dev/null; then problem="there is no git"
    else
        # The folder is held by this process: nobody can put another one in its place.
        export GIT_DIR=.git GIT_WORK_TREE=.
        if ! git_folder=$($limit git rev-parse --git-dir 2>&1); then
            problem="git can't read it: ${git_folder%%
*}"
        elif ! common_folder=$($limit git rev-parse --git-common-dir 2>&1); then
            problem="git can't read it: ${common_folder%%
*}"
        elif [ ! -O "$git_folder" ] || [ ! -O "$common_folder" ]; then problem="it belongs to another user"
        else override_filters
        fi
    fi
    [ -z "$problem" ]
}

others_may_write() {
    case $(ls -ld . .git 2>/dev/null) in
    [d-]????w* | [d-]???????w* | *"
"[d-]????w* | *"
"[d-]???????w*) ;;
    *) return 1 ;;
    esac
}

# Find the keys of the config that name programs by which files are converted. Git has no option that ignores them all.
override_filters() {
    overrides=$($limit git config --null --name-only --get-regexp '^filter\.' 2>/dev/null | tr '\n\0' '=\n')
    case $overrides in *=*) problem="its config has a filter that can't be switched off" ;; esac
}

# Run git in that repository. $limit: a command that limits the time, or nothing.
safe_git() {
    while IFS= read -r key; do
        [ -z "$key" ] || set -- -c "$key=" "$@"
    done <<END
$overrides
END
    $limit git --no-pager --no-optional-locks -c core.fsmonitor=false -c core.hooksPath=/dev/null \
        -c core.sshCommand=false -c core.askPass= -c core.alternateRefsCommand=: -c credential.helper= \
        -c diff.external= -c gpg.program=false -c log.showSignature=false -c status.submoduleSummary=false \
        -c submodule.recurse=false -c protocol.allow=never -c maintenance.auto=false -c gc.auto=0 "$@"
}
