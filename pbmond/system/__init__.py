"""What the daemon asks of the operating system: privileges, run directory, log, signals, allocator.

Offers: logfile, memory, one_line, privileges, rundir, safe_paths, signals.
Imports: nothing.
"""
