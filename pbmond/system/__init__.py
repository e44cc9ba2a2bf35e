"""What the daemon asks of the operating system: privileges, the run directory, the allocator.

Offers: memory, privileges, rundir.
Imports: nothing.
"""
