"""What every process, connection and file has moved, tick by tick: no I/O, no clock.

Offers: before, health, movement, own_views, process_choices, process_counters, process_index,
    processes, recent_rates, retired, rows, snapshot, store, values.
Imports: pbmond.fields, pbmond.host, pbmond.kernel, pbmond.wire, numpy.
"""
