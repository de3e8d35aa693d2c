_doit() {
    # Each folder below habitats/ is a habitat. Looking there is fast, and works with a broken config too.
    local -a habitats=(habitats/*(N/:t)) commands kinds phases options
    local word subject=run bare=
    for word in ${words[2,CURRENT-1]}; do
        case $word in
        --) _default; return ;; # a command for the habitat follows
        -*) ;;
        *)
            [[ $subject == (run|<->) ]] && subject=${word%%:*}
            [[ $word == *:* ]] && bare=
            [[ -n ${(M)${(f)"$(_doit_known verbs)"}:#$word$'\t'*} ]] && bare=$word # as in `doit stop NAME`
            ;;
        esac
    done
    phases=(${(f)"$(_doit_known phases)"})
    if [[ $words[CURRENT-1] == (--at|--phase|--to|--from) ]]; then
        _doit_describe phases phase $phases
    elif [[ $words[CURRENT-1] == --layer ]]; then
        _doit_describe layers layer ${(f)"$(_doit_known layers)"}
    elif [[ $words[CURRENT-1] == --shell ]]; then
        _doit_describe shells shell ${(f)"$(_doit_known shells)"}
    elif [[ $PREFIX == -* ]]; then
        _doit_describe options option ${(f)"$(_doit_known "options of $subject")"}
    elif [[ $PREFIX == *:* ]]; then
        compset -P '*:'
        compadd -a habitats
    elif [[ $subject == (build|rebuild|status) || -n $bare ]]; then
        compadd -a habitats
    elif [[ $subject != (new|tabcompletion) ]]; then
        [[ $subject == (run|help) && CURRENT -eq 2 || $subject == help ]] &&
            _doit_describe commands command ${(f)"$(_doit_known commands)"}
        _doit_describe verbs verb -S : ${(f)"$(_doit_known verbs)"}
        _doit_describe phases phase -S : $phases
    fi
}

# Arguments: tag, title, options of compadd, and words, each with a tab and its help behind it.
_doit_describe() {
    local tag=$1 title=$2
    shift 2
    local -a how rows
    [[ $1 == -S ]] && how=(-S $2) && shift 2
    rows=("${(@)@/$'\t'/:}")
    _describe -t $tag $title rows $how
}

if [[ ${funcstack[1]} == _doit ]]; then _doit "$@"; else compdef _doit doit; fi
