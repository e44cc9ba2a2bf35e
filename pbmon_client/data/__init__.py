"""Snapshots as data: messages received or recorded, joined, filtered and thinned.

Offers: columns, filters, model, nearest, network, recording, shares, stream, text, users.
Imports: pbmond.fields, pbmond.given_file, pbmond.wire, lark.
"""
