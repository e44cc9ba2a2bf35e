# Fish completion for pbmon-client: /usr/share/fish/vendor_completions.d/pbmon-client.fish
# Made by `python -m tests.pages` of the options of pbmon-client, not by hand.
function __pbmon_client_is
    set -l typed (commandline -opc)
    set -e typed[1]
    string match -q -- "$argv *" "$typed "
end
complete -c pbmon-client -f
set -l own 'not __pbmon_client_is web; and not __pbmon_client_is export; and not __pbmon_client_is record; and not __pbmon_client_is history'
set -l in_web '__pbmon_client_is web'
set -l in_export '__pbmon_client_is export'
set -l in_record '__pbmon_client_is record'
set -l in_history '__pbmon_client_is history; and not __pbmon_client_is history export; and not __pbmon_client_is history import; and not __pbmon_client_is history serve'
set -l in_history_export '__pbmon_client_is history export'
set -l in_history_import '__pbmon_client_is history import'
set -l in_history_serve '__pbmon_client_is history serve'
set -l fields '
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
complete -c pbmon-client -n "$own" -a web -d 'show the same in a browser'
complete -c pbmon-client -n "$own" -a export -d 'push metrics'
complete -c pbmon-client -n "$own" -a record -d 'write down what moves'
complete -c pbmon-client -n "$own" -a history -d 'say what is kept of the past'
complete -c pbmon-client -n "$in_history" -a export -d 'write a range of the past to a file'
complete -c pbmon-client -n "$in_history" -a import -d 'make a history of such a file'
complete -c pbmon-client -n "$in_history" -a serve -d 'answer every user about the past'
complete -c pbmon-client -n "$in_history_export" -F
complete -c pbmon-client -n "$in_history_import" -F
complete -c pbmon-client -n "$own" -l json -d 'the first snapshot to arrive, as one JSON object with a row on each line'
complete -c pbmon-client -n "$own" -l ndjson -d 'one JSON object per line for every snapshot, without end'
complete -c pbmon-client -n "$own" -l csv -d 'one snapshot\'s rows under a header, then exit'
complete -c pbmon-client -n "$own" -l once -d 'one view as plain text, then exit'
complete -c pbmon-client -n "$own" -l view -x -a 'processes programs users units connections hosts ports files tree' -d 'what the interface starts with, or what --once prints'
complete -c pbmon-client -n "$own" -l demo -r -F -d 'show a recorded stream'
complete -c pbmon-client -n "$own" -s n -l count -x -d 'end after N snapshots'
complete -c pbmon-client -n "$own" -s d -l interval -x -d 'show a snapshot every SECONDS, with rates over that time'
complete -c pbmon-client -n "$own" -l flows -d 'show connections and files as well'
complete -c pbmon-client -n "$own" -l at -x -d 'the interval at a time, of the finest that is kept'
complete -c pbmon-client -n "$own" -l since -x -d 'what moved from TIME on'
complete -c pbmon-client -n "$own" -l until -x -d 'the end of the range'
complete -c pbmon-client -n "$own" -l step -x -d 'cut the range into steps, a snapshot for each'
complete -c pbmon-client -n "$own" -l history -r -F -d 'where the past is read from'
complete -c pbmon-client -n "$own" -s p -l pid -x -a '(__fish_complete_pids)' -d 'this process'
complete -c pbmon-client -n "$own" -s u -l user -x -a '(__fish_complete_users)' -d 'processes of this user, by name or number'
complete -c pbmon-client -n "$own" -l name -x -d 'processes of this name, a shell pattern such as \'ngin*\''
complete -c pbmon-client -n "$own" -l filter -x -d 'rows that match'
complete -c pbmon-client -n "$own" -l active -d 'rows that moved bytes in the interval shown'
complete -c pbmon-client -n "$own" -l sort -x -a "$fields" -d 'numbers from the largest down, text from A to Z, null last'
complete -c pbmon-client -n "$own" -l reverse -d 'reverse the order'
complete -c pbmon-client -n "$own" -l top -x -d 'only the first N rows of each table'
complete -c pbmon-client -n "$own" -l socket -r -F -d 'the daemon\'s socket'
complete -c pbmon-client -n "$own" -l wait -x -d 'give up without a first snapshot after SECONDS'
complete -c pbmon-client -n "$own" -l version -d 'show the version and exit'
complete -c pbmon-client -n "$own" -s h -l help -d 'show this help and exit'
complete -c pbmon-client -n "$in_web" -l listen -x -d 'listen here'
complete -c pbmon-client -n "$in_web" -l unix -r -F -d 'listen on a Unix socket instead, for a proxy of the same user or group'
complete -c pbmon-client -n "$in_web" -l tls-cert -r -F -d 'certificate chain, PEM'
complete -c pbmon-client -n "$in_web" -l tls-key -r -F -d 'its key'
complete -c pbmon-client -n "$in_web" -l origin -x -d 'the server\'s address in the browser'
complete -c pbmon-client -n "$in_web" -l behind-proxy -d 'a proxy takes care of TLS'
complete -c pbmon-client -n "$in_web" -l root-path -x -d 'the path below which the proxy offers it'
complete -c pbmon-client -n "$in_web" -l metrics-top -x -d 'how many units, containers and users'
complete -c pbmon-client -n "$in_web" -l metrics-programs -d 'series of programs, by name, as well'
complete -c pbmon-client -n "$in_web" -l token-file -r -F -d 'take the token from FILE, which only its owner may use'
complete -c pbmon-client -n "$in_web" -l open -d 'open a browser'
complete -c pbmon-client -n "$in_web" -l socket -r -F -d 'the daemon\'s socket'
complete -c pbmon-client -n "$in_web" -l history -r -F -d 'what to read the past from'
complete -c pbmon-client -n "$in_web" -s h -l help -d 'show this help and exit'
complete -c pbmon-client -n "$in_export" -l otlp -x -d 'the receiver'
complete -c pbmon-client -n "$in_export" -l interval -x -d 'how often to push'
complete -c pbmon-client -n "$in_export" -l count -x -d 'end after N pushes that arrived'
complete -c pbmon-client -n "$in_export" -l top -x -d 'how many units, containers and users'
complete -c pbmon-client -n "$in_export" -l programs -d 'series of programs, by name, as well'
complete -c pbmon-client -n "$in_export" -l socket -r -F -d 'the daemon\'s socket'
complete -c pbmon-client -n "$in_export" -s h -l help -d 'show this help and exit'
complete -c pbmon-client -n "$in_record" -l directory -x -a '(__fish_complete_directories)' -d 'where the files are, made if it is missing'
complete -c pbmon-client -n "$in_record" -l size -x -d 'the most that all files have together'
complete -c pbmon-client -n "$in_record" -l config -r -F -d 'read [history] and access_group of pbmond\'s configuration'
complete -c pbmon-client -n "$in_record" -l socket -r -F -d 'the daemon\'s socket'
complete -c pbmon-client -n "$in_record" -s h -l help -d 'show this help and exit'
complete -c pbmon-client -n "$in_history" -l history -r -F -d 'another history'
complete -c pbmon-client -n "$in_history" -l json -d 'print one JSON object'
complete -c pbmon-client -n "$in_history" -s h -l help -d 'show this help and exit'
complete -c pbmon-client -n "$in_history_export" -l history -r -F -d 'another history'
complete -c pbmon-client -n "$in_history_export" -l since -x -d 'where the range begins'
complete -c pbmon-client -n "$in_history_export" -l until -x -d 'where the range ends'
complete -c pbmon-client -n "$in_history_export" -l redact -d 'write pseudonyms for names, command lines, paths, users, units, containers, addresses and the host'
complete -c pbmon-client -n "$in_history_export" -l force -d 'replace FILE if it exists'
complete -c pbmon-client -n "$in_history_export" -s h -l help -d 'show this help and exit'
complete -c pbmon-client -n "$in_history_import" -s h -l help -d 'show this help and exit'
complete -c pbmon-client -n "$in_history_serve" -l directory -x -a '(__fish_complete_directories)' -d 'what `pbmon-client record` writes'
complete -c pbmon-client -n "$in_history_serve" -l listen -r -F -d 'the socket to make, in a directory that exists'
complete -c pbmon-client -n "$in_history_serve" -l config -r -F -d 'read [history] and access_group of pbmond\'s configuration'
complete -c pbmon-client -n "$in_history_serve" -s h -l help -d 'show this help and exit'
