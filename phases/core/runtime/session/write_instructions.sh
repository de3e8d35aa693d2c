#!/bin/sh
# Write instructions for agents into files, in place of those of an earlier start. Runs as USER, with `sh -e`.
# $1: the size of the text on standard input, $2 and $3: the lines at its beginning and end, $4 …: the files.
#
# What else is in a file stays. A file is changed only if the text is another, and none is written in a git repository.

text=$(head -c "$1"; echo .)
text=${text%.}
begin=$2 end=$3
shift 3
for file; do
    folder=${file%/*}
    while [ -n "$folder" ] && [ ! -e "$folder/.git" ]; do folder=${folder%/*}; done
    if [ -n "$folder" ]; then
        echo "instructions: not written to $file, since $folder is a git repository"
        continue
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
    mkdir -p "${file%/*}"
    printf '%s' "$before$text$after" >"$file"
done
