"""Gets snapshots to viewers: the message of each topic, and the unprivileged publisher process.

Offers: channel, supervisor, topic_messages.
Imports: pbmond.fields, pbmond.kernel, pbmond.patience, pbmond.store, pbmond.system, pbmond.wire,
    numpy, zmq.
"""
