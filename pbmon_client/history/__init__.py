"""The store of the past: what moved in each second, summed to hours, in files of a directory.

Offers: buckets, layout, past, source, spans, writer.
Imports: msgpack, numpy, pbmond.fields, pbmond.wire.
"""
