"""Where the interface's snapshots come from, and what is prepared before a key asks for it.

Offers: curves, demo, receiver, render_priority.
Imports: pbmon_client.data, pbmon_client.present, pbmon_client.subscription,
    pbmon_client.tui.draw, pbmond.fields, pbmond.wire.
"""
