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
            choices=$(echo pid start_ns ppid uid user name exe cmdline cgroup unit container netns state exited_ns \
                connections files {net,loopback,unix,socket}_{rx,tx}_{bytes,calls,bytes_per_s} \
                {file,pipe,device}_{read,write}_{bytes,calls,bytes_per_s} disk_{read,write}_{bytes,bytes_per_s} \
                {rx,tx,read,write}_{bytes,calls,bytes_per_s} retransmitted_{segments,bytes} rtt_us tcp_state \
                class protocol {local,remote}_{address,port} direction path device inode first_ns last_ns open)
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
