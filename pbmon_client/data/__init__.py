"""Snapshots as data: messages received or recorded, joined, filtered and thinned.

Offers: columns, filters, model, nearest, network, rates, recording, shares, stream, text, users.
Imports: pbmond.wire, lark.
"""
