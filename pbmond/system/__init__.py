"""What the daemon asks of the operating system: privileges, run directory, log, signals, allocator.

Offers: logfile, manager, memory, privileges, rights, rundir, safe_paths, seccomp, signals.
Imports: nothing.
"""
