# Bash completion for pbmond: /usr/share/bash-completion/completions/pbmond
# shellcheck shell=bash

_pbmond() {
    local word=${COMP_WORDS[COMP_CWORD]} choices
    case ${COMP_WORDS[COMP_CWORD - 1]} in
        --config | --log-file)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        --run-dir)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -d -- "$word")
            return
            ;;
        --log-level) choices='debug info warning error' ;;
        --interval) choices='' ;;
        *)
            choices='--config --run-dir --interval --log-level --log-file --check-config
                --version --help'
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$word")
}
complete -F _pbmond pbmond
