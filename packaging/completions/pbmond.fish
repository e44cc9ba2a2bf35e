# Fish completion for pbmond: /usr/share/fish/vendor_completions.d/pbmond.fish
# Made by `python -m tests.pages` of the options of pbmond, not by hand.
function __pbmond_is
    set -l typed (commandline -opc)
    set -e typed[1]
    string match -q -- "$argv *" "$typed "
end
complete -c pbmond -f
set -l own 'not __pbmond_is probes; and not __pbmond_is selftest'
set -l in_probes '__pbmond_is probes'
set -l in_selftest '__pbmond_is selftest'
complete -c pbmond -n "$own" -a probes -d 'measure what each hook costs'
complete -c pbmond -n "$own" -a selftest -d 'prove the counting on this kernel'
complete -c pbmond -n "$own" -s h -l help -d 'show this help message and exit'
complete -c pbmond -n "$own" -l config -r -F -d 'read settings from a TOML file'
complete -c pbmond -n "$own" -l run-dir -x -a '(__fish_complete_directories)' -d 'socket and lock'
complete -c pbmond -n "$own" -l interval -x -d 'time between snapshots'
complete -c pbmond -n "$own" -l baseline -d 'show what the kernel counted for older processes and connections until now'
complete -c pbmond -n "$own" -l log-level -x -a 'debug info warning error' -d 'how much to log'
complete -c pbmond -n "$own" -l log-file -r -F -d 'append to it'
complete -c pbmond -n "$own" -l allow-unsafe-code -d 'run code that others than root may change'
complete -c pbmond -n "$own" -l check-config -d 'say whether --config is valid, and exit'
complete -c pbmond -n "$own" -l version -d 'print the version and exit'
complete -c pbmond -n "$in_probes" -s h -l help -d 'show this help message and exit'
complete -c pbmond -n "$in_probes" -l seconds -x -d 'how long to measure'
complete -c pbmond -n "$in_probes" -l json -d 'print one JSON object instead of a table'
complete -c pbmond -n "$in_probes" -l run-dir -x -a '(__fish_complete_directories)' -d 'the daemon\'s --run-dir'
complete -c pbmond -n "$in_probes" -l allow-unsafe-code -d 'run code that others than root may change'
complete -c pbmond -n "$in_selftest" -s h -l help -d 'show this help message and exit'
complete -c pbmond -n "$in_selftest" -l json -d 'print one JSON object instead of a table'
complete -c pbmond -n "$in_selftest" -l seed -x -d 'choose sizes by this seed'
complete -c pbmond -n "$in_selftest" -l only -x -a '(pbmond selftest --list | string replace "  " \t)' -d 'run only paths like \'uring.*\', or with \'udp,tcp\''
complete -c pbmond -n "$in_selftest" -l list -d 'print the paths and what they are, and exit'
complete -c pbmond -n "$in_selftest" -l config -r -F -d 'use the hooks and users of this configuration'
complete -c pbmond -n "$in_selftest" -l allow-unsafe-code -d 'run code that others than root may change'
