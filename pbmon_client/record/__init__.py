"""The recorder: `pbmon-client record` writes down what moved, and listens on nothing.

Offers: start.
Imports: pbmon_client.command_line, pbmon_client.data, pbmon_client.history,
    pbmon_client.subscription, pbmond.allocator, pbmond.history_settings, pbmond.moved_wire,
    pbmond.wire, numpy.
"""
