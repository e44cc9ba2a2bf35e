"""What every process, connection and file has moved, tick by tick: no I/O, no clock.

Offers: health, snapshot, store.
Imports: pbmond.host, pbmond.kernel, pbmond.wire, numpy.
"""
