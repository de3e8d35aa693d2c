# Looking at the folders of the nearest project is fast, and works with a broken config too.
_habitat_names() {
    local folder=$PWD path
    while [[ ! -d $folder/.habitats && ! -d $folder/habitats ]]; do
        [[ -n $folder ]] || return 0
        folder=${folder%/*}
    done
    if [[ -d $folder/.habitats ]]; then folder+=/.habitats; else folder+=/habitats; fi
    for path in "$folder"/*/; do
        path=${path%/} path=${path##*/}
        [[ $path == shared && $folder == */.habitats || $path == *[!A-Za-z0-9._-]* ]] || echo "$path"
    done
}

_habitat() {
    local line=${COMP_LINE:0:COMP_POINT} current given subject="" names=0 word
    current=${line##*[[:space:]]}
    read -ra given <<<"${line%"$current"}"
    COMPREPLY=()
    for word in "${given[@]:1}"; do
        case $word in
        --) compopt -o default 2>/dev/null; return ;; # a command for the habitat follows
        -*) ;;
        *) if [[ -z $subject ]]; then subject=$word; else names=$((names + 1)); fi ;;
        esac
    done
    local IFS=$'\n'
    for word in $(_habitat_candidates); do
        word=${word%%$'\t'*}
        [[ $word == "$current"* ]] && COMPREPLY+=("$word ")
    done
    [[ ${#COMPREPLY[@]} -gt 0 || $subject != eject ]] || compopt -o default 2>/dev/null
}

_habitat_candidates() {
    case $subject${given[${#given[@]} - 1]} in
    eject--to) return ;;
    *--at | *--phase | *--to | *--from) _habitat_known phases; return ;;
    *--layer) _habitat_known layers; return ;;
    *--shell) _habitat_known shells; return ;;
    esac
    case $current in
    -*) _habitat_known "options of $subject"; return ;;
    esac
    case $subject in
    "") _habitat_known commands ;;
    help) [[ $names -gt 0 ]] || _habitat_known commands ;;
    init | new | schema | tabcompletion) ;;
    exec) [[ $names -gt 0 ]] || _habitat_names ;;
    *) _habitat_names ;;
    esac
}

complete -o nospace -F _habitat habitat
