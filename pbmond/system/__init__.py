"""What the daemon asks of the operating system: privileges, run directory, log, signals, allocator.

Offers: logfile, manager, memory, privileges, rights, rundir, seccomp, signals.
Imports: nothing.
"""
