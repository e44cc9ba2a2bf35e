"""Snapshots as metrics: families of counters that never fall within one run of the daemon; pure.

Offers: families, meter, options.
Imports: pbmon_client.data, pbmond.fields, pbmond.wire.
"""
