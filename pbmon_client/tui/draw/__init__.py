"""The screen as lines of text with roles, part by part.

Offers: detail, grid, header, popups, screen.
Imports: pbmon_client.data, pbmon_client.present, pbmon_client.tui.session, pbmond.fields.
"""
