# Fish completion for pbmon-client: /usr/share/fish/vendor_completions.d/pbmon-client.fish
# fields: made by `python -m tests.pages`, not by hand
set -l fields \
    before_disk_read_bytes before_disk_write_bytes before_read_bytes before_rx_bytes \
    before_tx_bytes before_write_bytes cgroup class cmdline connections container \
    container_name device device_read_bytes device_read_bytes_per_s device_read_calls \
    device_write_bytes device_write_bytes_per_s device_write_calls direction disk_read_bytes \
    disk_read_bytes_per_s disk_write_bytes disk_write_bytes_per_s exe exited_ns \
    file_read_bytes file_read_bytes_per_s file_read_calls file_write_bytes \
    file_write_bytes_per_s file_write_calls files first_ns image inode last_ns local_address \
    local_port loopback_rx_bytes loopback_rx_bytes_per_s loopback_rx_calls loopback_tx_bytes \
    loopback_tx_bytes_per_s loopback_tx_calls name namespace net_rx_bytes net_rx_bytes_per_s \
    net_rx_calls net_tx_bytes net_tx_bytes_per_s net_tx_calls netns open path pid \
    pipe_read_bytes pipe_read_bytes_per_s pipe_read_calls pipe_write_bytes \
    pipe_write_bytes_per_s pipe_write_calls pod ppid protocol read_bytes read_bytes_per_s \
    read_calls remote_address remote_port retransmitted_bytes retransmitted_segments rtt_us \
    rx_bytes rx_bytes_per_s rx_calls socket_rx_bytes socket_rx_bytes_per_s socket_rx_calls \
    socket_tx_bytes socket_tx_bytes_per_s socket_tx_calls start_ns state tcp_state tx_bytes \
    tx_bytes_per_s tx_calls uid unit unix_rx_bytes unix_rx_bytes_per_s unix_rx_calls \
    unix_tx_bytes unix_tx_bytes_per_s unix_tx_calls user write_bytes write_bytes_per_s \
    write_calls
# fields: end

complete -c pbmon-client -f
set -l viewer 'not __fish_seen_subcommand_from web export'
set -l web '__fish_seen_subcommand_from web'
set -l export '__fish_seen_subcommand_from export'
complete -c pbmon-client -n "$viewer" -a web -d 'Show the same in a browser'
complete -c pbmon-client -n "$viewer" -a export -d 'Push metrics'
complete -c pbmon-client -n "$viewer" -l json -d 'Print one JSON object'
complete -c pbmon-client -n "$viewer" -l ndjson -d 'Print one JSON object per line'
complete -c pbmon-client -n "$viewer" -l csv -d 'Print comma-separated values'
complete -c pbmon-client -n "$viewer" -l once -d 'Print a table as plain text'
complete -c pbmon-client -n "$viewer" -l view -x -a 'processes programs users units connections hosts ports files tree' -d 'View to start with'
complete -c pbmon-client -n "$viewer" -l demo -r -F -d 'Show a recorded stream'
complete -c pbmon-client -n "$viewer" -s n -l count -x -d 'End after this many snapshots'
complete -c pbmon-client -n "$viewer" -s d -l interval -x -d 'Seconds between snapshots'
complete -c pbmon-client -n "$viewer" -l flows -d 'Show connections and files as well'
complete -c pbmon-client -n "$viewer" -s p -l pid -x -a '(__fish_complete_pids)' -d 'This process only'
complete -c pbmon-client -n "$viewer" -s u -l user -x -a '(__fish_complete_users)' -d 'This user only'
complete -c pbmon-client -n "$viewer" -l name -x -d 'Processes of this name only'
complete -c pbmon-client -n "$viewer" -l filter -x -d 'Rows that match this'
complete -c pbmon-client -n "$viewer" -l sort -x -a "$fields" -d 'Sort by this field'
complete -c pbmon-client -n "$viewer" -l reverse -d 'Reverse the order'
complete -c pbmon-client -n "$viewer" -l top -x -d 'Only this many rows'
complete -c pbmon-client -n "$viewer" -l active -d 'Rows that move bytes'
complete -c pbmon-client -n "$viewer" -l socket -r -F -d "The daemon's socket"
complete -c pbmon-client -n "$viewer" -l wait -x -d 'Seconds to wait for the first snapshot'
complete -c pbmon-client -n "$viewer" -l version -d 'Print the version'
complete -c pbmon-client -n "$viewer" -s h -l help -d 'Print a summary of the options'
complete -c pbmon-client -n "$web" -l listen -x -d 'Listen here'
complete -c pbmon-client -n "$web" -l unix -r -F -d 'Listen on a Unix socket'
complete -c pbmon-client -n "$web" -l tls-cert -r -F -d 'Certificate chain'
complete -c pbmon-client -n "$web" -l tls-key -r -F -d 'Key of the certificate'
complete -c pbmon-client -n "$web" -l origin -x -d "The server's address in the browser"
complete -c pbmon-client -n "$web" -l behind-proxy -d 'A proxy takes care of TLS'
complete -c pbmon-client -n "$web" -l root-path -x -d 'The path below which the proxy offers it'
complete -c pbmon-client -n "$web" -l metrics-top -x -d 'So many units, containers and users have series'
complete -c pbmon-client -n "$web" -l metrics-programs -d 'Series of programs as well'
complete -c pbmon-client -n "$web" -l token-file -r -F -d 'Take the token from this file'
complete -c pbmon-client -n "$web" -l open -d 'Open a browser'
complete -c pbmon-client -n "$web" -l socket -r -F -d "The daemon's socket"
complete -c pbmon-client -n "$web" -s h -l help -d 'Print a summary of the options'
complete -c pbmon-client -n "$export" -l otlp -x -d 'The receiver'
complete -c pbmon-client -n "$export" -l interval -x -d 'Seconds between pushes'
complete -c pbmon-client -n "$export" -l count -x -d 'End after this many pushes'
complete -c pbmon-client -n "$export" -l top -x -d 'So many units, containers and users have series'
complete -c pbmon-client -n "$export" -l programs -d 'Series of programs as well'
complete -c pbmon-client -n "$export" -l socket -r -F -d "The daemon's socket"
complete -c pbmon-client -n "$export" -s h -l help -d 'Print a summary of the options'
