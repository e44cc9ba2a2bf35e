"""The terminal interface: its state, keys and actions, and urwid, which shows what is drawn.

Offers: actions, keys, settings, start, state.
Imports: pbmon_client.data, pbmon_client.options, pbmon_client.present,
    pbmon_client.tui.draw, pbmon_client.tui.feed, pbmond.fields, urwid.
"""
