_habitat() {
    local -a habitats
    local word subject= names=0 folder=$PWD
    # Looking at the folders of the nearest project is fast, and works with a broken config too.
    while [[ -n $folder && ! -d $folder/.habitats && ! -d $folder/habitats ]]; do
        folder=${folder%/*}
    done
    if [[ -d $folder/.habitats ]]; then
        habitats=($folder/.habitats/*(N/:t))
        habitats=(${habitats:#shared})
    else
        habitats=($folder/habitats/*(N/:t))
    fi
    for word in ${words[2,CURRENT-1]}; do
        case $word in
        --) _default; return ;; # a command for the habitat follows
        -*) ;;
        *) if [[ -z $subject ]]; then subject=$word; else names=$((names + 1)); fi ;;
        esac
    done
    if [[ $subject == eject && $words[CURRENT-1] == --to ]]; then
        _default
    elif [[ $words[CURRENT-1] == (--at|--phase|--to|--from) ]]; then
        _habitat_describe phases phase ${(f)"$(_habitat_known phases)"}
    elif [[ $words[CURRENT-1] == --(layer|shell) ]]; then
        _habitat_describe values value ${(f)"$(_habitat_known ${words[CURRENT-1]#--}s)"}
    elif [[ $PREFIX == -* ]]; then
        _habitat_describe options option ${(f)"$(_habitat_known "options of $subject")"}
    elif [[ -z $subject || $subject == help && names -eq 0 ]]; then
        _habitat_describe commands command ${(f)"$(_habitat_known commands)"}
    elif [[ $subject != (help|init|new|schema|tabcompletion|exec) || $subject == exec && names -eq 0 ]]; then
        compadd -a habitats
    fi
}

# Arguments: tag, title, and words, each with a tab and its help behind it.
_habitat_describe() {
    local tag=$1 title=$2
    shift 2
    local -a rows
    rows=("${(@)@/$'\t'/:}")
    _describe -t $tag $title rows
}

if [[ ${funcstack[1]} == _habitat ]]; then _habitat "$@"; else compdef _habitat habitat; fi
