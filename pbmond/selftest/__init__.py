"""The command ``pbmond selftest``: known traffic through every I/O path, checked to the byte.

Offers: nothing.
Imports: pbmond.cli, pbmond.config, pbmond.fields, pbmond.kernel, pbmond.loader,
    pbmond.patience, pbmond.system, pbmond.wire, zmq.
"""
