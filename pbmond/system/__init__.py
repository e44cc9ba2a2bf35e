"""What the daemon asks of the operating system: users, rights, run directory, log, signals, memory.

Offers: accounts, environment, logfile, memory, one_line, privileges, rundir, safe_paths,
    signals.
Imports: pbmond.patience.
"""
