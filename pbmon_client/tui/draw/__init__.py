"""The screen as lines of text with roles, part by part.

Offers: detail, graphs, grid, header, popups, screen.
Imports: pbmon_client.data, pbmon_client.present, pbmon_client.tui,
    pbmon_client.tui.feed, pbmond.fields.
"""
