"""Where the interface's snapshots come from, and what is prepared before a key asks for it.

Offers: demo, messages, past, receiver, render_priority.
Imports: pbmon_client.data, pbmon_client.history, pbmon_client.present, pbmon_client.subscription,
    pbmon_client.tui.session, pbmond.fields, pbmond.wire.
"""
