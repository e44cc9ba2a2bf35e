# Fish completion for pbmon-client: /usr/share/fish/vendor_completions.d/pbmon-client.fish
set -l fields pid start_ns ppid uid user name exe cmdline cgroup unit container netns state exited_ns \
    connections files {net,loopback,unix,socket}_{rx,tx}_{bytes,calls,bytes_per_s} \
    {file,pipe,device}_{read,write}_{bytes,calls,bytes_per_s} disk_{read,write}_{bytes,bytes_per_s} \
    {rx,tx,read,write}_{bytes,calls,bytes_per_s} retransmitted_{segments,bytes} rtt_us tcp_state \
    class protocol {local,remote}_{address,port} direction path device inode first_ns last_ns open

complete -c pbmon-client -f
complete -c pbmon-client -l json -d 'Print one JSON object'
complete -c pbmon-client -l ndjson -d 'Print a JSON object a line'
complete -c pbmon-client -l csv -d 'Print comma-separated values'
complete -c pbmon-client -l once -d 'Print a table as plain text'
complete -c pbmon-client -l view -x -a 'processes programs users units connections hosts ports files tree' -d 'What to begin with'
complete -c pbmon-client -l demo -r -F -d 'Show a recorded stream'
complete -c pbmon-client -s n -l count -x -d 'End after this many snapshots'
complete -c pbmon-client -s d -l interval -x -d 'Seconds between snapshots'
complete -c pbmon-client -l flows -d 'Connections and files as well'
complete -c pbmon-client -s p -l pid -x -a '(__fish_complete_pids)' -d 'This process only'
complete -c pbmon-client -s u -l user -x -a '(__fish_complete_users)' -d 'This user only'
complete -c pbmon-client -l name -x -d 'Processes of this name only'
complete -c pbmon-client -l filter -x -d 'Rows for which this holds'
complete -c pbmon-client -l sort -x -a "$fields" -d 'Sort by this field'
complete -c pbmon-client -l reverse -d 'Sort the other way round'
complete -c pbmon-client -l top -x -d 'This many rows'
complete -c pbmon-client -l active -d 'Rows on which bytes move'
complete -c pbmon-client -l socket -r -F -d "The daemon's socket"
complete -c pbmon-client -l wait -x -d 'Seconds to wait for the first snapshot'
complete -c pbmon-client -l version -d 'Print the version'
complete -c pbmon-client -s h -l help -d 'Print a summary of the options'
