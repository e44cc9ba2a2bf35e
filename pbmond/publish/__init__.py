"""Gets snapshots to viewers: the unprivileged publisher process, and the collector's end of it.

Offers: channel, supervisor.
Imports: pbmond.patience, pbmond.system, pbmond.wire, zmq.
"""
