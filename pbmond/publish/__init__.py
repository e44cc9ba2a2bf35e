"""Delivers snapshots to viewers: a message per topic, and the unprivileged publisher process.

Offers: channel, moved_log, supervisor, topic_messages.
Imports: pbmond.containers, pbmond.fields, pbmond.group_members, pbmond.kernel,
    pbmond.moved_wire, pbmond.patience, pbmond.store, pbmond.system, pbmond.wire, numpy.
"""
