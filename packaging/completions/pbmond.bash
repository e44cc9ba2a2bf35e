# Bash completion for pbmond: /usr/share/bash-completion/completions/pbmond
# Made by `python -m tests.pages` of the options of pbmond, not by hand.
# shellcheck shell=bash

_pbmond() {
    local word=${COMP_WORDS[COMP_CWORD]} choices
    if ((COMP_CWORD > 1)); then
        case ${COMP_WORDS[1]} in
            probes | selftest)
                "_pbmond_${COMP_WORDS[1]}"
                return
                ;;
        esac
    fi
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
        --interval) choices='' ;;
        --log-level) choices='debug info warning error' ;;
        *)
            choices='
                probes selftest --help --config --run-dir --interval --baseline --log-level
                --log-file --allow-unsafe-code --check-config --version
            '
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$word")
}

_pbmond_probes() {
    local word=${COMP_WORDS[COMP_CWORD]} choices
    case ${COMP_WORDS[COMP_CWORD - 1]} in
        --run-dir)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -d -- "$word")
            return
            ;;
        --seconds) choices='' ;;
        *)
            choices='
                --help --seconds --json --run-dir --allow-unsafe-code
            '
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$word")
}

_pbmond_selftest() {
    local word=${COMP_WORDS[COMP_CWORD]} choices
    case ${COMP_WORDS[COMP_CWORD - 1]} in
        --config)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        --seed) choices='' ;;
        --only) choices=$(pbmond selftest --list 2>/dev/null | cut -d' ' -f1) ;;
        *)
            choices='
                --help --json --seed --only --list --config --allow-unsafe-code
            '
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$word")
}

complete -F _pbmond pbmond
