"""What the daemon asks of the operating system: users, rights, run directory, log, signals, memory.

Offers: accounts, environment, given_sockets, logfile, manager, memory, one_line, privileges,
    rights, rundir, safe_paths, seccomp, signals, subordinates.
Imports: pbmond.patience.
"""
