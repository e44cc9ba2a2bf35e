"""Snapshots as data: messages received or recorded, joined, filtered and thinned.

Offers: columns, filters, model, moved, nearest, network, recording, shares, stream, text, times,
    users.
Imports: pbmond.fields, pbmond.given_file, pbmond.moved_wire, pbmond.wire, lark, numpy.
"""
