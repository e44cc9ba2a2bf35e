# Bash completion for pbmon-client: /usr/share/bash-completion/completions/pbmon-client
# Made by `python -m tests.pages` of the options of pbmon-client, not by hand.
# shellcheck shell=bash

_pbmon_client_fields='
    before_disk_read_bytes before_disk_write_bytes before_read_bytes before_rx_bytes
    before_tx_bytes before_write_bytes cgroup class cmdline connections container container_name
    device device_read_bytes device_read_bytes_per_s device_read_calls device_write_bytes
    device_write_bytes_per_s device_write_calls direction disk_read_bytes disk_read_bytes_per_s
    disk_write_bytes disk_write_bytes_per_s exe exited_ns file_read_bytes file_read_bytes_per_s
    file_read_calls file_write_bytes file_write_bytes_per_s file_write_calls files first_ns
    image inode last_ns local_address local_port loopback_rx_bytes loopback_rx_bytes_per_s
    loopback_rx_calls loopback_tx_bytes loopback_tx_bytes_per_s loopback_tx_calls name namespace
    net_rx_bytes net_rx_bytes_per_s net_rx_calls net_tx_bytes net_tx_bytes_per_s net_tx_calls
    netns open path pid pipe_read_bytes pipe_read_bytes_per_s pipe_read_calls pipe_write_bytes
    pipe_write_bytes_per_s pipe_write_calls pod ppid protocol read_bytes read_bytes_per_s
    read_calls remote_address remote_port retransmitted_bytes retransmitted_segments rtt_us
    rx_bytes rx_bytes_per_s rx_calls socket_rx_bytes socket_rx_bytes_per_s socket_rx_calls
    socket_tx_bytes socket_tx_bytes_per_s socket_tx_calls start_ns state tcp_state tx_bytes
    tx_bytes_per_s tx_calls uid unit unix_rx_bytes unix_rx_bytes_per_s unix_rx_calls
    unix_tx_bytes unix_tx_bytes_per_s unix_tx_calls user write_bytes write_bytes_per_s
    write_calls
'

_pbmon_client() {
    local word=${COMP_WORDS[COMP_CWORD]} choices
    if ((COMP_CWORD > 1)); then
        case ${COMP_WORDS[1]} in
            web | export | record | history)
                "_pbmon_client_${COMP_WORDS[1]}"
                return
                ;;
        esac
    fi
    case ${COMP_WORDS[COMP_CWORD - 1]} in
        --demo | --history | --socket)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        -u | --user)
            mapfile -t COMPREPLY < <(compgen -u -- "$word")
            return
            ;;
        --view) choices='processes programs users units connections hosts ports files tree' ;;
        -n | --count | -d | --interval | --at | --since | --until | --step | --name | --filter | --top | --wait) choices='' ;;
        -p | --pid) choices=$(cd /proc && echo [0-9]*) ;;
        --sort) choices=$_pbmon_client_fields ;;
        *)
            choices='
                web export record history --json --ndjson --csv --once --view --demo --count
                --interval --flows --at --since --until --step --history --pid --user --name
                --filter --active --sort --reverse --top --socket --wait --version --help
            '
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$word")
}

_pbmon_client_web() {
    local word=${COMP_WORDS[COMP_CWORD]} choices
    case ${COMP_WORDS[COMP_CWORD - 1]} in
        --unix | --tls-cert | --tls-key | --token-file | --socket | --history)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        --listen | --origin | --root-path | --metrics-top) choices='' ;;
        *)
            choices='
                --listen --unix --tls-cert --tls-key --origin --behind-proxy --root-path
                --metrics-top --metrics-programs --token-file --open --socket --history --help
            '
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$word")
}

_pbmon_client_export() {
    local word=${COMP_WORDS[COMP_CWORD]} choices
    case ${COMP_WORDS[COMP_CWORD - 1]} in
        --socket)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        --otlp | --interval | --count | --top) choices='' ;;
        *)
            choices='
                --otlp --interval --count --top --programs --socket --help
            '
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$word")
}

_pbmon_client_record() {
    local word=${COMP_WORDS[COMP_CWORD]} choices
    case ${COMP_WORDS[COMP_CWORD - 1]} in
        --directory)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -d -- "$word")
            return
            ;;
        --config | --socket)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        --size) choices='' ;;
        *)
            choices='
                --directory --size --config --socket --help
            '
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$word")
}

_pbmon_client_history() {
    local word=${COMP_WORDS[COMP_CWORD]} choices
    if ((COMP_CWORD > 2)); then
        case ${COMP_WORDS[2]} in
            export | import | serve)
                "_pbmon_client_history_${COMP_WORDS[2]}"
                return
                ;;
        esac
    fi
    case ${COMP_WORDS[COMP_CWORD - 1]} in
        --history)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        *)
            choices='
                export import serve --history --json --help
            '
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$word")
}

_pbmon_client_history_export() {
    local word=${COMP_WORDS[COMP_CWORD]} choices
    case ${COMP_WORDS[COMP_CWORD - 1]} in
        --history)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        --since | --until) choices='' ;;
        *)
            if [[ $word != -* ]]; then
                compopt -o filenames
                mapfile -t COMPREPLY < <(compgen -f -- "$word")
                return
            fi
            choices='
                --history --since --until --redact --force --help
            '
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$word")
}

_pbmon_client_history_import() {
    local word=${COMP_WORDS[COMP_CWORD]} choices
    case ${COMP_WORDS[COMP_CWORD - 1]} in
        *)
            if [[ $word != -* ]]; then
                compopt -o filenames
                mapfile -t COMPREPLY < <(compgen -f -- "$word")
                return
            fi
            choices='
                --help
            '
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$word")
}

_pbmon_client_history_serve() {
    local word=${COMP_WORDS[COMP_CWORD]} choices
    case ${COMP_WORDS[COMP_CWORD - 1]} in
        --directory)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -d -- "$word")
            return
            ;;
        --listen | --config)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        *)
            choices='
                --directory --listen --config --help
            '
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$word")
}

complete -F _pbmon_client pbmon-client
