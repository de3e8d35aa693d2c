#!/bin/sh -e
# Clone the repository $1 into the folder $2. $3: branch, $4: ref, $5: depth, "" for none. $6: whether to fetch
# submodules, $7: whether to fetch files in Git LFS; `yes`, `no`, or "" to leave them out and say so.
#
# Standard output is for what the person should know; everything else goes to stderr. Exit codes: 127 without git, 8
# without git-lfs, 128 from git for the repository itself, 1 for a repository that exists, 3 if git would write into a
# mount, that is, into a folder of the host, 4 if the folder can't be written, 5 if LFS fails, 6 if a submodule fails, 7
# if the files can't be checked out.
#
# WORKDIR may be the target although it already holds the habitat's folder. So the repository is cloned into a
# folder within the target and its .git moved up. Git then writes the files without -f: it refuses to replace a file
# that exists and differs. If the clone doesn't have the ref, a second fetch gets it with the same --depth, a tag
# together with its name.

url=$1 path=$2 branch=$3 ref=$4 depth=$5 submodules=$6 lfs=$7
exec 3>&1 >&2
command -v git >/dev/null || { echo "there is no git in the image"; exit 127; }
[ "$lfs" != yes ] || git lfs version >/dev/null 2>&1 || { echo "there is no git-lfs in the image"; exit 8; }
case $path in "~"*) path=$HOME${path#"~"} ;; esac
if [ -e "$path/.git" ]; then
    echo "$path holds a repository already"
    exit 1
fi
[ -w "$path" ] || { echo "$path can't be written by $(id -un)"; exit 4; }
fresh=$path/.habitat-clone
git clone --no-checkout ${depth:+--depth "$depth"} ${branch:+--branch "$branch"} -- "$url" "$fresh"
if [ -n "$ref" ]; then
    if ! git -C "$fresh" rev-parse --quiet --verify "$ref^{commit}" >/dev/null; then
        tag=${ref#refs/} fetched=$ref
        tag=refs/tags/${tag#tags/}
        case $ref in
            *[!0-9a-f]*) [ -z "$(git -C "$fresh" ls-remote -- origin "$tag")" ] || fetched=+$tag:$tag ;;
        esac
        git -C "$fresh" fetch ${depth:+--depth "$depth"} -- origin "$fetched"
        ref=FETCH_HEAD
    fi
    git -C "$fresh" update-ref --no-deref HEAD "$(git -C "$fresh" rev-parse "$ref^{commit}")"
fi
mv "$fresh/.git" "$path/.git"
rmdir "$fresh"
cd "$path"
git rev-parse --quiet --verify HEAD >/dev/null || exit 0 # an empty repository

# Whether the repository has the path $1, or a submodule that it lies in, which `yes` fetches.
has() {
    [ -z "$(git --literal-pathspecs ls-tree --name-only HEAD -- "$1")" ] || return 0
    [ "$submodules" = yes ] || return 1
    set -- "$1" "${1%/*}"
    while [ "$1" != "$2" ]; do
        case $(git --literal-pathspecs ls-tree HEAD -- "$2") in 160000*) return 0 ;; esac
        set -- "$2" "${2%/*}"
    done
    return 1
}
here=$(pwd -P)
here=${here%/}
while read -r _ _ _ _ mount _; do
    # The kernel writes a space as \040.
    case $mount in *\\*) mount=$(printf '%b' "$(printf %s "$mount" | sed 's/\\/\\0/g')") ;; esac
    case $mount in "$here"/*) ;; *) continue ;; esac
    inside=${mount#"$here/"}
    if has "$inside"; then
        echo "the repository has $inside, where something is mounted"
        exit 3
    fi
done </proc/self/mountinfo

uses_lfs() { git grep -q -e filter=lfs HEAD -- .gitattributes "*/.gitattributes"; }
# Fetched once for all files, below.
[ -z "$lfs" ] || export GIT_LFS_SKIP_SMUDGE=1
[ "$lfs" != yes ] || git lfs install --local >/dev/null || exit 5
git read-tree -m -u HEAD || { if uses_lfs; then exit 5; else exit 7; fi; }
[ "$lfs" != yes ] || git lfs pull || exit 5
if [ -z "$lfs" ] && ! git config filter.lfs.smudge >/dev/null && uses_lfs; then
    echo "files in Git LFS are left out, only their pointers are there: write \`lfs: true\`, or \`lfs: false\`" >&3
fi

# Prints the paths of submodules on one line, the first three by name.
list_submodules() {
    git ls-files --stage | {
        count=0 names=
        while read -r mode _ _ name; do
            [ "$mode" = 160000 ] || continue
            count=$((count + 1))
            [ "$count" -gt 3 ] || names=$names${names:+, }$name
        done
        [ "$count" -le 3 ] || names="$names and $((count - 3)) more"
        echo "$names"
    }
}
case $submodules in
    yes)
        # Some servers give no single commit to a fetch with --depth.
        git submodule update --init --recursive ${depth:+--depth "$depth"} ||
            { [ -n "$depth" ] && git submodule update --init --recursive; } || exit 6
        [ "$lfs" != yes ] ||
            git submodule foreach --recursive 'git lfs install --local >/dev/null && git lfs pull' || exit 5
        ;;
    "")
        names=$(list_submodules)
        [ -z "$names" ] ||
            echo "its submodules are left out ($names): write \`submodules: true\`, or \`submodules: false\`" >&3
        ;;
esac
