"""What the interface remembers from one event to the next, and its tables of keys and colours.

Offers: curves, keys, palette, past, settings, state.
Imports: pbmon_client.data, pbmon_client.present, pbmond.fields, pbmond.given_file, pbmond.wire.
"""
