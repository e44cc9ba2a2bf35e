# Fish completion for pbmon-client: /usr/share/fish/vendor_completions.d/pbmon-client.fish
# fields: made by `python -m tests.pages`, not by hand
set -l fields \
    before_disk_read_bytes before_disk_write_bytes before_read_bytes before_rx_bytes \
    before_tx_bytes before_write_bytes cgroup class cmdline connections container device \
    device_read_bytes device_read_bytes_per_s device_read_calls device_write_bytes \
    device_write_bytes_per_s device_write_calls direction disk_read_bytes \
    disk_read_bytes_per_s disk_write_bytes disk_write_bytes_per_s exe exited_ns \
    file_read_bytes file_read_bytes_per_s file_read_calls file_write_bytes \
    file_write_bytes_per_s file_write_calls files first_ns inode last_ns local_address \
    local_port loopback_rx_bytes loopback_rx_bytes_per_s loopback_rx_calls loopback_tx_bytes \
    loopback_tx_bytes_per_s loopback_tx_calls name net_rx_bytes net_rx_bytes_per_s \
    net_rx_calls net_tx_bytes net_tx_bytes_per_s net_tx_calls netns open path pid \
    pipe_read_bytes pipe_read_bytes_per_s pipe_read_calls pipe_write_bytes \
    pipe_write_bytes_per_s pipe_write_calls ppid protocol read_bytes read_bytes_per_s \
    read_calls remote_address remote_port retransmitted_bytes retransmitted_segments rtt_us \
    rx_bytes rx_bytes_per_s rx_calls socket_rx_bytes socket_rx_bytes_per_s socket_rx_calls \
    socket_tx_bytes socket_tx_bytes_per_s socket_tx_calls start_ns state tcp_state tx_bytes \
    tx_bytes_per_s tx_calls uid unit unix_rx_bytes unix_rx_bytes_per_s unix_rx_calls \
    unix_tx_bytes unix_tx_bytes_per_s unix_tx_calls user write_bytes write_bytes_per_s \
    write_calls
# fields: end

complete -c pbmon-client -f
complete -c pbmon-client -l json -d 'Print one JSON object'
complete -c pbmon-client -l ndjson -d 'Print one JSON object per line'
complete -c pbmon-client -l csv -d 'Print comma-separated values'
complete -c pbmon-client -l once -d 'Print a table as plain text'
complete -c pbmon-client -l view -x -a 'processes programs users units connections hosts ports files tree' -d 'View to start with'
complete -c pbmon-client -l demo -r -F -d 'Show a recorded stream'
complete -c pbmon-client -s n -l count -x -d 'End after this many snapshots'
complete -c pbmon-client -s d -l interval -x -d 'Seconds between snapshots'
complete -c pbmon-client -l flows -d 'Show connections and files as well'
complete -c pbmon-client -s p -l pid -x -a '(__fish_complete_pids)' -d 'This process only'
complete -c pbmon-client -s u -l user -x -a '(__fish_complete_users)' -d 'This user only'
complete -c pbmon-client -l name -x -d 'Processes of this name only'
complete -c pbmon-client -l filter -x -d 'Rows that match this'
complete -c pbmon-client -l sort -x -a "$fields" -d 'Sort by this field'
complete -c pbmon-client -l reverse -d 'Reverse the order'
complete -c pbmon-client -l top -x -d 'Only this many rows'
complete -c pbmon-client -l active -d 'Rows that move bytes'
complete -c pbmon-client -l socket -r -F -d "The daemon's socket"
complete -c pbmon-client -l wait -x -d 'Seconds to wait for the first snapshot'
complete -c pbmon-client -l version -d 'Print the version'
complete -c pbmon-client -s h -l help -d 'Print a summary of the options'
