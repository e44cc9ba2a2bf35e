"""What the host says of itself: processes by /proc, interface and disk counters, cgroup paths.

Offers: cgroup, hostcounters, procfs.
Imports: pbmond.kernel.
"""
