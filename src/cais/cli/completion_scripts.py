"""The completion scripts of the shells: each asks ``cais __complete`` with the words so far, and shows its lines.

``__complete WORDS... CURRENT`` prints a line for each candidate, ``candidate<TAB>description``, then one that begins
with a colon and says what else to do: ``:file``, ``:directory`` (complete paths), ``:`` (nothing more).
"""

from __future__ import annotations

_BASH = """\
# bash completion for cais
_cais() {
    local IFS=$'\\n' line current=${COMP_WORDS[COMP_CWORD]} words=() candidates=() more=
    # A name with a colon is several words to readline; put them together again.
    if declare -F __ltrim_colon_completions >/dev/null && declare -F _get_comp_words_by_ref >/dev/null; then
        local cur cword
        _get_comp_words_by_ref -n =: cur words cword
        current=$cur
        words=("${words[@]:1:cword}")
    else
        words=("${COMP_WORDS[@]:1:COMP_CWORD}")
    fi
    for line in $("${COMP_WORDS[0]}" __complete "${words[@]}" 2>/dev/null); do
        case $line in
            :*) more=${line#:} ;;
            *) candidates+=("${line%%$'\\t'*}") ;;
        esac
    done
    COMPREPLY=()
    local prefix=
    case $current in --*=*) prefix=${current%%=*}= current=${current#*=} ;; esac
    case $more in
        file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$current")) ;;
        directory) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$current")) ;;
    esac
    if [ ${#candidates[@]} -gt 0 ]; then
        COMPREPLY+=("${candidates[@]}")
        case ${candidates[0]} in *=) compopt -o nospace 2>/dev/null ;; esac
    fi
    if declare -F __ltrim_colon_completions >/dev/null; then
        __ltrim_colon_completions "$prefix$current"
    fi
}
complete -F _cais cais
"""

_ZSH = """\
#compdef cais
_cais() {
    local -a lines plain described
    local line more=
    lines=("${(@f)$("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    for line in $lines; do
        case $line in
            :*) more=${line#:} ;;
            *$'\\t'*) described+=("${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}") ;;
            *) plain+=("$line") ;;
        esac
    done
    (( ${#described} )) && _describe -t cais cais described
    (( ${#plain} )) && compadd -a plain
    case $more in
        file) _files ;;
        directory) _files -/ ;;
    esac
}
if [ "$funcstack[1]" = "_cais" ]; then
    _cais
else
    compdef _cais cais
fi
"""

_FISH = """\
# fish completion for cais
function __cais_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for line in ($words[1] __complete $words[2..-1] "$current" 2>/dev/null)
        switch $line
            case ':file'
                __fish_complete_path $current
            case ':directory'
                __fish_complete_directories $current
            case ':*'
            case '*'
                echo $line
        end
    end
end
complete -c cais -f -a '(__cais_complete)'
"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
