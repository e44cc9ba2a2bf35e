"""The store of the past: what moved in each second, summed to hours, in files of a directory.

Offers: buckets, errors, exporting, handles, layout, past, places, queries, replies, source, spans,
    tiers, writer.
Imports: msgpack, numpy, pbmond.fields, pbmond.given_file, pbmond.wire.
"""
