"""Snapshots as data: received messages narrowed, joined, filtered and thinned.

Offers: columns, filters, model, nearest, network, rates, shares, text, users.
Imports: pbmond.fields, pbmond.wire, lark.
"""
