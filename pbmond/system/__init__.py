"""What the daemon asks of the operating system: users, privileges, run directory, log, signals, memory.

Offers: accounts, logfile, memory, privileges, rundir, signals.
Imports: nothing.
"""
