"""The terminal interface: its events and actions, and urwid, which shows what is drawn.

Offers: start.
Imports: pbmon_client.data, pbmon_client.history, pbmon_client.options, pbmon_client.present,
    pbmon_client.tui.draw, pbmon_client.tui.feed, pbmon_client.tui.session, pbmond.fields, urwid.
"""
