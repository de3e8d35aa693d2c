#!/bin/sh
# Write instructions for agents into files, in place of those of an earlier start. Runs as USER, with `sh -e`.
# $1: the size of the text on standard input, $2 and $3: the lines at its beginning and end, $4 …: the files, each behind
# the file that takes its place, "" for none.
#
# What else is in a file stays. A file is changed only if the text is another, and none is written in a git repository.
# In a folder that several habitats share, a link leads to a file that each of them has for itself.

text=$(head -c "$1"; echo .)
text=${text%.}
begin=$2 end=$3
shift 3
while [ $# -gt 0 ]; do
    own=$1 file=$2
    shift 2
    folder=${file%/*}
    while [ -n "$folder" ] && [ ! -e "$folder/.git" ]; do folder=${folder%/*}; done
    if [ -n "$folder" ]; then
        echo "instructions: not written to $file, since $folder is a git repository"
        continue
    fi
    if [ "$own" ] && [ -n "$text" ] && [ "$(readlink "$file")" != "$own" ]; then
        mkdir -p "${own%/*}" "${file%/*}"
        if [ -f "$file" ] && [ ! -L "$file" ]; then cat "$file" >"$own"; fi
        ln -s "$own" "$file.$$"
        mv -f "$file.$$" "$file"
    fi
    before=
    if [ -e "$file" ]; then
        old=$(cat "$file"; echo .)
        old=${old%.}
        after=$old
        case $old in
        *"$begin
"*"$end
"*)
            before=${old%%"$begin
"*}
            after=${old#*"$begin
"}
            after=${after#*"$end
"} ;;
        esac
        [ "$before$text$after" != "$old" ] || continue
    elif [ -n "$text" ]; then
        after=
    else
        continue
    fi
    [ "$own" ] || mkdir -p "${file%/*}"
    printf '%s' "$before$text$after" >"$file"
done
