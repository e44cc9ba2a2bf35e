"""What the host itself tells: processes in /proc, interface and disk counters, cgroup paths.

Offers: baseline, cgroup, hostcounters, inodes, procfs.
Imports: pbmond.fields, pbmond.kernel, numpy.
"""
