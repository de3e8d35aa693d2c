#!/bin/sh -e
# Clone the repository $1 into the folder $2. $3: branch, $4: ref, $5: depth, $6: host that gets the token; "" for none.
#
# WORKDIR may be the target although it already holds the habitat's folder. So the repository is cloned into a
# folder within the target and its .git moved up. Git then writes the files without -f: it refuses to replace a file
# that exists and differs. If the clone doesn't have the ref, a second fetch gets it with the same --depth.
# Exit code 3: git would write into a mount, that is, into a folder of the host.
#
# Only the URL's own host gets the token, also if it redirects. The empty credential.helper switches off the helpers
# of the image, which might store the token. Options before git's command are written to no file.
#
# shellcheck disable=SC2016 # git expands the helper

url=$1 path=$2 branch=$3 ref=$4 depth=$5 host=$6
command -v git >/dev/null || { echo "there is no git in the image" >&2; exit 127; }
if [ -n "$host" ]; then
    helper='!token() { test "$1" = get && printf "%s\n" "username=$GIT_USER" "password=$(cat "$GIT_TOKEN")"; }; token'
    git() { command git -c credential.helper= -c "credential.$host.helper=$helper" "$@"; }
fi
case $path in "~"*) path=$HOME${path#"~"} ;; esac
if [ -e "$path/.git" ]; then
    echo "$path holds a repository already" >&2
    exit 1
fi
fresh=$path/.habitat-clone
git clone --no-checkout ${depth:+--depth "$depth"} ${branch:+--branch "$branch"} -- "$url" "$fresh"
if [ -n "$ref" ]; then
    if ! git -C "$fresh" rev-parse --quiet --verify "$ref^{commit}" >/dev/null; then
        git -C "$fresh" fetch ${depth:+--depth "$depth"} -- origin "$ref"
        ref=FETCH_HEAD
    fi
    git -C "$fresh" update-ref --no-deref HEAD "$(git -C "$fresh" rev-parse "$ref^{commit}")"
fi
mv "$fresh/.git" "$path/.git"
rmdir "$fresh"
cd "$path"
if git rev-parse --quiet --verify HEAD >/dev/null; then
    here=$(pwd -P)
    here=${here%/}
    while read -r _ _ _ _ mount _; do
        # The kernel writes a space as \040.
        case $mount in *\\*) mount=$(printf '%b' "$(printf %s "$mount" | sed 's/\\/\\0/g')") ;; esac
        case $mount in "$here"/*) ;; *) continue ;; esac
        inside=${mount#"$here/"}
        if [ -n "$(git --literal-pathspecs ls-tree --name-only HEAD -- "$inside")" ]; then
            echo "the repository has $inside, where something is mounted" >&2
            exit 3
        fi
    done </proc/self/mountinfo
    git read-tree -m -u HEAD
fi
