# Each folder below habitats/ is a habitat. Looking there is fast, and works with a broken config too.
_doit_habitats() {
    local path
    for path in habitats/*/; do
        path=${path#habitats/} path=${path%/}
        [[ $path != *[!A-Za-z0-9._-]* ]] && echo "$path"
    done
}

_doit() {
    local line=${COMP_LINE:0:COMP_POINT} current given subject=run bare="" stem="" word
    current=${line##*[[:space:]]}
    read -ra given <<<"${line%"$current"}"
    for word in "${given[@]:1}"; do
        case $word in
        --) COMPREPLY=(); compopt -o default 2>/dev/null; return ;;  # a command for the habitat follows
        -*) ;;
        *)
            [[ $subject == run || $subject == [0-9]* ]] && subject=${word%%:*}
            [[ $word != *:* ]] || bare=""
            ! _doit_known verbs | grep -q "^$word"$'\t' || bare=$word  # as in `doit stop NAME`
            ;;
        esac
    done
    # bash replaces only what follows the last character of COMP_WORDBREAKS.
    [[ $COMP_WORDBREAKS == *:* && $current == *:* ]] && stem=${current%"${current##*:}"}
    local IFS=$'\n'
    COMPREPLY=()
    for word in $(_doit_candidates); do
        word=${word%%$'\t'*}
        [[ $word == *: ]] || word+=" "
        [[ $word == "$current"* ]] && COMPREPLY+=("${word#"$stem"}")
    done
}

_doit_candidates() {
    case ${given[${#given[@]} - 1]} in
    --at | --phase | --to | --from) _doit_known phases; return ;;
    --layer) _doit_known layers; return ;;
    --shell) _doit_known shells; return ;;
    esac
    case $current in
    -*) _doit_known "options of $subject"; return ;;
    *:*) _doit_habitats | sed "s/^/${current%%:*}:/"; return ;;
    esac
    case $subject in
    new | tabcompletion) return ;;
    build | rebuild | status) _doit_habitats; return ;;
    esac
    [[ -z $bare ]] || { _doit_habitats; return; }
    [[ ${#given[@]} -gt 1 && $subject != help ]] || _doit_known commands
    { _doit_known verbs; _doit_known phases; } | sed $'s/\t.*//; s/$/:/'
}

complete -o nospace -F _doit doit
