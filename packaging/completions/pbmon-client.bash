# Bash completion for pbmon-client: /usr/share/bash-completion/completions/pbmon-client
# shellcheck shell=bash

_pbmon_client() {
    local word=${COMP_WORDS[COMP_CWORD]} choices
    case ${COMP_WORDS[COMP_CWORD - 1]} in
        --socket)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        -u | --user)
            mapfile -t COMPREPLY < <(compgen -u -- "$word")
            return
            ;;
        -p | --pid) choices=$(cd /proc && echo [0-9]*) ;;
        --sort)
            choices=$(echo pid name user connections files \
                {net,loopback,unix,socket}_{rx,tx}_bytes{,_per_s} \
                {file,pipe,device,disk}_{read,write}_bytes{,_per_s})
            ;;
        --view) choices='processes programs users units connections hosts ports files tree' ;;
        -n | --count | -d | --interval | --name | --filter | --top | --wait) choices='' ;;
        *)
            choices='--json --ndjson --csv --once --view --demo --count --interval --flows --pid --user --name
                --filter --sort --reverse --top --active --socket --wait --version --help'
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$word")
}
complete -F _pbmon_client pbmon-client
