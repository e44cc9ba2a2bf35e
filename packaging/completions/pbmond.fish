# Fish completion for pbmond: /usr/share/fish/vendor_completions.d/pbmond.fish
complete -c pbmond -f
complete -c pbmond -l config -r -F -d 'Read the configuration from this file'
complete -c pbmond -l run-dir -x -a '(__fish_complete_directories)' -d 'Keep socket and lock here'
complete -c pbmond -l interval -x -d 'Seconds between snapshots'
complete -c pbmond -l log-level -x -a 'debug info warning error' -d 'How much to say'
complete -c pbmond -l log-file -r -F -d 'Append messages to this file'
complete -c pbmond -l check-config -d 'Say whether the configuration is valid'
complete -c pbmond -l version -d 'Print the version'
complete -c pbmond -s h -l help -d 'Print a summary of the options'
